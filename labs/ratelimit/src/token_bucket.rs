//! Alternative: a bucket of tokens a subject, as a HASH of what is in it and since when.
//!
//! The same arithmetic as the reference, told the other way round: not what is owed but what is left. It needs two numbers
//! where one due time is enough. The bucket holds [`Limit::burst`] and fills at the reference's pace, for the same reason.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision, gcra::spacing_us};

pub(crate) static TOKEN_BUCKET: Script = Script::new(
    "ratelimit/token_bucket",
    include_str!("../../../lua/ratelimit/token_bucket.lua"),
    &["bucket"],
    &["spacing_us", "burst"],
);

/// Where a subject's bucket is.
pub(crate) fn key(subject: &str) -> String {
    keys::lab(subject, "token_bucket", "bucket")
}

/// What is left, and since when.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    redis: Redis,
    limit: Limit,
}

impl TokenBucket {
    /// Limits every subject to `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

#[async_trait]
impl RateLimiter for TokenBucket {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let reply: Reply = TOKEN_BUCKET
            .call()
            .key(key(subject))
            .arg(spacing_us(&self.limit))
            .arg(self.limit.burst())
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
