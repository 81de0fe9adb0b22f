//! Flawed: two counts, of which the older one fades.
//!
//! The window that ends now is guessed: this window's takes, and of the last one's as much as it still overlaps. That is right
//! if they were spread evenly. If they all came at its end, they are still inside the window when their weight has faded.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision};

pub(crate) static WEIGHTED_COUNTER: Script = Script::new(
    "ratelimit/weighted_counter",
    include_str!("../../../lua/ratelimit/weighted_counter.lua"),
    &["counts"],
    &["permits", "window_ms"],
);

/// Where a subject's counts are.
pub(crate) fn key(subject: &str) -> String {
    keys::lab(subject, "weighted_counter", "counts")
}

/// This window's count, and the last one's.
#[derive(Debug, Clone)]
pub struct WeightedCounter {
    redis: Redis,
    limit: Limit,
}

impl WeightedCounter {
    /// Limits every subject to about `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for WeightedCounter {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let reply: Reply = WEIGHTED_COUNTER
            .call()
            .key(key(subject))
            .arg(self.limit.permits)
            .arg(self.limit.window_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
