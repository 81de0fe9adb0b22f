//! The same appends and reads for every variant.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::RoomId,
    lab::{Operation, Workload},
};

use crate::{Freshness, Rooms};

/// Rooms that are written and read; `n` goes round them.
const ROOMS: usize = 256;
/// Messages in each before anything is measured.
const MESSAGES: usize = 20;
/// Messages a read.
const READ: u32 = 20;
/// Rooms in the list of one user.
const LISTED: usize = 16;
/// How long a write waits for its replica, in milliseconds.
const WAIT_MS: u64 = 100;

const OPERATIONS: &[Operation] = &[
    Operation { name: "append", weight: 20 },
    Operation { name: "read", weight: 60 },
    Operation { name: "heads", weight: 20 },
    // Never under load: a write that waits holds up the writes behind it, and what is measured is that.
    Operation { name: "append_replicated", weight: 0 },
    Operation { name: "move_message", weight: 0 },
];

/// One variant and the rooms that it is asked about.
pub(crate) struct ClusterWorkload {
    rooms: Arc<dyn Rooms>,
    replicas: u32,
    ids: OnceLock<Vec<RoomId>>,
}

impl ClusterWorkload {
    pub(crate) fn new(rooms: Arc<dyn Rooms>, replicas: u32) -> Self {
        Self { rooms, replicas, ids: OnceLock::new() }
    }

    fn ids(&self) -> LabResult<&Vec<RoomId>> {
        self.ids.get().ok_or_else(|| LabError::Other("the workload is not prepared".into()))
    }
}

#[async_trait]
impl Workload for ClusterWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        let ids: Vec<RoomId> = (0..ROOMS).map(|_| RoomId::new()).collect();
        for id in &ids {
            for _ in 0..MESSAGES {
                self.rooms.append(id, "what a person says in a room").await?;
            }
        }
        // Every master has been asked for every operation once, and knows its scripts.
        for (id, next) in ids.iter().zip(ids.iter().cycle().skip(1)) {
            self.rooms.read(id, READ, Freshness::Latest).await?;
            self.rooms.read(id, READ, Freshness::AtLeast(MESSAGES as u64)).await?;
            self.rooms.move_message(id, 1, next).await?;
        }
        // A second call keeps the first rooms.
        let _ = self.ids.set(ids);
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let wrong = |why: String| LabError::Corrupt { key: "a prepared room".into(), why };
        let ids = self.ids()?;
        let place = n as usize % ids.len();
        let room = &ids[place];
        match operation {
            "append" => self.rooms.append(room, "what a person says in a room").await.map(drop),
            "append_replicated" => {
                let text = "what must not be lost";
                self.rooms.append_replicated(room, text, self.replicas, WAIT_MS).await.map(drop)
            }
            "read" => {
                let view = self.rooms.read(room, READ, Freshness::AtLeast(MESSAGES as u64)).await?;
                if view.seq < MESSAGES as u64 || view.messages.is_empty() {
                    return Err(wrong(format!("newest is {}, {} messages", view.seq, view.messages.len())));
                }
                Ok(())
            }
            "heads" => {
                let listed: Vec<RoomId> = ids.iter().cycle().skip(place).take(LISTED).copied().collect();
                let heads = self.rooms.heads(&listed).await?;
                match heads.iter().all(|head| *head >= MESSAGES as u64) {
                    true => Ok(()),
                    false => Err(wrong(format!("heads are {heads:?}"))),
                }
            }
            "move_message" => {
                // A message of its own: the prepared rooms keep theirs.
                let from = RoomId::new();
                let seq = self.rooms.append(&from, "off topic").await?;
                let there = self.rooms.move_message(&from, seq, room).await?;
                there.map(drop).ok_or_else(|| wrong("the message to move is not found".into()))
            }
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }
}
