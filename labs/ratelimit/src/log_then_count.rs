//! Flawed: a log that remembers first and counts afterwards, in one `MULTI`.
//!
//! A transaction cannot decide anything in between, so the take is in the log before it is known whether it is allowed. A
//! refused take stays there and counts: a client that keeps asking is refused for as long as it asks.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, redis::Redis};

use crate::{Decision, Limit, RateLimiter, check_bounds, clock::client_us};

/// `ZREMRANGEBYSCORE`, `ZADD`, `ZCARD` in one transaction.
#[derive(Debug, Clone)]
pub struct LogThenCount {
    redis: Redis,
    limit: Limit,
}

impl LogThenCount {
    /// Limits every subject to `limit` or less.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for LogThenCount {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let key = keys::lab(subject, "log_then_count", "takes");
        let (now_us, window_us) = (client_us(), self.limit.window_ms * 1000);
        let member = format!("{now_us}-{:08x}", rand::random::<u32>());
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(now_us.saturating_sub(window_us)).ignore();
        pipe.cmd("ZADD").arg(&key).arg(now_us).arg(member).ignore();
        pipe.cmd("ZCARD").arg(&key);
        pipe.cmd("ZRANGE").arg(&key).arg(0).arg(0).arg("WITHSCORES");
        pipe.cmd("PEXPIRE").arg(&key).arg(self.limit.window_ms).ignore();
        let (taken, oldest): (u32, Vec<(String, u64)>) = pipe.query_async(&mut self.redis.clone()).await?;
        if taken <= self.limit.permits {
            return Ok(Decision { allowed: true, remaining: self.limit.permits - taken, retry_after_ms: 0 });
        }
        let oldest_us = oldest.first().map_or(now_us, |(_, at_us)| *at_us);
        let retry_after_ms = (oldest_us + window_us).saturating_sub(now_us).div_ceil(1000).max(1);
        Ok(Decision { allowed: false, remaining: 0, retry_after_ms })
    }
}
