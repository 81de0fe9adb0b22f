//! Alternative: WATCH, look, then MULTI … EXEC, which is refused if anybody was quicker; then once more.
//!
//! The client decides, with what it has read, so it needs two round trips: one to look, one to write. Every message changes `seq`, so to
//! watch that one key is enough: a retry that is sent at the same moment changes it, too.
//!
//! WATCH belongs to the *connection*. On one that many tasks share, another task's EXEC would end this one's watch. So a connection is
//! leased for a transaction, one at a time. It goes to the owner of the slot and follows no redirect: a cluster client that repeats
//! an EXEC on a new connection, by itself, would repeat it without the WATCH.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    redis::{Redis, SlotOwners},
    slots::slot,
};
use tokio::sync::Mutex;

use crate::{
    Draft, LOG_MAX, SENT_TTL_MS, SendPath, Sent,
    stored::{Keys, check_batch, check_body, counter, read_stream},
};

/// How often a transaction is tried. Of those that meet, one always gets through: who is refused so often has met this many.
pub(crate) const MAX_ATTEMPTS: u32 = 64;

/// Optimistic: look, write, and once more after a conflict.
#[derive(Debug, Clone)]
pub struct Watch {
    redis: Redis,
    name: &'static str,
    attempts: u32,
    leases: Arc<Mutex<Leases>>,
}

/// Connections for transactions alone: one a master.
#[derive(Debug, Default)]
struct Leases {
    /// Who owned which slot when it was asked last.
    owners: Option<SlotOwners>,
    connections: HashMap<String, Redis>,
}

impl Leases {
    /// The connection to the owner of `slot`, and whose it is.
    async fn of(&mut self, redis: &Redis, slot: u16) -> LabResult<(String, Redis)> {
        let owners = match self.owners.take() {
            Some(owners) => owners,
            None => redis.slot_owners().await?,
        };
        let owner = owners.owner_of(slot).map(str::to_owned);
        let owners = self.owners.insert(owners);
        let Some(owner) = owner else {
            let nodes = owners.nodes().len();
            return Err(LabError::Other(format!("none of {nodes} nodes owns slot {slot}")));
        };
        let connection = match self.connections.get(&owner) {
            Some(connection) => connection.clone(),
            None => {
                let connection = redis.node(&owner).await?;
                self.connections.insert(owner.clone(), connection.clone());
                connection
            }
        };
        Ok((owner, connection))
    }

    /// After an error: asks and connects anew.
    fn forget(&mut self, owner: &str) {
        self.owners = None;
        self.connections.remove(owner);
    }
}

impl Watch {
    /// Over a handle; its own connections are opened when they are needed.
    pub fn new(redis: Redis) -> Self {
        Self::with(redis, "watch", MAX_ATTEMPTS)
    }

    /// Flawed (`watch_no_retry`): the first conflict is the sender's problem.
    pub fn no_retry(redis: Redis) -> Self {
        Self::with(redis, "watch_no_retry", 1)
    }

    fn with(redis: Redis, name: &'static str, attempts: u32) -> Self {
        Self { redis, name, attempts, leases: Arc::default() }
    }

    async fn transact(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        let Some(first) = drafts.first() else { return Ok(Vec::new()) };
        let keys = Keys::of(self.name, &first.room);
        let slot = slot(keys.seq().as_bytes());
        // Held to the end: a transaction has its connection for itself.
        let mut leases = self.leases.lock().await;
        for _ in 0..self.attempts {
            let (owner, mut lease) = leases.of(&self.redis, slot).await?;
            match attempt(&mut lease, &keys, drafts).await {
                Ok(Some(sent)) => return Ok(sent),
                Ok(None) => {}
                // The slot has moved, and nothing was stored.
                Err(LabError::Redis(error)) if error.code() == Some("MOVED") => leases.forget(&owner),
                Err(error) => {
                    leases.forget(&owner);
                    return Err(error);
                }
            }
        }
        Err(LabError::Bound {
            what: "the number of conflicts of one transaction",
            bound: u64::from(self.attempts),
        })
    }
}

/// One look and one write; none when somebody was quicker.
async fn attempt(redis: &mut Redis, keys: &Keys, drafts: &[Draft]) -> LabResult<Option<Vec<Sent>>> {
    let mut look = redis::pipe();
    // UNWATCH: what was given up half-way may still be watched here.
    look.cmd("UNWATCH").ignore().cmd("WATCH").arg(keys.seq()).ignore().cmd("GET").arg(keys.seq());
    for draft in drafts {
        look.cmd("GET").arg(keys.sent(&draft.from, &draft.cid));
    }
    let found: Vec<Option<u64>> = look.query_async(redis).await?;
    let Some((last, before)) = found.split_first() else { return Ok(None) };
    let mut next = last.unwrap_or(0);
    let mut stored = HashMap::new();
    let mut answers = Vec::with_capacity(drafts.len());
    let mut write = redis::pipe();
    write.atomic();
    for (draft, before) in drafts.iter().zip(before) {
        let known = before.or_else(|| stored.get(&(draft.from, &draft.cid)).copied());
        let seq = known.unwrap_or_else(|| {
            next += 1;
            stored.insert((draft.from, &draft.cid), next);
            store(&mut write, keys, draft, next);
            next
        });
        answers.push(Sent { seq, duplicate: known.is_some() });
    }
    if stored.is_empty() {
        return Ok(Some(answers));
    }
    write.cmd("SET").arg(keys.seq()).arg(next);
    write.cmd("INCRBY").arg(keys.unread()).arg(stored.len());
    let done: Option<Vec<redis::Value>> = write.query_async(redis).await?;
    Ok(done.map(|_| answers))
}

fn store(write: &mut redis::Pipeline, keys: &Keys, draft: &Draft, seq: u64) {
    write.cmd("XADD").arg(keys.log()).arg("MAXLEN").arg("~").arg(LOG_MAX).arg(format!("{seq}-0"));
    write.arg("from").arg(draft.from.to_string()).arg("cid").arg(draft.cid.as_str());
    write.arg("body").arg(&draft.body);
    write.cmd("SET").arg(keys.sent(&draft.from, &draft.cid)).arg(seq).arg("PX").arg(SENT_TTL_MS);
}

#[async_trait]
impl SendPath for Watch {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        check_body(body)?;
        let draft = Draft { room: *room, from: *from, cid: cid.clone(), body: body.to_owned() };
        let sent = self.transact(std::slice::from_ref(&draft)).await?;
        sent.first().copied().ok_or_else(|| LabError::Other("a transaction without an answer".into()))
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_batch(drafts)?;
        self.transact(drafts).await
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        read_stream(&self.redis, Keys::of(self.name, room).log(), after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        counter(&self.redis, &Keys::of(self.name, room).unread()).await
    }
}
