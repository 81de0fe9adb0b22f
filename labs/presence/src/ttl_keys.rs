//! Alternative: a STRING a connection that expires, and a SET a user.
//!
//! The expiry of a key says that a connection is over, but it tells nobody and takes nothing out of the SET: that is what the
//! reaper is for.

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
    "presence/key_enter",
    include_str!("../../../lua/presence/key_enter.lua"),
    &["conns", "alive"],
    &["connection", "lease_ms", "keep_ms"],
);
pub(crate) static LEAVE: Script = Script::new(
    "presence/key_leave",
    include_str!("../../../lua/presence/key_leave.lua"),
    &["conns", "alive"],
    &["connection"],
);
pub(crate) static SWEEP: Script = Script::new(
    "presence/key_sweep",
    include_str!("../../../lua/presence/key_sweep.lua"),
    &["conns", "alive"],
    &["connection"],
);

fn key(user: &UserId, name: &str) -> String {
    keys::user_lab(user, "ttl_keys", name)
}

/// A call with the keys of a connection.
pub(crate) fn call(script: &'static Script, (user, conn): &(UserId, ConnectionId)) -> Call {
    script.call().key(key(user, "conns")).key(key(user, &conn.to_string()))
}

/// A user's connections in a SET, a key that expires for each.
#[derive(Debug)]
pub struct TtlKeys;

#[async_trait]
impl Structure for TtlKeys {
    const NAME: &'static str = "ttl_keys";

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
        key(user, "conns")
    }

    async fn devices(mut redis: Redis, user: &UserId) -> LabResult<u64> {
        Ok(redis::cmd("SCARD").arg(key(user, "conns")).query_async(&mut redis).await?)
    }
}
