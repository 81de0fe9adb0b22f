//! Connections that come and go: a user each, who listens, closes when it is due, and opens again.
//!
//! One by one they close in good order, and are on the server's account only: what is delivered to them is not in the ledger,
//! because what comes while one of them is away is nobody's loss. In a storm they break all together, without a goodbye, and
//! resume: then they are in the ledger, and what came while they were away must come to them after it, once and in order.
//! Measured is how long it takes from the due instant until the rooms are joined again.

use std::{cell::RefCell, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until, timeout},
};

use super::{
    TICK,
    conn::{Context, close, greet, join},
    line::Line,
    seats::{self, Seat, note, seen},
    shared::{Due, Shared, add, get},
    state::State,
};

/// Lives until the queue's other end is dropped.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let me = index - shared.plan.tokens.len();
    let opened = match gate.acquire().await {
        Ok(_permit) => open(shared, state, *index, Vec::new()).await,
        Err(_) => return,
    };
    let (mut socket, mut seats) = match opened {
        Ok((socket, seats)) => (Some(socket), seats),
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
                if let Some(mut old) = socket.take()
                    && shared.plan.churn.storm.is_none()
                {
                    close(&mut old).await;
                }
                (socket, seats) = reopen(shared, state, *index, (due, seats)).await;
            },
            seen = seen(socket.as_mut()) => match seen {
                Ok(text) => {
                    let mut state = state.borrow_mut();
                    state.churn_frames += 1;
                    if let (Some(text), true) = (text, shared.plan.churn.storm.is_some()) {
                        note(&mut state, &mut seats, &text);
                    }
                }
                Err(kind) => {
                    socket = None;
                    state.borrow_mut().disconnected(&kind);
                }
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

async fn reopen(
    shared: &Shared,
    state: &RefCell<State>,
    index: usize,
    (due, seats): (Instant, Vec<Seat>),
) -> (Option<Line>, Vec<Seat>) {
    let opened = open(shared, state, index, seats).await;
    let mut state = state.borrow_mut();
    match opened {
        Ok((socket, seats)) => {
            let late = Instant::now().saturating_duration_since(due);
            state.reopen.record_ns(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
            (Some(socket), seats)
        }
        Err(kind) => {
            state.error(&format!("reopen: {kind}"));
            state.reopen_failures += 1;
            (None, Vec::new())
        }
    }
}

/// Opens, and joins all rooms: anew, or after what the seats saw last.
async fn open(
    shared: &Shared,
    state: &RefCell<State>,
    index: usize,
    seats: Vec<Seat>,
) -> Result<(Line, Vec<Seat>), String> {
    let opening = async {
        let token = &shared.plan.churn.tokens[index - shared.plan.tokens.len()];
        let mut socket = greet(shared, index, token).await?;
        let mut seats = seats;
        for nth in 0..seats.len() {
            seats::resume(&mut socket, state, &mut seats, nth).await?;
        }
        if !seats.is_empty() {
            return Ok((socket, seats));
        }
        for room in shared.plan.rooms_of(index) {
            if shared.plan.churn.storm.is_some() {
                seats.push(seats::take(shared, state, &mut socket, room).await?);
            } else {
                join(&mut socket, shared.plan.rooms[room]).await?;
            }
        }
        Ok((socket, seats))
    };
    timeout(Duration::from_millis(shared.plan.connect_ms), Box::pin(opening))
        .await
        .unwrap_or_else(|_| Err("connect_timeout".into()))
}
