//! A knee for a terminal.

use std::fmt::Write;

use super::{End, Hysteresis, Knee};
use crate::report::{clip, wrap};

/// For people, at most [`crate::report::WIDTH`] columns, without colour.
pub fn terminal(knee: &Knee) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "Knee     {}\n         p99 ≤ {} ms\n", knee.title, knee.options.objective_ms);
    let _ = writeln!(out, "{}", wrap(&headline(knee), ""));
    let _ = writeln!(out, "{}", wrap(&way_back(knee), ""));
    let _ = writeln!(
        out,
        "\n{:>3}  {:<10}{:>12}{:>12}{:>11}  {:<16}says",
        "", "why", "rate/s", "done/s", "p99, ms", "verdict"
    );
    for (at, probe) in knee.probes.iter().enumerate() {
        let p99 = probe.seen.p99_us.map_or_else(|| "–".into(), |us| format!("{:.2}", us as f64 / 1000.0));
        let _ = writeln!(
            out,
            "{:>3}  {:<10}{:>12.1}{:>12.1}{p99:>11}  {:<16}{}",
            at + 1,
            probe.ask.why.to_string(),
            probe.ask.rate,
            probe.seen.achieved_per_s,
            probe.seen.kind.to_string(),
            probe.outcome
        );
    }
    clip(&out)
}

/// The result in a sentence.
pub(crate) fn headline(knee: &Knee) -> String {
    let per_s = |rate: Option<f64>| rate.map_or_else(|| "nothing".into(), |rate| format!("{rate:.0}/s"));
    match &knee.end {
        End::Found => {
            format!("The objective is kept up to {} and missed at {}.", per_s(knee.kept), per_s(knee.missed))
        }
        End::AtMost => format!("At least {}: no higher rate was allowed.", per_s(knee.kept)),
        End::Generator => format!(
            "At least {}: beyond it the generator gave out, not the server. More generator threads or processes \
             would tell.",
            per_s(knee.kept)
        ),
        End::BelowLeast => {
            format!("Not even {:.0}/s is kept, the lowest rate that was allowed.", knee.options.least)
        }
        End::TooFewSamples { rate } => format!(
            "No result: at {rate:.0}/s there were too few samples for a 99th percentile. Take a longer window or a \
             higher first rate."
        ),
        End::OutOfProbes => format!(
            "No certain result: the {} probes that were allowed are used up. Kept so far: {}, missed: {}.",
            knee.options.max_probes,
            per_s(knee.kept),
            per_s(knee.missed)
        ),
    }
}

/// What the way back from an overload says.
pub(crate) fn way_back(knee: &Knee) -> String {
    match &knee.hysteresis {
        Hysteresis::NotChecked => "The way back from an overload was not looked at.".into(),
        Hysteresis::Recovered { run: 1 } => "After an overload it recovers at once.".into(),
        Hysteresis::Recovered { run } => {
            format!("After an overload it recovers, but only in run {run} at that rate.")
        }
        Hysteresis::LetGoAt { rate } => format!(
            "It holds an overload: approached from above, the rate is kept only at {rate:.0}/s. Do not run it near \
             the knee without load shedding."
        ),
        Hysteresis::Stuck { lowest } => format!(
            "It does not recover from an overload: not even {lowest:.0}/s is kept by the same servers afterwards."
        ),
    }
}
