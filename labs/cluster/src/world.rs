//! One run of a history: fresh rooms, the states that they may be in, and what was found out.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    budget::{FewestTrips, no_walk},
    check::{self, Crash, Held, Record, Stop, Subject, race},
    ids::RoomId,
    redis::{Redis, Stepper},
};

use crate::history::{Answer, Call, Step};
use crate::model::{State, allowed};
use crate::trace::crosses_slots;
use crate::{Freshness, Receipt, Rooms};

mod layout;

/// How many rooms a history has: more than a cluster has masters, so that a head a round trip shows.
pub(crate) const ROOMS: usize = 24;

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

/// The rooms of one run.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn Rooms>,
    writer: Arc<dyn Rooms>,
    reader: Arc<dyn Rooms>,
    probe: Redis,
    masters: u64,
    rooms: Vec<RoomId>,
    states: Vec<State>,
    trips: FewestTrips,
    record: Record<Topic>,
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
            trips: FewestTrips::default(),
            record: Record::default(),
        })
    }

    fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.record.fact(topic, held);
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

    async fn plain(&mut self, step: &Step) -> Result<(), Stop> {
        let Some((call, elsewhere)) = self.call(step) else { return Ok(()) };
        let client = if elsewhere { self.reader.clone() } else { self.writer.clone() };
        let trace = self.subject.trace().clone();
        let (trips_before, sent_before) = (trace.round_trips(), trace.entries().len());
        let answer = call.send(&*client, &self.rooms).await;
        let trips = trace.round_trips() - trips_before;
        if !matches!(call, Call::Read { freshness: Freshness::AtLeast(_), .. }) {
            self.trips.took(call.verb(), trips);
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
                self.record.line(format!("{step}  → {answer}"));
                Ok(answer)
            }
            Err(error) => {
                self.record.line(format!("{step}  → {error}"));
                // A client may refuse by itself what a cluster would refuse.
                if let Some(why) = crosses_slots(&self.subject.trace().entries()) {
                    self.fact(Topic::Slots, Err(why));
                }
                Err(Stop::of(call.verb(), error))
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
        self.record.faults += 1;
        self.record.line(format!("{step}  → crashes after {commands} commands"));
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
                self.record.faults += 1;
                self.record.line(format!("A is held after {commands} of its commands:"));
            }
            Held::AlreadyDone => self.record.line("too short to be overtaken:".to_owned()),
        }
        let answer_a = self.answered(first, &a, answer_a)?;
        let answer_b = self.answered(second, &b, answer_b)?;
        self.judge(&[(a, answer_a), (b, answer_b)]);
        Ok(())
    }
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Crash { step, commands } => self.crash(step, *commands).await,
            Step::Race { first, commands, second } => self.race(first, *commands, second).await,
            Step::Spread { rooms } => self.spread(step, rooms).await,
            Step::Declared => Ok(self.declared(step).await?),
            plain => self.plain(plain).await,
        }
    }

    fn end(&mut self) {
        let entries = self.subject.trace().entries();
        if !entries.is_empty() {
            let held = crosses_slots(&entries).map_or(Ok(()), Err);
            self.fact(Topic::Slots, held);
        }
        let masters = self.masters;
        let budget = |verb: &str| match verb {
            "append" | "read" => 1,
            "append_replicated" => 2,
            "heads" => masters,
            _ => 4,
        };
        for held in self.trips.within(|verb| Some(budget(verb))) {
            self.record.fact(Topic::Trips, held);
        }
        self.fact(Topic::Verbs, no_walk(&entries));
    }

    fn aliases(&self) -> Vec<(String, String)> {
        self.rooms.iter().enumerate().map(|(i, room)| (room.to_string(), format!("r{}", i + 1))).collect()
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
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
}
