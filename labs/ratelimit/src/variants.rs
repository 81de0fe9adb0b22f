//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Variant, VariantKind},
    redis::Redis,
};

use crate::{
    FixedWindow, Gcra, GcraFullBurst, IncrExpire, Limit, LogThenCount, RateLimiter, ReadThenWrite,
    SlidingCounter, SlidingLog, TokenBucket, WeightedCounter,
};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("gcra", VariantKind::Reference, "one due time, half the permits as burst"),
    variant("sliding_log", VariantKind::Alternative, "ZSET of every take: exact"),
    variant("sliding_counter", VariantKind::Alternative, "HASH of counts by slices of time"),
    variant("token_bucket", VariantKind::Alternative, "HASH of tokens and their time"),
    flawed("incr_expire", "never_immortal", "INCR, then PEXPIRE: immortal after a crash"),
    flawed("fixed_window", "never_over_the_limit", "atomic count: twice the limit at the edge"),
    flawed("weighted_counter", "never_over_the_limit", "two counts: a guess, too low after a burst"),
    flawed("gcra_full_burst", "never_over_the_limit", "the usual GCRA: a burst and a refill"),
    flawed("read_then_write", "last_permit_once", "GET, then SET: the last permit twice"),
    flawed("log_then_count", "permits_are_really_given", "refused takes count too: never again"),
    variant("exercise", VariantKind::Exercise, "yours: labs/ratelimit/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis, limit: Limit) -> Option<Arc<dyn RateLimiter>> {
    Some(match name {
        "gcra" => Arc::new(Gcra::new(redis, limit)),
        "sliding_log" => Arc::new(SlidingLog::new(redis, limit)),
        "sliding_counter" => Arc::new(SlidingCounter::new(redis, limit)),
        "token_bucket" => Arc::new(TokenBucket::new(redis, limit)),
        "incr_expire" => Arc::new(IncrExpire::new(redis, limit)),
        "fixed_window" => Arc::new(FixedWindow::new(redis, limit)),
        "weighted_counter" => Arc::new(WeightedCounter::new(redis, limit)),
        "gcra_full_burst" => Arc::new(GcraFullBurst::new(redis, limit)),
        "read_then_write" => Arc::new(ReadThenWrite::new(redis, limit)),
        "log_then_count" => Arc::new(LogThenCount::new(redis, limit)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis, limit)),
        _ => return None,
    })
}
