//! Flawed: reads new entries only.
//!
//! What a dead consumer held stays in its pending list for ever: `>` never shows it to anybody.

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{
    Delivery, Policy, StreamGroups, bounded,
    over::Over,
    stream_groups::{Entry, log_key, parse_event, parse_id},
};

/// `XREADGROUP … >` and nothing else.
#[derive(Debug, Clone)]
pub struct NoClaim(StreamGroups);

impl NoClaim {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for NoClaim {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn take(&self, topic: &str, group: &str, consumer: &str, count: usize) -> LabResult<Vec<Delivery>> {
        let key = log_key(topic);
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(consumer).arg("COUNT").arg(bounded(count));
        read.arg("STREAMS").arg(&key).arg(">");
        let streams: Option<Vec<(String, Vec<Entry>)>> = read.query_async(&mut self.0.redis.clone()).await?;
        let entries = streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries);
        let deliveries = entries.map(|(id, fields)| {
            Ok(Delivery { id: parse_id(&key, &id)?, event: parse_event(&key, &fields)?, deliveries: 1 })
        });
        deliveries.collect()
    }
}
