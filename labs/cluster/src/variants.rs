//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Variant, VariantKind},
    redis::Redis,
};

use crate::{
    ComputedKeys, MultiTwoRooms, OneKey, Partitions, RemoveFirst, ReplicaReads, Rooms, SeqThenLog,
    WaitIgnored, id_prefix, room_tags, sixteen_tags, untagged,
};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("partitions", VariantKind::Reference, "256 even tags, STRING and HASH a room, one script"),
    variant("room_tags", VariantKind::Alternative, "each room its own tag and slot"),
    variant("one_key", VariantKind::Alternative, "one HASH a room: no tag needed"),
    variant("replica_reads", VariantKind::Alternative, "replicas answer reads that may be a little old"),
    flawed("untagged", "keys_share_a_slot", "no tags: CROSSSLOT on a cluster"),
    flawed("multi_two_rooms", "keys_share_a_slot", "MULTI over two rooms: two slots"),
    flawed("sixteen_tags", "spread_is_even", "room % 16: sixteen slots for everything"),
    flawed("id_prefix", "spread_is_even", "the id's beginning as tag: one slot for a season"),
    flawed("computed_keys", "scripts_declare_keys", "a script makes up a key: breaks while a slot moves"),
    flawed("seq_then_log", "append_is_atomic", "INCR, then HSET: a hole after a crash"),
    flawed("remove_first", "moved_message_survives_crash", "removes, then adds: lost in between"),
    flawed("wait_ignored", "replicated_means_confirmed", "WAIT sent, its number ignored"),
    variant("exercise", VariantKind::Exercise, "yours: labs/cluster/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis) -> Option<Arc<dyn Rooms>> {
    Some(match name {
        "partitions" => Arc::new(Partitions::new(redis)),
        "room_tags" => Arc::new(room_tags::rooms(redis)),
        "one_key" => Arc::new(OneKey::new(redis)),
        "replica_reads" => Arc::new(ReplicaReads::new(redis)),
        "untagged" => Arc::new(untagged::rooms(redis)),
        "multi_two_rooms" => Arc::new(MultiTwoRooms::new(redis)),
        "sixteen_tags" => Arc::new(sixteen_tags::rooms(redis)),
        "id_prefix" => Arc::new(id_prefix::rooms(redis)),
        "computed_keys" => Arc::new(ComputedKeys::new(redis)),
        "seq_then_log" => Arc::new(SeqThenLog::new(redis)),
        "remove_first" => Arc::new(RemoveFirst::new(redis)),
        "wait_ignored" => Arc::new(WaitIgnored::new(redis)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis)),
        _ => return None,
    })
}
