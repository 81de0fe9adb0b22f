//! Flawed: `INCR`, and for the first take `PEXPIRE`, in two commands.
//!
//! A client that dies between the two leaves a counter without an expiry. It only ever grows, and some day the subject is
//! refused for ever. (Besides, the window is fixed.)

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, redis::Redis};

use crate::{Decision, Limit, RateLimiter, check_bounds};

/// `INCR`, then `PEXPIRE`.
#[derive(Debug, Clone)]
pub struct IncrExpire {
    redis: Redis,
    limit: Limit,
}

impl IncrExpire {
    /// Limits every subject to about `limit`, unless a client dies.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for IncrExpire {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let mut redis = self.redis.clone();
        let key = keys::lab(subject, "incr_expire", "count");
        let taken: u32 = redis::cmd("INCR").arg(&key).query_async(&mut redis).await?;
        if taken == 1 {
            let () =
                redis::cmd("PEXPIRE").arg(&key).arg(self.limit.window_ms).query_async(&mut redis).await?;
        }
        if taken <= self.limit.permits {
            return Ok(Decision { allowed: true, remaining: self.limit.permits - taken, retry_after_ms: 0 });
        }
        let left_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await?;
        Ok(Decision {
            allowed: false,
            remaining: 0,
            retry_after_ms: u64::try_from(left_ms).unwrap_or(0).max(1),
        })
    }
}
