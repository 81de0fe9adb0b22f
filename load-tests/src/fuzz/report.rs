//! What a run found: counts by layer and answer, what honest clients saw, and every failure with what is needed to see it again.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;

use super::{
    Kind, MAX_GROWTH_BYTES, Options,
    case::{Case, Layer},
    play::{ANSWER_BOUND, Played},
    watch::{Log, Look, Memory},
};
use crate::report::clip;

/// The most kinds of answer that are told apart in a layer.
const MAX_ANSWERS: usize = 200;

/// Counts of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections.
    pub cases: u64,
    /// What they sent besides what got them there.
    pub inputs: u64,
    /// In bytes, all together.
    pub bytes: u64,
    /// What the server answered, and how connections ended.
    pub answers: BTreeMap<String, u64>,
}

/// What is counted while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    layers: BTreeMap<Layer, Counts>,
    probes: Vec<Duration>,
}

impl Tally {
    pub(super) fn add(&mut self, case: &Case, played: &Played) {
        let counts = self.layers.entry(case.layer).or_default();
        counts.cases += 1;
        counts.inputs += case.inputs();
        counts.bytes += played.sent;
        for label in &played.labels {
            let known = counts.answers.contains_key(label) || counts.answers.len() < MAX_ANSWERS;
            let label = if known { label.as_str() } else { "other" };
            *counts.answers.entry(label.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn probe(&mut self, took: Duration) {
        self.probes.push(took);
    }
}

/// What was wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// In a sentence.
    pub what: String,
    /// With which case, where it is known.
    pub case: Option<u64>,
    /// The case itself, what was heard, and how to play it again: enough to see it without this program.
    pub reproduction: Option<serde_json::Value>,
}

impl Failure {
    pub(super) fn of_run(what: String) -> Self {
        Self { what, case: None, reproduction: None }
    }

    pub(super) fn of_case(what: String, case: &Case, options: &Options, heard: &[String]) -> Self {
        let (kind, seed, number) = (options.kind, options.seed, case.number);
        let reproduction = serde_json::json!({
            "what": what,
            "kind": kind,
            "seed": seed,
            "again": again(kind, seed, number),
            "case": case,
            "heard": heard,
        });
        Self { what, case: Some(number), reproduction: Some(reproduction) }
    }
}

fn again(kind: Kind, seed: u64, number: u64) -> String {
    format!("chatlab dev fuzz {kind} --seed {seed} --case {number}")
}

/// How honest clients were served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Served {
    /// How often they asked.
    pub probes: usize,
    /// The median time, in microseconds.
    pub p50_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

impl Served {
    fn of(mut probes: Vec<Duration>) -> Self {
        probes.sort_unstable();
        let us = |took: Option<&Duration>| took.map_or(0, |took| took.as_micros() as u64);
        Self { probes: probes.len(), p50_us: us(probes.get(probes.len() / 2)), max_us: us(probes.last()) }
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was fuzzed.
    pub kind: Kind,
    /// From which seed.
    pub seed: u64,
    /// For how long, in seconds.
    pub took_s: f64,
    /// How many connections at a time.
    pub clients: usize,
    /// Each layer's counts.
    pub layers: BTreeMap<Layer, Counts>,
    /// How honest clients were served meanwhile.
    pub honest: Served,
    /// Resident memory of the server; none of a run too short to tell.
    pub memory: Option<Memory>,
    /// The server before the run.
    pub before: Look,
    /// The server when it had let go of everything, or could have.
    pub after: Look,
    /// How long that took, in seconds.
    pub released_s: f64,
    /// Its log.
    pub log: Log,
    /// What was wrong.
    pub failures: Vec<Failure>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        tally: Tally,
        failures: Vec<Failure>,
        (before, after, release): (Look, Look, Duration),
        memory: Option<Memory>,
        log: Log,
        took: Duration,
    ) -> Self {
        Self {
            kind: options.kind,
            seed: options.seed,
            took_s: took.as_secs_f64(),
            clients: options.clients,
            layers: tally.layers,
            honest: Served::of(tally.probes),
            memory,
            before,
            after,
            released_s: release.as_secs_f64(),
            log,
            failures,
        }
    }

    /// Whether the server did nothing wrong.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// How often the server gave an answer, in all layers.
    pub fn count(&self, answer: &str) -> u64 {
        self.layers.values().filter_map(|layer| layer.answers.get(answer)).sum()
    }

    /// For people, at most [`crate::report::WIDTH`] columns.
    pub fn terminal(&self) -> String {
        let mut out = String::new();
        let sum = |of: fn(&Counts) -> u64| self.layers.values().map(of).sum::<u64>();
        // Writing to a String can't fail.
        let _ = writeln!(
            out,
            "{}, seed {}: {:.0} s, {} cases with {} inputs, {:.1} MiB, {} at a time\n",
            self.kind,
            self.seed,
            self.took_s,
            sum(|c| c.cases),
            sum(|c| c.inputs),
            mib(sum(|c| c.bytes)),
            self.clients
        );
        for (layer, counts) in &self.layers {
            let name = serde_json::to_value(layer).ok();
            let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
            let _ = writeln!(
                out,
                "{name:<10}{:>9} cases{:>10} inputs{:>9.1} MiB",
                counts.cases,
                counts.inputs,
                mib(counts.bytes)
            );
            for (answer, n) in &counts.answers {
                let _ = writeln!(out, "  {n:>9} × {answer}");
            }
        }
        self.show_server(&mut out);
        for failure in &self.failures {
            let _ = writeln!(out, "WRONG: {}", failure.what);
            if let Some(number) = failure.case {
                let _ = writeln!(out, "  again: {}", again(self.kind, self.seed, number));
            }
        }
        let _ = writeln!(out, "{}", if self.passed() { "nothing was wrong" } else { "the server FAILED" });
        clip(&out)
    }

    fn show_server(&self, out: &mut String) {
        let Served { probes, p50_us, max_us } = self.honest;
        let ms = |us: u64| us as f64 / 1000.0;
        let _ = writeln!(
            out,
            "\nhonest clients  {probes} times, p50 {:.1} ms, longest {:.1} ms (bound {:.0} s)",
            ms(p50_us),
            ms(max_us),
            ANSWER_BOUND.as_secs_f64()
        );
        if let Some(memory) = self.memory {
            let Memory { before, middle, end, highest } = memory;
            let _ = writeln!(
                out,
                "memory, MiB     {:.1} before, {:.1} at half, {:.1} at the end, highest {:.1}",
                mib(before),
                mib(middle),
                mib(end),
                mib(highest)
            );
            let _ = writeln!(
                out,
                "                grown by {:.2} in the second half (bound {:.0})",
                mib(memory.growth()),
                mib(MAX_GROWTH_BYTES)
            );
        }
        let (before, after) = (self.before, self.after);
        let descriptors = |look: Look| look.descriptors.map_or("?".to_owned(), |n| n.to_string());
        let _ = writeln!(
            out,
            "let go          sockets {} → {}, rooms {} → {}, descriptors {} → {}, in {:.1} s",
            before.sockets,
            after.sockets,
            before.rooms,
            after.rooms,
            descriptors(before),
            descriptors(after),
            self.released_s
        );
        let _ = writeln!(
            out,
            "panics          {} counted, {} lines in a log of {:.1} KiB",
            after.panics - before.panics,
            self.log.panics.len(),
            self.log.bytes as f64 / 1024.0
        );
        for line in &self.log.panics {
            let _ = writeln!(out, "  {line}");
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
