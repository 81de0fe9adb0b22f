//! Whether a run's numbers can be believed.
//!
//! Pure: figures in, verdict and evidence out. The first cause that applies gives the verdict, in
//! the order generator, server, instability, because a late generator makes every other figure
//! doubtful, and an overloaded server explains most of what looks unstable.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// The numbers describe the server under the intended load.
    Valid,
    /// The generator could not keep its schedule: the numbers describe the generator.
    GeneratorBound,
    /// The server could not keep up: latencies grow with the length of the run.
    ServerBound,
    /// Something broke or stood still: the numbers would not repeat.
    Unstable,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "VALID",
            Self::GeneratorBound => "GENERATOR_BOUND",
            Self::ServerBound => "SERVER_BOUND",
            Self::Unstable => "UNSTABLE",
        })
    }
}

/// Where the lines are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The busiest generator thread's share of one core.
    pub thread_cpu: f64,
    /// The 99th percentile of the pacing error, in microseconds.
    pub pacing_p99_us: u64,
    /// The 99th percentile of how late the generator's runtimes woke up, in microseconds.
    pub runtime_lag_us: u64,
    /// The least share of the intended messages that must have been sent.
    pub achieved: f64,
    /// The last third's median delivery latency over the first third's …
    pub lag_growth: f64,
    /// … when it is also longer by this, in microseconds.
    pub lag_growth_us: u64,
    /// A 99.9th percentile of delivery over this, in microseconds, beside a median below a tenth
    /// of it, is a standstill.
    pub stall_us: u64,
    /// How many times the load the generator must be able to offer to a responder that does nothing.
    pub headroom: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            thread_cpu: 0.85,
            pacing_p99_us: 10_000,
            runtime_lag_us: 10_000,
            achieved: 0.99,
            lag_growth: 2.0,
            lag_growth_us: 10_000,
            stall_us: 250_000,
            headroom: 1.25,
        }
    }
}

/// The figures that a verdict rests on. Latencies in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Messages that were due in the window.
    pub intended: u64,
    /// Of them, sent.
    pub sent: u64,
    /// Of them, answered by an ack.
    pub acked: u64,
    /// The busiest generator thread's share of a core; none when unknown.
    pub busiest_thread: Option<f64>,
    /// The highest pacing percentile that samples allow, up to the 99th.
    pub pacing_p99_us: Option<u64>,
    /// The highest percentile of the runtimes' lag that samples allow, up to the 99th; none where there is no runtime.
    pub runtime_lag_us: Option<u64>,
    /// Arrivals that had to wait for the in-flight cap.
    pub cap_hits: u64,
    /// Connections that could not be opened or joined.
    pub connect_failures: u64,
    /// Connections that broke or were closed by the server.
    pub disconnects: u64,
    /// Error frames, and frames that could not be understood.
    pub error_frames: u64,
    /// Everything the ledger found wrong ([`crate::ledger::Totals::faults`]).
    pub ledger_faults: u64,
    /// Deliveries to subscribers.
    pub delivered: u64,
    /// Median delivery latency of messages due in the first third of the window.
    pub delivery_first_us: Option<u64>,
    /// The same of the last third.
    pub delivery_last_us: Option<u64>,
    /// Median delivery latency.
    pub delivery_p50_us: Option<u64>,
    /// The 99.9th percentile of delivery, or the maximum where samples do not suffice.
    pub delivery_tail_us: Option<u64>,
    /// Whether latency had not settled when the warm-up had to end, and how it went; none when nobody looked.
    pub unsettled: Option<(bool, String)>,
}

/// One rule: what was seen, where the line is, and which side it fell on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The rule's stable name.
    pub rule: String,
    /// What a broken rule makes of the run.
    pub means: Kind,
    /// What was seen.
    pub seen: String,
    /// What is allowed.
    pub limit: String,
    /// Whether the rule was kept.
    pub kept: bool,
}

/// A judgement and what it rests on: every rule, kept or broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The judgement.
    pub kind: Kind,
    /// All rules, in the order in which they were applied.
    pub evidence: Vec<Evidence>,
    /// Faults that were planned: rules that they are expected to break were judged outside their spans only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart_from: Option<String>,
}

impl Verdict {
    /// The broken rules.
    pub fn broken(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(|e| !e.kept)
    }

    /// Adds a rule that was applied after the others; the first cause stays the judgement.
    pub fn add(&mut self, evidence: Evidence) {
        if !evidence.kept && self.kind == Kind::Valid {
            self.kind = evidence.means;
        }
        self.evidence.push(evidence);
    }

    /// Whether the numbers may be shown as a result.
    pub fn is_valid(&self) -> bool {
        self.kind == Kind::Valid
    }
}

/// Judges a run.
pub fn judge(seen: &Observed, limits: &Limits) -> Verdict {
    let mut evidence = generator_rules(seen, limits);
    evidence.extend(server_rules(seen, limits));
    evidence.extend(stability_rules(seen, limits));
    let broken = |kind| evidence.iter().any(|e: &Evidence| !e.kept && e.means == kind);
    let kind = [Kind::GeneratorBound, Kind::ServerBound, Kind::Unstable]
        .into_iter()
        .find(|kind| broken(*kind))
        .unwrap_or(Kind::Valid);
    Verdict { kind, evidence, apart_from: None }
}

/// The rule that what was sent and what the servers counted are the same, but for what can be explained.
pub fn reconciled(unexplained: Option<u64>) -> Evidence {
    let seen = unexplained.map_or_else(|| "unknown".into(), |n| format!("{n} commands"));
    rule(Kind::Unstable, "reconciliation", unexplained.is_none_or(|n| n == 0), seen, "0 commands".into())
}

/// The rule that every connection that stopped reading was closed with a token, and came back by it.
pub fn slow_readers(came_back: usize, of: usize) -> Evidence {
    let kept = came_back == of;
    rule(
        Kind::Unstable,
        "slow_readers_resumed",
        kept,
        format!("{came_back} of {of}"),
        format!("{of} of {of}"),
    )
}

fn rule(means: Kind, rule: &str, kept: bool, seen: String, limit: String) -> Evidence {
    Evidence { rule: rule.to_owned(), means, seen, limit, kept }
}

fn none_allowed(means: Kind, name: &str, count: u64) -> Evidence {
    rule(means, name, count == 0, count.to_string(), "0".into())
}

fn us(value: Option<u64>) -> String {
    value.map_or_else(|| "unknown".into(), |us| format!("{:.1} ms", us as f64 / 1000.0))
}

fn generator_rules(seen: &Observed, limits: &Limits) -> Vec<Evidence> {
    use Kind::GeneratorBound;
    let busiest = seen.busiest_thread;
    let share = if seen.intended == 0 { 0.0 } else { seen.sent as f64 / seen.intended as f64 };
    // Held back by the cap, or by connections that broke, the generator is not to blame.
    let excused = seen.cap_hits > 0 || seen.disconnects > 0 || seen.connect_failures > 0;
    vec![
        rule(
            GeneratorBound,
            "generator_thread_cpu",
            busiest.is_none_or(|share| share <= limits.thread_cpu),
            busiest.map_or_else(|| "unknown".into(), |share| format!("{:.0} %", share * 100.0)),
            format!("{:.0} %", limits.thread_cpu * 100.0),
        ),
        rule(
            GeneratorBound,
            "pacing_error_p99",
            excused || seen.pacing_p99_us.is_none_or(|us| us <= limits.pacing_p99_us),
            us(seen.pacing_p99_us),
            us(Some(limits.pacing_p99_us)),
        ),
        rule(
            GeneratorBound,
            "runtime_lag_p99",
            seen.runtime_lag_us.is_none_or(|us| us <= limits.runtime_lag_us),
            us(seen.runtime_lag_us),
            us(Some(limits.runtime_lag_us)),
        ),
        rule(
            GeneratorBound,
            "achieved_rate",
            excused || share >= limits.achieved,
            format!("{:.2} %", share * 100.0),
            format!("{:.2} %", limits.achieved * 100.0),
        ),
    ]
}

fn server_rules(seen: &Observed, limits: &Limits) -> Vec<Evidence> {
    use Kind::ServerBound;
    let grows = match (seen.delivery_first_us, seen.delivery_last_us) {
        (Some(first), Some(last)) => {
            last as f64 > first as f64 * limits.lag_growth && last > first + limits.lag_growth_us
        }
        // The first third got through and the last one did not.
        (Some(_), None) => true,
        _ => false,
    };
    vec![
        rule(
            ServerBound,
            "delivery_lag_growth",
            !grows,
            format!("{} → {}", us(seen.delivery_first_us), us(seen.delivery_last_us)),
            format!("×{} and +{}", limits.lag_growth, us(Some(limits.lag_growth_us))),
        ),
        none_allowed(ServerBound, "in_flight_cap_hits", seen.cap_hits),
    ]
}

fn stability_rules(seen: &Observed, limits: &Limits) -> Vec<Evidence> {
    use Kind::Unstable;
    let tail = seen.delivery_tail_us;
    let stalled = match (seen.delivery_p50_us, tail) {
        (Some(median), Some(tail)) => tail > limits.stall_us && median < limits.stall_us / 10,
        _ => false,
    };
    let settled = seen.unsettled.as_ref().map(|(unsettled, told)| {
        rule(Unstable, "settled", !unsettled, told.clone(), "before the warm-up's bound".into())
    });
    let mut rules = vec![
        none_allowed(Unstable, "connect_failures", seen.connect_failures),
        none_allowed(Unstable, "disconnects", seen.disconnects),
        none_allowed(Unstable, "error_frames", seen.error_frames),
        none_allowed(Unstable, "unanswered_sends", seen.sent.saturating_sub(seen.acked)),
        none_allowed(Unstable, "unsent_messages", seen.intended.saturating_sub(seen.sent)),
        none_allowed(Unstable, "ledger_faults", seen.ledger_faults),
        rule(
            Unstable,
            "something_measured",
            seen.acked > 0 && seen.delivered > 0,
            format!("{} acks, {} deliveries", seen.acked, seen.delivered),
            "1 of each".into(),
        ),
        rule(Unstable, "standstill", !stalled, us(tail), us(Some(limits.stall_us))),
    ];
    rules.extend(settled);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Observed {
        Observed {
            intended: 1000,
            sent: 1000,
            acked: 1000,
            busiest_thread: Some(0.3),
            pacing_p99_us: Some(400),
            runtime_lag_us: Some(1_200),
            delivered: 100_000,
            delivery_first_us: Some(2_000),
            delivery_last_us: Some(2_100),
            delivery_p50_us: Some(2_000),
            delivery_tail_us: Some(9_000),
            ..Observed::default()
        }
    }

    fn verdict(change: impl Fn(&mut Observed)) -> (Kind, Vec<String>) {
        let mut seen = good();
        change(&mut seen);
        let verdict = judge(&seen, &Limits::default());
        (verdict.kind, verdict.broken().map(|e| e.rule.clone()).collect())
    }

    fn only(kind: Kind, rule: &str) -> (Kind, Vec<String>) {
        (kind, vec![rule.to_owned()])
    }

    #[test]
    fn a_good_run_is_valid_and_shows_every_rule_it_kept() {
        let verdict = judge(&good(), &Limits::default());
        assert!(verdict.is_valid() && verdict.broken().count() == 0);
        assert_eq!(verdict.evidence.len(), 14);
    }

    #[test]
    fn a_late_or_busy_generator_is_generator_bound() {
        use Kind::GeneratorBound;
        assert_eq!(verdict(|o| o.busiest_thread = Some(0.9)), only(GeneratorBound, "generator_thread_cpu"));
        assert_eq!(verdict(|o| o.pacing_p99_us = Some(11_000)), only(GeneratorBound, "pacing_error_p99"));
        assert_eq!(verdict(|o| o.runtime_lag_us = Some(11_000)), only(GeneratorBound, "runtime_lag_p99"));
        let (kind, rules) = verdict(|o| (o.sent, o.acked) = (900, 900));
        assert_eq!(kind, GeneratorBound);
        assert!(rules.contains(&"achieved_rate".into()));
    }

    #[test]
    fn an_overloaded_server_is_server_bound() {
        use Kind::ServerBound;
        assert_eq!(verdict(|o| o.delivery_last_us = Some(80_000)), only(ServerBound, "delivery_lag_growth"));
        assert_eq!(verdict(|o| o.delivery_last_us = None), only(ServerBound, "delivery_lag_growth"));
        let held_back = verdict(|o| (o.cap_hits, o.pacing_p99_us) = (40, Some(900_000)));
        assert_eq!(held_back, only(ServerBound, "in_flight_cap_hits"));
    }

    #[test]
    fn whatever_broke_or_stood_still_is_unstable() {
        use Kind::Unstable;
        assert_eq!(verdict(|o| o.ledger_faults = 1), only(Unstable, "ledger_faults"));
        assert_eq!(verdict(|o| o.disconnects = 1), only(Unstable, "disconnects"));
        assert_eq!(verdict(|o| o.connect_failures = 1), only(Unstable, "connect_failures"));
        assert_eq!(verdict(|o| o.error_frames = 1), only(Unstable, "error_frames"));
        assert_eq!(verdict(|o| o.acked = 999), only(Unstable, "unanswered_sends"));
        assert_eq!(verdict(|o| o.delivery_tail_us = Some(300_000)), only(Unstable, "standstill"));
        assert_eq!(verdict(|o| o.delivered = 0), only(Unstable, "something_measured"));
        assert_eq!(verdict(|o| o.unsettled = Some((true, "1 → 9 ms".into()))), only(Unstable, "settled"));
        assert_eq!(verdict(|o| o.unsettled = Some((false, String::new()))).0, Kind::Valid);
    }

    #[test]
    fn a_difference_that_nobody_explains_makes_a_valid_run_unstable() {
        for (unexplained, kind) in [(None, Kind::Valid), (Some(0), Kind::Valid), (Some(3), Kind::Unstable)] {
            let mut verdict = judge(&good(), &Limits::default());
            verdict.add(reconciled(unexplained));
            assert_eq!(verdict.kind, kind);
        }
        let mut bound = judge(&Observed { cap_hits: 1, ..good() }, &Limits::default());
        bound.add(reconciled(Some(1)));
        assert_eq!((bound.kind, bound.broken().count()), (Kind::ServerBound, 2));
    }

    #[test]
    fn small_growth_and_a_slow_but_steady_server_are_no_cause() {
        assert_eq!(verdict(|o| o.delivery_last_us = Some(9_000)).0, Kind::Valid);
        let slow =
            |o: &mut Observed| (o.delivery_p50_us, o.delivery_tail_us) = (Some(200_000), Some(400_000));
        assert_eq!(verdict(slow).0, Kind::Valid);
        assert_eq!(verdict(|o| o.busiest_thread = None).0, Kind::Valid);
    }
}
