//! Flawed: acknowledges first and works then, in two commands.
//!
//! At most once: a consumer that dies between the two has told Redis that the work is done, and nobody will ever do it.

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{
    Delivery, Policy, StreamGroups,
    over::Over,
    stream_groups::{log_key, totals_key},
};

/// `XACK`, then the work.
#[derive(Debug, Clone)]
pub struct AckFirst(StreamGroups);

impl AckFirst {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for AckFirst {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        let mut redis = self.0.redis.clone();
        let mut ack = redis::cmd("XACK");
        ack.arg(log_key(topic)).arg(group).arg(delivery.id.to_string());
        if !ack.query_async::<bool>(&mut redis).await? {
            return Ok(false);
        }
        let mut count = redis::cmd("HINCRBY");
        count.arg(totals_key(topic, group)).arg(&delivery.event.actor).arg(1);
        let () = count.query_async(&mut redis).await?;
        Ok(true)
    }
}
