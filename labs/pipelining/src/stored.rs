//! What the variants have in common: names of keys, bounds, reading.

use chatlab_kit::{
    LabError, LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    keys::RoomKeys,
    redis::Redis,
};
use redis::streams::StreamRangeReply;

use crate::{Draft, MAX_BATCH, MAX_BODY_BYTES, MAX_READ, Sent};

/// A script's answer: the number, and whether it is a retry's.
pub(crate) type Reply = (u64, bool);

pub(crate) const fn sent((seq, duplicate): Reply) -> Sent {
    Sent { seq, duplicate }
}

/// The keys of one room, all in one slot.
pub(crate) struct Keys {
    room: RoomKeys,
    variant: &'static str,
}

impl Keys {
    pub(crate) fn of(variant: &'static str, room: &RoomId) -> Self {
        Self { room: RoomKeys::new(room), variant }
    }

    /// The last number.
    pub(crate) fn seq(&self) -> String {
        self.room.lab(self.variant, "seq")
    }

    /// The messages.
    pub(crate) fn log(&self) -> String {
        self.room.lab(self.variant, "log")
    }

    /// What the notifier has to do.
    pub(crate) fn unread(&self) -> String {
        self.room.lab(self.variant, "unread")
    }

    /// The number that a client's id got.
    pub(crate) fn sent(&self, from: &UserId, cid: &ClientMsgId) -> String {
        self.room.lab(self.variant, &format!("sent:{from}:{cid}"))
    }
}

/// Refuses a body out of bounds.
pub(crate) fn check_body(body: &str) -> LabResult<()> {
    if body.len() > MAX_BODY_BYTES {
        return Err(LabError::Bound { what: "the bytes of a message", bound: MAX_BODY_BYTES as u64 });
    }
    Ok(())
}

/// Refuses a batch out of bounds.
pub(crate) fn check_batch(drafts: &[Draft]) -> LabResult<()> {
    if drafts.len() > MAX_BATCH {
        return Err(LabError::Bound { what: "the messages of a batch", bound: MAX_BATCH as u64 });
    }
    check_rooms_and_bodies(drafts)
}

/// Refuses more than one room and large bodies.
pub(crate) fn check_rooms_and_bodies(drafts: &[Draft]) -> LabResult<()> {
    if drafts.windows(2).any(|pair| pair[0].room != pair[1].room) {
        return Err(LabError::Bound { what: "the rooms of a batch", bound: 1 });
    }
    drafts.iter().try_for_each(|draft| check_body(&draft.body))
}

/// Messages of a stream whose entry `N-0` is message N. O(log n) to find the first, O(1) for each.
pub(crate) async fn read_stream(
    redis: &Redis,
    key: String,
    after: u64,
    limit: usize,
) -> LabResult<Vec<(u64, String)>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut range = redis::cmd("XRANGE");
    range.arg(&key).arg(format!("({after}-0")).arg("+").arg("COUNT").arg(limit.min(MAX_READ));
    let found: StreamRangeReply = range.query_async(&mut redis.clone()).await?;
    let messages = found.ids.iter().map(|entry| {
        let seq = entry.id.strip_suffix("-0").and_then(|seq| seq.parse().ok());
        let (Some(seq), Some(body)) = (seq, entry.get("body")) else {
            return Err(LabError::Corrupt { key: key.clone(), why: format!("entry {}", entry.id) });
        };
        Ok((seq, body))
    });
    messages.collect()
}

/// A counter; 0 where there is none.
pub(crate) async fn counter(redis: &Redis, key: &str) -> LabResult<u64> {
    let count: Option<u64> = redis::cmd("GET").arg(key).query_async(&mut redis.clone()).await?;
    Ok(count.unwrap_or(0))
}
