//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Variant, VariantKind},
    redis::Redis,
};

use crate::{BySender, Function, MultiBlind, Pipeline, Script, SendPath, Sequential, UnboundedBatch, Watch};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("script", VariantKind::Reference, "one script a send, a pipeline of calls a batch"),
    variant("function", VariantKind::Alternative, "FCALL: the code stays on the server"),
    variant("watch", VariantKind::Alternative, "WATCH, look, MULTI; again after a conflict"),
    flawed("sequential", "all_or_nothing", "five commands, five places to crash"),
    flawed("pipeline", "sequence_has_no_gap", "INCR before GET is answered: lost numbers"),
    flawed("multi_blind", "retry_makes_no_copy", "MULTI cannot decide: stores a retry again"),
    flawed("watch_no_retry", "conflict_is_not_the_users_problem", "gives up on the first conflict"),
    flawed("by_sender", "batch_keeps_order", "a batch sorted by sender"),
    flawed("unbounded_batch", "batch_is_bounded", "a batch as large as anybody likes"),
    variant("exercise", VariantKind::Exercise, "yours: labs/pipelining/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature of that
/// name.
pub fn build(name: &str, redis: Redis) -> Option<Arc<dyn SendPath>> {
    Some(match name {
        "script" => Arc::new(Script::new(redis)),
        "function" => Arc::new(Function::new(redis)),
        "watch" => Arc::new(Watch::new(redis)),
        "sequential" => Arc::new(Sequential::new(redis)),
        "pipeline" => Arc::new(Pipeline::new(redis)),
        "multi_blind" => Arc::new(MultiBlind::new(redis)),
        "watch_no_retry" => Arc::new(Watch::no_retry(redis)),
        "by_sender" => Arc::new(BySender::new(redis)),
        "unbounded_batch" => Arc::new(UnboundedBatch::new(redis)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis)),
        _ => return None,
    })
}
