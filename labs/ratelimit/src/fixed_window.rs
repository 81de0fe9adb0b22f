//! Flawed: a count that starts again at every window.
//!
//! One script, so nothing is left behind and no permit is given twice. But all permits just before the edge of a window and all
//! permits just after it are twice the limit within a moment.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision};

pub(crate) static FIXED_WINDOW: Script = Script::new(
    "ratelimit/fixed_window",
    include_str!("../../../lua/ratelimit/fixed_window.lua"),
    &["count"],
    &["permits", "window_ms"],
);

/// Where a subject's count is.
pub(crate) fn key(subject: &str) -> String {
    keys::lab(subject, "fixed_window", "count")
}

/// A count from the first take on.
#[derive(Debug, Clone)]
pub struct FixedWindow {
    redis: Redis,
    limit: Limit,
}

impl FixedWindow {
    /// Limits every subject to about `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for FixedWindow {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let reply: Reply = FIXED_WINDOW
            .call()
            .key(key(subject))
            .arg(self.limit.permits)
            .arg(self.limit.window_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
