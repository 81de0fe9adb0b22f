//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Variant, VariantKind},
    redis::Redis,
};

use crate::{
    AckFirst, AuditLog, DedupMarks, GroupFromDollar, LagByLength, LagByXinfo, MaxlenTrim, NoClaim, Policy,
    StreamGroups, WorkTwice, ZsetCursor, retry_forever,
};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("stream_groups", VariantKind::Reference, "STREAM, work and XACK in one script"),
    variant("dedup_marks", VariantKind::Alternative, "STREAM, work with a mark, then XACK"),
    variant("zset_cursor", VariantKind::Alternative, "ZSET log, cursor and leases a group"),
    flawed("maxlen_trim", "nothing_unread_is_trimmed", "MAXLEN drops what nobody has read"),
    flawed("ack_first", "nothing_is_lost_by_a_crash", "XACK, then the work: lost by a crash"),
    flawed("work_twice", "nothing_is_done_twice", "work, then XACK: twice after a crash"),
    flawed("no_claim", "dead_consumers_are_taken_over", "new entries only: held for ever"),
    flawed("retry_forever", "poison_goes_to_dead_letters", "no dead letters: again and again"),
    flawed("group_from_dollar", "a_late_group_sees_what_is_kept", "joins at $: misses what was there"),
    flawed("lag_by_length", "lag_is_true", "XLEN for a lag: XACK removes nothing"),
    flawed("lag_by_xinfo", "lag_is_true", "XINFO for a lag: wrong after an XDEL"),
    variant("exercise", VariantKind::Exercise, "yours: labs/audit/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis, policy: Policy) -> Option<Arc<dyn AuditLog>> {
    Some(match name {
        "stream_groups" => Arc::new(StreamGroups::new(redis, policy)),
        "dedup_marks" => Arc::new(DedupMarks::new(redis, policy)),
        "zset_cursor" => Arc::new(ZsetCursor::new(redis, policy)),
        "maxlen_trim" => Arc::new(MaxlenTrim::new(redis, policy)),
        "ack_first" => Arc::new(AckFirst::new(redis, policy)),
        "work_twice" => Arc::new(WorkTwice::new(redis, policy)),
        "no_claim" => Arc::new(NoClaim::new(redis, policy)),
        "retry_forever" => Arc::new(retry_forever(redis, policy)),
        "group_from_dollar" => Arc::new(GroupFromDollar::new(redis, policy)),
        "lag_by_length" => Arc::new(LagByLength::new(redis, policy)),
        "lag_by_xinfo" => Arc::new(LagByXinfo::new(redis, policy)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis, policy)),
        _ => return None,
    })
}
