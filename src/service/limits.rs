//! How often somebody may try to log in or to register: by name, so that passwords are not guessed, and by address, so that
//! names are not.
//!
//! Both are asked before a password is hashed. Somebody else can use up a name's limit; that keeps its owner from logging
//! in anew for a while, never from what they are logged in to.

use std::{net::IpAddr, sync::Arc};

use chatlab_ratelimit::RateLimiter;

use super::{ServiceError, ServiceResult};

/// What is limited; each has permits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `POST /v1/login`
    LogIn,
    /// `POST /v1/register`
    Register,
    /// `POST /v1/refresh`
    Refresh,
}

impl Deed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LogIn => "login",
            Self::Register => "register",
            Self::Refresh => "refresh",
        }
    }
}

/// The limits on getting in.
pub struct Limits {
    by_name: Arc<dyn RateLimiter>,
    by_address: Arc<dyn RateLimiter>,
}

impl Limits {
    /// With a limiter for names and one for addresses.
    pub fn new(by_name: Arc<dyn RateLimiter>, by_address: Arc<dyn RateLimiter>) -> Self {
        Self { by_name, by_address }
    }

    /// Takes a permit of the address and, where the name can be one, of the name.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait; `unavailable`.
    pub async fn admit(&self, deed: Deed, from: IpAddr, name: Option<&str>) -> ServiceResult<()> {
        // An IPv4 address that came through an IPv6 socket is the same address.
        let from = from.to_canonical();
        Self::take(&*self.by_address, &format!("{}-address:{from}", deed.as_str())).await?;
        match name {
            Some(name) => {
                let subject = format!("{}-name:{}", deed.as_str(), name.to_lowercase());
                Self::take(&*self.by_name, &subject).await
            }
            None => Ok(()),
        }
    }

    async fn take(limiter: &dyn RateLimiter, subject: &str) -> ServiceResult<()> {
        let decision = limiter.take(subject).await?;
        if decision.allowed {
            return Ok(());
        }
        Err(ServiceError::rate_limited("too many attempts, try again later", decision.retry_after_ms))
    }
}
