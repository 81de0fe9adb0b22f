//! Several searches in turns, so that a machine that drifts drifts for all of them, and their knees side by side.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{End, Knee, Outcome, Probe, Search, Seen, Why, headline};
use crate::report::{clip, wrap};

/// Searches that take turns. A turn is one probe on servers that are started for it and those that follow on the same servers;
/// the order is there and back again.
#[derive(Clone, Debug)]
pub struct Turns {
    searches: Vec<Search>,
    /// Those of this round who have not had their turn, the next one last.
    round: Vec<usize>,
    rounds: usize,
}

impl Turns {
    /// Of searches that have not begun.
    pub fn new(searches: Vec<Search>) -> Self {
        Self { searches, round: Vec::new(), rounds: 0 }
    }

    /// Whose turn it is; none when all are at their end.
    pub fn next_turn(&mut self) -> Option<usize> {
        if self.searches.iter().all(|search| search.next().is_none()) {
            return None;
        }
        loop {
            if self.round.is_empty() {
                self.round = (0..self.searches.len()).collect();
                if self.rounds.is_multiple_of(2) {
                    self.round.reverse();
                }
                self.rounds += 1;
            }
            let which = self.round.pop()?;
            if self.searches.get(which)?.next().is_some() {
                return Some(which);
            }
        }
    }

    /// One of them.
    pub fn search(&mut self, which: usize) -> Option<&mut Search> {
        self.searches.get_mut(which)
    }

    /// What they found.
    pub fn finish(self) -> Beside {
        Beside::new(self.searches.into_iter().map(Search::finish).collect())
    }
}

/// How many times the load of another one the first one bears.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// What is kept over what is kept.
    pub kept: f64,
    /// What is kept over what the other one misses: it is not less.
    pub at_least: Option<f64>,
    /// What is missed over what the other one keeps: it is not more. None where the first one's limit was not reached.
    pub at_most: Option<f64>,
}

/// Knees that were searched in turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Each; the first is what the others are compared with.
    pub knees: Vec<Knee>,
    /// How many times what the second and further ones bear the first one bears; none where that can't be said.
    pub times: Vec<Option<Times>>,
}

impl Beside {
    /// Of finished searches.
    pub fn new(knees: Vec<Knee>) -> Self {
        let times = knees.iter().skip(1).map(|other| times(knees.first()?, other)).collect();
        Self { knees, times }
    }

    /// Whether every edge was found and is certain.
    pub fn is_found(&self) -> bool {
        self.knees.iter().all(Knee::is_found)
    }

    /// For people, at most [`crate::report::WIDTH`] columns, without colour.
    pub fn terminal(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        for (nth, knee) in self.knees.iter().enumerate() {
            let _ = writeln!(out, "{}  {}", letter(nth), knee.title);
        }
        let objective = self.knees.first().map_or(0.0, |knee| knee.options.objective_ms);
        let _ = writeln!(out, "\nSearched in turns: the highest rate with p99 ≤ {objective} ms\n");
        for (nth, knee) in self.knees.iter().enumerate() {
            let _ = writeln!(out, "{}", wrap(&format!("{}  {}", letter(nth), headline(knee)), "   "));
        }
        for (nth, times) in self.times.iter().enumerate() {
            let _ = writeln!(out, "{}", wrap(&said(nth + 1, *times), "   "));
        }
        let _ = writeln!(
            out,
            "\n{:<3}{:>9}{:>10}{:>14}{:>10}{:>12}{:>14}{:>8}",
            "", "kept/s", "missed/s", "deliveries/s", "p99, ms", "server, µs", "generator, µs", "RSS"
        );
        for (nth, knee) in self.knees.iter().enumerate() {
            row(&mut out, nth, knee);
        }
        let _ = writeln!(
            out,
            "\n  Means of the runs that kept that rate. server, generator: CPU a delivery;\n  RSS: of the servers, MiB."
        );
        clip(&out)
    }
}

/// A, B, C, …
fn letter(nth: usize) -> char {
    char::from(b'A' + (nth % 26) as u8)
}

fn times(first: &Knee, other: &Knee) -> Option<Times> {
    let certain = |knee: &Knee| matches!(knee.end, End::Found | End::AtMost | End::Generator);
    // A limit of the other one that was not reached may be anywhere.
    if !certain(first) || other.end != End::Found {
        return None;
    }
    let (kept, others) = (first.kept?, other.kept?);
    Some(Times {
        kept: kept / others,
        at_least: other.missed.map(|missed| kept / missed),
        at_most: first.missed.filter(|_| first.is_found()).map(|missed| missed / others),
    })
}

fn said(nth: usize, times: Option<Times>) -> String {
    let other = letter(nth);
    match times {
        None => format!("   How much more or less than {other} A bears is not known."),
        Some(Times { kept, at_least, at_most }) => {
            let from = at_least.map_or_else(String::new, |times| format!(", not less than {times:.2}"));
            let to =
                at_most.map_or(" and perhaps more".to_owned(), |times| format!(", not more than {times:.2}"));
            format!("   A bears {kept:.2} times what {other} bears{from}{to}.")
        }
    }
}

fn row(out: &mut String, nth: usize, knee: &Knee) {
    let none = || "–".to_owned();
    let at_edge: Vec<&Seen> =
        knee.probes.iter().filter(|probe| is_edge(knee, probe)).map(|probe| &probe.seen).collect();
    let mean = |read: &dyn Fn(&Seen) -> Option<f64>| -> Option<f64> {
        let values: Vec<f64> = at_edge.iter().filter_map(|seen| read(seen)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let shown =
        |value: Option<f64>, digits: usize| value.map_or_else(none, |value| format!("{value:.digits$}"));
    let _ = writeln!(
        out,
        "{:<3}{:>9}{:>10}{:>14}{:>10}{:>12}{:>14}{:>8}",
        letter(nth),
        shown(knee.kept, 0),
        shown(knee.missed, 0),
        shown(mean(&|seen| seen.delivered_per_s), 0),
        shown(mean(&|seen| Some(seen.p99_us? as f64 / 1000.0)), 2),
        shown(mean(&|seen| seen.server_us), 2),
        shown(mean(&|seen| seen.generator_us), 2),
        shown(mean(&|seen| Some(seen.server_rss_bytes? as f64 / f64::from(1 << 20))), 1),
    );
}

/// Whether a probe kept the rate that is kept at the end, on servers of its own.
fn is_edge(knee: &Knee, probe: &Probe) -> bool {
    let Probe { ask, outcome, .. } = probe;
    Some(ask.rate) == knee.kept && !ask.same_servers && ask.why != Why::Overload && *outcome == Outcome::Kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{knee::Options, report::WIDTH, verdict::Kind};

    /// Keeps 50 ms up to a rate; the generator gives out at another.
    fn cliff(rate: f64, server: f64, generator: f64) -> Seen {
        let kind = match rate {
            _ if rate > generator => Kind::GeneratorBound,
            _ if rate > server => Kind::ServerBound,
            _ => Kind::Valid,
        };
        Seen {
            kind,
            p99_us: Some(9_000),
            max_us: Some(20_000),
            achieved_per_s: rate,
            delivered_per_s: Some(rate * 100.0),
            server_us: Some(8.0),
            generator_us: None,
            server_rss_bytes: Some(64 << 20),
        }
    }

    fn turns(systems: &[(f64, f64)]) -> (Beside, Vec<usize>) {
        let searches = systems.iter().map(|_| Search::new("synthetic", Options::default())).collect();
        let (mut turns, mut order) = (Turns::new(searches), Vec::new());
        while let Some(which) = turns.next_turn() {
            order.push(which);
            let (search, (server, generator)) = (turns.search(which).unwrap(), systems[which]);
            while let Some(ask) = search.next() {
                search.put(cliff(ask.rate, server, generator));
                if search.next().is_none_or(|next| !next.same_servers) {
                    break;
                }
            }
        }
        (turns.finish(), order)
    }

    #[test]
    fn searches_take_turns_there_and_back_until_each_is_at_its_end() {
        let (beside, order) = turns(&[(1_340.0, 1e9), (670.0, 1e9)]);
        assert_eq!(order[..8], [0, 1, 1, 0, 0, 1, 1, 0]);
        assert!(beside.is_found());
        let [a, b] = &beside.knees[..] else { panic!("two") };
        assert!(a.kept.unwrap() <= 1_340.0 && a.missed.unwrap() > 1_340.0);
        assert!(b.kept.unwrap() <= 670.0 && b.missed.unwrap() > 670.0);
        let times = beside.times[0].unwrap();
        assert!(times.at_least.unwrap() <= 2.0 && 2.0 <= times.at_most.unwrap(), "{times:?}");
        assert!((times.kept - 2.0).abs() < 0.15, "{times:?}");
        let text = beside.terminal();
        assert!(text.contains("A bears") && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("64.0") && text.contains("8.00"), "{text}");
    }

    #[test]
    fn a_limit_that_was_not_reached_is_at_least_there_and_as_the_yardstick_says_nothing() {
        let (beside, _) = turns(&[(1e9, 1_500.0), (670.0, 1e9)]);
        assert!(!beside.is_found());
        let times = beside.times[0].unwrap();
        assert!(times.at_most.is_none() && times.at_least.unwrap() > 1.9, "{times:?}");
        assert!(beside.terminal().contains("perhaps more"));
        let (other_way, _) = turns(&[(670.0, 1e9), (1e9, 1_500.0)]);
        assert_eq!(other_way.times, [None]);
        assert!(other_way.terminal().contains("not known"));
    }

    #[test]
    fn one_alone_and_three_are_served_too() {
        assert_eq!(turns(&[(300.0, 1e9)]).0.times, []);
        let (three, order) = turns(&[(300.0, 1e9), (600.0, 1e9), (900.0, 1e9)]);
        assert_eq!((order[..6].to_vec(), three.times.len()), (vec![0, 1, 2, 2, 1, 0], 2));
    }
}
