//! Connections that stop reading: each listens to many rooms through a small buffer, reads as anybody, and at its instant no more.
//!
//! Who does not read does not see that it is closed either, so it asks the server's metrics. Then it reads what is left, `bye` with the
//! resume token among it, opens again, joins its rooms after the positions of the token, and goes on as if nothing had been. All
//! of it is in the ledger; latencies are those of the others.

use std::{cell::RefCell, time::Duration};

use chatlab_kit::wire::{ClientFrame, ResumeRoom, ServerFrame};
use hyper::Method;
use tokio::{
    sync::mpsc::{UnboundedReceiver, error::TryRecvError},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    TICK,
    conn::{Context, close, greet_by, send},
    line::Line,
    seats::{self, Seat, note, seen},
    shared::{Due, Shared, add, get, take},
    state::State,
};
use crate::{
    fuzz::watch::metric, http::HttpClient, payload::slow_parse, procstat::ProcStat, result::SlowReader,
    sockets::Look,
};

/// How often the server is asked whether it has closed us: its answer costs it about a millisecond.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long what is left may take to read: the server waits 5 s with its goodbye.
const READ_ON_BOUND: Duration = Duration::from_secs(5);
/// The server's count of connections that it closed because they did not read.
const SLOW_CONSUMERS: &str = "chatlab_slow_consumers_total";
/// The number of the request whose answer comes after everything that was missed.
const CAUGHT_UP: u64 = u64::MAX;

/// One life from its first connection to the run's end.
struct Life<'a> {
    shared: &'a Shared,
    state: &'a RefCell<State>,
    index: usize,
    seats: Vec<Seat>,
    http: HttpClient,
    seen: SlowReader,
}

/// Lives until the queue's other end is dropped.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let Some(slow) = &shared.plan.slow else { return };
    let server = shared.targets[shared.plan.server_of(*index)];
    let mut life = Life {
        shared,
        state,
        index: *index,
        seats: Vec::new(),
        http: HttpClient::new(&format!("http://{server}")),
        seen: SlowReader { rooms: slow.how.rooms, ..SlowReader::default() },
    };
    let opened = match gate.acquire().await {
        Ok(_permit) => {
            let bound = Duration::from_millis(shared.plan.connect_ms);
            timeout(bound, Box::pin(life.open())).await.unwrap_or_else(|_| Err("connect_timeout".into()))
        }
        Err(_) => return,
    };
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    if life.read_until_stop(&mut socket, &mut queue).await {
        add(&shared.counters.behind, 1);
        match Box::pin(life.fall_behind(socket, &mut queue)).await {
            Ok(again) => {
                take(&shared.counters.behind, 1);
                life.read_to_the_end(again, &mut queue).await;
            }
            Err(kind) => {
                take(&shared.counters.behind, 1);
                state.borrow_mut().error(&format!("slow reader: {kind}"));
            }
        }
    }
    state.borrow_mut().slow.push(life.seen);
}

impl Life<'_> {
    async fn open(&mut self) -> Result<Line, String> {
        let mut socket = self.connect().await?;
        let rooms: Vec<_> = self.shared.plan.slow_rooms_of(self.index).collect();
        for room in rooms {
            self.seats.push(seats::take(self.shared, self.state, &mut socket, room).await?);
        }
        Ok(socket)
    }

    async fn connect(&self) -> Result<Line, String> {
        let plan = &self.shared.plan;
        let Some(slow) = &plan.slow else { return Err("there are none".into()) };
        let token = &slow.tokens[self.index - plan.tokens.len() - plan.churn.tokens.len()];
        let by = (plan.server_of(self.index), Some(slow.how.recv_buffer));
        greet_by(self.shared, self.index, by, token).await
    }

    /// Reads as anybody; true at the instant at which it stops, false at the run's end.
    async fn read_until_stop(&mut self, socket: &mut Line, queue: &mut UnboundedReceiver<Due>) -> bool {
        loop {
            let stop = self.stop();
            // Before the window is known, look again soon.
            let wake = stop.unwrap_or_else(|| Instant::now() + TICK);
            tokio::select! {
                biased;
                ended = queue.recv() => if ended.is_none() {
                    close(socket).await;
                    return false;
                },
                () = sleep_until(wake) => if stop.is_some() {
                    return true;
                },
                text = seen(Some(&mut *socket)) => match text {
                    Ok(Some(text)) => {
                        note(&mut self.state.borrow_mut(), &mut self.seats, &text);
                    }
                    Ok(None) => {}
                    Err(kind) => {
                        self.state.borrow_mut().disconnected(&kind);
                        return false;
                    }
                },
            }
        }
    }

    fn stop(&self) -> Option<Instant> {
        let window_ns = get(&self.shared.window_start_ns);
        let after_ms = self.shared.plan.slow.as_ref()?.how.stop_ms;
        let at = Duration::from_nanos(window_ns) + Duration::from_millis(after_ms);
        (window_ns != 0).then(|| Instant::from_std(self.shared.origin) + at)
    }

    fn server_rss(&self) -> Option<u64> {
        ProcStat::sum(&self.shared.plan.server_pids).map(|stat| stat.rss_bytes)
    }

    /// Does not read until it is closed, reads what is left, and comes back.
    async fn fall_behind(
        &mut self,
        socket: Line,
        queue: &mut UnboundedReceiver<Due>,
    ) -> Result<Line, String> {
        let stopped = Instant::now();
        let already = self.slow_consumers().await?;
        self.seen.server_rss_before = self.server_rss();
        self.wait_until_closed((stopped, already), queue).await?;
        self.seen.kernel_bytes = self.kernel_bytes(&socket).await;
        let closed = Instant::now();
        let token = self.read_on(socket).await?;
        self.come_back(closed, token).await
    }

    async fn slow_consumers(&self) -> Result<f64, String> {
        let answer =
            self.http.request(Method::GET, "/metrics", None, None).await.map_err(|e| e.to_string())?;
        // A counter is there from its first count on.
        Ok(metric(&answer.text(), SLOW_CONSUMERS).unwrap_or(0.0))
    }

    async fn wait_until_closed(
        &mut self,
        (stopped, already): (Instant, f64),
        queue: &mut UnboundedReceiver<Due>,
    ) -> Result<(), String> {
        let all = self.shared.plan.slow.as_ref().map_or(0, |slow| slow.tokens.len()) as f64;
        loop {
            sleep(ASK_EVERY).await;
            self.seen.server_rss_highest = self.seen.server_rss_highest.max(self.server_rss());
            if matches!(queue.try_recv(), Err(TryRecvError::Disconnected)) {
                return Err("never closed".into());
            }
            // With several, all of them: whose it is can't be told from a count.
            if self.slow_consumers().await? >= already + all {
                self.seen.closed_after_ms = Some(stopped.elapsed().as_millis() as u64);
                return Ok(());
            }
        }
    }

    /// What the kernel holds for this connection at the server's end.
    async fn kernel_bytes(&self, socket: &Line) -> Option<u64> {
        let (own, server) = (socket.stream().local_addr().ok()?, socket.stream().peer_addr().ok()?);
        let look = tokio::task::spawn_blocking(Look::now).await.ok()??;
        look.between(server.port(), own.port())
    }

    /// Reads what is left: the last messages, `bye`, and the close. What it is to go on from: the token, or what it saw itself.
    async fn read_on(&mut self, mut socket: Line) -> Result<Vec<ResumeRoom>, String> {
        let mut token = Vec::new();
        let reading = async {
            loop {
                let text = match socket.next_text().await {
                    Ok(text) => text,
                    Err(how) => return how,
                };
                if let Ok(ServerFrame::Bye { code, resume, .. }) = slow_parse(&text) {
                    self.seen.code =
                        serde_json::to_value(code).ok().and_then(|v| Some(v.as_str()?.to_owned()));
                    token = resume;
                } else if note(&mut self.state.borrow_mut(), &mut self.seats, &text) {
                    self.seen.read_late += 1;
                }
            }
        };
        let how = timeout(READ_ON_BOUND, reading).await.map_err(|_| "what is left does not end")?;
        self.seen.closed_as = Some(how);
        self.seen.token_rooms = token.len();
        // Each room's last message that it had read, and no room is missing.
        self.seen.token_exact = self.seats.iter().all(|seat| {
            let given = token.iter().find(|given| given.room == seat.room);
            given.map_or(seat.at.id.is_none(), |given| given.after == seat.at)
        });
        Ok(token)
    }

    async fn come_back(&mut self, closed: Instant, token: Vec<ResumeRoom>) -> Result<Line, String> {
        for ResumeRoom { room, after } in token {
            if let Some(seat) = self.seats.iter_mut().find(|seat| seat.room == room) {
                seat.at = after;
            }
        }
        let mut socket = self.connect().await?;
        for nth in 0..self.seats.len() {
            seats::resume(&mut socket, self.state, &mut self.seats, nth).await?;
        }
        self.seen.resumed_after_ms = Some(closed.elapsed().as_millis() as u64);
        // Requests are done one after the other, and a resuming join is done when everything was queued.
        send(&mut socket, &ClientFrame::Ping { id: CAUGHT_UP }).await?;
        loop {
            let text = socket.next_text().await?;
            if matches!(slow_parse(&text), Ok(ServerFrame::Pong { id: CAUGHT_UP })) {
                break;
            }
            note(&mut self.state.borrow_mut(), &mut self.seats, &text);
        }
        self.seen.caught_up_after_ms = Some(closed.elapsed().as_millis() as u64);
        self.seen.server_rss_after = self.server_rss();
        Ok(socket)
    }

    async fn read_to_the_end(&mut self, mut socket: Line, queue: &mut UnboundedReceiver<Due>) {
        loop {
            tokio::select! {
                biased;
                ended = queue.recv() => if ended.is_none() { break },
                text = seen(Some(&mut socket)) => match text {
                    Ok(Some(text)) => {
                        note(&mut self.state.borrow_mut(), &mut self.seats, &text);
                    }
                    Ok(None) => {}
                    Err(kind) => return self.state.borrow_mut().disconnected(&kind),
                },
            }
        }
        close(&mut socket).await;
    }
}
