//! Reference: a STREAM a topic, a consumer group a group, work and XACK in one script.
//!
//! XACK answers 1 once for each delivery. That makes it the lock as well: the script that gets the 1 does the work, and
//! nothing can die between the two. It needs the work's keys in the slot of the stream; where they are not, see `dedup_marks`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{
    AuditLog, DEAD_MAX, DeadLetter, Delivery, Event, EventId, LOG_MAX, Lag, Policy, bounded, check_event,
    check_names, corrupt, full,
};

pub(crate) static APPEND: Script = Script::new(
    "audit/append",
    include_str!("../../../lua/audit/append.lua"),
    &["log"],
    &["max", "actor", "action", "text"],
);
pub(crate) static TAKE: Script = Script::new(
    "audit/take",
    include_str!("../../../lua/audit/take.lua"),
    &["log", "dead"],
    &["group", "consumer", "count", "idle_ms", "max_deliveries", "dead_max"],
);
pub(crate) static WORK: Script = Script::new(
    "audit/work",
    include_str!("../../../lua/audit/work.lua"),
    &["log", "totals"],
    &["group", "id", "actor"],
);
pub(crate) static LAG: Script =
    Script::new("audit/lag", include_str!("../../../lua/audit/lag.lua"), &["log"], &["group"]);
pub(crate) static TRIM: Script =
    Script::new("audit/trim", include_str!("../../../lua/audit/trim.lua"), &["log"], &[]);

/// Where a topic's events are.
pub(crate) fn log_key(topic: &str) -> String {
    keys::lab(topic, "stream_groups", "log")
}

/// Where a group keeps what it gave up.
pub(crate) fn dead_key(topic: &str, group: &str) -> String {
    keys::lab(topic, "stream_groups", &format!("dead:{group}"))
}

/// Where a group keeps what its work has come to.
pub(crate) fn totals_key(topic: &str, group: &str) -> String {
    keys::lab(topic, "stream_groups", &format!("totals:{group}"))
}

/// An entry as XRANGE answers it.
pub(crate) type Entry = (String, Vec<String>);

/// Streams and their groups.
#[derive(Debug, Clone)]
pub struct StreamGroups {
    pub(crate) redis: Redis,
    pub(crate) policy: Policy,
}

impl StreamGroups {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }
}

/// Reads `ms-seq`.
pub(crate) fn parse_id(key: &str, text: &str) -> LabResult<EventId> {
    let parsed =
        text.split_once('-').and_then(|(ms, seq)| Some(EventId(ms.parse().ok()?, seq.parse().ok()?)));
    parsed.ok_or_else(|| corrupt(key, format!("`{text}` is no id of an entry")))
}

/// Reads the fields of an entry: names and values by turns.
pub(crate) fn parse_event(key: &str, fields: &[String]) -> LabResult<Event> {
    let of = |name: &str| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    match (of("actor"), of("action"), of("text")) {
        (Some(actor), Some(action), Some(text)) => Ok(Event { actor, action, text }),
        _ => Err(corrupt(key, "an entry lacks `actor`, `action` or `text`")),
    }
}

#[async_trait]
impl AuditLog for StreamGroups {
    async fn append(&self, topic: &str, event: &Event) -> LabResult<EventId> {
        check_event(topic, event)?;
        let key = log_key(topic);
        let call = APPEND.call().key(&key).arg(LOG_MAX).arg(&event.actor).arg(&event.action).arg(&event.text);
        let id: String = call.run(&mut self.redis.clone()).await?;
        if id.is_empty() { Err(full()) } else { parse_id(&key, &id) }
    }

    async fn join(&self, topic: &str, group: &str) -> LabResult<()> {
        check_names(&[topic, group])?;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(log_key(topic)).arg(group).arg("0").arg("MKSTREAM");
        match create.query_async::<()>(&mut self.redis.clone()).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => Ok(other?),
        }
    }

    async fn take(&self, topic: &str, group: &str, consumer: &str, count: usize) -> LabResult<Vec<Delivery>> {
        check_names(&[topic, group, consumer])?;
        let key = log_key(topic);
        let call = TAKE.call().key(&key).key(dead_key(topic, group)).arg(group).arg(consumer);
        let call = call.arg(bounded(count)).arg(self.policy.idle_ms).arg(self.policy.max_deliveries);
        let flat: Vec<String> = call.arg(DEAD_MAX).run(&mut self.redis.clone()).await?;
        let deliveries = flat.chunks_exact(5).map(|row| {
            Ok(Delivery {
                id: parse_id(&key, &row[0])?,
                deliveries: row[1].parse().map_err(|_| corrupt(&key, "deliveries is no number"))?,
                event: Event { actor: row[2].clone(), action: row[3].clone(), text: row[4].clone() },
            })
        });
        deliveries.collect()
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        let call = WORK.call().key(log_key(topic)).key(totals_key(topic, group));
        let call = call.arg(group).arg(delivery.id.to_string()).arg(&delivery.event.actor);
        call.run(&mut self.redis.clone()).await
    }

    async fn totals(&self, topic: &str, group: &str) -> LabResult<BTreeMap<String, u64>> {
        Ok(redis::cmd("HGETALL").arg(totals_key(topic, group)).query_async(&mut self.redis.clone()).await?)
    }

    async fn dead(&self, topic: &str, group: &str) -> LabResult<Vec<DeadLetter>> {
        let key = dead_key(topic, group);
        let mut range = redis::cmd("XRANGE");
        range.arg(&key).arg("-").arg("+").arg("COUNT").arg(DEAD_MAX);
        let entries: Vec<Entry> = range.query_async(&mut self.redis.clone()).await?;
        let letters = entries.iter().map(|(_, fields)| {
            let [_, id, _, deliveries, event @ ..] = fields.as_slice() else {
                return Err(corrupt(&key, "a dead letter without an id"));
            };
            Ok(DeadLetter {
                id: parse_id(&key, id)?,
                event: parse_event(&key, event)?,
                deliveries: deliveries.parse().map_err(|_| corrupt(&key, "deliveries is no number"))?,
            })
        });
        letters.collect()
    }

    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag> {
        let call = LAG.call().key(log_key(topic)).arg(group);
        let (undelivered, pending) = call.run(&mut self.redis.clone()).await?;
        Ok(Lag { undelivered, pending })
    }

    async fn replay(&self, topic: &str, after: EventId, count: usize) -> LabResult<Vec<(EventId, Event)>> {
        let key = log_key(topic);
        let mut range = redis::cmd("XRANGE");
        range.arg(&key).arg(format!("({after}")).arg("+").arg("COUNT").arg(bounded(count));
        let entries: Vec<Entry> = range.query_async(&mut self.redis.clone()).await?;
        entries.iter().map(|(id, fields)| Ok((parse_id(&key, id)?, parse_event(&key, fields)?))).collect()
    }

    async fn erase(&self, topic: &str, id: EventId) -> LabResult<bool> {
        let mut del = redis::cmd("XDEL");
        del.arg(log_key(topic)).arg(id.to_string());
        Ok(del.query_async(&mut self.redis.clone()).await?)
    }

    async fn trim(&self, topic: &str) -> LabResult<u64> {
        TRIM.call().key(log_key(topic)).run(&mut self.redis.clone()).await
    }
}
