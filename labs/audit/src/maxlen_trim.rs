//! Flawed: keeps a number of entries, whoever has read them.
//!
//! `XTRIM MAXLEN` does not look at groups. It drops what a slow group has not read, and what a consumer still holds.

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{Policy, StreamGroups, over::Over, stream_groups::log_key};

/// How many entries are kept: few, so that a short history shows it.
const KEPT: u64 = 4;

/// `XTRIM MAXLEN`.
#[derive(Debug, Clone)]
pub struct MaxlenTrim(StreamGroups);

impl MaxlenTrim {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for MaxlenTrim {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn trim(&self, topic: &str) -> LabResult<u64> {
        let mut trim = redis::cmd("XTRIM");
        trim.arg(log_key(topic)).arg("MAXLEN").arg("=").arg(KEPT);
        Ok(trim.query_async(&mut self.0.redis.clone()).await?)
    }
}
