//! Flawed: a batch is sorted by sender, and each sender's part goes in a pipeline of its own.
//!
//! Each sender's messages stay in order, and every single promise of a send is kept. But an answer is stored before the question that it
//! answers, because somebody else asked it. And there are as many round trips as senders.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    redis::Redis,
};

use crate::{Draft, Script, SendPath, Sent, stored::check_batch};

/// One pipeline a sender.
#[derive(Debug, Clone)]
pub struct BySender {
    script: Script,
}

impl BySender {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { script: Script::named(redis, "by_sender") }
    }
}

#[async_trait]
impl SendPath for BySender {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        self.script.send(room, from, cid, body).await
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_batch(drafts)?;
        let mut parts: BTreeMap<UserId, Vec<usize>> = BTreeMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            parts.entry(draft.from).or_default().push(index);
        }
        let mut answers: Vec<Option<Sent>> = vec![None; drafts.len()];
        for part in parts.values() {
            let own: Vec<Draft> = part.iter().map(|index| drafts[*index].clone()).collect();
            for (index, sent) in part.iter().zip(self.script.send_many(&own).await?) {
                answers[*index] = Some(sent);
            }
        }
        let all: Option<Vec<Sent>> = answers.into_iter().collect();
        all.ok_or_else(|| LabError::Other("a message of the batch was not answered".into()))
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        self.script.read(room, after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        self.script.unread(room).await
    }
}
