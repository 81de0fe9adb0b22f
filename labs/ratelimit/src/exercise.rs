//! Exercise: your own rate limiter. Written by you, checked by `chatlab check ratelimit`.
//!
//! One operation, and still many ways to get it wrong. After each step run the check: it says which invariant breaks, shows the
//! shortest history that breaks it, and the commands that your code sent.
//!
//! Things to decide:
//!
//! - What do you keep of a subject: a count, the time of every take, one due time? What deletes it when the subject stays away?
//! - Where does the window begin? The limit holds for *any* window, also for one that begins in the middle of yours.
//! - Who decides? Between your `GET` and your `SET` another client takes the same permit. A Lua script reads, decides and
//!   writes while nobody else does anything.
//! - Whose clock? In a script, `redis.call('TIME')`: seconds and microseconds, the same for all servers.
//! - What does a *refused* take leave behind? It must not count.
//!
//! A script in three lines, without the registry that the other variants use:
//!
//! ```ignore
//! let (allowed, remaining, retry_after_ms): (bool, u32, u64) = redis::Script::new("local key = KEYS[1] return {1, 0, 0}")
//!     .key(key).arg(self.limit.permits).arg(self.limit.window_ms)
//!     .invoke_async(&mut self.redis.clone()).await?;
//! ```
//!
//! Lua rounds large numbers when it makes text of them: write a time as `string.format('%.0f', now_us)`.

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, keys, redis::Redis};

use crate::{Decision, Limit, RateLimiter};

/// Your variant.
#[derive(Debug, Clone)]
pub struct Exercise {
    redis: Redis,
    limit: Limit,
}

impl Exercise {
    /// Limits every subject to `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

/// Where a subject's takes are counted.
fn key(subject: &str) -> String {
    keys::lab(subject, "exercise", "takes")
}

#[async_trait]
impl RateLimiter for Exercise {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        // 1. What was taken of `key(subject)` within the last `self.limit.window_ms`?
        // 2. Is one of `self.limit.permits` left? Then write down that it is taken; with an expiry, in the same step.
        // 3. If not: in how many milliseconds will one be allowed?
        let _ = (&self.redis, self.limit, key(subject));
        Err(LabError::Unfinished("take"))
    }
}
