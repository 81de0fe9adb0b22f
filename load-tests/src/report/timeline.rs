//! A run over time, as far as it was recorded.

use crate::recorder::Latency;

/// What happened in one interval; what was not recorded is none.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// When it began, in seconds from the window's start.
    pub at_s: f64,
    /// How long it is, in seconds.
    pub long_s: f64,
    /// Response times of what was answered in it.
    pub response: Option<Latency>,
    /// Messages (operations) that were due.
    pub due: Option<u64>,
    /// Answers.
    pub done: Option<u64>,
    /// Errors of any kind.
    pub errors: Option<u64>,
    /// CPU of the chat servers in this interval: 1 is one whole core.
    pub server_cores: Option<f64>,
    /// The same of all Redis nodes.
    pub redis_cores: Option<f64>,
    /// The same of the generator.
    pub generator_cores: Option<f64>,
}

impl Second {
    /// Its middle, in seconds from the window's start.
    pub fn middle_s(&self) -> f64 {
        self.at_s + self.long_s / 2.0
    }
}

/// Something that was broken on purpose.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What was done.
    pub what: String,
    /// When, in seconds from the window's start.
    pub at_s: f64,
    /// When the service was whole again; none when it never was, or is not known.
    pub whole_s: Option<f64>,
    /// What was found, as names and values.
    pub found: Vec<(String, String)>,
}

/// A run's intervals and faults, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Intervals.
    pub seconds: Vec<Second>,
    /// Faults.
    pub faults: Vec<Fault>,
}

impl Timeline {
    /// When the last interval ended, in seconds; 0 without any.
    pub fn end_s(&self) -> f64 {
        self.seconds.last().map_or(0.0, |last| last.at_s + last.long_s)
    }

    /// Neighbouring intervals merged until there are at most `most`.
    #[must_use]
    pub(super) fn thinned(&self, most: usize) -> Self {
        let each = self.seconds.len().div_ceil(most.max(1)).max(1);
        let seconds = self.seconds.chunks(each).map(merge).collect();
        Self { seconds, faults: self.faults.clone() }
    }
}

fn merge(seconds: &[Second]) -> Second {
    let mut merged = seconds.first().cloned().unwrap_or_default();
    for next in &seconds[1..] {
        match (&mut merged.response, &next.response) {
            (Some(all), Some(one)) => all.merge(one),
            (all @ None, Some(one)) => *all = Some(one.clone()),
            _ => {}
        }
        let add = |all: &mut Option<u64>, one: Option<u64>| *all = all.zip(one).map(|(a, b)| a + b);
        add(&mut merged.due, next.due);
        add(&mut merged.done, next.done);
        add(&mut merged.errors, next.errors);
        let long = merged.long_s + next.long_s;
        let weigh = |all: &mut Option<f64>, one: Option<f64>| {
            *all = all.zip(one).map(|(a, b)| (a * merged.long_s + b * next.long_s) / long);
        };
        weigh(&mut merged.server_cores, next.server_cores);
        weigh(&mut merged.redis_cores, next.redis_cores);
        weigh(&mut merged.generator_cores, next.generator_cores);
        merged.long_s = long;
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn thinning_merges_neighbours_and_loses_nothing() {
        let second = |i: u32| Second {
            at_s: f64::from(i),
            long_s: 1.0,
            response: Some(testing::latency(1.0, 100)),
            done: Some(100),
            redis_cores: Some(f64::from(i)),
            ..Second::default()
        };
        let timeline = Timeline { seconds: (0..10).map(second).collect(), faults: Vec::new() };
        let thin = timeline.thinned(4);
        assert_eq!((thin.seconds.len(), thin.end_s()), (4, 10.0));
        assert_eq!(thin.seconds.iter().map(|s| s.done.unwrap()).sum::<u64>(), 1000);
        assert_eq!(thin.seconds.iter().map(|s| s.response.as_ref().unwrap().count()).sum::<u64>(), 1000);
        assert_eq!(thin.seconds[0].redis_cores, Some(1.0));
        assert_eq!((thin.seconds[0].due, thin.seconds[0].middle_s()), (None, 1.5));
    }
}
