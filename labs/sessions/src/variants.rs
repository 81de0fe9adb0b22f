//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Needs, Variant, VariantKind},
    redis::Redis,
};

use crate::{
    HashFieldTtl, HashIndex, Policy, ReadThenWrite, RefuseOldToken, Sessions, SetIndex, SlidingForever,
    StringIndex, TwoStepTtl, UserHash,
};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("hash_index", VariantKind::Reference, "HASH a session, ZSET a user that decides"),
    variant("string_index", VariantKind::Alternative, "JSON STRING a session, the same ZSET"),
    variant("user_hash", VariantKind::Alternative, "one HASH a user, ZSET of expiries"),
    Variant {
        needs: Some(Needs { command: "HPEXPIREAT", since: "Redis 7.4, Valkey 9" }),
        ..variant("hash_field_ttl", VariantKind::Alternative, "one HASH a user, each field expires")
    },
    variant(
        "two_step_ttl",
        VariantKind::Flawed { caught_by: "never_immortal" },
        "SET, then PEXPIREAT: immortal after a crash",
    ),
    variant(
        "sliding_forever",
        VariantKind::Flawed { caught_by: "absolute_expiry_holds" },
        "GETEX at every use: never ends while used",
    ),
    variant(
        "set_index",
        VariantKind::Flawed { caught_by: "list_shows_only_live" },
        "SET without time: ghosts in the list",
    ),
    variant(
        "read_then_write",
        VariantKind::Flawed { caught_by: "revoked_stays_revoked" },
        "GET, then SET: a revoked session comes back",
    ),
    variant(
        "refuse_old_token",
        VariantKind::Flawed { caught_by: "stolen_refresh_token_ends_the_session" },
        "an old refresh token is only refused: the thief stays",
    ),
    variant("exercise", VariantKind::Exercise, "yours: labs/sessions/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis, policy: Policy) -> Option<Arc<dyn Sessions>> {
    Some(match name {
        "hash_index" => Arc::new(HashIndex::new(redis, policy)),
        "string_index" => Arc::new(StringIndex::new(redis, policy)),
        "user_hash" => Arc::new(UserHash::new(redis, policy)),
        "hash_field_ttl" => Arc::new(HashFieldTtl::new(redis, policy)),
        "two_step_ttl" => Arc::new(TwoStepTtl::new(redis, policy)),
        "sliding_forever" => Arc::new(SlidingForever::new(redis, policy)),
        "set_index" => Arc::new(SetIndex::new(redis, policy)),
        "read_then_write" => Arc::new(ReadThenWrite::new(redis, policy)),
        "refuse_old_token" => Arc::new(RefuseOldToken::new(redis, policy)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis, policy)),
        _ => return None,
    })
}
