//! What the alternatives share: each *connection* has a lease of its own, and its instance sends a heartbeat for each.
//!
//! An expiry tells nobody, so a reaper needs a list of what to look at: one ZSET `due` of all connections, by the time at
//! which somebody should look. Whoever looks asks the user's own structure, atomically, whether the connection is over.
//! That structure is what the alternatives differ in.

use std::fmt::Debug;
use std::marker::PhantomData;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    MAX_REAPED, Policy, Presence,
    batch::{PAGE, batch, existing},
    check_asked, hash_field_ttl,
    local::{Held, Local, parse_row, row},
    ttl_keys, zset_heartbeat,
};

static TOUCH: Script = Script::new(
    "presence/due_touch",
    include_str!("../../../lua/presence/due_touch.lua"),
    &["due"],
    &["due_ms", "keep_ms", "rows"],
);
static LIST: Script = Script::new(
    "presence/due_list",
    include_str!("../../../lua/presence/due_list.lua"),
    &["due"],
    &["limit"],
);
static DROP: Script = Script::new(
    "presence/due_drop",
    include_str!("../../../lua/presence/due_drop.lua"),
    &["due"],
    &["row", "score"],
);

/// All scripts of the alternatives.
pub(crate) const SCRIPTS: [&Script; 12] = [
    &TOUCH,
    &LIST,
    &DROP,
    &zset_heartbeat::ENTER,
    &zset_heartbeat::LEAVE,
    &zset_heartbeat::SWEEP,
    &ttl_keys::ENTER,
    &ttl_keys::LEAVE,
    &ttl_keys::SWEEP,
    &hash_field_ttl::ENTER,
    &hash_field_ttl::LEAVE,
    &hash_field_ttl::SWEEP,
];

/// A call of each, with the keys of a variant.
pub(crate) fn sample_calls() -> Vec<Call> {
    let held = (UserId::new(), ConnectionId::new());
    let due = || keys::lab("chat", "zset_heartbeat", "due");
    let mut calls: Vec<Call> = [&TOUCH, &LIST, &DROP].map(|script| script.call().key(due())).into();
    calls.extend(
        [&zset_heartbeat::ENTER, &zset_heartbeat::LEAVE, &zset_heartbeat::SWEEP]
            .map(|script| zset_heartbeat::call(script, &held)),
    );
    calls.extend(
        [&ttl_keys::ENTER, &ttl_keys::LEAVE, &ttl_keys::SWEEP].map(|script| ttl_keys::call(script, &held)),
    );
    calls.extend(
        [&hash_field_ttl::ENTER, &hash_field_ttl::LEAVE, &hash_field_ttl::SWEEP]
            .map(|script| hash_field_ttl::call(script, &held)),
    );
    calls
}

/// How many leases the keys of a user outlive their last heartbeat: as long may every reaper be away before an offline
/// goes untold.
const KEEP_LEASES: u64 = 16;
/// The most rows of `due` that one call writes.
const ROWS_MAX: usize = 512;

/// How a user's connections are kept.
#[async_trait]
pub trait Structure: Debug + Send + Sync + 'static {
    /// The variant's name.
    const NAME: &'static str;

    /// Adds a connection or moves its end on; 1 when the user came online by it.
    fn enter(held: &(UserId, ConnectionId), lease_ms: u64, keep_ms: u64) -> Call;

    /// Takes a connection away; 1 when the user went offline by it.
    fn leave(held: &(UserId, ConnectionId)) -> Call;

    /// Takes it away if it ran out; 1 when the user went offline by it, 2 when it lives.
    fn sweep(held: &(UserId, ConnectionId)) -> Call;

    /// A key that exists while the user is online.
    fn online_key(user: &UserId) -> String;

    /// How many connections there are.
    async fn devices(redis: Redis, user: &UserId) -> LabResult<u64>;
}

/// Presence by heartbeats of connections.
#[derive(Debug)]
pub struct Heartbeats<S> {
    redis: Redis,
    policy: Policy,
    due: String,
    local: Local,
    structure: PhantomData<S>,
}

impl<S: Structure> Heartbeats<S> {
    /// Presence of one instance in `redis`, together with all that name the same `space`.
    pub fn new(redis: Redis, policy: Policy, space: &str) -> Self {
        let due = keys::lab(space, S::NAME, "due");
        Self { redis, policy, due, local: Local::default(), structure: PhantomData }
    }

    fn keep_ms(&self) -> u64 {
        self.policy.lease_ms * KEEP_LEASES
    }

    fn enter(&self, held: &Held) -> Call {
        S::enter(held, self.policy.lease_ms, self.keep_ms())
    }

    async fn touch(&self, held: &[Held]) -> LabResult<()> {
        for page in held.chunks(ROWS_MAX) {
            let rows: Vec<String> = page.iter().map(row).collect();
            let _: u64 = TOUCH
                .call()
                .key(&self.due)
                .arg(self.policy.overdue_ms())
                .arg(self.keep_ms())
                .arg(rows.join("\n"))
                .run(&mut self.redis.clone())
                .await?;
        }
        Ok(())
    }

    async fn reap_into(&self, gone: &mut Vec<UserId>) -> LabResult<()> {
        for _ in 0..MAX_REAPED / PAGE {
            let due: Vec<(String, u64)> =
                LIST.call().key(&self.due).arg(PAGE).run(&mut self.redis.clone()).await?;
            if due.is_empty() {
                return Ok(());
            }
            let page =
                due.iter().map(|(row, _)| parse_row(&self.due, row)).collect::<LabResult<Vec<Held>>>()?;
            let swept = batch(&self.redis, page.iter().map(S::sweep).collect()).await?;
            let mut drop_calls = Vec::with_capacity(due.len());
            let mut failed = None;
            for ((user, _), ((row, score), answer)) in page.iter().zip(due.iter().zip(swept)) {
                match answer {
                    // Its owner is about to touch the row, or dies; then it is due again.
                    Ok(2) => continue,
                    Ok(1) => gone.push(*user),
                    Ok(_) => {}
                    Err(error) => {
                        failed = Some(error);
                        continue;
                    }
                }
                drop_calls.push(DROP.call().key(&self.due).arg(row).arg(*score));
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if drop_calls.is_empty() {
                return Ok(());
            }
            batch(&self.redis, drop_calls).await?.into_iter().collect::<LabResult<Vec<_>>>()?;
        }
        Ok(())
    }
}

#[async_trait]
impl<S: Structure> Presence for Heartbeats<S> {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let held = (*user, *conn);
        // What a reaper looks for comes first: a crash in between leaves a row that is looked at once, in vain. The other way
        // round it would leave a connection that nobody ever looks at.
        self.touch(&[held]).await?;
        let online: bool = self.enter(&held).run(&mut self.redis.clone()).await?;
        self.local.opened(user, conn);
        Ok(online)
    }

    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let held = (*user, *conn);
        self.local.closed(user, conn);
        let offline: bool = S::leave(&held).run(&mut redis).await?;
        // Without this a reaper looks once in vain: no reason to keep the answer back.
        let _: Result<u64, _> =
            redis::cmd("ZREM").arg(&self.due).arg(row(&held)).query_async(&mut redis).await;
        Ok(offline)
    }

    async fn refresh(&self) -> LabResult<()> {
        let held = self.local.all();
        self.touch(&held).await?;
        let entered = batch(&self.redis, held.iter().map(|held| self.enter(held)).collect()).await?;
        let mut failed = None;
        for (held, answer) in held.iter().zip(entered) {
            let online = match answer {
                Ok(answer) => answer == 1,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            // Closed while its heartbeat was under way: nobody else would close it again.
            let offline = !self.local.holds(held) && self.disconnect(&held.0, &held.1).await?;
            match (online, offline) {
                (true, false) => self.local.came_back(held.0),
                (false, true) => self.local.went(held.0),
                _ => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        let mut gone = self.local.gone();
        match self.reap_into(&mut gone).await {
            Err(error) if gone.is_empty() => Err(error),
            _ => Ok(gone),
        }
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        existing(&self.redis, users.iter().map(S::online_key)).await
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        S::devices(self.redis.clone(), user).await
    }

    fn returned(&self) -> Vec<UserId> {
        self.local.returned()
    }
}
