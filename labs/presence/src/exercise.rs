//! Exercise: your own presence. Written by you, checked by `chatlab check presence`.
//!
//! After each step run the check: it says which invariant breaks, shows the shortest history that breaks it, and the commands
//! that your code sent.
//!
//! 1. **`connect`, `disconnect`, `online`, `devices`.** A HASH or a SET of connections a user. The first connection brings the
//!    user online, the last one takes it offline: two clients may try at the same moment, so change and count in one step
//!    (`redis::pipe().atomic()` is MULTI/EXEC, or a script). That satisfies `online_answers_in_order`,
//!    `other_device_stays_online`, `one_online_one_offline`.
//! 2. **`refresh`.** An instance that dies closes nothing. Write down until when this instance, or each of its connections, is
//!    alive: a ZSET scored by that time. And write down what to close when it is dead.
//! 3. **`reap`.** Find what ran out [`Policy::margin_ms`] ago or longer, close it, tell who went offline. Others reap at the
//!    same time: whoever removes the last connection tells. What you took you must tell: if a later command fails, answer what
//!    you have (`Ok`), not the error.
//! 4. **`returned`.** An instance that was only paused finds its connections gone. `refresh` puts back what
//!    [`Local`](crate::local::Local) says is open; who came online by that is told here.
//!
//! Things to decide:
//!
//! - A lease an instance, or a lease a connection? What does a refresh cost with 3,000 connections?
//! - In which order do you write a connection and the list of what to reap, if a client may die in between?
//! - What in Redis never expires, and who removes it when every instance has died in turn?
//!
//! Many commands at once: [`at_once`](crate::batch::at_once) sends a list of `redis::Cmd` in one round trip, on a cluster too, and
//! gives each its own answer; [`existing`](crate::batch::existing) does so for EXISTS.
//!
//! Keys: [`keys::user_lab`] puts what belongs to a user into its slot, [`keys::lab`] with `self.space` what belongs to all
//! instances. A script or a MULTI stays within one slot. Time: ask Redis ([`server_ms`], or `TIME` in a script), not the machine
//! that runs this code.

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    check::server_ms,
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    redis::Redis,
};

use crate::{Policy, Presence, check_asked, local::Local};

/// Your variant.
#[derive(Debug)]
pub struct Exercise {
    redis: Redis,
    /// This instance.
    instance: InstanceId,
    policy: Policy,
    /// The same for all instances that reap each other.
    space: String,
    /// What this instance holds, as far as you tell it: `opened`, `closed`, `all`, `came_back`, `returned`.
    local: Local,
}

impl Exercise {
    /// Presence of `instance` in `redis`, together with all that name the same `space`.
    pub fn new(redis: Redis, instance: InstanceId, policy: Policy, space: &str) -> Self {
        Self { redis, instance, policy, space: space.to_owned(), local: Local::default() }
    }

    /// When each lease runs out.
    fn leases_key(&self) -> String {
        keys::lab(&self.space, "exercise", "leases")
    }

    /// Now, by the clock of the node that owns the leases, in milliseconds.
    async fn now_ms(&self) -> LabResult<u64> {
        server_ms(&mut self.redis.clone(), &self.leases_key()).await
    }
}

/// A user's connections.
fn conns_key(user: &UserId) -> String {
    keys::user_lab(user, "exercise", "conns")
}

#[async_trait]
impl Presence for Exercise {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        // `let (before, _): (u64, u64) = redis::pipe().atomic().cmd("SCARD").arg(conns_key(user))
        //      .cmd("SADD").arg(conns_key(user)).arg(conn.to_string()).query_async(&mut self.redis.clone()).await?;`
        // Then: who finds this connection when this instance has died?
        let _ = (conns_key(user), conn, self.instance, self.policy.lease_ms);
        Err(LabError::Unfinished("connect"))
    }

    async fn disconnect(&self, _user: &UserId, _conn: &ConnectionId) -> LabResult<bool> {
        // True only for the one call that removed the last connection.
        Err(LabError::Unfinished("disconnect"))
    }

    async fn refresh(&self) -> LabResult<()> {
        // `ZADD leases until instance`. Was the lease still there? If others have reaped it, put back `self.local.all()`.
        let _ = self.now_ms().await? + self.policy.lease_ms;
        Err(LabError::Unfinished("refresh"))
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        Err(LabError::Unfinished("reap"))
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        // One round trip for all: `existing(&self.redis, users.iter().map(conns_key)).await`
        Err(LabError::Unfinished("online"))
    }

    async fn devices(&self, _user: &UserId) -> LabResult<u64> {
        Err(LabError::Unfinished("devices"))
    }

    fn returned(&self) -> Vec<UserId> {
        self.local.returned()
    }
}
