//! The same messages for every variant.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{
    LabError, LabResult,
    ids::RoomId,
    lab::{Operation, Scale, Workload},
    subscribe::FeedItem,
};
use tokio::sync::Mutex;

use crate::{Fanout, Subscription};

/// Rooms with a subscriber, and as many without; `n` goes round them.
const ROOMS: usize = 16;
/// The longest that a message may be under way.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// Under load a payload has about this many bytes.
const PAYLOAD: usize = 64;
/// The payloads of benches, in bytes: a line, a long message, the longest.
const PAYLOADS: Scale = Scale { unit: "B", sizes: &[PAYLOAD, 1_024, 4_096] };

const OPERATIONS: &[Operation] =
    &[Operation { name: "notify", weight: 50 }, Operation { name: "round_trip", weight: 50 }];

/// A room and its subscriber.
type Heard = (RoomId, Mutex<Subscription>);

/// One variant and the rooms that it is asked about.
pub(crate) struct PubsubWorkload {
    fanout: Arc<dyn Fanout>,
    heard: OnceLock<Vec<Heard>>,
    unheard: Vec<RoomId>,
}

impl PubsubWorkload {
    pub(crate) fn new(fanout: Arc<dyn Fanout>) -> Self {
        let unheard = (0..ROOMS).map(|_| RoomId::new()).collect();
        Self { fanout, heard: OnceLock::new(), unheard }
    }
}

#[async_trait]
impl Workload for PubsubWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        if self.heard.get().is_some() {
            return Ok(());
        }
        let mut heard = Vec::with_capacity(ROOMS);
        for _ in 0..ROOMS {
            let room = RoomId::new();
            heard.push((room, Mutex::new(self.fanout.subscribe(&room).await?)));
        }
        let _ = self.heard.set(heard);
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        self.run_sized(operation, n, PAYLOAD).await
    }

    fn scale(&self, _operation: &str) -> Option<Scale> {
        Some(PAYLOADS)
    }

    async fn run_sized(&self, operation: &str, n: u64, size: usize) -> LabResult<()> {
        let payload = Bytes::from(format!("{n:<size$}"));
        match operation {
            "notify" => self.fanout.notify(&self.unheard[n as usize % ROOMS], payload).await,
            "round_trip" => {
                let heard =
                    self.heard.get().ok_or_else(|| LabError::Other("the workload is not prepared".into()))?;
                let (room, feed) = &heard[n as usize % ROOMS];
                // One at a time in a room: the next item is this message.
                let mut feed = feed.lock().await;
                self.fanout.notify(room, payload.clone()).await?;
                until_heard(&mut feed, &payload, room).await
            }
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }
}

async fn until_heard(feed: &mut Subscription, payload: &Bytes, room: &RoomId) -> LabResult<()> {
    let wrong = |why: String| LabError::Corrupt { key: room.to_string(), why };
    let listen = async {
        loop {
            match feed.recv().await {
                Some(FeedItem::Payload(heard)) if heard == *payload => return Ok(()),
                // Of a run that was given up.
                Some(_) => {}
                None => return Err(wrong("the feed ended".into())),
            }
        }
    };
    let late = |_| wrong(format!("a message was not heard in {ROUND_TRIP_MAX:?}"));
    tokio::time::timeout(ROUND_TRIP_MAX, listen).await.map_err(late)?
}
