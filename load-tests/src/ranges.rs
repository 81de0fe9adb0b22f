//! Sets of sequences that are nearly without holes, in little memory.

use serde::{Deserialize, Serialize};

/// The most separate ranges in one set of sequences.
pub const MAX_RANGES: usize = 4096;
/// No range: its end is before its beginning.
const NONE: (u64, u64) = (1, 0);

/// A set of sequences as sorted, separate, inclusive ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    /// The newest range, or [`NONE`]: what is in order only makes it longer, and looks nowhere else in memory.
    last: (u64, u64),
    /// Those before it.
    older: Vec<(u64, u64)>,
    pub(crate) overflowed: u64,
}

impl Default for RangeSet {
    fn default() -> Self {
        Self { last: NONE, older: Vec::new(), overflowed: 0 }
    }
}

impl RangeSet {
    /// How many ranges it is.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ranges().count()
    }

    fn last(&self) -> Option<&(u64, u64)> {
        Some(&self.last).filter(|last| **last != NONE)
    }

    fn ranges(&self) -> impl Iterator<Item = &(u64, u64)> {
        self.older.iter().chain(self.last())
    }

    /// All ranges in `older`, until [`RangeSet::split`].
    fn join(&mut self) {
        self.older.extend(self.last().copied());
    }

    fn split(&mut self) {
        self.last = self.older.pop().unwrap_or(NONE);
    }

    /// Adds a sequence; false when it was there already (or the set is full).
    pub fn insert(&mut self, seq: u64) -> bool {
        self.insert_within(seq, &mut { MAX_RANGES })
    }

    /// The same with a budget of ranges that several sets share: it pays for each that is opened, and gets back each that
    /// is closed.
    pub fn insert_within(&mut self, seq: u64, spare: &mut usize) -> bool {
        // The common case: the sequence after the last one.
        if seq == self.last.1 + 1 && self.last != NONE {
            self.last.1 = seq;
            return true;
        }
        self.join();
        let new = self.insert_among(seq, spare);
        self.split();
        new
    }

    /// While all ranges are in `older`.
    fn insert_among(&mut self, seq: u64, spare: &mut usize) -> bool {
        let ranges = &mut self.older;
        let at = ranges.partition_point(|r| r.1 < seq);
        if ranges.get(at).is_some_and(|r| r.0 <= seq) {
            return false;
        }
        let joins_left = at > 0 && ranges[at - 1].1 + 1 == seq;
        let joins_right = ranges.get(at).is_some_and(|r| r.0 == seq + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                ranges[at - 1].1 = ranges[at].1;
                ranges.remove(at);
                *spare += 1;
            }
            (true, false) => ranges[at - 1].1 = seq,
            (false, true) => ranges[at].0 = seq,
            (false, false) if ranges.len() >= MAX_RANGES || *spare == 0 => {
                self.overflowed += 1;
                return false;
            }
            (false, false) => {
                ranges.insert(at, (seq, seq));
                *spare -= 1;
            }
        }
        true
    }

    /// Whether a sequence is in the set.
    pub fn contains(&self, seq: u64) -> bool {
        let within = |range: &(u64, u64)| (range.0..=range.1).contains(&seq);
        let at = self.older.partition_point(|r| r.1 < seq);
        self.last().is_some_and(within) || self.older.get(at).is_some_and(within)
    }

    /// The highest sequence; 0 when there is none.
    pub fn highest(&self) -> u64 {
        self.last.1
    }

    /// How many sequences over `base` are in the set.
    pub fn count_over(&self, base: u64) -> u64 {
        self.ranges().map(|r| (r.1 + 1).saturating_sub(r.0.max(base + 1))).sum()
    }

    /// How many sequences over `base` and up to the highest are not in the set.
    pub fn holes_over(&self, base: u64) -> u64 {
        self.highest().saturating_sub(base).saturating_sub(self.count_over(base))
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Self) {
        self.merge_all([other].into_iter());
    }

    /// Adds all of several sets, at the price of one sort.
    pub fn merge_all<'a>(&mut self, others: impl Iterator<Item = &'a Self>) {
        self.join();
        let mut all = std::mem::take(&mut self.older);
        for other in others {
            all.extend(other.ranges());
            self.overflowed += other.overflowed;
        }
        all.sort_unstable();
        for (from, to) in all {
            match self.older.last_mut() {
                Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
                _ => self.older.push((from, to)),
            }
        }
        self.split();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_stays_bounded_and_says_so() {
        let mut set = RangeSet::default();
        (0..MAX_RANGES as u64 + 10).for_each(|i| {
            set.insert(i * 2 + 1);
        });
        assert_eq!((set.len(), set.overflowed), (MAX_RANGES, 10));
    }

    #[test]
    fn ranges_agree_with_a_plain_set() {
        let mut rng = 12345u64;
        let (mut set, mut plain) = (RangeSet::default(), std::collections::BTreeSet::new());
        for _ in 0..2000 {
            rng = rng.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let seq = (rng >> 33) % 500 + 1;
            assert_eq!(set.insert(seq), plain.insert(seq));
            assert!(set.contains(seq));
        }
        assert_eq!(set.count_over(100), plain.range(101..).count() as u64);
        let ranges: Vec<_> = set.ranges().collect();
        assert!(ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0));
        assert_eq!(set.highest(), *plain.last().unwrap());
        // In halves that are put together again.
        let (mut odd, mut even) = (RangeSet::default(), RangeSet::default());
        plain.iter().for_each(|seq| assert!(if seq % 2 == 0 { &mut even } else { &mut odd }.insert(*seq)));
        odd.merge(&even);
        assert!(odd.ranges().eq(ranges), "{odd:?}");
    }
}
