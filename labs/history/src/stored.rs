//! What the variants share: the arguments of an append, and reading what scripts answer.

use chatlab_kit::{
    LabError, LabResult,
    ids::{MessageId, UserId},
    lua::Call,
    message::{Change, Draft, Envelope, Epoch, MAX_BODY_BYTES, MAX_PAGE, Message, Position, Seq},
};

use crate::{Altered, Announce, Appended, DEDUP_TTL_MS, Policy, STREAM_MAX, Since, Unaltered};

/// What is stored under `key` is not what these variants write.
pub(crate) fn corrupt(key: String, why: &dyn std::fmt::Display) -> LabError {
    LabError::Corrupt { key, why: why.to_string() }
}

/// Refuses a body that is too long.
pub(crate) fn check_body(body: &str) -> LabResult<()> {
    if body.len() > MAX_BODY_BYTES {
        return Err(LabError::Bound { what: "the message body", bound: MAX_BODY_BYTES as u64 });
    }
    Ok(())
}

/// Refuses a page that is too long.
pub(crate) fn check_limit(limit: usize) -> LabResult<()> {
    if limit > MAX_PAGE {
        return Err(LabError::Bound { what: "the page", bound: MAX_PAGE as u64 });
    }
    Ok(())
}

/// A draft as the scripts take it.
pub(crate) fn json_of(draft: &Draft) -> LabResult<String> {
    serde_json::to_string(draft).map_err(|e| LabError::Other(e.to_string()))
}

/// An epoch for a room that has none.
pub(crate) fn new_epoch(draft: &Draft) -> String {
    draft.id.0.as_simple().to_string()
}

/// An epoch that never was before.
pub(crate) fn fresh_epoch() -> String {
    MessageId::new().0.as_simple().to_string()
}

/// The arguments of every append script.
pub(crate) fn append_args(call: Call, draft: &Draft, policy: Policy) -> LabResult<Call> {
    check_body(&draft.body)?;
    Ok(call
        .arg(new_epoch(draft))
        .arg(draft.id.to_string())
        .arg(json_of(draft)?)
        .arg(DEDUP_TTL_MS)
        .arg(policy.hot_messages)
        .arg(STREAM_MAX)
        .arg(match policy.announce {
            Announce::Sharded => "SPUBLISH",
            Announce::Classic => "PUBLISH",
        }))
}

/// What an append script answers.
pub(crate) type AppendReply = (String, Seq, String, u64, bool);

/// Reads the answer of an append script; `key` is only named where it is wrong.
pub(crate) fn appended(key: impl FnOnce() -> String, reply: AppendReply) -> LabResult<Appended> {
    let (epoch, seq, id, ts, duplicate) = reply;
    let id: MessageId = id.parse().map_err(|e| corrupt(key(), &e))?;
    Ok(Appended { epoch: Epoch(epoch), seq, id, ts, duplicate })
}

/// Reads the answer of an alter script.
pub(crate) fn altered(key: &dyn Fn() -> String, reply: redis::Value) -> LabResult<Altered> {
    if let Ok((_, epoch, seq, id, ts, duplicate)) =
        redis::from_redis_value_ref::<(String, String, Seq, String, u64, bool)>(&reply)
    {
        return appended(key, (epoch, seq, id, ts, duplicate)).map(Altered::Stored);
    }
    let (why,): (String,) = redis::from_redis_value(reply).map_err(|e| corrupt(key(), &e))?;
    Ok(Altered::Refused(match why.as_str() {
        "absent" => Unaltered::Absent,
        "gone" => Unaltered::Gone,
        "foreign" => Unaltered::Foreign,
        "no_text" => Unaltered::NoText,
        "too_often" => Unaltered::TooOften,
        "same" => Unaltered::Same,
        "none" => Unaltered::None,
        "full" => Unaltered::Full,
        "unlisted" => Unaltered::Unlisted,
        other => return Err(corrupt(key(), &format!("`{other}` is no answer to a change"))),
    }))
}

/// A position from its parts; an empty id is none.
pub(crate) fn position(key: &str, epoch: String, seq: Seq, id: &str) -> LabResult<Position> {
    let id = match id {
        "" => None,
        text => Some(text.parse().map_err(|e| corrupt(key.to_owned(), &e))?),
    };
    Ok(Position { epoch: Epoch(epoch), seq, id })
}

/// One stored envelope.
pub(crate) fn message(key: &str, bytes: &[u8]) -> LabResult<Message> {
    Envelope::parse(bytes).and_then(|e| e.message()).map_err(|e| corrupt(key.to_owned(), &e))
}

/// Stored envelopes, in their order.
pub(crate) fn messages(key: &str, envelopes: &[Option<Vec<u8>>]) -> LabResult<Vec<Message>> {
    let missing = || corrupt(key.to_owned(), &"an id without a message");
    envelopes.iter().map(|bytes| message(key, bytes.as_deref().ok_or_else(missing)?)).collect()
}

/// The arguments of every since script.
pub(crate) fn since_args(call: Call, after: &Position) -> Call {
    let id = after.id.map(|id| id.to_string()).unwrap_or_default();
    call.arg(&after.epoch.0).arg(after.seq).arg(id).arg(crate::SINCE_MAX)
}

/// Reads the answer of a since script.
pub(crate) fn since(key: &str, reply: redis::Value) -> LabResult<Since> {
    if let Ok((verdict, epoch, seq, id)) =
        redis::from_redis_value_ref::<(String, String, Seq, String)>(&reply)
        && verdict == "resync"
    {
        return Ok(Since::Resync { head: position(key, epoch, seq, &id)? });
    }
    let (_, more, envelopes): (String, bool, Vec<Option<Vec<u8>>>) =
        redis::from_redis_value(reply).map_err(|e| corrupt(key.to_owned(), &e))?;
    Ok(Since::Continued { messages: messages(key, &envelopes)?, more })
}

/// The arguments of every change script.
pub(crate) fn change_args(
    call: Call,
    id: &MessageId,
    what: Change,
    by: Option<&UserId>,
    body: &str,
) -> LabResult<Call> {
    check_body(body)?;
    let by = by.map(ToString::to_string).unwrap_or_default();
    Ok(call.arg(id.to_string()).arg(what.as_str()).arg(by).arg(body))
}
