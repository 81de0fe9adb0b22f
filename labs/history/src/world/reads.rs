//! Steps that read a room: all of it, in pages, from a position, and how much it keeps.

use chatlab_kit::{
    LabResult,
    check::{answered, stored_keys},
    ids::MessageId,
    message::{Epoch, Message, Position, Seq},
    redis::Redis,
};

use super::{HOT, Halt, World};
use crate::steps::{Resume, Step};

/// The size of the pages in which a room is read.
const READ_PAGE: usize = 7;
/// The most pages of one walk.
const PAGES_MAX: usize = 200;
/// How many elements more than [`HOT`] a key may hold.
const SLACK: u64 = 16;

impl World<'_> {
    /// The head, and everything in pages.
    pub(super) async fn read(&self) -> Result<(Position, Vec<Message>), Halt> {
        let room = self.model.room;
        let head = answered("head", self.client.head(&room).await)?;
        let mut all: Vec<Message> = Vec::new();
        for _ in 0..PAGES_MAX {
            let before = all.first().map(|message| message.seq);
            let page = answered("page", self.client.page(&room, before, READ_PAGE).await)?;
            if page.is_empty() || all.len() > 4 * HOT as usize {
                break;
            }
            all.splice(0..0, page);
        }
        Ok((head, all))
    }

    pub(super) async fn walk(&mut self, step: &Step, sizes: &[usize], meanwhile: u32) -> Result<(), Halt> {
        let room = self.model.room;
        let newest = self.model.last_seq();
        let mut seen: Vec<Message> = Vec::new();
        let mut pages: Vec<Seq> = Vec::new();
        for n in 0..PAGES_MAX {
            let Some(limit) = sizes.get(n).or(sizes.last()).copied() else { return Ok(()) };
            let before = seen.first().map(|message| message.seq);
            let page = answered("page", self.client.page(&room, before, limit).await)?;
            if page.is_empty() {
                break;
            }
            pages.extend(page.iter().rev().map(|message| message.seq));
            if page.len() > limit {
                self.line(step, &format!("a page of {}", page.len()));
                return Err(Halt::Broken(format!("a page of {limit} has {} messages", page.len())));
            }
            seen.splice(0..0, page);
            if n < 3 {
                self.burst(meanwhile).await?;
            }
        }
        self.line(step, &format!("{} messages", seen.len()));
        pages.reverse();
        let told = self.model.run_of(&seen, 1.max((newest + 1).saturating_sub(HOT)), newest);
        self.held(told.map_err(|why| format!("walking back in pages: {why}")))
    }

    pub(super) async fn since(&mut self, step: &Step, m: u32, how: Resume) -> Result<(), Halt> {
        let stored = self.model.named(m).and_then(|i| self.model.known[i].stored.clone());
        let Some(stored) = stored else { return Ok(()) };
        let right = Position { epoch: stored.epoch, seq: stored.seq, id: Some(stored.id) };
        let position = match how {
            Resume::Right => right,
            Resume::WrongId => Position { id: Some(MessageId::new()), ..right },
            Resume::WrongEpoch => Position { epoch: Epoch("another".to_owned()), ..right },
            Resume::Ahead => Position { seq: self.model.last_seq() + 3, ..right },
        };
        self.resume(step, position).await
    }

    pub(super) async fn resume(&mut self, step: &Step, position: Position) -> Result<(), Halt> {
        let room = self.model.room;
        let head = answered("head", self.client.head(&room).await)?;
        let answer = answered("since", self.client.since(&room, &position).await)?;
        let what = match &answer {
            crate::Since::Resync { .. } => "resync".to_owned(),
            crate::Since::Continued { messages, .. } => {
                let seqs: Vec<Seq> = messages.iter().map(|message| message.seq).collect();
                format!("sequences {}", crate::model::runs(&seqs))
            }
        };
        self.line(step, &what);
        let told = self.model.resumed(&position, &answer, &head);
        self.held(told)
    }

    pub(super) async fn change_none(&mut self, step: &Step) -> Result<(), Halt> {
        let (room, id) = (self.model.room, MessageId::new());
        let edited = answered("edit", self.client.edit(&room, &id, &self.editor, "nothing").await)?;
        let deleted = answered("delete", self.client.delete(&room, &id).await)?;
        self.line(step, "");
        let held = edited.is_none() && deleted.is_none();
        self.held(if held { Ok(()) } else { Err("a message that never was has been changed".to_owned()) })
    }

    pub(super) async fn size(&mut self, step: &Step) -> Result<(), Halt> {
        let sizes = sizes(&self.subject.probe(), &self.model.room.to_string()).await?;
        let (most, over) = sizes.iter().fold((0, None), |(most, over), (key, size)| {
            (most.max(*size), if *size > HOT + SLACK { Some((key, size)) } else { over })
        });
        self.line(step, &format!("at most {most} elements in a key"));
        let told = match over {
            None => Ok(()),
            Some((key, size)) => Err(format!("{key} holds {size} elements, {HOT} messages are to stay")),
        };
        self.held(told)
    }
}

/// The keys whose names hold `room`, and the elements in each; strings are left out, they expire.
async fn sizes(redis: &Redis, room: &str) -> LabResult<Vec<(String, u64)>> {
    let mut sizes = Vec::new();
    for key in stored_keys(redis, &format!("*{room}*")).await? {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut redis.clone()).await?;
        let verb = match kind.as_str() {
            "list" => "LLEN",
            "hash" => "HLEN",
            "set" => "SCARD",
            "zset" => "ZCARD",
            "stream" => "XLEN",
            _ => continue,
        };
        let size: u64 = redis::cmd(verb).arg(&key).query_async(&mut redis.clone()).await?;
        sizes.push((key, size));
    }
    Ok(sizes)
}
