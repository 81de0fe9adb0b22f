//! The same appends, pages, resumes and edits for every variant.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{MessageId, RoomId, UserId},
    lab::{Operation, Scale, Workload},
    message::{Draft, MAX_BODY_BYTES, MessageKind, Position},
};
use tokio::sync::OnceCell;

use crate::{History, Since};

/// Rooms that are read and edited; `n` goes round them.
const ROOMS: usize = 16;
/// The messages of each before anything runs.
const MESSAGES: usize = 200;
/// Messages a page.
const PAGE: usize = 50;
/// How many messages a resume is behind.
const BEHIND: usize = 5;
/// The body, about as long as a chat message.
const BODY: &str = "A message as people write them: a sentence or two, and then somebody answers.";

/// The bodies that benches write and read, in bytes: a line, a long message, the longest.
const BODIES: Scale = Scale { unit: "B", sizes: &[64, 1_024, MAX_BODY_BYTES] };

const OPERATIONS: &[Operation] = &[
    Operation { name: "append", weight: 60 },
    Operation { name: "page", weight: 20 },
    Operation { name: "since", weight: 15 },
    Operation { name: "edit", weight: 5 },
];

/// A room whose messages nobody appends to, so that its answers are known.
struct Room {
    id: RoomId,
    messages: Vec<MessageId>,
    resume: Position,
}

/// One variant and the rooms that it is asked about.
pub(crate) struct HistoryWorkload {
    history: Arc<dyn History>,
    author: UserId,
    rooms: OnceLock<Vec<Room>>,
    growing: Vec<RoomId>,
    /// A room for each of [`BODIES`], laid out when a bench first asks for one.
    sized: OnceCell<Vec<(usize, Room)>>,
}

impl HistoryWorkload {
    pub(crate) fn new(history: Arc<dyn History>) -> Self {
        let growing = (0..ROOMS).map(|_| RoomId::new()).collect();
        Self { history, author: UserId::new(), rooms: OnceLock::new(), growing, sized: OnceCell::new() }
    }

    fn draft(&self, room: RoomId, body: &str) -> LabResult<Draft> {
        let id = MessageId::new();
        let cid =
            id.0.as_simple().to_string().parse().map_err(|e| LabError::Other(format!("client id: {e}")))?;
        Ok(Draft {
            room,
            id,
            from: self.author,
            cid,
            kind: MessageKind::Text,
            about: None,
            reply_to: None,
            forwarded_from: None,
            body: body.to_owned(),
        })
    }

    async fn room(&self, body: &str) -> LabResult<Room> {
        let id = RoomId::new();
        let mut messages = Vec::with_capacity(MESSAGES);
        let mut resume = None;
        for n in 0..MESSAGES {
            let appended = self.history.append(&self.draft(id, body)?).await?;
            messages.push(appended.id);
            if n + 1 + BEHIND == MESSAGES {
                resume = Some(Position { epoch: appended.epoch, seq: appended.seq, id: Some(appended.id) });
            }
        }
        let resume = resume.ok_or_else(|| LabError::Other("the workload's rooms are too short".into()))?;
        Ok(Room { id, messages, resume })
    }

    async fn sized(&self, size: usize) -> LabResult<&Room> {
        let lay_out = async || {
            let mut rooms = Vec::with_capacity(BODIES.sizes.len());
            for size in BODIES.sizes {
                rooms.push((*size, self.room(&body(*size)).await?));
            }
            Ok::<_, LabError>(rooms)
        };
        let rooms: &Vec<(usize, Room)> = self.sized.get_or_try_init(lay_out).await?;
        let room = rooms.iter().find(|(of, _)| *of == size).map(|(_, room)| room);
        room.ok_or_else(|| LabError::Other(format!("no room has bodies of {size} bytes")))
    }

    async fn page(&self, room: &Room, n: usize) -> LabResult<()> {
        let before = 1 + PAGE + n % (MESSAGES - PAGE);
        match self.history.page(&room.id, Some(before as u64), PAGE).await?.len() {
            PAGE => Ok(()),
            other => Err(wrong(format!("{other} messages in a page of {PAGE}"))),
        }
    }
}

fn wrong(why: String) -> LabError {
    LabError::Corrupt { key: "a prepared room".into(), why }
}

/// A body of so many bytes.
fn body(bytes: usize) -> String {
    BODY.chars().cycle().take(bytes).collect()
}

#[async_trait]
impl Workload for HistoryWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        if self.rooms.get().is_some() {
            return Ok(());
        }
        let mut rooms = Vec::with_capacity(ROOMS);
        for _ in 0..ROOMS {
            rooms.push(self.room(BODY).await?);
        }
        let _ = self.rooms.set(rooms);
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let n = n as usize;
        let rooms = self.rooms.get().ok_or_else(|| LabError::Other("the workload is not prepared".into()))?;
        let room = &rooms[n % rooms.len()];
        match operation {
            "append" => self.history.append(&self.draft(self.growing[n % ROOMS], BODY)?).await.map(drop),
            "page" => self.page(room, n / ROOMS).await,
            "since" => match self.history.since(&room.id, &room.resume).await? {
                Since::Continued { messages, .. } if messages.len() == BEHIND => Ok(()),
                other => Err(wrong(format!("{BEHIND} messages were missed, and the answer is {other:?}"))),
            },
            "edit" => {
                let id = &room.messages[n / ROOMS % MESSAGES];
                let edited = self.history.edit(&room.id, id, &self.author, BODY).await?;
                edited.map(drop).ok_or_else(|| wrong("edit does not find a message".into()))
            }
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }

    fn scale(&self, operation: &str) -> Option<Scale> {
        matches!(operation, "append" | "page").then_some(BODIES)
    }

    async fn run_sized(&self, operation: &str, n: u64, size: usize) -> LabResult<()> {
        match operation {
            "append" => {
                let room = self.growing[n as usize % ROOMS];
                self.history.append(&self.draft(room, &body(size))?).await.map(drop)
            }
            "page" => self.page(self.sized(size).await?, n as usize).await,
            other => self.run(other, n).await,
        }
    }
}
