//! Command budgets over a trace: round trips, forbidden commands, nothing linear.

use std::collections::BTreeMap;

use crate::redis::TraceEntry;

/// What commands may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most so many round trips, as [`round_trips`] counts them; any number without it.
    pub round_trips: Option<u64>,
    /// Verbs that must not be sent, in capitals; of a container command with its subcommand: `CONFIG SET`.
    pub forbid: Vec<String>,
    /// Whether commands that [`is_linear`] names are allowed.
    pub linear: bool,
}

impl Default for Budget {
    /// Everything is allowed.
    fn default() -> Self {
        Self { round_trips: None, forbid: Vec::new(), linear: true }
    }
}

impl Budget {
    /// Whether the trace stays within the budget.
    ///
    /// # Errors
    /// What goes beyond it first, with the command.
    pub fn check(&self, entries: &[TraceEntry]) -> Result<(), String> {
        for entry in entries.iter().filter(|entry| !entry.push) {
            if let Some(verb) = self.forbid.iter().find(|verb| has_verb(&entry.command, verb)) {
                return Err(format!("{verb} is not allowed here, but was sent: {}", line(entry)));
            }
            if !self.linear
                && let Some(why) = is_linear(&entry.command)
            {
                return Err(format!("{} {why}", line(entry)));
            }
        }
        let used = round_trips(entries);
        match self.round_trips {
            Some(most) if used > most => {
                let trips =
                    |n: u64| if n == 1 { "1 round trip".to_owned() } else { format!("{n} round trips") };
                Err(format!("{} were made, {} allowed: send the commands together", trips(used), trips(most)))
            }
            _ => Ok(()),
        }
    }
}

/// The fewest round trips that each operation took: the first call of a script may have to load it.
#[derive(Debug, Default)]
pub struct FewestTrips(BTreeMap<&'static str, u64>);

impl FewestTrips {
    /// An operation took so many round trips.
    pub fn took(&mut self, operation: &'static str, trips: u64) {
        let fewest = self.0.entry(operation).or_insert(trips);
        *fewest = trips.min(*fewest);
    }

    /// For each operation that has a budget, whether it keeps to it.
    pub fn within(&self, budget: impl Fn(&str) -> Option<u64>) -> Vec<Result<(), String>> {
        let kept = self.0.iter().filter_map(|(operation, trips)| {
            let budget = budget(operation)?;
            let what = || format!("`{operation}` takes {trips} round trips, its budget is {budget}");
            Some(if *trips <= budget { Ok(()) } else { Err(what()) })
        });
        kept.collect()
    }
}

/// Commands that walk over the keys of everybody.
const WALKS: [&str; 5] = ["KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB"];

/// Whether no command walked over the keys of everybody.
///
/// # Errors
/// The first verb that did.
pub fn no_walk(entries: &[TraceEntry]) -> Result<(), String> {
    let mut verbs = entries.iter().map(|entry| upper(&entry.command, 0));
    match verbs.find(|verb| WALKS.contains(&verb.as_str())) {
        Some(verb) => Err(format!("{verb} walks over everybody's keys")),
        None => Ok(()),
    }
}

/// How many round trips the commands took; a pipeline is one. What a client sends on its own account to set a connection
/// up ([`housekeeping`]) does not count, nor does a trip on which a cluster answered nothing but redirects.
pub fn round_trips(entries: &[TraceEntry]) -> u64 {
    let mut trips: BTreeMap<u64, bool> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.push) {
        let counts = !housekeeping(&entry.command) && !is_redirect(entry);
        *trips.entry(entry.round_trip).or_default() |= counts;
    }
    trips.values().filter(|counts| **counts).count() as u64
}

/// Whether the reply sent the client to another node of the cluster.
pub fn is_redirect(entry: &TraceEntry) -> bool {
    let text = entry.reply.strip_prefix("(error) ").unwrap_or_default();
    entry.error && (text.starts_with("MOVED ") || text.starts_with("ASK "))
}

/// Whether a client sends this on its own account, to set a connection up or to learn the shape of the cluster.
pub fn housekeeping(command: &[String]) -> bool {
    let verb = upper(command, 0);
    match verb.as_str() {
        "HELLO" | "AUTH" | "SELECT" | "READONLY" | "READWRITE" | "ASKING" | "COMMAND" => true,
        "CLIENT" => {
            matches!(upper(command, 1).as_str(), "SETNAME" | "SETINFO" | "ID" | "NO-EVICT" | "NO-TOUCH")
        }
        "CLUSTER" => matches!(upper(command, 1).as_str(), "SLOTS" | "SHARDS" | "NODES" | "INFO" | "MYID"),
        _ => false,
    }
}

/// Whether the command is this verb, which may name a subcommand too; case does not matter.
pub fn has_verb(command: &[String], verb: &str) -> bool {
    let mut words = verb.split_ascii_whitespace();
    let mut command = command.iter();
    words.all(|word| command.next().is_some_and(|arg| arg.eq_ignore_ascii_case(word)))
}

/// Commands that take time in proportion to the keyspace or to a whole key, whatever their arguments are.
const ALWAYS: &[(&str, &str)] = &[
    ("KEYS", "walks over every key of the server, and nothing else runs meanwhile"),
    ("FLUSHALL", "removes every key of the server"),
    ("FLUSHDB", "removes every key of the database"),
    ("SMEMBERS", "reads the whole set: O(N)"),
    ("HGETALL", "reads the whole hash: O(N)"),
    ("HKEYS", "reads every field of the hash: O(N)"),
    ("HVALS", "reads every value of the hash: O(N)"),
    ("SORT", "reads and sorts the whole key: O(N + M log M)"),
    ("SORT_RO", "reads and sorts the whole key: O(N + M log M)"),
    ("SUNION", "reads all the sets: O(N)"),
    ("SUNIONSTORE", "reads and writes all the sets: O(N)"),
    ("SDIFF", "reads all the sets: O(N)"),
    ("SDIFFSTORE", "reads all the sets: O(N)"),
    ("SINTER", "reads the whole smallest set, for each of the others: O(N M)"),
    ("SINTERSTORE", "reads the whole smallest set, for each of the others: O(N M)"),
    ("ZUNION", "reads all the sorted sets: O(N)"),
    ("ZUNIONSTORE", "reads and writes all the sorted sets: O(N)"),
    ("ZDIFF", "reads all the sorted sets: O(N)"),
    ("ZDIFFSTORE", "reads all the sorted sets: O(N)"),
    ("ZINTER", "reads the whole smallest sorted set, for each of the others: O(N M)"),
    ("ZINTERSTORE", "reads the whole smallest sorted set, for each of the others: O(N M)"),
    ("LREM", "walks over the whole list: O(N)"),
    ("LINSERT", "walks along the list to the pivot: O(N)"),
    ("LPOS", "walks along the list to the element: O(N)"),
    ("DEBUG", "is for debugging Redis itself"),
];

/// Why a command takes time in proportion to the keyspace or to a whole key; none when it does not, or not by what its
/// arguments say. `SCAN` and its kin are allowed: a call is bounded, however long the whole walk takes. So are `DEL` of a
/// large key and scripts: their arguments do not tell.
pub fn is_linear(command: &[String]) -> Option<&'static str> {
    let verb = upper(command, 0);
    if let Some((_, why)) = ALWAYS.iter().find(|(known, _)| *known == verb) {
        return Some(why);
    }
    let arg = |index: usize| command.get(index).map_or("", String::as_str);
    let whole = match verb.as_str() {
        "LRANGE" | "ZREVRANGE" => is_whole(arg(2), arg(3)),
        "ZRANGE" | "ZRANGESTORE" => {
            let at = if verb == "ZRANGESTORE" { 3 } else { 2 };
            let limited = command.iter().any(|arg| arg.eq_ignore_ascii_case("LIMIT"));
            !limited && (is_whole(arg(at), arg(at + 1)) || is_unbounded(arg(at), arg(at + 1)))
        }
        "ZRANGEBYSCORE" | "ZRANGEBYLEX" | "ZREVRANGEBYSCORE" | "ZREVRANGEBYLEX" | "XRANGE" | "XREVRANGE" => {
            let limited = command
                .iter()
                .any(|arg| arg.eq_ignore_ascii_case("LIMIT") || arg.eq_ignore_ascii_case("COUNT"));
            !limited && is_unbounded(arg(2), arg(3))
        }
        _ => false,
    };
    whole.then_some("reads the whole key: O(N)")
}

fn is_whole(start: &str, stop: &str) -> bool {
    start == "0" && stop == "-1"
}

fn is_unbounded(one: &str, other: &str) -> bool {
    let end = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "-inf" | "+inf" | "inf" | "-" | "+");
    end(one) && end(other)
}

fn upper(command: &[String], index: usize) -> String {
    command.get(index).map(|arg| arg.to_ascii_uppercase()).unwrap_or_default()
}

fn line(entry: &TraceEntry) -> String {
    format!("`{}`", entry.command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn entry(round_trip: u64, line: &str, reply: &str) -> TraceEntry {
        TraceEntry {
            at_us: 0,
            command: command(line),
            reply: reply.to_owned(),
            took_us: 1,
            round_trip,
            error: reply.starts_with("(error)"),
            conn: "c1".to_owned(),
            bytes_out: 0,
            bytes_in: 0,
            push: line.starts_with("(push)"),
            node: String::new(),
        }
    }

    #[test]
    fn linear_commands_are_named_by_their_arguments() {
        for linear in [
            "keys *",
            "SMEMBERS s",
            "LRANGE l 0 -1",
            "ZRANGE z 0 -1 WITHSCORES",
            "ZRANGE z -inf +inf BYSCORE",
            "XRANGE s - +",
            "ZREVRANGEBYSCORE z +inf -inf",
            "HGETALL h",
        ] {
            assert!(is_linear(&command(linear)).is_some(), "{linear}");
        }
        for fine in [
            "SCAN 0",
            "LRANGE l 0 9",
            "ZRANGE z -inf +inf BYSCORE LIMIT 0 10",
            "XRANGE s - + COUNT 5",
            "GET k",
            "ZRANGE z (5 +inf BYSCORE",
            "HGET h f",
            "",
        ] {
            assert!(is_linear(&command(fine)).is_none(), "{fine}");
        }
    }

    #[test]
    fn walks_over_everybodys_keys_are_named() {
        assert!(no_walk(&[entry(0, "GET keys", "x"), entry(1, "SSCAN s 0", "x")]).is_ok());
        assert!(no_walk(&[entry(0, "scan 0", "x")]).unwrap_err().starts_with("SCAN walks"));
    }

    #[test]
    fn the_fewest_trips_of_an_operation_count() {
        let mut trips = FewestTrips::default();
        for (operation, took) in [("add", 2), ("add", 1), ("list", 3), ("free", 9)] {
            trips.took(operation, took);
        }
        let kept = trips.within(|operation| (operation != "free").then_some(1));
        assert_eq!(kept, [Ok(()), Err("`list` takes 3 round trips, its budget is 1".to_owned())]);
    }

    #[test]
    fn a_budget_counts_trips_and_not_what_clients_do_by_themselves() {
        let entries = [
            entry(0, "HELLO 3", "OK"),
            entry(0, "CLIENT SETINFO LIB-NAME x", "OK"),
            entry(1, "GET a", "(error) MOVED 1 127.0.0.1:7"),
            entry(2, "SET a 1", "OK"),
            entry(2, "SET b 1", "OK"),
            entry(3, "(push) message news", "\"x\""),
        ];
        assert_eq!(round_trips(&entries), 1);
        let one = Budget { round_trips: Some(1), ..Budget::default() };
        one.check(&entries).unwrap();
        let more = [entries.as_slice(), &[entry(3, "GET a", "\"1\"")]].concat();
        assert!(one.check(&more).unwrap_err().starts_with("2 round trips were made, 1 round trip allowed"));
        let no_set = Budget { forbid: vec!["SET".into()], ..Budget::default() };
        assert!(no_set.check(&entries).unwrap_err().contains("`SET a 1`"));
        let flat = Budget { linear: false, ..Budget::default() };
        flat.check(&more).unwrap();
        assert!(flat.check(&[entry(0, "KEYS *", "x")]).unwrap_err().contains("walks over every key"));
        assert!(
            has_verb(&command("xgroup create s g"), "XGROUP CREATE")
                && !has_verb(&command("XGROUP"), "XGROUP CREATE")
        );
    }
}
