//! Alternative: the reference's streams, work and acknowledgement apart, with a ZSET of marks.
//!
//! Where the work lies in another slot or another store than the stream, no script can do both. Then the mark goes with the
//! work: whoever comes second finds it. XACK follows; if the consumer dies before it, another one finds the mark and only
//! acknowledges. The marks are bounded, so an event must not be redelivered after [`MARKS_MAX`] later ones.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{
    Delivery, Policy, StreamGroups,
    over::Over,
    stream_groups::{log_key, totals_key},
};

/// The most marks of a group.
pub const MARKS_MAX: usize = 10_000;

pub(crate) static MARKED_WORK: Script = Script::new(
    "audit/marked_work",
    include_str!("../../../lua/audit/marked_work.lua"),
    &["marks", "totals"],
    &["id", "actor", "marks_max"],
);

/// Where a group remembers whose work is done.
pub(crate) fn marks_key(topic: &str, group: &str) -> String {
    keys::lab(topic, "dedup_marks", &format!("marks:{group}"))
}

/// Mark and work together, then `XACK`.
#[derive(Debug, Clone)]
pub struct DedupMarks(StreamGroups);

impl DedupMarks {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for DedupMarks {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        let mut redis = self.0.redis.clone();
        let id = delivery.id.to_string();
        let call = MARKED_WORK.call().key(marks_key(topic, group)).key(totals_key(topic, group));
        let done: bool = call.arg(&id).arg(&delivery.event.actor).arg(MARKS_MAX).run(&mut redis).await?;
        let () = redis::cmd("XACK").arg(log_key(topic)).arg(group).arg(id).query_async(&mut redis).await?;
        Ok(done)
    }
}
