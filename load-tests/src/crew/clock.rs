//! One origin for the clocks of several processes, and of several machines.
//!
//! Within a machine all processes have the same wall clock, and [`instant_of`] finds an instant of it on the monotonic clock to a
//! microsecond or so. Between machines [`Offset`] says by how much Redis' clock (`TIME`) is ahead of this machine's: of many round
//! trips the shortest one counts, since its answer is at most half of it away from its middle (D. L. Mills, "Internet time
//! synchronization: the network time protocol", IEEE Transactions on Communications 39(10), 1991). It is taken before and after a
//! run, so that clocks that drift apart are seen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Readings of both clocks, of which the tightest counts.
const READINGS: usize = 16;
/// Round trips of one estimate.
pub const ROUND_TRIPS: usize = 64;
/// `TIME` tells microseconds, so an answer may be older by one.
const RESOLUTION_NS: u64 = 1_000;

/// This machine's wall clock, in nanoseconds since 1970.
pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The instant at which this machine's wall clock shows `unix_ns`; for one in the future, now.
pub fn instant_of(unix_ns: u64) -> Instant {
    let mut best: Option<(Duration, Instant, u64)> = None;
    for _ in 0..READINGS {
        let (before, wall_ns) = (Instant::now(), self::unix_ns());
        let took = before.elapsed();
        if best.is_none_or(|(least, ..)| took < least) {
            best = Some((took, before + took / 2, wall_ns));
        }
    }
    let (at, wall_ns) = best.map_or_else(|| (Instant::now(), self::unix_ns()), |(_, at, wall)| (at, wall));
    at.checked_sub(Duration::from_nanos(wall_ns.saturating_sub(unix_ns))).unwrap_or(at)
}

/// By how much another clock is ahead of this machine's wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// Theirs minus ours, in nanoseconds.
    pub ns: i64,
    /// It may be wrong by so much, in either direction.
    pub uncertain_ns: u64,
}

impl Offset {
    /// From round trips: our clock before the question, theirs in the answer, ours after it. None of none. Pure.
    pub fn of(trips: &[(u64, u64, u64)]) -> Option<Self> {
        let (sent, theirs, came) =
            trips.iter().copied().min_by_key(|(sent, _, came)| came.saturating_sub(*sent))?;
        let round_trip = came.saturating_sub(sent);
        let middle = sent + round_trip / 2;
        let ns = theirs as i128 - i128::from(middle);
        Some(Self { ns: ns as i64, uncertain_ns: round_trip / 2 + RESOLUTION_NS })
    }

    /// Their clock, when ours shows `ours_ns`.
    pub fn theirs(self, ours_ns: u64) -> u64 {
        ours_ns.saturating_add_signed(self.ns)
    }

    /// Our clock, when theirs shows `theirs_ns`.
    pub fn ours(self, theirs_ns: u64) -> u64 {
        theirs_ns.saturating_add_signed(self.ns.saturating_neg())
    }

    /// How uncertain a time is that was carried over by this offset, when the clocks stood at `later` at the run's end: the drift
    /// in between is in it.
    pub fn uncertain_until(self, later: Self) -> u64 {
        self.uncertain_ns.max(later.uncertain_ns) + self.ns.abs_diff(later.ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_of_the_wall_clock_is_found_on_the_monotonic_one() {
        let now = Instant::now();
        let found = instant_of(unix_ns().saturating_sub(5_000_000_000));
        let ago = now.saturating_duration_since(found);
        assert!(ago > Duration::from_millis(4_900) && ago < Duration::from_millis(5_001), "{ago:?}");
    }

    #[test]
    fn the_shortest_round_trip_tells_the_offset_and_how_sure_it_is() {
        // 40 ms ahead; the way there takes all of the long trip and half of the short one.
        let ahead = 40_000_000;
        let trips =
            [(1_000_000, 1_000_000 + 900_000 + ahead, 1_900_000), (5_000_000, 5_050_000 + ahead, 5_100_000)];
        let offset = Offset::of(&trips).unwrap();
        assert_eq!((offset.ns, offset.uncertain_ns), (40_000_000, 51_000));
        assert_eq!((offset.theirs(7), offset.ours(40_000_007)), (40_000_007, 7));
        // The truth is always within what is admitted, however lopsided the trip.
        for way_there in [0, 100_000, 1_000_000] {
            let one = Offset::of(&[(0, way_there + ahead, 1_000_000)]).unwrap();
            assert!(one.ns.abs_diff(ahead as i64) <= one.uncertain_ns);
        }
        assert_eq!(Offset::of(&[]), None);
        let later = Offset { ns: 40_020_000, uncertain_ns: 30_000 };
        assert_eq!(offset.uncertain_until(later), 71_000);
    }
}
