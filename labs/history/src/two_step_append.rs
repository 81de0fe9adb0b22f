//! Flawed: first the number, then the message. `HINCRBY`, and in a second step everything else.
//!
//! A client that dies in between leaves a number without a message, for good. And of two clients the one with the greater
//! number may store first: a reader who resumes there never learns of the smaller one.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    keys::RoomKeys,
    message::{Draft, Epoch, Seq},
};

use crate::{
    Announce, Appended, DEDUP_TTL_MS, History, STREAM_MAX, TOPIC, ZsetHash,
    stored::{check_body, json_of, new_epoch},
    twist::Twist,
};

/// ZSET and HASH, numbered too early.
pub(crate) struct TwoStepAppend {
    pub(crate) sound: ZsetHash,
    pub(crate) announce: Announce,
}

#[async_trait]
impl Twist for TwoStepAppend {
    fn sound(&self) -> &dyn History {
        &self.sound
    }

    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        check_body(&draft.body)?;
        let keys = RoomKeys::new(&draft.room);
        let sent = keys.sent(&draft.from, &draft.cid);
        let mut redis = self.sound.redis.clone();
        // A retry is found by what the first attempt left.
        let before: Option<String> = redis::cmd("GET").arg(&sent).query_async(&mut redis).await?;
        if let Some(found) = before.as_deref().and_then(read_sent) {
            return Ok(found);
        }
        let (seq, epoch): (Seq, String) = redis::pipe()
            .atomic()
            .cmd("HSETNX")
            .arg(keys.meta())
            .arg("epoch")
            .arg(new_epoch(draft))
            .ignore()
            .cmd("HINCRBY")
            .arg(keys.meta())
            .arg("seq")
            .arg(1)
            .cmd("HGET")
            .arg(keys.meta())
            .arg("epoch")
            .query_async(&mut redis)
            .await?;
        let ts = client_ms();
        let (id, envelope) = (draft.id.to_string(), format!("{epoch} {seq} {ts} {}", json_of(draft)?));
        let () = redis::pipe()
            .atomic()
            .cmd("ZADD")
            .arg(keys.log())
            .arg(seq)
            .arg(&id)
            .cmd("HSET")
            .arg(keys.msg())
            .arg(&id)
            .arg(&envelope)
            .cmd("SET")
            .arg(&sent)
            .arg(format!("{epoch} {seq} {id} {ts}"))
            .arg("PX")
            .arg(DEDUP_TTL_MS)
            .cmd("XADD")
            .arg(keys.events(TOPIC))
            .arg("MAXLEN")
            .arg("~")
            .arg(STREAM_MAX)
            .arg("*")
            .arg("envelope")
            .arg(&envelope)
            .cmd(if self.announce == Announce::Sharded { "SPUBLISH" } else { "PUBLISH" })
            .arg(keys.live())
            .arg(&envelope)
            .ignore()
            .query_async(&mut redis)
            .await?;
        Ok(Appended { epoch: Epoch(epoch), seq, id: draft.id, ts, duplicate: false })
    }
}

fn read_sent(text: &str) -> Option<Appended> {
    let mut words = text.split(' ');
    Some(Appended {
        epoch: Epoch(words.next()?.to_owned()),
        seq: words.next()?.parse().ok()?,
        id: words.next()?.parse().ok()?,
        ts: words.next()?.parse().ok()?,
        duplicate: true,
    })
}

/// The clock of this machine, which a flawed variant trusts.
pub(crate) fn client_ms() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
