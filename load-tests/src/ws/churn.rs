//! Connections that come and go: a user each, who listens, closes when it is due, and opens again.
//!
//! They are on the server's account only: what is delivered to them is not in the ledger, because what comes while one of
//! them is away is nobody's loss. What is measured is how long it takes from the due instant until the rooms are joined again.

use std::{cell::RefCell, time::Duration};

use futures_util::StreamExt;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    TICK,
    conn::{Context, Socket, close, greet, join, kind_of},
    shard::State,
    shared::{Due, Shared, add, get},
};

/// Lives until the queue's other end is dropped.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let me = index - shared.plan.tokens.len();
    let opened = match gate.acquire().await {
        Ok(_permit) => open(shared, *index).await,
        Err(_) => return,
    };
    let mut socket = match opened {
        Ok(socket) => Some(socket),
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    let mut nth = 0;
    loop {
        let next = next_due(shared, me, nth);
        // Before the window is known, look again soon.
        let wake = next.unwrap_or_else(|| Instant::now() + TICK);
        tokio::select! {
            biased;
            ended = queue.recv() => if ended.is_none() { break },
            () = sleep_until(wake) => if let Some(due) = next {
                nth += 1;
                if let Some(mut old) = socket.take() {
                    close(&mut old).await;
                }
                socket = reopen(shared, state, *index, due).await;
            },
            seen = seen(socket.as_mut()) => if let Err(kind) = seen {
                socket = None;
                let mut state = state.borrow_mut();
                state.error(&kind);
                state.disconnects += 1;
            } else {
                state.borrow_mut().churn_frames += 1;
            },
        }
    }
    if let Some(mut socket) = socket {
        close(&mut socket).await;
    }
}

/// When connection `me` is to go for the `nth` time; far away once the window is over, none before it is known.
fn next_due(shared: &Shared, me: usize, nth: u64) -> Option<Instant> {
    let window_ns = get(&shared.window_start_ns);
    if window_ns == 0 {
        return None;
    }
    let due_ns = shared.plan.churn.due_ns(me, nth);
    let over = due_ns >= shared.plan.schedule.duration_ns;
    // Only the end of the run comes after that.
    let far = Duration::from_secs(86_400);
    let origin = Instant::from_std(shared.origin);
    Some(if over { Instant::now() + far } else { origin + Duration::from_nanos(window_ns + due_ns) })
}

async fn reopen(shared: &Shared, state: &RefCell<State>, index: usize, due: Instant) -> Option<Socket> {
    let opened = open(shared, index).await;
    let mut state = state.borrow_mut();
    match opened {
        Ok(socket) => {
            let late = Instant::now().saturating_duration_since(due);
            state.reopen.record_ns(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
            Some(socket)
        }
        Err(kind) => {
            state.error(&format!("reopen: {kind}"));
            state.reopen_failures += 1;
            None
        }
    }
}

async fn open(shared: &Shared, index: usize) -> Result<Socket, String> {
    let opening = async {
        let token = &shared.plan.churn.tokens[index - shared.plan.tokens.len()];
        let mut socket = greet(shared, index, token).await?;
        for room in shared.plan.rooms_of(index) {
            join(&mut socket, shared.plan.rooms[room]).await?;
        }
        Ok(socket)
    };
    timeout(Duration::from_millis(shared.plan.connect_ms), Box::pin(opening))
        .await
        .unwrap_or_else(|_| Err("connect_timeout".into()))
}

/// The next frame, whatever it is; never, when there is no connection.
async fn seen(socket: Option<&mut Socket>) -> Result<(), String> {
    let Some(socket) = socket else { return std::future::pending().await };
    match socket.next().await {
        Some(Ok(Message::Close(frame))) => {
            Err(frame.map_or("closed".into(), |f| format!("closed: {}", u16::from(f.code))))
        }
        Some(Ok(_)) => Ok(()),
        Some(Err(e)) => Err(format!("socket: {}", kind_of(&e))),
        None => Err("closed without a close frame".into()),
    }
}
