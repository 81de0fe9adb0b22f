//! One run of a history: fresh rooms, the states that they may be in, and what was found out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chatlab_kit::{
    LabError, LabResult,
    check::{Crash, Finding, Held, Subject, race},
    ids::RoomId,
    redis::{Redis, Stepper},
    slots::{SLOTS, slot},
};

use crate::history::{Answer, Call, Step};
use crate::model::{State, allowed};
use crate::trace::{crosses_slots, in_two_slots, keys_of};
use crate::{Freshness, Receipt, Rooms};

/// How many rooms a history has: more than a cluster has masters, so that a head a round trip shows.
pub(crate) const ROOMS: usize = 24;
/// The most of all rooms that one slot may hold. 256 even partitions hold 0.4 % each.
const SLOT_SHARE_MAX: f64 = 0.02;
/// The most that the fullest node may hold, as a multiple of an even share.
const NODE_SHARE_MAX: f64 = 1.25;
/// The numbers of masters for which that must be so.
const MASTERS: std::ops::RangeInclusive<usize> = 3..=6;

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// An answer that no allowed state gives.
    Model,
    /// Keys that lie together.
    Slots,
    /// Keys that lie apart evenly.
    Spread,
    /// Keys that were named before they were used.
    Declared,
    /// What a receipt says about replicas.
    Replicated,
    /// Round trips.
    Trips,
    /// Forbidden commands.
    Verbs,
}

/// Why a history ends early.
pub(crate) enum Stop {
    /// The checker or the machine failed.
    Checker(LabError),
    /// The variant's own error says it all.
    Variant(Finding),
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        Self::Checker(error)
    }
}

/// The rooms of one run.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn Rooms>,
    writer: Arc<dyn Rooms>,
    reader: Arc<dyn Rooms>,
    probe: Redis,
    masters: u64,
    rooms: Vec<RoomId>,
    states: Vec<State>,
    trips: BTreeMap<&'static str, u64>,
    pub(crate) facts: Vec<(Topic, Result<(), String>)>,
    pub(crate) faults: u32,
    pub(crate) lines: Vec<String>,
}

impl<'a> World<'a> {
    pub(crate) async fn new(subject: &'a Subject<'a, dyn Rooms>) -> LabResult<Self> {
        let probe = subject.probe();
        Ok(Self {
            writer: subject.client("A"),
            reader: subject.client("B"),
            masters: probe.primaries().await?.len() as u64,
            probe,
            subject,
            rooms: (0..ROOMS).map(|_| RoomId::new()).collect(),
            states: vec![State::new(ROOMS)],
            trips: BTreeMap::new(),
            facts: Vec::new(),
            faults: 0,
            lines: Vec::new(),
        })
    }

    fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.facts.push((topic, held));
    }

    /// The step as a call of the port, and whether another client sends it.
    fn call(&self, step: &Step) -> Option<(Call, bool)> {
        Some(match step.clone() {
            Step::Append { room, text } => (Call::Append { room, text }, false),
            Step::Replicated { room, text, replicas, wait_ms } => {
                let wait_ms = self.subject.pace.ms(wait_ms);
                (Call::Replicated { room, text, replicas, wait_ms }, false)
            }
            Step::Read { room, seen } => {
                let known = self.states.iter().map(|state| state.rooms[room].seq).min().unwrap_or(0);
                let freshness = if seen { Freshness::AtLeast(known) } else { Freshness::Latest };
                (Call::Read { room, freshness }, true)
            }
            Step::Heads => (Call::Heads, true),
            Step::Move { from, seq, to } => (Call::Move { from, seq, to }, false),
            _ => return None,
        })
    }

    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Crash { step, commands } => self.crash(step, *commands).await,
            Step::Race { first, commands, second } => self.race(first, *commands, second).await,
            Step::Spread { rooms } => self.spread(step, rooms).await,
            Step::Declared => Ok(self.declared(step).await?),
            plain => self.plain(plain).await,
        }
    }

    async fn plain(&mut self, step: &Step) -> Result<(), Stop> {
        let Some((call, elsewhere)) = self.call(step) else { return Ok(()) };
        let client = if elsewhere { self.reader.clone() } else { self.writer.clone() };
        let trace = self.subject.trace().clone();
        let (trips_before, sent_before) = (trace.round_trips(), trace.entries().len());
        let answer = call.send(&*client, &self.rooms).await;
        let trips = trace.round_trips() - trips_before;
        if !matches!(call, Call::Read { freshness: Freshness::AtLeast(_), .. }) {
            let best = self.trips.entry(call.verb()).or_insert(trips);
            *best = trips.min(*best);
        }
        let answer = self.answered(step, &call, answer)?;
        if let (Call::Replicated { replicas, .. }, Answer::Receipt(receipt)) = (&call, &answer) {
            let waits = trace.entries().into_iter().skip(sent_before);
            let confirmed = waits
                .filter(|entry| entry.command[0].eq_ignore_ascii_case("WAIT"))
                .filter_map(|entry| entry.reply.strip_prefix("(integer) ")?.parse().ok())
                .next_back();
            let held = receipt_is_honest(*replicas, *receipt, confirmed);
            self.fact(Topic::Replicated, held);
        }
        self.judge(&[(call, answer)]);
        Ok(())
    }

    fn answered(&mut self, step: &Step, call: &Call, answer: LabResult<Answer>) -> Result<Answer, Stop> {
        match answer {
            Ok(answer) => {
                self.lines.push(format!("{step}  → {answer}"));
                Ok(answer)
            }
            Err(error) => {
                self.lines.push(format!("{step}  → {error}"));
                // A client may refuse by itself what a cluster would refuse.
                if let Some(why) = crosses_slots(&self.subject.trace().entries()) {
                    self.fact(Topic::Slots, Err(why));
                }
                Err(Finding::of_error(call.verb(), error).map_or_else(Stop::Checker, Stop::Variant))
            }
        }
    }

    /// Keeps the states in which the calls, in one order or the other, answer as they did.
    fn judge(&mut self, calls: &[(Call, Answer)]) {
        let mut kept: Vec<State> = Vec::new();
        let orders: [Vec<&(Call, Answer)>; 2] = [calls.iter().collect(), calls.iter().rev().collect()];
        let mut wanted = None;
        for state in &self.states {
            for order in &orders {
                let mut next = state.clone();
                let wrong = order.iter().find_map(|(call, answer)| {
                    let expected = next.apply(call);
                    (!allowed(call, &expected, answer)).then(|| (call.verb(), expected, answer))
                });
                match wrong {
                    None if !kept.contains(&next) => kept.push(next),
                    None => {}
                    Some((verb, expected, answer)) => {
                        wanted = Some(format!("{verb} answers `{answer}`, which should be `{expected}`"));
                    }
                }
            }
        }
        if kept.is_empty() {
            self.fact(Topic::Model, Err(wanted.unwrap_or_else(|| "no state is possible".to_owned())));
        } else {
            self.states = kept;
            self.fact(Topic::Model, Ok(()));
        }
    }

    async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Stop> {
        let Some((call, _)) = self.call(step) else { return Ok(()) };
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        let answer = call.send(&*client, &self.rooms).await;
        if !crash.fired() || answer.is_ok() {
            let answer = self.answered(step, &call, answer)?;
            self.judge(&[(call, answer)]);
            return Ok(());
        }
        self.faults += 1;
        self.lines.push(format!("{step}  → crashes after {commands} commands"));
        let mut states: Vec<State> = Vec::new();
        for state in self.states.iter().flat_map(|state| state.after_crash(&call)) {
            if !states.contains(&state) {
                states.push(state);
            }
        }
        self.states = states;
        Ok(())
    }

    async fn race(&mut self, first: &Step, commands: u64, second: &Step) -> Result<(), Stop> {
        let (Some((a, _)), Some((b, _))) = (self.call(first), self.call(second)) else { return Ok(()) };
        let stepper = Stepper::new();
        let held = self.subject.hooked("A", stepper.clone());
        let other = self.subject.client("B");
        let (outcome, answer_a, answer_b) =
            race(&stepper, commands, a.send(&*held, &self.rooms), b.send(&*other, &self.rooms)).await;
        match outcome {
            Held::Overtaken => {
                self.faults += 1;
                self.lines.push(format!("A is held after {commands} of its commands:"));
            }
            Held::AlreadyDone => self.lines.push("too short to be overtaken:".to_owned()),
        }
        let answer_a = self.answered(first, &a, answer_a)?;
        let answer_b = self.answered(second, &b, answer_b)?;
        self.judge(&[(a, answer_a), (b, answer_b)]);
        Ok(())
    }

    async fn spread(&mut self, step: &Step, rooms: &[RoomId]) -> Result<(), Stop> {
        // One room is really written to, so that the report shows a command with the variant's own names.
        self.plain(&Step::Append { room: 0, text: "here".to_owned() }).await?;
        let mut by_slot: HashMap<u16, usize> = HashMap::new();
        for room in rooms {
            let keys = self.writer.keys(room).map_err(|error| {
                self.lines.push(format!("{step}  → {error}"));
                Finding::of_error("keys", error).map_or_else(Stop::Checker, Stop::Variant)
            })?;
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            if names.is_empty() || !names.iter().all(|name| name.contains(&room.to_string())) {
                self.fact(Topic::Spread, Err("keys names no key, or one without the room's id".to_owned()));
                return Ok(());
            }
            if let Some(why) = in_two_slots(&names) {
                self.fact(Topic::Slots, Err(format!("a room has {why}")));
            }
            *by_slot.entry(slot(names[0].as_bytes())).or_default() += 1;
        }
        self.lines.push(format!("{step}  → in {} slots", by_slot.len()));
        self.fact(Topic::Spread, is_even(&by_slot, rooms.len()));
        Ok(())
    }

    /// Every stored key of these rooms was named by a command, and is where `keys` says that the room is.
    async fn declared(&mut self, step: &Step) -> LabResult<()> {
        let trace = self.subject.trace();
        let entries = trace.entries();
        if trace.dropped() > 0 {
            return Ok(());
        }
        let named: HashSet<&str> = entries.iter().flat_map(|entry| keys_of(&entry.command)).collect();
        let mut stored = 0;
        let mut secret = None;
        let masters = self.probe.primaries().await?;
        for (address, mut node) in self.probe.each_node().await? {
            if !masters.contains(&address) {
                continue;
            }
            for key in keys_of_rooms(&mut node, &self.rooms).await? {
                stored += 1;
                if !named.contains(key.as_str()) {
                    secret = Some(key);
                }
            }
        }
        self.lines.push(format!("{step}  → {stored} of these rooms"));
        match secret {
            Some(key) => {
                let why = format!("{key} is stored, and no command or script named it as a key");
                self.fact(Topic::Declared, Err(why));
            }
            None if stored > 0 => self.fact(Topic::Declared, Ok(())),
            None => {}
        }
        Ok(())
    }

    /// The facts that only the whole history shows.
    pub(crate) fn finish(&mut self) {
        let entries = self.subject.trace().entries();
        if !entries.is_empty() {
            let held = crosses_slots(&entries).map_or(Ok(()), Err);
            self.fact(Topic::Slots, held);
        }
        for (verb, trips) in std::mem::take(&mut self.trips) {
            let budget = match verb {
                "append" | "read" => 1,
                "append_replicated" => 2,
                "heads" => self.masters,
                _ => 4,
            };
            let held = if trips <= budget {
                Ok(())
            } else {
                Err(format!("`{verb}` takes {trips} round trips, its budget is {budget}"))
            };
            self.fact(Topic::Trips, held);
        }
        const FORBIDDEN: [&str; 5] = ["KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB"];
        let bad = entries.iter().find_map(|entry| {
            let verb = entry.command.first()?.to_uppercase();
            FORBIDDEN.contains(&verb.as_str()).then_some(verb)
        });
        let held = bad.map_or(Ok(()), |verb| Err(format!("{verb} walks over everybody's keys")));
        self.fact(Topic::Verbs, held);
    }

    /// Short names for the ids in keys.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        self.rooms.iter().enumerate().map(|(i, room)| (room.to_string(), format!("r{}", i + 1))).collect()
    }
}

/// A receipt says `replicated` if, and only if, the servers said so.
fn receipt_is_honest(asked: u32, receipt: Receipt, confirmed: Option<u64>) -> Result<(), String> {
    let enough = match confirmed {
        _ if asked == 0 => true,
        Some(confirmed) => confirmed >= u64::from(asked),
        None if receipt.replicated => {
            return Err(format!("the receipt says {asked} replicas have it, and nobody asked them: no WAIT"));
        }
        None => false,
    };
    match (receipt.replicated, enough) {
        (true, false) => Err(format!(
            "the receipt says {asked} replicas have it, WAIT said {}",
            confirmed.unwrap_or_default()
        )),
        (false, true) => {
            Err(format!("the receipt says it is not on {asked} replicas, the servers said it is"))
        }
        _ => Ok(()),
    }
}

/// Whether rooms lie evenly over slots, and over nodes that share the slots in equal ranges.
fn is_even(by_slot: &HashMap<u16, usize>, rooms: usize) -> Result<(), String> {
    // Far below 2^52: exact.
    let all = rooms as f64;
    let fullest = by_slot.values().max().copied().unwrap_or(0);
    if fullest as f64 > all * SLOT_SHARE_MAX {
        let share = fullest as f64 / all * 100.0;
        return Err(format!(
            "{fullest} of {rooms} rooms lie in one slot ({share:.0} %), in {} slots altogether",
            by_slot.len()
        ));
    }
    for masters in MASTERS {
        let mut nodes = vec![0_usize; masters];
        for (slot, count) in by_slot {
            nodes[usize::from(*slot) * masters / usize::from(SLOTS)] += count;
        }
        let fullest = nodes.iter().max().copied().unwrap_or(0);
        if fullest as f64 > all / masters as f64 * NODE_SHARE_MAX {
            return Err(format!("of {masters} masters one has {fullest} of {rooms} rooms"));
        }
    }
    Ok(())
}

/// The keys on one node whose names contain one of the rooms' ids.
async fn keys_of_rooms(
    node: &mut redis::aio::MultiplexedConnection,
    rooms: &[RoomId],
) -> LabResult<Vec<String>> {
    let ids: Vec<String> = rooms.iter().map(ToString::to_string).collect();
    let mut found = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) =
            redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(1_000).query_async(node).await?;
        found.extend(keys.into_iter().filter(|key| ids.iter().any(|id| key.contains(id.as_str()))));
        cursor = next;
        if cursor == 0 {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_may_say_no_more_and_no_less_than_the_servers() {
        let receipt = |replicated| Receipt { seq: 1, replicated };
        assert!(receipt_is_honest(1, receipt(true), Some(1)).is_ok());
        assert!(receipt_is_honest(1, receipt(false), Some(0)).is_ok());
        assert!(receipt_is_honest(0, receipt(true), None).is_ok());
        for (asked, replicated, confirmed) in
            [(1, true, Some(0)), (1, true, None), (2, true, Some(1)), (1, false, Some(1)), (0, false, None)]
        {
            assert!(receipt_is_honest(asked, receipt(replicated), confirmed).is_err());
        }
    }

    #[test]
    fn even_and_uneven_spreads_are_told_apart() {
        let even: HashMap<u16, usize> = (0..256).map(|i| (i * 64 + 3, 10)).collect();
        assert!(is_even(&even, 2_560).is_ok());
        assert!(is_even(&HashMap::from([(7, 100)]), 100).is_err());
        let one_node: HashMap<u16, usize> = (0..256).map(|i| (i * 16, 10)).collect();
        assert!(is_even(&one_node, 2_560).unwrap_err().contains("3 masters"));
    }
}
