//! Alternative: the same code as a function of a library that stays on the server.
//!
//! A script belongs to the client that sends it, and a node may forget it at any time. A function belongs to the database: it has a name,
//! is replicated to the replicas, written to RDB and AOF, and so is still there after a failover or a restart. On a cluster each master
//! needs it, and one that joins later has to be given it: whoever is told `Function not found` loads the library on all of them.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    redis::Redis,
};
use redis::RedisError;

use crate::{
    Draft, LOG_MAX, SENT_TTL_MS, SendPath, Sent,
    stored::{Keys, Reply, check_batch, check_body, counter, read_stream, sent},
};

const NAME: &str = "function";
/// The library; its first line names it.
const LIBRARY: &str = include_str!("library.lua");
/// The function's name, one for the whole server.
const SEND: &str = "chatlab_pipelining_send";

/// One function call a send.
#[derive(Debug)]
pub struct Function {
    redis: Redis,
    /// Whether a call has been answered: then a pipeline of calls is not refused in part.
    known: AtomicBool,
}

impl Function {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { redis, known: AtomicBool::new(false) }
    }

    fn call(draft: &Draft) -> redis::Cmd {
        let keys = Keys::of(NAME, &draft.room);
        let mut call = redis::cmd("FCALL");
        call.arg(SEND).arg(4);
        call.arg(keys.seq()).arg(keys.log()).arg(keys.sent(&draft.from, &draft.cid)).arg(keys.unread());
        call.arg(draft.from.to_string()).arg(draft.cid.as_str()).arg(&draft.body);
        call.arg(SENT_TTL_MS).arg(LOG_MAX);
        call
    }

    /// Gives the library to every master. REPLACE: two clients that do it at once do not disturb each other.
    async fn load(&self) -> LabResult<()> {
        let masters = self.redis.primaries().await?;
        for (address, mut node) in self.redis.each_node().await? {
            if masters.contains(&address) {
                let mut load = redis::cmd("FUNCTION");
                load.arg("LOAD").arg("REPLACE").arg(LIBRARY);
                let _: String = load.query_async(&mut node).await?;
            }
        }
        Ok(())
    }

    async fn send_one(&self, draft: &Draft) -> LabResult<Sent> {
        let call = Self::call(draft);
        let reply: Reply = match call.query_async(&mut self.redis.clone()).await {
            Err(error) if is_unknown(&error) => {
                self.load().await?;
                call.query_async(&mut self.redis.clone()).await?
            }
            other => other?,
        };
        self.known.store(true, Ordering::Release);
        Ok(sent(reply))
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("Function not found"))
}

#[async_trait]
impl SendPath for Function {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        check_body(body)?;
        self.send_one(&Draft { room: *room, from: *from, cid: cid.clone(), body: body.to_owned() }).await
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_batch(drafts)?;
        let mut answers = Vec::with_capacity(drafts.len());
        let mut left = drafts;
        // The first message of this process goes alone, so that it is known whether the library is there.
        if let Some((first, others)) = drafts.split_first()
            && !self.known.load(Ordering::Acquire)
        {
            answers.push(self.send_one(first).await?);
            left = others;
        }
        if left.is_empty() {
            return Ok(answers);
        }
        let mut pipe = redis::pipe();
        for draft in left {
            pipe.add_command(Self::call(draft));
        }
        let replies: Result<Vec<Reply>, RedisError> = pipe.query_async(&mut self.redis.clone()).await;
        match replies {
            Ok(replies) => answers.extend(replies.into_iter().map(sent)),
            Err(error) => {
                // Another node may have taken over the room, without the library: the next batch begins by itself again.
                self.known.store(false, Ordering::Release);
                return Err(error.into());
            }
        }
        Ok(answers)
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        read_stream(&self.redis, Keys::of(NAME, room).log(), after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        counter(&self.redis, &Keys::of(NAME, room).unread()).await
    }
}
