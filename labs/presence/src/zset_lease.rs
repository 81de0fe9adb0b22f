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
//!
//! A write that was not answered may be done later than what was asked after it, by another connection or after a redirection: a
//! connection that closed meanwhile would be in its HASH for good. It can't be done after the lease that it names. So whatever was
//! not answered is put right once more when that is over.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    lua::{Call, Script},
    redis::Redis,
};
use tokio::sync::Mutex;

pub(crate) use reap::{CLAIM, TAKE};

use crate::{
    Policy, Presence,
    batch::{PAGE, batch, existing},
    check_asked,
    local::{Held, Local, row},
};

mod reap;

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
            if !self.write_down(page, lease).await? {
                // The next refresh renews the lease and moves the rest.
                return Ok(());
            }
        }
        self.lease.lock().await.moving = false;
        Ok(())
    }

    /// Writes down connections that are here, at most a page. False when the lease ran out meanwhile.
    async fn write_down(&self, page: &[Held], lease: &Lease) -> LabResult<bool> {
        let indexed = batch(&self.redis, page.iter().map(|held| self.index(held, lease)).collect()).await?;
        indexed.into_iter().collect::<LabResult<Vec<_>>>()?;
        let mut unanswered = self.local.unanswered(page);
        let entered = batch(&self.redis, page.iter().map(|held| self.enter(held, lease)).collect()).await?;
        let (mut late, mut failed) = (false, None);
        for (held, answer) in page.iter().zip(entered) {
            match answer {
                Ok(answer) => {
                    late |= answer < 0;
                    self.entered_again(held, answer == 1).await?;
                    unanswered.answered(held);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(!late), Err)
    }

    /// Puts right what may have been written later than it was asked for: nothing of that can be written any more.
    async fn put_right(&self, lease: &Lease) -> LabResult<()> {
        let over = self.policy.overdue_ms();
        let mut rest = &self.local.settled_after(Duration::from_millis(over))[..];
        while !rest.is_empty() {
            let (page, others) = rest.split_at(rest.len().min(PAGE));
            let done = self.put_page_right(page, lease).await;
            if !matches!(done, Ok(true)) {
                // Anew, and looked at again when that is over, with those that were not come to.
                drop(self.local.unanswered(rest));
                return done.map(drop);
            }
            rest = others;
        }
        Ok(())
    }

    async fn put_page_right(&self, page: &[Held], lease: &Lease) -> LabResult<bool> {
        let gone: Vec<Held> = page.iter().filter(|held| !self.local.holds(held)).copied().collect();
        self.leave_all(&gone).await?;
        // Who has come while that was under way is written down after it.
        let here: Vec<Held> = page.iter().filter(|held| self.local.holds(held)).copied().collect();
        self.write_down(&here, lease).await
    }

    /// Closes once more what closed lately.
    async fn close_again(&self) -> LabResult<()> {
        self.leave_all(&self.local.lately_closed()).await?;
        self.take_again().await
    }

    /// Closes once more what is closed.
    async fn leave_all(&self, closed: &[Held]) -> LabResult<()> {
        for page in closed.chunks(PAGE) {
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
}

#[async_trait]
impl Presence for ZsetLease {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let held = (*user, *conn);
        let mut lease = self.current().await?;
        // Also when the caller does not wait for the answer.
        let opening = self.local.opening(held);
        for _ in 0..ATTEMPTS {
            let in_time: bool = self.index(&held, &lease).run(&mut redis).await?;
            let entered: i64 = if in_time { self.enter(&held, &lease).run(&mut redis).await? } else { -1 };
            if entered >= 0 {
                opening.done();
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
        if lease.moving {
            self.move_to(&lease).await?;
        }
        self.put_right(&lease).await
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
