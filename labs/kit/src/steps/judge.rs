//! Whether a predicate holds, in a sentence either way.

use ::redis::{FromRedisValue, Value, cmd};

use crate::budget::is_redirect;
use crate::lab::Expect;
use crate::redis::{Redis, Trace, TraceEntry};
use crate::{LabError, LabResult};

mod of_trace;

use of_trace::of_trace;

/// What the judge looks at: the server past the proxy, and the trace as it was.
pub(super) struct Facts {
    redis: Redis,
    entries: Vec<TraceEntry>,
    waiting: Vec<Vec<String>>,
}

/// The sentence that says what is so (`Ok`), or what is missing (`Err`).
pub(super) type Sentence = Result<String, String>;

impl Facts {
    pub(super) fn of(redis: &Redis, trace: &Trace) -> Self {
        let waiting = trace.waiting().into_iter().map(|(_, command)| command).collect();
        Self { redis: redis.clone(), entries: trace.entries(), waiting }
    }

    /// Whether a message is expected that has not come.
    pub(super) fn lacks_messages(&self, expects: &[Expect]) -> bool {
        expects
            .iter()
            .any(|expect| matches!(expect, Expect::Received { .. }) && of_trace(expect, self).is_err())
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> LabResult<T> {
        let mut command = cmd(words.first().copied().unwrap_or_default());
        for word in words.iter().skip(1) {
            command.arg(*word);
        }
        Ok(command.query_async(&mut self.redis.clone()).await?)
    }

    async fn kind(&self, key: &str) -> LabResult<String> {
        self.ask(&["TYPE", key]).await
    }

    /// The commands of the step, answered or not; not what came unasked.
    fn commands(&self) -> impl Iterator<Item = &TraceEntry> {
        self.entries.iter().filter(|entry| !entry.push)
    }

    /// The commands and those that wait for a reply, without those that a cluster only sent elsewhere.
    fn sent(&self) -> impl Iterator<Item = &[String]> {
        let answered = self.commands().filter(|entry| !is_redirect(entry)).map(|e| e.command.as_slice());
        answered.chain(self.waiting.iter().map(Vec::as_slice))
    }
}

fn say(holds: bool, met: impl Into<String>, unmet: impl Into<String>) -> Sentence {
    if holds { Ok(met.into()) } else { Err(unmet.into()) }
}

/// A kind of value as people say it.
fn named(kind: &str) -> String {
    match kind {
        "zset" => "a sorted set".to_owned(),
        "none" => "nothing".to_owned(),
        kind => format!("a {kind}"),
    }
}

/// What to say about a key that is not of one of these kinds; none when it is.
fn not_of(key: &str, kind: &str, kinds: &[&str]) -> Option<String> {
    let wanted: Vec<_> = kinds.iter().map(|kind| named(kind)).collect();
    match kind {
        kind if kinds.contains(&kind) => None,
        "none" => Some(format!("{key} does not exist")),
        kind => Some(format!("{key} is {}, not {}", named(kind), wanted.join(" or "))),
    }
}

/// Judges one predicate.
///
/// # Errors
/// When the server does not answer.
pub(super) async fn judge(expect: &Expect, facts: &Facts) -> LabResult<Sentence> {
    match expect {
        Expect::Sent { .. }
        | Expect::NotSent { .. }
        | Expect::SentLike { .. }
        | Expect::NotSentLike { .. }
        | Expect::ReplyLike { .. }
        | Expect::InMulti { .. }
        | Expect::Received { .. }
        | Expect::RoundTrips { .. }
        | Expect::NothingLinear
        | Expect::SameSlot { .. } => Ok(of_trace(expect, facts)),
        Expect::Type { key, is } => {
            let kind = facts.kind(key).await?;
            Ok(not_of(key, &kind, &[is]).map_or_else(|| Ok(format!("{key} is {}", named(is))), Err))
        }
        Expect::Absent { key } => {
            let kind = facts.kind(key).await?;
            let unmet = format!("{key} still exists: it is {}", named(&kind));
            Ok(say(kind == "none", format!("{key} does not exist"), unmet))
        }
        Expect::Ttl { key, min_ms, max_ms } => expiry(facts, key, Some((*min_ms, *max_ms))).await,
        Expect::NoTtl { key } => expiry(facts, key, None).await,
        Expect::Value { key, is } => value(facts, key, is).await,
        Expect::Number { key, of, min, max } => number(facts, key, of.as_deref(), *min, *max).await,
        Expect::Field { key, field, is } => hash_field(facts, key, field, is.as_deref()).await,
        Expect::Has { key, member } => member_of(facts, key, member, true).await,
        Expect::Lacks { key, member } => member_of(facts, key, member, false).await,
        Expect::Members { key, count } => {
            let kind = facts.kind(key).await?;
            if let Some(wrong) = not_of(key, &kind, &["zset", "set"]) {
                return Ok(Err(wrong));
            }
            length(facts, key, Some(*count), Some(*count)).await
        }
        Expect::Length { key, min, max } => length(facts, key, *min, *max).await,
        Expect::Sequence { key, is } => sequence(facts, key, is).await,
        Expect::Encoding { key, is } => {
            if facts.kind(key).await? == "none" {
                return Ok(Err(format!("{key} does not exist")));
            }
            let encoding: String = facts.ask(&["OBJECT", "ENCODING", key]).await?;
            let unmet = format!("{key} is encoded as {encoding}, not as {is}");
            Ok(say(encoding == *is, format!("{key} is encoded as {is}"), unmet))
        }
        Expect::Group { key, group, pending_min, pending_max } => {
            consumer_group(facts, key, group, (*pending_min, *pending_max)).await
        }
    }
}

async fn expiry(facts: &Facts, key: &str, within: Option<(u64, u64)>) -> LabResult<Sentence> {
    let left: i64 = facts.ask(&["PTTL", key]).await?;
    Ok(match (left, within) {
        (-2, _) => Err(format!("{key} does not exist")),
        (-1, None) => Ok(format!("{key} never expires")),
        (-1, Some((_, max))) => Err(format!("{key} never expires; it should within {max} ms")),
        (left, None) => Err(format!("{key} expires in {left} ms; it should never")),
        (left, Some((min, max))) => {
            let fits = u64::try_from(left).is_ok_and(|left| (min..=max).contains(&left));
            say(
                fits,
                format!("{key} expires in {left} ms"),
                format!("{key} expires in {left} ms; it should in {min} to {max} ms"),
            )
        }
    })
}

async fn value(facts: &Facts, key: &str, is: &str) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    if let Some(wrong) = not_of(key, &kind, &["string"]) {
        return Ok(Err(wrong));
    }
    let bytes: Option<Vec<u8>> = facts.ask(&["GET", key]).await?;
    let bytes = bytes.unwrap_or_default();
    let unmet = format!("{key} is \"{}\", not \"{is}\"", crate::redis::printable_arg(&bytes));
    Ok(say(bytes == is.as_bytes(), format!("{key} is \"{is}\""), unmet))
}

async fn hash_field(facts: &Facts, key: &str, field: &str, is: Option<&str>) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    if let Some(wrong) = not_of(key, &kind, &["hash"]) {
        return Ok(Err(wrong));
    }
    let found: Option<Vec<u8>> = facts.ask(&["HGET", key, field]).await?;
    Ok(match (found, is) {
        (None, _) => Err(format!("{key} has no field {field}")),
        (Some(_), None) => Ok(format!("{key} has the field {field}")),
        (Some(found), Some(is)) => {
            let shown = crate::redis::printable_arg(&found);
            let unmet = format!("the field {field} of {key} is \"{shown}\", not \"{is}\"");
            say(found == is.as_bytes(), format!("the field {field} of {key} is \"{is}\""), unmet)
        }
    })
}

async fn number(
    facts: &Facts,
    key: &str,
    of: Option<&str>,
    min: Option<i64>,
    max: Option<i64>,
) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    let kinds: &[&str] = if of.is_some() { &["hash", "zset"] } else { &["string"] };
    if let Some(wrong) = not_of(key, &kind, kinds) {
        return Ok(Err(wrong));
    }
    let (what, found): (String, Option<String>) = match of {
        None => (key.to_owned(), facts.ask(&["GET", key]).await?),
        Some(field) if kind == "hash" => {
            (format!("the field {field} of {key}"), facts.ask(&["HGET", key, field]).await?)
        }
        Some(member) => {
            (format!("the score of {member} in {key}"), facts.ask(&["ZSCORE", key, member]).await?)
        }
    };
    let Some(found) = found else { return Ok(Err(format!("{} is not in {key}", of.unwrap_or(key)))) };
    let Ok(number) = found.parse::<f64>() else {
        return Ok(Err(format!("{what} is \"{found}\", not a number")));
    };
    #[expect(clippy::cast_precision_loss, reason = "bounds of lessons are far below 2^53")]
    let fits = min.is_none_or(|min| number >= min as f64) && max.is_none_or(|max| number <= max as f64);
    Ok(say(
        fits,
        format!("{what} is {found}"),
        format!("{what} is {found}; it should be {}", range(min, max)),
    ))
}

fn range<T: PartialEq + ToString>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("{} to {}", min.to_string(), max.to_string()),
        (Some(min), None) => format!("at least {}", min.to_string()),
        (None, Some(max)) => format!("at most {}", max.to_string()),
        (None, None) => "anything".to_owned(),
    }
}

async fn member_of(facts: &Facts, key: &str, member: &str, wanted: bool) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    let found: bool = match kind.as_str() {
        "set" => facts.ask(&["SISMEMBER", key, member]).await?,
        "zset" => facts.ask::<Option<String>>(&["ZSCORE", key, member]).await?.is_some(),
        "list" => facts.ask::<Option<u64>>(&["LPOS", key, member]).await?.is_some(),
        "none" if !wanted => false,
        kind => {
            let wrong = not_of(key, kind, &["set", "zset", "list"]).unwrap_or_default();
            return Ok(Err(wrong));
        }
    };
    let (has, lacks) = (format!("{member} is in {key}"), format!("{member} is not in {key}"));
    Ok(match (found, wanted) {
        (true, true) => Ok(has),
        (false, false) => Ok(lacks),
        (true, false) => Err(format!("{has}, and should not be")),
        (false, true) => Err(lacks),
    })
}

/// The command that tells a length and what it counts.
fn counter(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "string" => ("STRLEN", "bytes"),
        "list" => ("LLEN", "elements"),
        "set" => ("SCARD", "members"),
        "zset" => ("ZCARD", "members"),
        "hash" => ("HLEN", "fields"),
        "stream" => ("XLEN", "entries"),
        _ => return None,
    })
}

async fn length(facts: &Facts, key: &str, min: Option<u64>, max: Option<u64>) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    let (count, unit) = match counter(&kind) {
        None => (0, "entries: it does not exist"),
        Some((verb, unit)) => (facts.ask::<u64>(&[verb, key]).await?, unit),
    };
    let fits = min.is_none_or(|min| count >= min) && max.is_none_or(|max| count <= max);
    let has = format!("{key} has {count} {unit}");
    Ok(say(fits, has.clone(), format!("{has}; it should have {}", range(min, max))))
}

async fn sequence(facts: &Facts, key: &str, is: &[String]) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    let verb = if kind == "list" { "LRANGE" } else { "ZRANGE" };
    if let Some(wrong) = not_of(key, &kind, &["list", "zset"]) {
        return Ok(if is.is_empty() && kind == "none" { Ok(format!("{key} is empty")) } else { Err(wrong) });
    }
    // One more than wanted tells that there are too many.
    let found: Vec<String> = facts.ask(&[verb, key, "0", &is.len().to_string()]).await?;
    let shown = found.join(", ");
    Ok(say(
        found == is,
        format!("{key} holds {shown}"),
        format!("{key} holds {shown}; it should hold {}", is.join(", ")),
    ))
}

async fn consumer_group(
    facts: &Facts,
    key: &str,
    group: &str,
    (min, max): (Option<u64>, Option<u64>),
) -> LabResult<Sentence> {
    let kind = facts.kind(key).await?;
    if let Some(wrong) = not_of(key, &kind, &["stream"]) {
        return Ok(Err(wrong));
    }
    let groups: Vec<std::collections::HashMap<String, Value>> = facts.ask(&["XINFO", "GROUPS", key]).await?;
    let text = |value: Option<&Value>| value.and_then(|v| ::redis::from_redis_value_ref::<String>(v).ok());
    let Some(found) = groups.iter().find(|found| text(found.get("name")).as_deref() == Some(group)) else {
        return Ok(Err(format!("{key} has no consumer group {group}")));
    };
    let pending = text(found.get("pending")).and_then(|pending| pending.parse::<u64>().ok());
    let pending = pending.ok_or_else(|| LabError::Other(format!("XINFO GROUPS {key} tells no pending")))?;
    let fits = min.is_none_or(|min| pending >= min) && max.is_none_or(|max| pending <= max);
    let has = format!("the group {group} of {key} has {pending} entries pending");
    Ok(say(fits, has.clone(), format!("{has}; it should have {}", range(min, max))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_said_in_words() {
        assert_eq!(not_of("k", "string", &["hash"]).unwrap(), "k is a string, not a hash");
        assert_eq!(not_of("k", "none", &["hash"]).unwrap(), "k does not exist");
        assert_eq!(not_of("k", "hash", &["set", "zset"]).unwrap(), "k is a hash, not a set or a sorted set");
        assert_eq!(not_of("k", "zset", &["set", "zset"]), None);
        assert_eq!(range(Some(1), Some(1)), "1");
        assert_eq!(range(Some(1), None), "at least 1");
    }
}
