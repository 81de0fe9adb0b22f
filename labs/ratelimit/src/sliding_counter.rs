//! Alternative: a HASH a subject that counts takes by slices of the window.
//!
//! A window of ten slices that begins anywhere touches at most eleven of them. All eleven are counted whole, so no window
//! holds more than the permits; a permit comes back up to one slice late. With more slices it comes back sooner, for more memory.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision};

/// Into how many parts the window is cut.
pub const SLICES: u32 = 10;

pub(crate) static SLIDING_COUNTER: Script = Script::new(
    "ratelimit/sliding_counter",
    include_str!("../../../lua/ratelimit/sliding_counter.lua"),
    &["counts"],
    &["permits", "window_ms", "slices"],
);

/// Where a subject's counts are.
pub(crate) fn key(subject: &str) -> String {
    keys::lab(subject, "sliding_counter", "counts")
}

/// A count a slice.
#[derive(Debug, Clone)]
pub struct SlidingCounter {
    redis: Redis,
    limit: Limit,
}

impl SlidingCounter {
    /// Limits every subject to `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for SlidingCounter {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let reply: Reply = SLIDING_COUNTER
            .call()
            .key(key(subject))
            .arg(self.limit.permits)
            .arg(self.limit.window_ms)
            .arg(SLICES)
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
