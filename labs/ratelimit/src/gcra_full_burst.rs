//! Flawed: the reference's script with the usual parameters.
//!
//! `burst = permits` and one permit back every `window / permits` looks like the limit. It is the limit on average: a subject
//! that was idle gets all permits at once, and those that come back within the window on top of them.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision, gcra::GCRA};

/// Where a subject's due time is.
pub(crate) fn key(subject: &str) -> String {
    keys::lab(subject, "gcra_full_burst", "due")
}

/// One due time a subject, and a burst as large as the limit.
#[derive(Debug, Clone)]
pub struct GcraFullBurst {
    redis: Redis,
    limit: Limit,
}

impl GcraFullBurst {
    /// Limits every subject to about `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for GcraFullBurst {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let spacing_us = (self.limit.window_ms * 1000).div_ceil(u64::from(self.limit.permits));
        let reply: Reply = GCRA
            .call()
            .key(key(subject))
            .arg(spacing_us)
            .arg(self.limit.permits)
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
