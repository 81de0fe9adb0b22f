//! How safe a stored message is known to be before its sender is told.
//!
//! | level | what has it | what it waits for | bound |
//! | --- | --- | --- | --- |
//! | `memory` | one Redis master | nothing: the store's own answer | |
//! | `replica` | and one of its replicas | a shared `WAIT`, then one look whether the message is still there | [`REPLICA_WAIT_MS`] |
//! | `archived` | and the SQL archive | the archivist, which works in batches | [`ARCHIVED_WAIT_MS`] |
//!
//! Whatever happens here, the message is stored: what was not reached is told as the level that was.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chatlab_cluster::replication::{Confirmation, Replication};
use chatlab_history::{Appended, History};
use chatlab_kit::{
    ids::RoomId,
    slots::Partition,
    wire::{ARCHIVED_WAIT_MS, AckLevel, REPLICA_WAIT_MS},
};

use super::{ServiceError, ServiceResult, commits::Commits, ports::Archive};

/// Waits for levels.
pub struct Levels {
    history: Arc<dyn History>,
    archive: Arc<dyn Archive>,
    replication: Arc<dyn Replication>,
    commits: Arc<Commits>,
}

/// What is known of a message that was stored.
enum Known {
    There,
    Lost,
    /// It is too old for Redis to have it, or nobody answers.
    Nothing,
}

impl Levels {
    /// Over the history and the archive that have the messages, and what tells of replicas and commits.
    pub fn new(
        history: Arc<dyn History>,
        archive: Arc<dyn Archive>,
        replication: Arc<dyn Replication>,
        commits: Arc<Commits>,
    ) -> Self {
        Self { history, archive, replication, commits }
    }

    /// Waits until a stored message is as safe as is wanted, in bounds. The level that it is known to have: the wanted one, or
    /// `memory`.
    ///
    /// # Errors
    /// `unavailable` when it turns out that a failover has lost the message: sent again, it is stored again.
    pub async fn reach(&self, room: &RoomId, stored: &Appended, wanted: AckLevel) -> ServiceResult<AckLevel> {
        let began = Instant::now();
        let reached = match wanted {
            AckLevel::Memory => return Ok(AckLevel::Memory),
            AckLevel::Replica => self.replicated(room, stored).await?,
            AckLevel::Archived => {
                let within = Duration::from_millis(ARCHIVED_WAIT_MS);
                match self.commits.wait(stored.id, stored.duplicate, within).await {
                    Ok(()) => true,
                    Err(why) => missed(wanted, why),
                }
            }
        };
        if !reached {
            return Ok(AckLevel::Memory);
        }
        metrics::histogram!("chatlab_level_seconds", "level" => wanted.as_str()).record(began.elapsed());
        Ok(wanted)
    }

    async fn replicated(&self, room: &RoomId, stored: &Appended) -> ServiceResult<bool> {
        let within = Duration::from_millis(REPLICA_WAIT_MS);
        match self.replication.confirm(Partition::of(room), within).await {
            Confirmation::Replicated => {}
            Confirmation::NoReplica => return Ok(missed(AckLevel::Replica, "no_replica")),
            Confirmation::TooLate => return Ok(missed(AckLevel::Replica, "too_late")),
        }
        // The master that was asked may be another one than the one that stored it.
        match self.look(room, stored).await {
            Known::There => Ok(true),
            Known::Nothing => Ok(missed(AckLevel::Replica, "unknown")),
            Known::Lost => {
                missed(AckLevel::Replica, "lost");
                Err(ServiceError {
                    message: "the message was lost with a part of the service, send it again".to_owned(),
                    ..ServiceError::unavailable(format!("{} of {room} lost by a failover", stored.seq))
                })
            }
        }
    }

    /// Whether a message is still in its place.
    async fn look(&self, room: &RoomId, stored: &Appended) -> Known {
        let newest = match self.history.page(room, Some(stored.seq + 1), 1).await {
            Ok(page) => page.into_iter().next_back(),
            Err(error) => {
                tracing::warn!(%room, %error, "levels.look");
                return Known::Nothing;
            }
        };
        match newest {
            Some(found) if found.draft.id == stored.id => Known::There,
            // An older one is here, so it was not its age that took this one away.
            Some(_) => Known::Lost,
            None => match self.archive.kept(&[stored.id]).await {
                Ok(kept) if !kept.is_empty() => Known::There,
                _ => Known::Nothing,
            },
        }
    }
}

/// Counts; false, as an answer.
fn missed(level: AckLevel, why: &'static str) -> bool {
    metrics::counter!("chatlab_level_missed_total", "level" => level.as_str(), "why" => why).increment(1);
    false
}
