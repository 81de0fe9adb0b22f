//! The place where machines of one run meet: lists in Redis, and its clock, which all agree on.

use std::time::Duration;

use anyhow::{Context, bail};
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use super::clock::{self, Offset, ROUND_TRIPS};

/// What no key outlives, in seconds: longer than the pause between two of its uses.
pub(super) const TTL_S: i64 = 900;
/// The largest part or plan, in bytes.
const MAX_BYTES: usize = 256 << 20;
/// A clock may be uncertain by so much before the run, in nanoseconds. After it, the latency says what is too much.
pub const MAX_UNCERTAIN_NS: u64 = 1_000_000;
/// The longest name of a room or a worker.
pub(super) const MAX_NAME: usize = 64;

/// Where the machines of a run meet: `redis://[USER:PASSWORD@]HOST:PORT/ROOM`.
#[derive(Clone, PartialEq, Eq)]
pub struct Meeting {
    url: String,
    pub(super) room: String,
}

impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Meeting").field("room", &self.room).finish_non_exhaustive()
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(plain)
}

impl std::str::FromStr for Meeting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            "give redis://HOST:PORT/ROOM, where ROOM is a name of letters, digits, `-`, `_` and `.`"
                .to_owned()
        };
        let (url, room) = text.rsplit_once('/').ok_or_else(wrong)?;
        if !is_name(room) || url.strip_prefix("redis://").is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self { url: url.to_owned(), room: room.to_owned() })
    }
}

/// A connection to the place, for commands that do not block.
pub(super) struct Place {
    pub meeting: Meeting,
    pub connection: MultiplexedConnection,
}

impl Place {
    pub(super) async fn enter(meeting: &Meeting) -> anyhow::Result<Self> {
        let connection = meeting.connect().await?;
        Ok(Self { meeting: meeting.clone(), connection })
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("chatlab:load:{{{}}}:{name}", self.meeting.room)
    }

    /// Puts something at a list's end; how long the list is then.
    pub(super) async fn push(&mut self, key: &str, value: &impl Serialize) -> anyhow::Result<u64> {
        let bytes = serde_json::to_vec(value)?;
        if bytes.len() > MAX_BYTES {
            bail!("{} bytes are more than goes through Redis ({MAX_BYTES})", bytes.len());
        }
        let (length, _): (u64, i64) =
            redis::pipe().rpush(key, bytes).expire(key, TTL_S).query_async(&mut self.connection).await?;
        Ok(length)
    }

    /// Redis' clock, in microseconds since 1970.
    pub(super) async fn time_us(&mut self) -> redis::RedisResult<u64> {
        let (s, us): (u64, u64) = redis::cmd("TIME").query_async(&mut self.connection).await?;
        Ok(s * 1_000_000 + us)
    }

    /// Redis' clock minus this machine's.
    pub(super) async fn offset(&mut self) -> anyhow::Result<Offset> {
        let mut trips = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let sent = clock::unix_ns();
            let theirs_us = self.time_us().await?;
            trips.push((sent, theirs_us * 1_000, clock::unix_ns()));
        }
        let offset = Offset::of(&trips).context("the clocks could not be compared")?;
        if offset.uncertain_ns > MAX_UNCERTAIN_NS {
            bail!(
                "this machine's clock can be compared with Redis' to {:.1} ms only, and {} ms is the most: use a Redis \
                 that is nearer",
                offset.uncertain_ns as f64 / 1e6,
                MAX_UNCERTAIN_NS / 1_000_000
            );
        }
        Ok(offset)
    }
}

impl Meeting {
    pub(super) async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str()).context("the address of the meeting")?;
        // Blocking reads wait as long as they ask for, and not as long as a reply may take.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .context("reaching the meeting's Redis")
    }

    /// A connection for blocking reads of one list.
    pub(super) async fn listen<T: for<'de> Deserialize<'de>>(
        &self,
        key: String,
    ) -> anyhow::Result<Listener<T>> {
        Ok(Listener { connection: self.connect().await?, key, of: std::marker::PhantomData })
    }
}

pub(super) struct Listener<T> {
    connection: MultiplexedConnection,
    key: String,
    of: std::marker::PhantomData<T>,
}

impl<T: for<'de> Deserialize<'de>> Listener<T> {
    /// The next of the list; none when nothing came in that time.
    pub(super) async fn next(&mut self, wait: Duration) -> anyhow::Result<Option<T>> {
        let mut command = redis::cmd("BLPOP");
        command.arg(&self.key).arg(wait.as_secs_f64());
        let came: Option<(String, Vec<u8>)> = command.query_async(&mut self.connection).await?;
        Ok(came.map(|(_, bytes)| serde_json::from_slice(&bytes)).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_is_a_redis_and_a_room() {
        let meeting: Meeting = "redis://user:secret@10.0.0.1:6379/my-room.1".parse().unwrap();
        assert_eq!(
            (meeting.url.as_str(), meeting.room.as_str()),
            ("redis://user:secret@10.0.0.1:6379", "my-room.1")
        );
        assert!(!format!("{meeting:?}").contains("secret"));
        for wrong in [
            "",
            "room",
            "redis://h:1/",
            "redis:///room",
            "redis://h:1/a room",
            "http://h:1/room",
            "redis://h:1/{x}",
        ] {
            assert!(wrong.parse::<Meeting>().is_err(), "{wrong}");
        }
    }
}
