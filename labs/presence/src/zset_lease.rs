//! Reference: the instance has a lease, not its connections.
//!
//! - `leases`, a ZSET of all instances by the time their lease runs out: a refresh is one `ZADD`, however many connections.
//! - `connections`, a SET a lease: what to close when the instance is dead.
//! - `presence`, a HASH a user, connection to lease: its first field brings the user online, its last one takes it offline.
//!
//! They lie in three slots, so no script can change them together. What keeps them right is the order of steps. A connection
//! enters the index of its lease before it enters its user's HASH, and leaves the HASH first: whatever is in a HASH is in
//! an index, so it is found when the instance dies. Both writes carry the end of the lease and are refused after it: an
//! instance that was paused in between cannot write behind its reaper's back. A lease that was claimed by a reaper is lost for
//! good; its owner goes on under a new name and moves its connections there, and the reaper leaves alone what has moved.
//!
//! A failover may lose the newest of these writes, in one slot and not in another: then somebody who is here is in no HASH, and who
//! went still is. So an instance that is told to doubt writes all of it once more.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    lua::{Call, Script},
    redis::Redis,
};
use tokio::sync::Mutex;

use crate::{
    MAX_REAPED, Policy, Presence,
    batch::{PAGE, batch, existing},
    check_asked,
    local::{Held, Local, parse_row, row},
};

pub(crate) static RENEW: Script = Script::new(
    "presence/renew",
    include_str!("../../../lua/presence/renew.lua"),
    &["leases"],
    &["lease", "lease_ms", "fresh"],
);
pub(crate) static INDEX: Script = Script::new(
    "presence/index",
    include_str!("../../../lua/presence/index.lua"),
    &["connections"],
    &["row", "until_ms"],
);
pub(crate) static ENTER: Script = Script::new(
    "presence/enter",
    include_str!("../../../lua/presence/enter.lua"),
    &["presence"],
    &["connection", "lease", "until_ms"],
);
pub(crate) static LEAVE: Script = Script::new(
    "presence/leave",
    include_str!("../../../lua/presence/leave.lua"),
    &["presence"],
    &["connection"],
);
pub(crate) static CLAIM: Script = Script::new(
    "presence/claim",
    include_str!("../../../lua/presence/claim.lua"),
    &["leases", "dead"],
    &["margin_ms", "claim_ms", "batch"],
);
pub(crate) static TAKE: Script = Script::new(
    "presence/take",
    include_str!("../../../lua/presence/take.lua"),
    &["presence"],
    &["connection", "lease"],
);

/// The most leases that one claim moves to the dead, and the most that one reap works on.
const LEASES_A_REAP: usize = 16;
/// How often a connection is tried again under a renewed lease before the machine is called too slow.
const ATTEMPTS: usize = 3;

/// The lease that an instance writes under.
#[derive(Debug, Clone, Copy)]
struct Lease {
    id: InstanceId,
    /// When it runs out by Redis' clock, in milliseconds since 1970; 0 before the first refresh.
    until_ms: u64,
    /// A lease was lost, and not all connections have moved to this one yet.
    moving: bool,
}

/// Presence by leases of instances.
#[derive(Debug)]
pub struct ZsetLease {
    redis: Redis,
    policy: Policy,
    space: String,
    lease: Mutex<Lease>,
    local: Local,
    doubts: AtomicBool,
}

impl ZsetLease {
    /// Presence of `instance` in `redis`, together with all instances that name the same `space`.
    pub fn new(redis: Redis, instance: InstanceId, policy: Policy, space: &str) -> Self {
        let lease = Lease { id: instance, until_ms: 0, moving: false };
        Self {
            redis,
            policy,
            space: space.to_owned(),
            lease: Mutex::new(lease),
            local: Local::default(),
            doubts: AtomicBool::default(),
        }
    }

    fn enter(&self, (user, conn): &Held, lease: &Lease) -> Call {
        ENTER
            .call()
            .key(keys::presence(user))
            .arg(conn.to_string())
            .arg(lease.id.to_string())
            .arg(lease.until_ms)
    }

    fn index(&self, held: &Held, lease: &Lease) -> Call {
        INDEX.call().key(keys::lease_connections(&lease.id)).arg(row(held)).arg(lease.until_ms)
    }

    /// Moves the end of the lease on; a lost one is replaced by one of a new name.
    async fn renewed(&self) -> LabResult<Lease> {
        let mut lease = self.lease.lock().await;
        let mut until_ms = 0;
        if lease.until_ms > 0 {
            until_ms = self.renew(&lease.id, false).await?;
        }
        if until_ms == 0 {
            let lost = lease.until_ms > 0;
            let id = if lost { InstanceId::new() } else { lease.id };
            until_ms = self.renew(&id, true).await?;
            lease.id = id;
            lease.moving |= lost;
        }
        lease.until_ms = until_ms;
        Ok(*lease)
    }

    async fn renew(&self, id: &InstanceId, fresh: bool) -> LabResult<u64> {
        RENEW
            .call()
            .key(keys::leases(&self.space))
            .arg(id.to_string())
            .arg(self.policy.lease_ms)
            .arg(u8::from(fresh))
            .run(&mut self.redis.clone())
            .await
    }

    async fn current(&self) -> LabResult<Lease> {
        let lease = *self.lease.lock().await;
        if lease.until_ms == 0 { self.renewed().await } else { Ok(lease) }
    }

    /// Moves what this instance holds to its new lease.
    async fn move_to(&self, lease: &Lease) -> LabResult<()> {
        for page in self.local.all().chunks(PAGE) {
            let indexed =
                batch(&self.redis, page.iter().map(|held| self.index(held, lease)).collect()).await?;
            indexed.into_iter().collect::<LabResult<Vec<_>>>()?;
            let entered =
                batch(&self.redis, page.iter().map(|held| self.enter(held, lease)).collect()).await?;
            let (mut late, mut failed) = (false, None);
            for (held, answer) in page.iter().zip(entered) {
                match answer {
                    Ok(answer) => {
                        late |= answer < 0;
                        self.entered_again(held, answer == 1).await?;
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if late || failed.is_some() {
                // The next refresh renews the lease and moves the rest.
                return failed.map_or(Ok(()), Err);
            }
        }
        self.lease.lock().await.moving = false;
        Ok(())
    }

    /// Closes once more what closed lately.
    async fn close_again(&self) -> LabResult<()> {
        for page in self.local.lately_closed().chunks(PAGE) {
            let leave = |(user, conn): &Held| LEAVE.call().key(keys::presence(user)).arg(conn.to_string());
            let left = batch(&self.redis, page.iter().map(leave).collect()).await?;
            for ((user, _), answer) in page.iter().zip(left) {
                if answer? == 1 {
                    self.local.went(*user);
                }
            }
        }
        Ok(())
    }

    /// What to tell about a connection that moved; `online` when its user came online by that.
    async fn entered_again(&self, held: &Held, online: bool) -> LabResult<()> {
        // Closed while it moved: its owner has been answered already, and nobody would close it again.
        let offline = !self.local.holds(held) && self.disconnect(&held.0, &held.1).await?;
        match (online, offline) {
            (true, false) => self.local.came_back(held.0),
            (false, true) => self.local.went(held.0),
            _ => {}
        }
        Ok(())
    }

    async fn claim(&self) -> LabResult<Option<InstanceId>> {
        let dead = keys::dead_leases(&self.space);
        let claimed: Option<String> = CLAIM
            .call()
            .key(keys::leases(&self.space))
            .key(&dead)
            .arg(self.policy.margin_ms())
            .arg(self.policy.lease_ms)
            .arg(LEASES_A_REAP)
            .run(&mut self.redis.clone())
            .await?;
        let parse =
            |id: String| id.parse().map_err(|_| LabError::Corrupt { key: dead, why: format!("`{id}`") });
        claimed.map(parse).transpose()
    }

    /// Closes the connections of dead leases; who went offline is added to `gone` at once.
    async fn reap_into(&self, gone: &mut Vec<UserId>) -> LabResult<()> {
        let mut left = MAX_REAPED;
        for _ in 0..LEASES_A_REAP {
            let Some(lease) = self.claim().await? else { return Ok(()) };
            let drained = self.drain(&lease, &mut left, gone).await?;
            let mut release = redis::cmd(if drained { "ZREM" } else { "ZADD" });
            release.arg(keys::dead_leases(&self.space));
            if !drained {
                // Anybody may go on with it.
                release.arg("XX").arg(0);
            }
            let () = release.arg(lease.to_string()).query_async(&mut self.redis.clone()).await?;
            if left == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// True when nothing is left under the lease.
    async fn drain(&self, lease: &InstanceId, left: &mut usize, gone: &mut Vec<UserId>) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let index = keys::lease_connections(lease);
        while *left > 0 {
            let rows: Vec<String> =
                redis::cmd("SRANDMEMBER").arg(&index).arg(PAGE.min(*left)).query_async(&mut redis).await?;
            if rows.is_empty() {
                return Ok(true);
            }
            *left -= rows.len();
            let page = rows.iter().map(|row| parse_row(&index, row)).collect::<LabResult<Vec<Held>>>()?;
            let take = |(user, conn): &Held| {
                TAKE.call().key(keys::presence(user)).arg(conn.to_string()).arg(lease.to_string())
            };
            let taken = batch(&self.redis, page.iter().map(take).collect()).await?;
            let mut failed = None;
            for ((user, _), answer) in page.iter().zip(taken) {
                match answer {
                    Ok(1) => gone.push(*user),
                    Ok(_) => {}
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            let () = redis::cmd("SREM").arg(&index).arg(&rows).query_async(&mut redis).await?;
        }
        Ok(false)
    }
}

#[async_trait]
impl Presence for ZsetLease {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let held = (*user, *conn);
        let mut lease = self.current().await?;
        for _ in 0..ATTEMPTS {
            let in_time: bool = self.index(&held, &lease).run(&mut redis).await?;
            let entered: i64 = if in_time { self.enter(&held, &lease).run(&mut redis).await? } else { -1 };
            if entered >= 0 {
                self.local.opened(user, conn);
                return Ok(entered == 1);
            }
            lease = self.renewed().await?;
        }
        Err(LabError::Other(format!(
            "the lease of {} ms ran out {ATTEMPTS} times while one connection was written: lengthen it",
            self.policy.lease_ms
        )))
    }

    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        self.local.closed(user, conn);
        let offline: bool =
            LEAVE.call().key(keys::presence(user)).arg(conn.to_string()).run(&mut redis).await?;
        // Without this the row stays until the instance is dead, and its reaper finds nothing to close: no reason to keep
        // the answer back.
        let lease = self.lease.lock().await.id;
        let _: Result<u64, _> = redis::cmd("SREM")
            .arg(keys::lease_connections(&lease))
            .arg(row(&(*user, *conn)))
            .query_async(&mut redis)
            .await;
        Ok(offline)
    }

    async fn refresh(&self) -> LabResult<()> {
        let mut lease = self.renewed().await?;
        if self.doubts.swap(false, Relaxed) {
            // Under the lease that it has.
            self.lease.lock().await.moving = true;
            lease.moving = true;
            if let Err(error) = self.close_again().await {
                self.doubts.store(true, Relaxed);
                return Err(error);
            }
        }
        if lease.moving { self.move_to(&lease).await } else { Ok(()) }
    }

    fn doubt(&self) {
        self.doubts.store(true, Relaxed);
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        let mut gone = self.local.gone();
        match self.reap_into(&mut gone).await {
            // Those who were taken are told now or never.
            Err(error) if gone.is_empty() => Err(error),
            _ => Ok(gone),
        }
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        existing(&self.redis, users.iter().map(keys::presence)).await
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        Ok(redis::cmd("HLEN").arg(keys::presence(user)).query_async(&mut self.redis.clone()).await?)
    }

    fn returned(&self) -> Vec<UserId> {
        self.local.returned()
    }
}
