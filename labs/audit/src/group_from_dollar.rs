//! Flawed: a group that begins at `$`.
//!
//! `$` is the end of the stream at the moment of the XGROUP CREATE: whatever was appended before it, this group never sees.

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{Policy, StreamGroups, over::Over, stream_groups::log_key};

/// `XGROUP CREATE … $`.
#[derive(Debug, Clone)]
pub struct GroupFromDollar(StreamGroups);

impl GroupFromDollar {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for GroupFromDollar {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn join(&self, topic: &str, group: &str) -> LabResult<()> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(log_key(topic)).arg(group).arg("$").arg("MKSTREAM");
        match create.query_async::<()>(&mut self.0.redis.clone()).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => Ok(other?),
        }
    }
}
