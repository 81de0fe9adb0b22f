//! Alternative: a ZSET a user, each connection scored by the time at which it runs out.
//!
//! One small key a user says everything; a heartbeat moves one score. The price is a heartbeat a connection.

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
    "presence/beat_enter",
    include_str!("../../../lua/presence/beat_enter.lua"),
    &["conns"],
    &["connection", "lease_ms", "keep_ms"],
);
pub(crate) static LEAVE: Script = Script::new(
    "presence/beat_leave",
    include_str!("../../../lua/presence/beat_leave.lua"),
    &["conns"],
    &["connection"],
);
pub(crate) static SWEEP: Script = Script::new(
    "presence/beat_sweep",
    include_str!("../../../lua/presence/beat_sweep.lua"),
    &["conns"],
    &["connection"],
);

fn key(user: &UserId, name: &str) -> String {
    keys::user_lab(user, "zset_heartbeat", name)
}

/// A call with the keys of a connection.
pub(crate) fn call(script: &'static Script, (user, _conn): &(UserId, ConnectionId)) -> Call {
    script.call().key(key(user, "conns"))
}

/// A user's connections in a ZSET.
#[derive(Debug)]
pub struct ZsetHeartbeat;

#[async_trait]
impl Structure for ZsetHeartbeat {
    const NAME: &'static str = "zset_heartbeat";

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
        Ok(redis::cmd("ZCARD").arg(key(user, "conns")).query_async(&mut redis).await?)
    }
}
