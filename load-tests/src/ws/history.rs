//! Reading the rooms' histories after a run with faults: what Redis still has of what it acknowledged.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};

use super::shared::Shared;
use crate::{client::WsClient, payload::Payload, plan::HISTORY_MS};

/// Rooms that are read at once.
const AT_ONCE: usize = 8;
/// Messages a page: the most that the protocol allows.
const PAGE: u32 = 200;
/// The most pages of a room.
const MAX_PAGES: usize = 1_000;
/// How often each server is asked for a room.
const ROUNDS: usize = 2;
/// So many messages of a room are kept at the most: where there are as many, older ones may have been dropped as planned.
const KEPT: usize = 10_000;

/// What the rooms hold of this run.
#[derive(Debug)]
pub(super) struct Stored {
    /// How often a message is there.
    times: HashMap<u32, u32>,
    rooms: Vec<Room>,
}

/// How much is known of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// All that there is.
    Whole,
    /// The newest part.
    Part,
    /// Nothing: it could not be read.
    Unknown,
}

impl Stored {
    /// How often the message is in its room's history; none when that is not known.
    pub fn times(&self, room: u16, number: u32) -> Option<u32> {
        let times = self.times.get(&number).copied();
        match self.rooms.get(usize::from(room)) {
            Some(Room::Whole) => Some(times.unwrap_or(0)),
            Some(Room::Part) => times,
            _ => None,
        }
    }
}

/// Reads all rooms. Blocks, at the most [`HISTORY_MS`]; what is not read by then is not known.
pub(super) fn read(shared: &Shared) -> Stored {
    let stored =
        RefCell::new(Stored { times: HashMap::new(), rooms: vec![Room::Unknown; shared.plan.rooms.len()] });
    // A room without a connection has no messages either.
    let rooms = shared.plan.rooms.len().min(shared.plan.tokens.len());
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        runtime.block_on(async {
            let all = stream::iter(0..rooms)
                .for_each_concurrent(AT_ONCE, |room| room_by_any(shared, room, &stored));
            // What is there by then counts.
            let _ = tokio::time::timeout(Duration::from_millis(HISTORY_MS), all).await;
        });
    }
    stored.into_inner()
}

/// By whichever server can.
async fn room_by_any(shared: &Shared, room: usize, stored: &RefCell<Stored>) {
    let servers = shared.plan.ws_urls.len();
    let until = Instant::now() + Duration::from_millis(HISTORY_MS);
    for attempt in 0..servers * ROUNDS {
        let url = &shared.plan.ws_urls[(room + attempt) % servers];
        // Connection `room` is in the room of that number.
        if let Ok((numbers, whole)) = one(shared, url, room, until).await {
            let mut stored = stored.borrow_mut();
            for number in numbers {
                *stored.times.entry(number).or_default() += 1;
            }
            stored.rooms[room] = if whole { Room::Whole } else { Room::Part };
            return;
        }
    }
}

/// This run's messages of a room, and whether none can have been dropped.
async fn one(
    shared: &Shared,
    url: &str,
    room: usize,
    until: Instant,
) -> crate::client::Result<(Vec<u32>, bool)> {
    let mut client = WsClient::connect(url, &shared.plan.tokens[room]).await?;
    let (mut numbers, mut before, mut seen) = (Vec::new(), None, 0);
    let mut whole = false;
    for _ in 0..MAX_PAGES {
        let page = client.history(shared.plan.rooms[room], before, Some(PAGE)).await?;
        seen += page.messages.len();
        let own =
            page.messages.iter().filter_map(|message| Payload::parse(message.draft.body.as_bytes()).ok());
        numbers.extend(own.filter(|payload| payload.run == shared.run).map(|payload| payload.number));
        before = page.next;
        if before.is_none() {
            whole = seen < KEPT;
            break;
        }
        if Instant::now() > until {
            break;
        }
    }
    // The histories are read; how the server takes the farewell is no part of it.
    let _ = client.close().await;
    Ok((numbers, whole))
}
