//! Alternative: a ZSET as a numbered log, a cursor a group, and what is held by number and by time.
//!
//! What the stream's groups do is written out here: the pending list is two ZSETs and a HASH. Erased events cost nothing in
//! `lag`: ZCOUNT counts those that are there in O(log n). Memory is the price.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{
    AuditLog, DEAD_MAX, DeadLetter, Delivery, Event, EventId, LOG_MAX, Lag, Policy, bounded, check_event,
    check_names, corrupt, full,
};

pub(crate) static APPEND: Script = Script::new(
    "audit/zset_append",
    include_str!("../../../lua/audit/zset_append.lua"),
    &["meta", "log"],
    &["max", "event"],
);
pub(crate) static TAKE: Script = Script::new(
    "audit/zset_take",
    include_str!("../../../lua/audit/zset_take.lua"),
    &["meta", "log", "due", "held", "tries", "dead"],
    &["group", "count", "idle_ms", "max_deliveries", "dead_max"],
);
pub(crate) static WORK: Script = Script::new(
    "audit/zset_work",
    include_str!("../../../lua/audit/zset_work.lua"),
    &["meta", "due", "held", "tries", "totals"],
    &["group", "n", "actor"],
);
pub(crate) static LAG: Script = Script::new(
    "audit/zset_lag",
    include_str!("../../../lua/audit/zset_lag.lua"),
    &["meta", "log", "held"],
    &["group"],
);
pub(crate) static TRIM: Script =
    Script::new("audit/zset_trim", include_str!("../../../lua/audit/zset_trim.lua"), &["meta", "log"], &[]);

/// A key of a topic.
pub(crate) fn key(topic: &str, name: &str) -> String {
    keys::lab(topic, "zset_cursor", name)
}

/// A key of a group.
pub(crate) fn group_key(topic: &str, name: &str, group: &str) -> String {
    key(topic, &format!("{name}:{group}"))
}

/// Cursors over a sorted set.
#[derive(Debug, Clone)]
pub struct ZsetCursor {
    redis: Redis,
    policy: Policy,
}

impl ZsetCursor {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }
}

/// Reads `NUMBER EVENT`.
fn parse(key: &str, entry: &str) -> LabResult<(EventId, Event)> {
    let parsed = entry
        .split_once(' ')
        .and_then(|(n, event)| Some((EventId(n.parse().ok()?, 0), serde_json::from_str(event).ok()?)));
    parsed.ok_or_else(|| corrupt(key, format!("`{entry}` is no event")))
}

#[async_trait]
impl AuditLog for ZsetCursor {
    async fn append(&self, topic: &str, event: &Event) -> LabResult<EventId> {
        check_event(topic, event)?;
        let log = key(topic, "log");
        let text = serde_json::to_string(event).map_err(|error| corrupt(&log, error.to_string()))?;
        let call = APPEND.call().key(key(topic, "meta")).key(log).arg(LOG_MAX).arg(text);
        let n: u64 = call.run(&mut self.redis.clone()).await?;
        if n == 0 { Err(full()) } else { Ok(EventId(n, 0)) }
    }

    async fn join(&self, topic: &str, group: &str) -> LabResult<()> {
        check_names(&[topic, group])?;
        let mut pipe = redis::pipe();
        pipe.atomic();
        for field in ["c", "f"] {
            pipe.cmd("HSETNX").arg(key(topic, "meta")).arg(format!("{field}:{group}")).arg(0).ignore();
        }
        Ok(pipe.query_async(&mut self.redis.clone()).await?)
    }

    async fn take(&self, topic: &str, group: &str, consumer: &str, count: usize) -> LabResult<Vec<Delivery>> {
        check_names(&[topic, group, consumer])?;
        let log = key(topic, "log");
        let mut call = TAKE.call().key(key(topic, "meta")).key(&log);
        for name in ["due", "held", "tries", "dead"] {
            call = call.key(group_key(topic, name, group));
        }
        let call = call.arg(group).arg(bounded(count)).arg(self.policy.idle_ms);
        let call = call.arg(self.policy.max_deliveries).arg(DEAD_MAX);
        let flat: Vec<String> = call.run(&mut self.redis.clone()).await?;
        let deliveries = flat.chunks_exact(2).map(|row| {
            let (id, event) = parse(&log, &row[1])?;
            let deliveries = row[0].parse().map_err(|_| corrupt(&log, "deliveries is no number"))?;
            Ok(Delivery { id, event, deliveries })
        });
        deliveries.collect()
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        let mut call = WORK.call().key(key(topic, "meta"));
        for name in ["due", "held", "tries", "totals"] {
            call = call.key(group_key(topic, name, group));
        }
        let call = call.arg(group).arg(delivery.id.0).arg(&delivery.event.actor);
        call.run(&mut self.redis.clone()).await
    }

    async fn totals(&self, topic: &str, group: &str) -> LabResult<BTreeMap<String, u64>> {
        let mut all = redis::cmd("HGETALL");
        all.arg(group_key(topic, "totals", group));
        Ok(all.query_async(&mut self.redis.clone()).await?)
    }

    async fn dead(&self, topic: &str, group: &str) -> LabResult<Vec<DeadLetter>> {
        let dead = group_key(topic, "dead", group);
        let mut range = redis::cmd("LRANGE");
        range.arg(&dead).arg(0).arg(DEAD_MAX - 1);
        let entries: Vec<String> = range.query_async(&mut self.redis.clone()).await?;
        let letters = entries.iter().map(|entry| {
            let (deliveries, event) = entry.split_once(' ').unwrap_or_default();
            let (id, event) = parse(&dead, event)?;
            let deliveries = deliveries.parse().map_err(|_| corrupt(&dead, "deliveries is no number"))?;
            Ok(DeadLetter { id, event, deliveries })
        });
        letters.collect()
    }

    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag> {
        let call = LAG.call().key(key(topic, "meta")).key(key(topic, "log"));
        let call = call.key(group_key(topic, "held", group)).arg(group);
        let (undelivered, pending) = call.run(&mut self.redis.clone()).await?;
        Ok(Lag { undelivered, pending })
    }

    async fn replay(&self, topic: &str, after: EventId, count: usize) -> LabResult<Vec<(EventId, Event)>> {
        let log = key(topic, "log");
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(&log).arg(format!("({}", after.0)).arg("+inf").arg("LIMIT").arg(0).arg(bounded(count));
        let entries: Vec<String> = range.query_async(&mut self.redis.clone()).await?;
        entries.iter().map(|entry| parse(&log, entry)).collect()
    }

    async fn erase(&self, topic: &str, id: EventId) -> LabResult<bool> {
        let mut remove = redis::cmd("ZREMRANGEBYSCORE");
        remove.arg(key(topic, "log")).arg(id.0).arg(id.0);
        Ok(remove.query_async(&mut self.redis.clone()).await?)
    }

    async fn trim(&self, topic: &str) -> LabResult<u64> {
        TRIM.call().key(key(topic, "meta")).key(key(topic, "log")).run(&mut self.redis.clone()).await
    }
}
