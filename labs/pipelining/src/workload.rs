//! The same messages for every variant.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{RoomId, UserId},
    lab::{Operation, Scale, Workload},
};

use crate::{Draft, SendPath, races::cid};

/// Rooms that `n` goes round; on a cluster they lie in several slots.
const ROOMS: usize = 64;
/// Messages of a batch under load.
const BATCH: u64 = 20;
/// The batches of benches.
const BATCHES: Scale = Scale { unit: "messages", sizes: &[1, 20, 200] };
/// Messages of a page.
const PAGE: usize = 20;

const OPERATIONS: &[Operation] = &[
    Operation { name: "send", weight: 80 },
    Operation { name: "retry", weight: 5 },
    Operation { name: "send_many", weight: 5 },
    Operation { name: "read", weight: 10 },
];

/// One variant and the rooms that it sends to.
pub(crate) struct PipeliningWorkload {
    path: Arc<dyn SendPath>,
    rooms: Vec<RoomId>,
    from: UserId,
}

impl PipeliningWorkload {
    pub(crate) fn new(path: Arc<dyn SendPath>) -> Self {
        Self { path, rooms: (0..ROOMS).map(|_| RoomId::new()).collect(), from: UserId::new() }
    }

    fn draft(&self, kind: &str, n: u64, i: u64) -> LabResult<Draft> {
        let at = usize::try_from(n % ROOMS as u64).unwrap_or(0);
        let body = format!("message {n}.{i}: the tide is in and everybody is on board");
        Ok(Draft { room: self.rooms[at], from: self.from, cid: cid(&format!("{kind}-{n}-{i}"))?, body })
    }

    async fn send_many(&self, kind: &str, n: u64, batch: u64) -> LabResult<()> {
        let drafts: LabResult<Vec<Draft>> = (0..batch).map(|i| self.draft(kind, n, i)).collect();
        let sent = self.path.send_many(&drafts?).await?;
        sound(sent.len() as u64 == batch, || format!("{} answers", sent.len()))
    }

    async fn send(&self, draft: &Draft) -> LabResult<()> {
        let sent = self.path.send(&draft.room, &draft.from, &draft.cid, &draft.body).await?;
        sound(sent.seq > 0, || format!("{sent:?}"))
    }
}

fn sound(sound: bool, why: impl Fn() -> String) -> LabResult<()> {
    if sound { Ok(()) } else { Err(LabError::Corrupt { key: "an answer".into(), why: why() }) }
}

#[async_trait]
impl Workload for PipeliningWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        for n in 0..ROOMS as u64 {
            self.run("retry", n).await?;
        }
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        match operation {
            "send" => self.send(&self.draft("s", n, 0)?).await,
            // Every room has one message that was sent before.
            "retry" => self.send(&self.draft("r", n % ROOMS as u64, 0)?).await,
            "send_many" => self.send_many("b", n, BATCH).await,
            "read" => {
                let room = self.draft("r", n, 0)?.room;
                let page = self.path.read(&room, 0, PAGE).await?;
                sound(!page.is_empty() && page.len() <= PAGE, || format!("{} messages", page.len()))
            }
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }

    fn scale(&self, operation: &str) -> Option<Scale> {
        (operation == "send_many").then_some(BATCHES)
    }

    async fn run_sized(&self, operation: &str, n: u64, size: usize) -> LabResult<()> {
        match operation {
            // Each size sends messages of its own.
            "send_many" => self.send_many(&format!("b{size}"), n, size as u64).await,
            other => self.run(other, n).await,
        }
    }
}
