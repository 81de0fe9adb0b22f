//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Variant, VariantKind},
    redis::Redis,
};

use crate::{
    History, Policy, ZsetHash, edit_reappends::EditReappends, hard_delete::HardDelete, list,
    no_dedup::NoDedup, offset_pages::OffsetPages, rank_trim::RankTrim, resume_by_seq::ResumeBySeq,
    scripted::Scripted, seq_hash, stream, twist::Twisted, two_step_append::TwoStepAppend,
    whole_list::WholeList, zset_json::ZsetJson,
};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("zset_hash", VariantKind::Reference, "ZSET of ids by sequence, HASH of envelopes"),
    variant("list", VariantKind::Alternative, "LIST of envelopes, HASH id to sequence"),
    variant("stream", VariantKind::Alternative, "STREAM by sequence, HASHes of edits and ids"),
    variant("seq_hash", VariantKind::Alternative, "HASH sequence to envelope, and a counter"),
    flawed("zset_json", "equal_messages_both_stay", "ZSET of JSON: equal messages collapse"),
    flawed("offset_pages", "pages_by_cursor_are_complete", "ZREVRANGE by offset: pages drift"),
    flawed("two_step_append", "sequence_has_no_gap", "number first, message later: gaps"),
    flawed("no_dedup", "retry_makes_no_copy", "a retry makes a second copy"),
    flawed("rank_trim", "trimmed_to_the_bound", "trims the newest instead of the oldest"),
    flawed("edit_reappends", "edit_keeps_its_place", "an edit moves the message to the end"),
    flawed("hard_delete", "deleted_is_a_tombstone", "a deletion leaves a hole"),
    flawed("resume_by_seq", "resume_is_verified", "a resume trusts the number alone"),
    flawed("whole_list", "nothing_linear", "LRANGE 0 -1 for each page"),
    variant("exercise", VariantKind::Exercise, "yours: labs/history/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis, policy: Policy) -> Option<Arc<dyn History>> {
    let sound = ZsetHash::with(redis.clone(), policy);
    let list = Scripted::new(redis.clone(), policy, &list::STRUCTURE);
    Some(match name {
        "zset_hash" => Arc::new(sound),
        "list" => Arc::new(list),
        "stream" => Arc::new(Scripted::new(redis, policy, &stream::STRUCTURE)),
        "seq_hash" => Arc::new(Scripted::new(redis, policy, &seq_hash::STRUCTURE)),
        "zset_json" => Arc::new(Twisted(ZsetJson(sound))),
        "offset_pages" => Arc::new(Twisted(OffsetPages::new(sound))),
        "two_step_append" => Arc::new(Twisted(TwoStepAppend { sound, announce: policy.announce })),
        "no_dedup" => Arc::new(Twisted(NoDedup(sound))),
        "rank_trim" => Arc::new(Twisted(RankTrim {
            sound: sound.keeping(u64::from(u32::MAX)),
            hot_messages: policy.hot_messages,
        })),
        "edit_reappends" => Arc::new(Twisted(EditReappends(sound))),
        "hard_delete" => Arc::new(Twisted(HardDelete(sound))),
        "resume_by_seq" => Arc::new(Twisted(ResumeBySeq(sound))),
        "whole_list" => Arc::new(Twisted(WholeList(list))),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis, policy)),
        _ => return None,
    })
}
