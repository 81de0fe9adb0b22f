//! Flawed: the reference's arithmetic in the client, between a `GET` and a `SET`.
//!
//! Two clients that read the same due time both find the last permit and both take it; the second `SET` forgets the first.
//! (Besides, they decide by their own clocks, and each take is two round trips.)

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, keys, redis::Redis};

use crate::{Decision, Limit, RateLimiter, check_bounds, clock::client_us, gcra::spacing_us};

/// `GET`, decide, `SET`.
#[derive(Debug, Clone)]
pub struct ReadThenWrite {
    redis: Redis,
    limit: Limit,
}

impl ReadThenWrite {
    /// Limits every subject to `limit`, unless two clients meet.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for ReadThenWrite {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let mut redis = self.redis.clone();
        let key = keys::lab(subject, "read_then_write", "due");
        let stored: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
        let now_us = client_us();
        let due_us = match stored {
            None => now_us,
            Some(text) => text
                .parse::<u64>()
                .map_err(|e| LabError::Corrupt { key: key.clone(), why: e.to_string() })?
                .max(now_us),
        };
        let spacing_us = spacing_us(&self.limit);
        let credit_us = u64::from(self.limit.burst()) * spacing_us;
        let free_us = credit_us.saturating_sub(due_us - now_us);
        if free_us < spacing_us {
            let retry_after_ms = (spacing_us - free_us).div_ceil(1000);
            return Ok(Decision { allowed: false, remaining: 0, retry_after_ms });
        }
        let due_us = due_us + spacing_us;
        let lives_ms = (due_us - now_us).div_ceil(1000) + 1;
        let () =
            redis::cmd("SET").arg(&key).arg(due_us).arg("PX").arg(lives_ms).query_async(&mut redis).await?;
        let remaining = u32::try_from((free_us - spacing_us) / spacing_us).unwrap_or(u32::MAX);
        Ok(Decision { allowed: true, remaining, retry_after_ms: 0 })
    }
}
