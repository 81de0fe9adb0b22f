//! Flawed: works first and acknowledges then, in two commands, and the work is not idempotent.
//!
//! At least once: a consumer that dies between the two leaves the entry pending. Whoever takes it over counts it again.

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{
    Delivery, Policy, StreamGroups,
    over::Over,
    stream_groups::{log_key, totals_key},
};

/// The work, then `XACK`.
#[derive(Debug, Clone)]
pub struct WorkTwice(StreamGroups);

impl WorkTwice {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for WorkTwice {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        let mut redis = self.0.redis.clone();
        let mut count = redis::cmd("HINCRBY");
        count.arg(totals_key(topic, group)).arg(&delivery.event.actor).arg(1);
        let () = count.query_async(&mut redis).await?;
        let mut ack = redis::cmd("XACK");
        ack.arg(log_key(topic)).arg(group).arg(delivery.id.to_string());
        Ok(ack.query_async(&mut redis).await?)
    }
}
