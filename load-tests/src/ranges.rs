//! Sets of sequences that are nearly without holes, in little memory.

use serde::{Deserialize, Serialize};

/// The most separate ranges in one set of sequences.
pub const MAX_RANGES: usize = 4096;
/// A set of sequences as sorted, separate, inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    pub(crate) ranges: Vec<(u64, u64)>,
    pub(crate) overflowed: u64,
}

impl RangeSet {
    /// Adds a sequence; false when it was there already (or the set is full).
    pub fn insert(&mut self, seq: u64) -> bool {
        self.insert_within(seq, &mut { MAX_RANGES })
    }

    /// The same with a budget of ranges that several sets share: it pays for each that is opened, and gets back each that
    /// is closed.
    pub fn insert_within(&mut self, seq: u64, spare: &mut usize) -> bool {
        // The common case: the sequence after the last one.
        if let Some(last) = self.ranges.last_mut()
            && seq == last.1 + 1
        {
            last.1 = seq;
            return true;
        }
        let at = self.ranges.partition_point(|r| r.1 < seq);
        if self.ranges.get(at).is_some_and(|r| r.0 <= seq) {
            return false;
        }
        let joins_left = at > 0 && self.ranges[at - 1].1 + 1 == seq;
        let joins_right = self.ranges.get(at).is_some_and(|r| r.0 == seq + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
                *spare += 1;
            }
            (true, false) => self.ranges[at - 1].1 = seq,
            (false, true) => self.ranges[at].0 = seq,
            (false, false) if self.ranges.len() >= MAX_RANGES || *spare == 0 => {
                self.overflowed += 1;
                return false;
            }
            (false, false) => {
                self.ranges.insert(at, (seq, seq));
                *spare -= 1;
            }
        }
        true
    }

    /// Whether a sequence is in the set.
    pub fn contains(&self, seq: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < seq);
        self.ranges.get(at).is_some_and(|r| r.0 <= seq)
    }

    /// The highest sequence; 0 when there is none.
    pub fn highest(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.1)
    }

    /// How many sequences over `base` are in the set.
    pub fn count_over(&self, base: u64) -> u64 {
        self.ranges.iter().map(|r| (r.1 + 1).saturating_sub(r.0.max(base + 1))).sum()
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
        let mut all = std::mem::take(&mut self.ranges);
        for other in others {
            all.extend_from_slice(&other.ranges);
            self.overflowed += other.overflowed;
        }
        all.sort_unstable();
        for (from, to) in all {
            match self.ranges.last_mut() {
                Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
                _ => self.ranges.push((from, to)),
            }
        }
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
        assert_eq!((set.ranges.len(), set.overflowed), (MAX_RANGES, 10));
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
        assert!(set.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0));
    }
}
