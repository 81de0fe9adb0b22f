//! Alternative: a HASH a user whose fields expire by themselves. Needs HPEXPIRE: Redis 7.4, Valkey 9.
//!
//! The connections sweep themselves, so the HASH cannot say any more whether somebody was told: a STRING beside it does.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    lua::{Call, Script},
    redis::Redis,
};

use crate::heartbeat::Structure;

pub(crate) static ENTER: Script = Script::new(
    "presence/field_enter",
    include_str!("../../../lua/presence/field_enter.lua"),
    &["conns", "shown"],
    &["connection", "lease_ms", "keep_ms"],
);
pub(crate) static LEAVE: Script = Script::new(
    "presence/field_leave",
    include_str!("../../../lua/presence/field_leave.lua"),
    &["conns", "shown"],
    &["connection"],
);
pub(crate) static SWEEP: Script = Script::new(
    "presence/field_sweep",
    include_str!("../../../lua/presence/field_sweep.lua"),
    &["conns", "shown"],
    &["connection"],
);

fn key(user: &UserId, name: &str) -> String {
    keys::user_lab(user, "hash_field_ttl", name)
}

/// A call with the keys of a connection.
pub(crate) fn call(script: &'static Script, (user, _conn): &(UserId, ConnectionId)) -> Call {
    script.call().key(key(user, "conns")).key(key(user, "shown"))
}

/// A user's connections as fields that expire.
#[derive(Debug)]
pub struct HashFieldTtl;

#[async_trait]
impl Structure for HashFieldTtl {
    const NAME: &'static str = "hash_field_ttl";

    fn enter(held: &(UserId, ConnectionId), lease_ms: u64, keep_ms: u64) -> Call {
        call(&ENTER, held).arg(held.1.to_string()).arg(lease_ms).arg(keep_ms)
    }

    fn leave(held: &(UserId, ConnectionId)) -> Call {
        call(&LEAVE, held).arg(held.1.to_string())
    }

    fn sweep(held: &(UserId, ConnectionId)) -> Call {
        call(&SWEEP, held).arg(held.1.to_string())
    }

    fn online_key(user: &UserId) -> String {
        key(user, "shown")
    }

    async fn devices(mut redis: Redis, user: &UserId) -> LabResult<u64> {
        // HLEN would count fields that have expired and are not swept yet.
        let conns: Vec<String> = redis::cmd("HKEYS").arg(key(user, "conns")).query_async(&mut redis).await?;
        Ok(conns.len() as u64)
    }
}
