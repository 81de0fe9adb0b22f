//! Flawed: takes the length of the stream for the lag.
//!
//! XACK removes nothing from a stream: its length is what has not been trimmed yet, not what a group has not worked.

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{AuditLog as _, Lag, Policy, StreamGroups, over::Over, stream_groups::log_key};

/// `XLEN`.
#[derive(Debug, Clone)]
pub struct LagByLength(StreamGroups);

impl LagByLength {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for LagByLength {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag> {
        let mut redis = self.0.redis.clone();
        let length: u64 = redis::cmd("XLEN").arg(log_key(topic)).query_async(&mut redis).await?;
        let pending = self.inner().lag(topic, group).await?.pending;
        Ok(Lag { undelivered: length.saturating_sub(pending), pending })
    }
}
