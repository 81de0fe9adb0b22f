//! How often somebody may try to log in or to register: by name, so that passwords are not guessed, and by address, so that
//! names are not; and how much a user may ask for over HTTP.
//!
//! The limits on log-ins are asked before a password is hashed. Somebody else can use up a name's limit; that keeps its owner from logging
//! in anew for a while, never from what they are logged in to.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use chatlab_kit::ids::UserId;
use chatlab_ratelimit::{Decision, Limit, RateLimiter};

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

/// Who comes in, and what they are told about the limits on it.
#[derive(Debug)]
pub struct Caller {
    from: IpAddr,
    quota: OnceLock<Quota>,
}

impl Caller {
    /// From this address.
    pub fn new(from: IpAddr) -> Self {
        // An IPv4 address that came through an IPv6 socket is the same address.
        Self { from: from.to_canonical(), quota: OnceLock::new() }
    }

    /// What is left of the tighter limit; none when no limit was asked.
    pub fn quota(&self) -> Option<Quota> {
        self.quota.get().copied()
    }
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// So many a window.
    pub limit: u32,
    /// The window, in seconds, rounded up.
    pub window_s: u64,
    /// So many more would be let through now.
    pub remaining: u32,
    /// After so many seconds without an attempt as many would be let through as ever are at once.
    pub reset_s: u64,
}

impl Quota {
    /// After a decision under a limit.
    fn after(decision: Decision, limit: Limit) -> Self {
        let Limit { permits, window_ms } = limit;
        let used = u64::from(limit.burst().saturating_sub(decision.remaining));
        let reset_ms = (used * window_ms).div_ceil(u64::from(permits.max(1))).max(decision.retry_after_ms);
        Self {
            limit: permits,
            window_s: window_ms.div_ceil(1000),
            remaining: decision.remaining,
            reset_s: reset_ms.div_ceil(1000),
        }
    }
}

/// A limiter and what it allows.
pub struct Limited {
    /// The limiter.
    pub limiter: Arc<dyn RateLimiter>,
    /// What it was made for.
    pub limit: Limit,
}

/// The limits on getting in.
pub struct Limits {
    by_name: Limited,
    by_address: Limited,
}

impl Limits {
    /// With a limiter for names and one for addresses.
    pub fn new(by_name: Limited, by_address: Limited) -> Self {
        Self { by_name, by_address }
    }

    /// Takes a permit of the address and, where the name can be one, of the name. The caller has what is left then, refused or not.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait; `unavailable`.
    pub async fn admit(&self, deed: Deed, caller: &Caller, name: Option<&str>) -> ServiceResult<()> {
        let address = format!("{}-address:{}", deed.as_str(), caller.from);
        let mut decided = self.by_address.take(&address).await?;
        if let Some(name) = name
            && decided.0.allowed
        {
            let subject = format!("{}-name:{}", deed.as_str(), name.to_lowercase());
            let of_name = self.by_name.take(&subject).await?;
            if of_name.0.remaining <= decided.0.remaining || !of_name.0.allowed {
                decided = of_name;
            }
        }
        let (decision, quota) = decided;
        caller.quota.get_or_init(|| quota);
        if decision.allowed {
            return Ok(());
        }
        Err(ServiceError::rate_limited("too many attempts, try again later", decision.retry_after_ms))
    }
}

/// The limit on what a user asks for by requests of their own.
pub struct Requests(Limited);

impl Requests {
    /// With a limiter for users.
    pub fn new(by_user: Limited) -> Self {
        Self(by_user)
    }

    /// Takes a permit of the user's. What is left, and the refusal if there was none.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn take(&self, user: &UserId) -> ServiceResult<(Quota, ServiceResult<()>)> {
        let (decision, quota) = self.0.take(&format!("requests:{user}")).await?;
        let refusal = || ServiceError::rate_limited("too many requests, slow down", decision.retry_after_ms);
        Ok((quota, decision.allowed.then_some(()).ok_or_else(refusal)))
    }
}

impl Limited {
    async fn take(&self, subject: &str) -> ServiceResult<(Decision, Quota)> {
        let decision = self.limiter.take(subject).await?;
        Ok((decision, Quota::after(decision, self.limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_says_when_it_is_whole_again() {
        // Ten a minute, five at once: one comes back every six seconds.
        let limit = Limit::new(10, 60_000);
        let quota = |allowed, remaining, retry_after_ms| {
            let Quota { limit, window_s, remaining, reset_s } =
                Quota::after(Decision { allowed, remaining, retry_after_ms }, limit);
            assert_eq!((limit, window_s), (10, 60));
            (remaining, reset_s)
        };
        assert_eq!(quota(true, 4, 0), (4, 6));
        assert_eq!(quota(true, 0, 0), (0, 30));
        assert_eq!(quota(false, 0, 40_001), (0, 41), "a limiter that makes one wait longer");
        assert_eq!(quota(true, 9, 0), (9, 0), "a limiter that gives more at once");
    }
}
