//! How long the service was away, and when it was as before. Pure: records in, times out.

use super::account::Record;

/// The bins in which recovery is looked for, in nanoseconds: what it is exact to.
pub const BIN_NS: u64 = 100_000_000;
/// So many bins from a bin on are looked at together: a second.
const LOOK_BINS: usize = 10;
/// The share of a second's sends that may be slower than the limit in a service that is as before. By the percentile that the
/// limit is made of, one in a hundred would be at half of it.
const SLOW_SHARE: f64 = 0.05;
/// The limit is the 99th percentile from before the fault times this …
const LIMIT_FACTOR: f64 = 2.0;
/// … and at least that percentile and this many nanoseconds: the noise of a machine that does other things too.
const LIMIT_MARGIN_NS: u64 = 20_000_000;
/// So much before a fault tells what is usual, in nanoseconds; less when there is less.
pub const BEFORE_NS: u64 = 10_000_000_000;

/// From when a send is due until all subscribers have it, and it is acknowledged; none when it never is.
pub fn done_ns(record: &Record) -> Option<u64> {
    Some(record.completed_ns()?.max(record.acked_ns()?).saturating_sub(record.due_ns))
}

/// The value that at most 1 % of the others are over; none of nothing. No histogram: it is exact.
pub fn p99(mut values: Vec<u64>) -> Option<u64> {
    quantile(&mut values, 0.99)
}

/// The value that a share of the others are not over; none of nothing. Sorts the values.
pub fn quantile(values: &mut [u64], share: f64) -> Option<u64> {
    values.sort_unstable();
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).copied()
}

/// The 99th percentile from before `began_ns`, and the limit made of it.
pub fn usual(records: &[Record], window_start_ns: u64, began_ns: u64) -> (u64, u64) {
    let from = window_start_ns.max(began_ns.saturating_sub(BEFORE_NS));
    // What was under way when it began is no longer from before.
    let before = records.iter().filter(|r| r.due_ns >= from && r.due_ns < began_ns);
    let done = before.filter_map(|r| Some((r.due_ns, done_ns(r)?))).filter(|(due, ns)| due + ns < began_ns);
    let p99 = p99(done.map(|(_, ns)| ns).collect()).unwrap_or(0);
    (p99, ((p99 as f64 * LIMIT_FACTOR) as u64).max(p99 + LIMIT_MARGIN_NS))
}

/// The longest time in which nothing that was due was done: over all sends due from `from_ns` on and before `to_ns`, the
/// longest time from the due instant to the first instant at or after it at which any of `done` fell. When none followed, to
/// `end_ns`.
pub fn longest_away(due: &[u64], mut done: Vec<u64>, (from_ns, to_ns): (u64, u64), end_ns: u64) -> u64 {
    done.sort_unstable();
    let wait = |due: &u64| {
        let next = done.get(done.partition_point(|at| at < due)).copied().unwrap_or(end_ns.max(*due));
        next - due
    };
    due.iter().filter(|due| (from_ns..to_ns).contains(*due)).map(wait).max().unwrap_or(0)
}

/// When sends are as before, in nanoseconds after `began_ns`: the beginning of the first bin from which on, in every second
/// that follows until `to_ns`, at most `SLOW_SHARE` of the sends due are slower than the limit or never done. None when
/// not even the last second is so, or there is less than a second.
pub fn recovered_after(records: &[Record], (began_ns, to_ns): (u64, u64), limit_ns: u64) -> Option<u64> {
    let bins = (to_ns.saturating_sub(began_ns) / BIN_NS) as usize;
    if bins < LOOK_BINS {
        return None;
    }
    let mut all = vec![0_u64; bins];
    let mut slow = vec![0_u64; bins];
    for record in records.iter().filter(|r| r.due_ns >= began_ns) {
        let bin = ((record.due_ns - began_ns) / BIN_NS) as usize;
        if bin < bins {
            all[bin] += 1;
            slow[bin] += u64::from(done_ns(record).is_none_or(|ns| ns > limit_ns));
        }
    }
    let quiet = |from: usize| {
        let sum = |counts: &[u64]| counts[from..from + LOOK_BINS].iter().sum::<u64>();
        sum(&slow) as f64 <= sum(&all) as f64 * SLOW_SHARE
    };
    // From the back: the first second that is not quiet ends the search.
    let mut first = None;
    for from in (0..=bins - LOOK_BINS).rev() {
        if !quiet(from) {
            break;
        }
        first = Some(from);
    }
    // A second may be quiet as a whole and yet begin with the last slow sends.
    let mut first = first?;
    while first < bins - LOOK_BINS && slow[first] as f64 > all[first] as f64 * SLOW_SHARE {
        first += 1;
    }
    Some(first as u64 * BIN_NS)
}

#[cfg(test)]
mod tests {
    use super::{super::account::tests::good, *};

    const MS: u64 = 1_000_000;

    /// 100 sends a second, round ten rooms, for 20 s; those due in an outage are done at its end.
    fn run(outage: impl Fn(u32) -> (u64, u64)) -> Vec<Record> {
        let send = |i: u64| {
            let (room, due) = ((i % 10) as u32, i * 10 * MS);
            let (from, to) = outage(room);
            let mut record = good(room, due);
            if (from..to).contains(&due) {
                (record.answered_ns, record.last_ns) = (to + MS, to + MS);
            }
            record
        };
        (0..2_000).map(send).collect()
    }

    fn away(records: &[Record], room: Option<u32>) -> u64 {
        let own = |r: &&Record| room.is_none_or(|room| r.room == room);
        let due: Vec<u64> = records.iter().filter(own).map(|r| r.due_ns).collect();
        let done = records.iter().filter(own).filter_map(Record::acked_ns).collect();
        longest_away(&due, done, (10_000 * MS, 20_000 * MS), 21_000 * MS)
    }

    #[test]
    fn an_outage_of_some_rooms_is_seen_in_them_and_not_in_all_together() {
        let records = run(|room| if room < 3 { (10_000 * MS, 14_000 * MS) } else { (0, 0) });
        // Room 0 is due at 10.0 s, the first thing in the outage; acknowledged at 14.001 s.
        assert_eq!(away(&records, Some(0)), 4_001 * MS);
        assert_eq!(away(&records, Some(1)), 3_991 * MS);
        assert_eq!(away(&records, Some(5)), 2 * MS);
        assert!(away(&records, None) < 40 * MS);
        let all = run(|_| (10_000 * MS, 14_000 * MS));
        assert_eq!(away(&all, None), 4_001 * MS);
    }

    #[test]
    fn one_slow_answer_among_others_is_no_outage_and_no_answer_at_all_lasts_to_the_end() {
        let mut records = run(|_| (0, 0));
        records[1_500].answered_ns += 3_000 * MS;
        assert!(away(&records, Some(0)) <= 102 * MS, "the next one of the room is answered");
        for record in records.iter_mut().filter(|r| r.room == 7 && r.due_ns >= 15_000 * MS) {
            record.answer = super::super::account::Answer::None;
        }
        assert_eq!(away(&records, Some(7)), 21_000 * MS - 15_070 * MS);
    }

    #[test]
    fn recovery_is_where_slow_sends_end_to_a_tenth_of_a_second() {
        let records = run(|room| if room < 3 { (10_000 * MS, 13_250 * MS) } else { (0, 0) });
        let (p99, limit) = usual(&records, 0, 10_000 * MS);
        assert_eq!((p99, limit), (2 * MS, 22 * MS));
        let after = recovered_after(&records, (10_000 * MS, 20_000 * MS), limit).unwrap();
        assert!((3_200 * MS..=3_300 * MS).contains(&after), "{after}");
        // Nothing happened: it is as before at once.
        assert_eq!(recovered_after(&run(|_| (0, 0)), (10_000 * MS, 20_000 * MS), limit), Some(0));
    }

    #[test]
    fn a_relapse_counts_and_no_recovery_is_said() {
        let mut records = run(|_| (10_000 * MS, 11_000 * MS));
        for record in records.iter_mut().filter(|r| (15_000 * MS..15_500 * MS).contains(&r.due_ns)) {
            record.last_ns += 900 * MS;
        }
        let limit = 22 * MS;
        assert_eq!(recovered_after(&records, (10_000 * MS, 20_000 * MS), limit), Some(5_500 * MS));
        let never = run(|_| (10_000 * MS, 30_000 * MS));
        assert_eq!(recovered_after(&never, (10_000 * MS, 20_000 * MS), limit), None);
        assert_eq!(recovered_after(&records, (19_500 * MS, 20_000 * MS), limit), None, "too short to tell");
    }

    #[test]
    fn a_percentile_of_few_is_the_highest() {
        assert_eq!((p99(vec![]), p99(vec![7]), p99(vec![3, 1, 2])), (None, Some(7), Some(3)));
        assert_eq!(p99((1..=200).collect()), Some(198));
    }
}
