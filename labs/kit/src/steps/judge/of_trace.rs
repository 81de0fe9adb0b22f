//! Predicates about what was sent and what arrived.

use std::collections::HashMap;

use super::{Facts, Sentence, say};
use crate::budget::{Budget, has_verb, round_trips};
use crate::lab::Expect;
use crate::redis::TraceEntry;
use crate::slots::slot;
use crate::steps::pattern::matches;

pub(super) fn of_trace(expect: &Expect, facts: &Facts) -> Sentence {
    match expect {
        Expect::Sent { verb, min, max } => {
            let count = facts.sent().filter(|command| has_verb(command, verb)).count() as u64;
            let min = min.unwrap_or(1);
            let fits = count >= min && max.is_none_or(|max| count <= max);
            let times = |n: u64| if n == 1 { "once".to_owned() } else { format!("{n} times") };
            let unmet = match count {
                0 => format!("{verb} was not sent"),
                count if count < min => format!("{verb} was sent {}, not {}", times(count), times(min)),
                count => {
                    format!(
                        "{verb} was sent {}; at most {} is allowed",
                        times(count),
                        times(max.unwrap_or(min))
                    )
                }
            };
            say(fits, format!("{verb} was sent {}", times(count)), unmet)
        }
        Expect::NotSent { verb } => {
            let sent = facts.sent().find(|command| has_verb(command, verb));
            let unmet = format!("{verb} was sent: {}", sent.unwrap_or_default().join(" "));
            say(sent.is_none(), format!("{verb} was not sent"), unmet)
        }
        Expect::SentLike { pattern } => {
            let sent = facts.sent().any(|command| matches(pattern, &command.join(" ")));
            let unmet = format!("no command like {pattern} was sent");
            say(sent, format!("a command like {pattern} was sent"), unmet)
        }
        Expect::NotSentLike { pattern } => {
            let sent = facts.sent().map(|command| command.join(" ")).find(|line| matches(pattern, line));
            let unmet = format!("this should not be sent: {}", sent.as_deref().unwrap_or_default());
            say(sent.is_none(), format!("no command like {pattern} was sent"), unmet)
        }
        Expect::ReplyLike { verb, pattern } => reply_like(facts, verb, pattern),
        Expect::InMulti { verbs } => {
            let list = verbs.join(", ");
            let unmet = format!("{list} did not run between one MULTI and its EXEC");
            say(in_multi(facts, verbs), format!("{list} ran in one MULTI"), unmet)
        }
        Expect::Received { channel, min } => {
            let count = facts.entries.iter().filter(|entry| is_message(entry, channel)).count() as u64;
            let has = format!("{count} messages arrived on {channel}");
            say(count >= *min, has.clone(), format!("{has}; {min} should"))
        }
        Expect::RoundTrips { max } => {
            let used = round_trips(&facts.entries);
            let trips = if used == 1 { "1 round trip".to_owned() } else { format!("{used} round trips") };
            say(used <= *max, trips.clone(), format!("{trips} were made; at most {max} is allowed"))
        }
        Expect::SameSlot { keys } => same_slot(keys),
        _ => {
            let flat = Budget { linear: false, ..Budget::default() };
            flat.check(&facts.entries).map(|()| "no command walked over a whole key".to_owned())
        }
    }
}

fn reply_like(facts: &Facts, verb: &str, pattern: &str) -> Sentence {
    let mut of_verb =
        facts.commands().filter(|entry| verb == "*" || has_verb(&entry.command, verb)).peekable();
    let what = if verb == "*" { "a command".to_owned() } else { verb.to_owned() };
    if of_verb.peek().is_none() {
        return Err(format!("{what} was not sent, or has no reply yet"));
    }
    let mut last = "";
    for entry in of_verb {
        if matches(pattern, &entry.reply) {
            return Ok(format!("{what} was answered {}", entry.reply));
        }
        last = &entry.reply;
    }
    Err(format!("{what} was answered {last}, not {pattern}"))
}

/// Whether these verbs, in this order, lie between a MULTI and an EXEC that ran, on one connection.
fn in_multi(facts: &Facts, verbs: &[String]) -> bool {
    let mut open: HashMap<&str, usize> = HashMap::new();
    for entry in facts.commands() {
        let conn = entry.conn.as_str();
        if has_verb(&entry.command, "MULTI") {
            open.insert(conn, 0);
        } else if has_verb(&entry.command, "DISCARD") {
            open.remove(conn);
        } else if has_verb(&entry.command, "EXEC") {
            let ran = !entry.error && entry.reply != "(nil)";
            if open.remove(conn).is_some_and(|done| done == verbs.len()) && ran {
                return true;
            }
        } else if let Some(done) = open.get_mut(conn)
            && verbs.get(*done).is_some_and(|verb| has_verb(&entry.command, verb))
        {
            *done += 1;
        }
    }
    false
}

/// `(push) message CHANNEL`, or `(push) pmessage PATTERN CHANNEL`.
fn is_message(entry: &TraceEntry, channel: &str) -> bool {
    let words: Vec<_> = entry.command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["(push)", "message" | "smessage", on] | ["(push)", "pmessage", _, on] => *on == channel,
        _ => false,
    }
}

fn same_slot(keys: &[String]) -> Sentence {
    let slots: Vec<_> = keys.iter().map(|key| slot(key.as_bytes())).collect();
    let one = slots.windows(2).all(|pair| pair[0] == pair[1]);
    let list: Vec<_> = keys.iter().zip(&slots).map(|(key, slot)| format!("{key} in {slot}")).collect();
    let unmet = format!("the keys lie in different slots: {}", list.join(", "));
    say(one, format!("{} lie in one slot", keys.join(", ")), unmet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_named_when_they_differ() {
        assert!(same_slot(&["{a}:1".into(), "{a}:2".into()]).is_ok());
        assert!(same_slot(&["a:1".into(), "a:2".into()]).unwrap_err().contains("a:1 in "));
    }
}
