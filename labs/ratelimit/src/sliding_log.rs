//! Alternative: a ZSET a subject, one member a take, scored by its time.
//!
//! The only variant that gives every permit: what happened in the window that ends now is known exactly. It costs as many
//! members as there are permits, and a sweep at each take.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision};

pub(crate) static SLIDING_LOG: Script = Script::new(
    "ratelimit/sliding_log",
    include_str!("../../../lua/ratelimit/sliding_log.lua"),
    &["log"],
    &["permits", "window_ms"],
);

/// Where a subject's takes are.
pub(crate) fn key(subject: &str) -> String {
    keys::lab(subject, "sliding_log", "takes")
}

/// Every take, for as long as it counts.
#[derive(Debug, Clone)]
pub struct SlidingLog {
    redis: Redis,
    limit: Limit,
}

impl SlidingLog {
    /// Limits every subject to `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for SlidingLog {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let reply: Reply = SLIDING_LOG
            .call()
            .key(key(subject))
            .arg(self.limit.permits)
            .arg(self.limit.window_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
