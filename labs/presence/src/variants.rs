//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    ids::InstanceId,
    lab::{Needs, Variant, VariantKind},
    redis::Redis,
};

use crate::{
    CardThenAdd, Counter, HashFieldTtl, Heartbeats, KeysListing, Policy, Presence, SetMembers, SremAnyClose,
    ToldByAll, TtlKeys, ZsetHeartbeat, ZsetLease,
};

/// The instances of the chat server share this space.
const SPACE: &str = "chat";

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("zset_lease", VariantKind::Reference, "ZSET of instance leases, SET an instance, HASH a user"),
    variant("zset_heartbeat", VariantKind::Alternative, "ZSET a user, a heartbeat a connection"),
    variant("ttl_keys", VariantKind::Alternative, "STRING a connection that expires, SET a user"),
    Variant {
        needs: Some(Needs { command: "HPEXPIRE", since: "Redis 7.4, Valkey 9" }),
        ..variant("hash_field_ttl", VariantKind::Alternative, "HASH a user, each field expires")
    },
    flawed("set_members", "crashed_instance_leaves_no_ghosts", "SET a user, no lease: ghosts after a crash"),
    flawed("srem_any_close", "other_device_stays_online", "SREM on any close: logs the other device out"),
    flawed("card_then_add", "one_online_one_offline", "SCARD, then SADD: two come online at once"),
    flawed("counter", "never_immortal", "INCR and DECR: wrong for good after a crash"),
    flawed("keys_listing", "no_keys_or_scan", "KEYS to find a user's connections"),
    flawed("told_by_all", "reaped_users_told_once", "reapers look, then remove: told twice"),
    variant("exercise", VariantKind::Exercise, "yours: labs/presence/src/exercise.rs"),
];

/// The variant of that name over `redis`, as `instance` of the chat server uses it; none for an unknown name, or for the
/// exercise in a build without the feature of that name.
pub fn build(name: &str, redis: Redis, instance: InstanceId, policy: Policy) -> Option<Arc<dyn Presence>> {
    build_in(SPACE, name, redis, instance, policy)
}

/// The same in a space of its own: instances of different spaces do not reap each other.
pub fn build_in(
    space: &str,
    name: &str,
    redis: Redis,
    instance: InstanceId,
    policy: Policy,
) -> Option<Arc<dyn Presence>> {
    Some(match name {
        "zset_lease" => Arc::new(ZsetLease::new(redis, instance, policy, space)),
        "zset_heartbeat" => Arc::new(Heartbeats::<ZsetHeartbeat>::new(redis, policy, space)),
        "ttl_keys" => Arc::new(Heartbeats::<TtlKeys>::new(redis, policy, space)),
        "hash_field_ttl" => Arc::new(Heartbeats::<HashFieldTtl>::new(redis, policy, space)),
        "set_members" => Arc::new(SetMembers::new(redis)),
        "srem_any_close" => Arc::new(SremAnyClose::new(redis, space)),
        "card_then_add" => Arc::new(CardThenAdd::new(redis)),
        "counter" => Arc::new(Counter::new(redis)),
        "keys_listing" => Arc::new(KeysListing::new(redis, policy)),
        "told_by_all" => Arc::new(ToldByAll::new(redis, instance, policy, space)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis, instance, policy, space)),
        _ => return None,
    })
}
