//! What a run's takes prove about windows, and what it left in Redis.

use std::collections::BTreeSet;

use chatlab_kit::{LabResult, check::stored_keys, redis::TraceEntry};

use crate::world::{Seen, Topic, World};

impl World<'_> {
    /// Looks for a window with too many takes.
    pub(crate) fn judge_windows(&mut self) {
        let permits = self.limit.permits as usize;
        for subject in 0..=self.at {
            let allowed: Vec<&Seen> =
                self.seen.iter().filter(|seen| seen.subject == subject && seen.decision.allowed).collect();
            let (most, within_ms) = worst_window(&allowed, self.limit.window_ms);
            if most > permits {
                let what = format!("{most} takes were allowed within {within_ms} ms");
                let limit = format!("{permits} in {} ms", self.limit.window_ms);
                self.fact(Topic::Over, Err(format!("{what}; the limit is {limit}")));
                return;
            }
        }
    }

    /// The subject's keys: those that a client named, and those that have the subject in their name.
    pub(crate) async fn keys_kept(&self) -> LabResult<BTreeSet<String>> {
        let mut kept = BTreeSet::new();
        for entry in self.subject.trace().entries() {
            kept.extend(keys_of(&entry));
        }
        kept.extend(stored_keys(&self.probe, &format!("*{}*", self.base)).await?);
        Ok(kept)
    }
}

/// The keys that a traced command names: of a script all that it declares, else the first argument.
fn keys_of(entry: &TraceEntry) -> Vec<String> {
    let command = &entry.command;
    let script = command.first().is_some_and(|verb| verb.to_uppercase().starts_with("EVAL"));
    let (from, count) =
        if script { (3, command.get(2).and_then(|count| count.parse().ok()).unwrap_or(0)) } else { (1, 1) };
    command.iter().skip(from).take(count).cloned().collect()
}

/// The most takes that lie for certain within one window, and within what time they do. `takes` are in order of time.
pub(crate) fn worst_window(takes: &[&Seen], window_ms: u64) -> (usize, u64) {
    let (mut most, mut within_ms, mut end) = (0, 0, 0);
    for (begin, first) in takes.iter().enumerate() {
        // Readings are cut to milliseconds: the real time between two takes is less than `to - from + 1`.
        while end < takes.len() && takes[end].to_ms.saturating_sub(first.from_ms) < window_ms {
            end += 1;
        }
        if end - begin > most {
            most = end - begin;
            within_ms = takes[end - 1].to_ms.saturating_sub(first.from_ms);
        }
        end = end.max(begin + 1);
    }
    (most, within_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decision;

    fn at(from_ms: u64, to_ms: u64) -> Seen {
        let decision = Decision { allowed: true, remaining: 0, retry_after_ms: 0 };
        Seen { subject: 0, from_ms, to_ms, decision }
    }

    #[test]
    fn only_what_lies_in_a_window_for_certain_counts() {
        let takes = [at(0, 1), at(90, 92), at(98, 99), at(99, 100), at(195, 197)];
        let all: Vec<&Seen> = takes.iter().collect();
        assert_eq!(worst_window(&all, 100), (3, 99));
        assert_eq!(worst_window(&all, 108), (4, 100));
        assert_eq!(worst_window(&all[..0], 100), (0, 0));
        assert_eq!(worst_window(&[&at(0, 500)], 100), (0, 0));
    }
}
