//! A flow of numbered messages while something happens to the subscriber, and an account of what it missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, subscribe::FeedItem};
use tokio_util::sync::CancellationToken;

use crate::{Fanout, Subscription};

/// The pause between two messages.
const PAUSE: Duration = Duration::from_millis(2);
/// Messages before anything happens, and after the subscriber is back.
const CALM: u64 = 40;
/// Messages after which a subscriber that hears nothing counts as deaf.
const DEAF_AFTER: u64 = 1_000;
/// The longest wait for what is still under way at the end, in pauses.
const REST: u32 = 200;

/// What came of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// Acknowledged messages.
    pub(crate) published: u64,
    /// Of these, never heard.
    pub(crate) lost: u64,
    /// Of these, where no gap was told.
    pub(crate) untold: u64,
    /// Messages that Redis refused meanwhile.
    pub(crate) refused: u64,
}

/// Publishes before, while and after `event` runs.
pub(crate) async fn flow(
    subscriber: &dyn Fanout,
    publisher: &dyn Fanout,
    room: &RoomId,
    event: impl Future<Output = LabResult<()>>,
) -> LabResult<Account> {
    let feed = subscriber.subscribe(room).await?;
    let (newest, stop) = (Arc::<AtomicU64>::default(), CancellationToken::new());
    let listener = tokio::spawn(listen(feed, newest.clone(), stop.clone()));
    let mut stream = Stream { publisher, room, sent: Vec::new(), next: 1, refused: 0 };
    for _ in 0..CALM {
        stream.send().await;
    }
    // No send is given up halfway: nobody would know whether its message was published.
    let over = AtomicBool::new(false);
    let happens = async {
        let happened = event.await;
        over.store(true, Ordering::Relaxed);
        happened
    };
    let sends = async {
        while !over.load(Ordering::Relaxed) {
            stream.send().await;
        }
    };
    let (happened, ()) = tokio::join!(happens, sends);
    let back_at = stream.next;
    while newest.load(Ordering::Relaxed) < back_at && stream.next < back_at + DEAF_AFTER {
        stream.send().await;
    }
    for _ in 0..CALM {
        stream.send().await;
    }
    let last = stream.sent.last().copied().unwrap_or(0);
    for _ in 0..REST {
        if newest.load(Ordering::Relaxed) >= last || newest.load(Ordering::Relaxed) < back_at {
            break;
        }
        // A poll, at most `REST` times.
        tokio::time::sleep(PAUSE).await;
    }
    stop.cancel();
    let heard = listener.await.unwrap_or_default();
    happened?;
    Ok(account(&stream.sent, &heard, stream.refused))
}

struct Stream<'a> {
    publisher: &'a dyn Fanout,
    room: &'a RoomId,
    sent: Vec<u64>,
    next: u64,
    refused: u64,
}

impl Stream<'_> {
    async fn send(&mut self) {
        let payload = Bytes::from(self.next.to_string());
        let number = self.next;
        self.next += 1;
        match self.publisher.notify(self.room, payload).await {
            Ok(()) => self.sent.push(number),
            Err(_) => self.refused += 1,
        }
        // The pace of the stream.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Everything heard; 0 is a gap.
async fn listen(mut feed: Subscription, newest: Arc<AtomicU64>, stop: CancellationToken) -> Vec<u64> {
    let mut heard = Vec::new();
    loop {
        let item = tokio::select! {
            () = stop.cancelled() => return heard,
            item = feed.recv() => item,
        };
        match item {
            Some(FeedItem::Payload(payload)) => {
                let number = std::str::from_utf8(&payload).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
                heard.push(number);
                newest.fetch_max(number, Ordering::Relaxed);
            }
            Some(FeedItem::Gap) => heard.push(0),
            None => {
                heard.push(0);
                return heard;
            }
        }
    }
}

fn account(sent: &[u64], heard: &[u64], refused: u64) -> Account {
    let (mut lost, mut untold, mut told) = (0, 0, false);
    let mut expected = sent.iter().copied().peekable();
    for &number in heard {
        if number == 0 {
            told = true;
            continue;
        }
        while let Some(missed) = expected.next_if(|next| *next < number) {
            let _ = missed;
            lost += 1;
            untold += u64::from(!told);
        }
        expected.next_if_eq(&number);
        told = false;
    }
    let rest = expected.count() as u64;
    lost += rest;
    untold += if told { 0 } else { rest };
    Account { published: sent.len() as u64, lost, untold, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gap_covers_is_told_and_the_rest_is_not() {
        let sent: Vec<u64> = (1..=10).collect();
        let seen = |heard: &[u64]| {
            let account = account(&sent, heard, 0);
            (account.lost, account.untold)
        };
        assert_eq!(seen(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), (0, 0));
        assert_eq!(seen(&[1, 2, 0, 5, 6, 7, 8, 9, 10]), (2, 0));
        assert_eq!(seen(&[1, 2, 5, 6, 0, 8, 9, 10]), (3, 2));
        assert_eq!(seen(&[1, 2]), (8, 8));
        assert_eq!(seen(&[1, 2, 0]), (8, 0));
    }
}
