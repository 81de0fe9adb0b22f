//! Which keys a command names, and in which slots they lie: computed from what was sent, so that a single node tells what
//! a cluster would refuse.

use std::collections::HashMap;

use chatlab_kit::redis::TraceEntry;
use chatlab_kit::slots::slot;

/// Commands whose arguments are all keys.
const ALL_KEYS: [&str; 12] = [
    "MGET",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TOUCH",
    "WATCH",
    "SINTER",
    "SUNION",
    "SDIFF",
    "PFCOUNT",
    "PFMERGE",
    "SINTERSTORE",
];
/// Commands whose first two arguments are keys.
const TWO_KEYS: [&str; 9] =
    ["RENAME", "RENAMENX", "COPY", "LMOVE", "BLMOVE", "SMOVE", "RPOPLPUSH", "ZRANGESTORE", "GEOSEARCHSTORE"];
/// Commands without keys.
const NO_KEYS: [&str; 21] = [
    "MULTI",
    "EXEC",
    "DISCARD",
    "UNWATCH",
    "WAIT",
    "PING",
    "TIME",
    "INFO",
    "READONLY",
    "READWRITE",
    "ASKING",
    "CLUSTER",
    "SCRIPT",
    "FUNCTION",
    "HELLO",
    "CLIENT",
    "SCAN",
    "KEYS",
    "CONFIG",
    "DBSIZE",
    "AUTH",
];

/// The keys that a command names.
pub(crate) fn keys_of(command: &[String]) -> Vec<&str> {
    let Some((verb, args)) = command.split_first() else { return Vec::new() };
    let verb = verb.to_ascii_uppercase();
    let all = |args: &'_ [String]| args.len();
    let count = match verb.as_str() {
        "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => {
            let count: usize = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            return args.iter().skip(2).take(count).map(String::as_str).collect();
        }
        "MSET" | "MSETNX" => return args.iter().step_by(2).map(String::as_str).collect(),
        "XREAD" | "XREADGROUP" => {
            let place = args.iter().position(|arg| arg.eq_ignore_ascii_case("STREAMS"));
            let streams = place.map_or(&[][..], |place| &args[place + 1..]);
            return streams[..streams.len() / 2].iter().map(String::as_str).collect();
        }
        verb if NO_KEYS.contains(&verb) => 0,
        verb if ALL_KEYS.contains(&verb) => all(args),
        verb if TWO_KEYS.contains(&verb) => 2,
        _ => 1,
    };
    args.iter().take(count).map(String::as_str).collect()
}

/// The first command, script or transaction whose keys lie in several slots.
pub(crate) fn crosses_slots(entries: &[TraceEntry]) -> Option<String> {
    let mut open: HashMap<&str, Vec<&str>> = HashMap::new();
    for entry in entries {
        let keys = keys_of(&entry.command);
        if let Some(why) = in_two_slots(&keys) {
            return Some(format!("{} names {why}", entry.command[0].to_uppercase()));
        }
        match entry.command.first().map(String::as_str) {
            Some("MULTI") => {
                open.insert(&entry.conn, Vec::new());
            }
            Some("EXEC" | "DISCARD") => {
                let keys = open.remove(entry.conn.as_str()).unwrap_or_default();
                if let Some(why) = in_two_slots(&keys) {
                    return Some(format!("a transaction names {why}"));
                }
            }
            _ => {
                if let Some(transaction) = open.get_mut(entry.conn.as_str()) {
                    transaction.extend(keys);
                }
            }
        }
    }
    None
}

/// The first two keys that lie apart, with their slots.
pub(crate) fn in_two_slots(keys: &[&str]) -> Option<String> {
    let first = keys.first()?;
    let home = slot(first.as_bytes());
    let other = keys.iter().find(|key| slot(key.as_bytes()) != home)?;
    Some(format!("{first} in slot {home} and {other} in slot {}", slot(other.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn entry(line: &str) -> TraceEntry {
        TraceEntry {
            at_us: 0,
            command: words(line),
            reply: "OK".into(),
            took_us: 1,
            round_trip: 0,
            error: false,
            conn: "a".into(),
            bytes_out: 0,
            bytes_in: 0,
            push: false,
            node: String::new(),
        }
    }

    #[test]
    fn keys_are_found_where_each_command_has_them() {
        for (line, keys) in [
            ("EVALSHA cluster/append 2 {a}:1 {a}:2 text", "{a}:1 {a}:2"),
            ("MGET a b", "a b"),
            ("MSET a 1 b 2", "a b"),
            ("HSET a f v", "a"),
            ("XREAD COUNT 1 STREAMS a b 0 0", "a b"),
            ("RENAME a b", "a b"),
        ] {
            assert_eq!(keys_of(&words(line)).join(" "), keys, "{line}");
        }
        assert!(keys_of(&words("WAIT 1 10")).is_empty());
    }

    #[test]
    fn a_transaction_over_two_slots_is_seen_and_a_pipeline_is_allowed() {
        let apart = ["MULTI", "SET a 1", "SET b 1", "EXEC"].map(entry);
        assert!(crosses_slots(&apart).is_some_and(|why| why.contains("transaction")));
        let together = ["MULTI", "SET {x}a 1", "SET {x}b 1", "EXEC", "SET a 1", "SET b 1"].map(entry);
        assert_eq!(crosses_slots(&together), None);
        assert!(crosses_slots(&[entry("DEL a b")]).is_some());
    }
}
