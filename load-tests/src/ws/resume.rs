//! A connection in a run with faults: when it breaks it is opened again, joins its rooms after the last position that it has
//! seen, and sends again what was not answered, under the same ids, as a good client does.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use chatlab_kit::wire::{ClientFrame, ServerFrame};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    conn::{Context, close, greet_at, open, refusal, send, text_of},
    line::Line,
    shared::{Due, Shared, add, take},
    state::{Heard, Member, State},
};
use crate::payload::quick_parse;

/// The most times that one message is sent.
const MAX_TRIES: u32 = 32;
/// The most attempts in a row to open a broken connection.
const MAX_ATTEMPTS: u32 = 200;
/// How long one attempt may take.
const ATTEMPT_BOUND: Duration = Duration::from_secs(5);
/// The first wait before the same is tried again; each further one is twice as long …
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_millis(1_000);

/// A send that was not answered for good.
struct Pending {
    intended_ns: u64,
    tries: u32,
    /// When it goes out again; none while its answer is waited for.
    again: Option<Instant>,
}

/// One connection over all its sockets.
struct Life<'a> {
    shared: &'a Shared,
    state: &'a RefCell<State>,
    index: usize,
    member: Member,
    pending: BTreeMap<u32, Pending>,
    /// Since when it has been whole, on the run's clock.
    since_ns: u64,
}

/// Lives until the queue's other end is dropped, whatever breaks.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let opened = match gate.acquire().await {
        Ok(_permit) => {
            timeout(Duration::from_millis(shared.plan.connect_ms), Box::pin(open(shared, state, *index)))
                .await
                .unwrap_or_else(|_| Err("connect_timeout".into()))
        }
        Err(_) => return,
    };
    let (mut socket, member) = match opened {
        Ok(opened) => opened,
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    let pending = BTreeMap::new();
    let mut life = Life { shared, state, index: *index, member, pending, since_ns: 0 };
    loop {
        let Err(kind) = life.drive(&mut socket, &mut queue).await else {
            close(&mut socket).await;
            break;
        };
        state.borrow_mut().disconnected(&kind);
        match life.resume(&context, &queue).await {
            Some(fresh) => socket = fresh,
            None => {
                if let Some(notes) = &mut state.borrow_mut().notes {
                    notes.not_resumed += 1;
                }
                break;
            }
        }
    }
    life.end(&mut queue);
}

/// 50 ms, 100 ms, 200 ms, … up to a second; connections that broke together don't come back all at once.
fn wait_before(attempt: u32, index: usize) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << attempt.min(8)).min(LONGEST_WAIT);
    // A part of it between a half and the whole, the same in each run.
    let spread = (index as u32).wrapping_mul(2_654_435_761) >> 22;
    full / 2 + full.mul_f64(f64::from(spread) / 1024.0 / 2.0)
}

impl Life<'_> {
    /// Sends and receives until the queue's other end is dropped, or the connection breaks.
    async fn drive(&mut self, socket: &mut Line, queue: &mut UnboundedReceiver<Due>) -> Result<(), String> {
        loop {
            let next = self.pending.values().filter_map(|pending| pending.again).min();
            let wake = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                due = queue.recv() => match due {
                    Some(due) => self.first_try(socket, due).await?,
                    None => return Ok(()),
                },
                () = wake => self.further_tries(socket).await?,
                text = socket.text() => if let Some(text) = text? {
                    let heard = self.state.borrow_mut().receive(self.shared, &mut self.member, &text);
                    self.heard(heard);
                },
            }
        }
    }

    async fn first_try(&mut self, socket: &mut Line, due: Due) -> Result<(), String> {
        let Due { number, intended_ns } = due;
        let Some(slot) = self.shared.slots.get(number as usize) else { return Ok(()) };
        slot.mark_sent(intended_ns, self.shared.now_ns());
        let waited = intended_ns < self.since_ns;
        self.state.borrow_mut().note_sent_audited(self.shared, number, intended_ns, waited);
        add(&self.shared.counters.sent, 1);
        self.pending.insert(number, Pending { intended_ns, tries: 0, again: None });
        self.put(socket, number).await
    }

    async fn further_tries(&mut self, socket: &mut Line) -> Result<(), String> {
        let now = Instant::now();
        let due = |pending: &Pending| pending.again.is_some_and(|at| at <= now);
        let numbers: Vec<u32> = self.pending.iter().filter(|(_, p)| due(p)).map(|(n, _)| *n).collect();
        for number in numbers {
            self.put(socket, number).await?;
        }
        Ok(())
    }

    /// Writes a pending send out.
    async fn put(&mut self, socket: &mut Line, number: u32) -> Result<(), String> {
        let (Some(room), Some(pending)) = (self.member.home(), self.pending.get_mut(&number)) else {
            return Ok(());
        };
        pending.tries += 1;
        pending.again = None;
        if let Some(audit) = &self.shared.audit {
            audit.tried(number);
        }
        let text = text_of(self.shared, room, Due { number, intended_ns: pending.intended_ns })?;
        socket.send(text).await
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Nothing => {}
            Heard::Acked(number) => drop(self.pending.remove(&number)),
            Heard::Refused { number, again } => {
                let Some(pending) = self.pending.get_mut(&number) else { return };
                if again && pending.tries < MAX_TRIES {
                    pending.again = Some(Instant::now() + wait_before(pending.tries, number as usize));
                } else {
                    self.pending.remove(&number);
                    self.state.borrow_mut().give_up(self.shared, number, true);
                }
            }
        }
    }

    /// Opens the connection again, at its own server first and then at the others in turn; none when the run is over first.
    async fn resume(&mut self, context: &Context, queue: &UnboundedReceiver<Due>) -> Option<Line> {
        for attempt in 0..MAX_ATTEMPTS {
            sleep(wait_before(attempt, self.index)).await;
            if queue.is_closed() {
                return None;
            }
            let _permit = context.gate.acquire().await.ok()?;
            let opened = timeout(ATTEMPT_BOUND, Box::pin(self.reopen(attempt as usize))).await;
            match opened.unwrap_or_else(|_| Err("timeout".into())) {
                Ok(socket) => {
                    self.since_ns = self.shared.now_ns();
                    if let Some(notes) = &mut self.state.borrow_mut().notes {
                        notes.resumed += 1;
                    }
                    self.retry_all();
                    return Some(socket);
                }
                Err(kind) => self.state.borrow_mut().error(&format!("reopen: {kind}")),
            }
        }
        None
    }

    /// What the old socket left unanswered goes out on the new one.
    fn retry_all(&mut self) {
        let now = Instant::now();
        let hopeless: Vec<u32> =
            self.pending.iter().filter(|(_, p)| p.tries >= MAX_TRIES).map(|(n, _)| *n).collect();
        for number in hopeless {
            self.pending.remove(&number);
            self.state.borrow_mut().give_up(self.shared, number, false);
        }
        for pending in self.pending.values_mut() {
            pending.again = Some(now);
        }
    }

    async fn reopen(&mut self, attempt: usize) -> Result<Line, String> {
        let plan = &self.shared.plan;
        let server = (plan.server_of(self.index) + attempt) % plan.ws_urls.len();
        let mut socket = greet_at(self.shared, self.index, server, &plan.tokens[self.index]).await?;
        for nth in 0..self.member.rooms.len() {
            self.rejoin(&mut socket, nth).await?;
        }
        Ok(socket)
    }

    /// Joins a room after the last position seen; what was missed follows, or `resync`.
    async fn rejoin(&mut self, socket: &mut Line, nth: usize) -> Result<(), String> {
        let membership = &self.member.rooms[nth];
        let room = self.shared.plan.rooms[usize::from(membership.room)];
        send(socket, &ClientFrame::Join { id: 0, room, after: Some(membership.at.clone()) }).await?;
        loop {
            let text = socket.next_text().await.map_err(|kind| format!("join: {kind}"))?;
            // Messages of rooms joined before it may come between.
            if quick_parse(&text).is_none() {
                match serde_json::from_str(&text) {
                    Ok(ServerFrame::Ok { .. }) => return Ok(()),
                    Ok(refused @ (ServerFrame::Error { .. } | ServerFrame::Bye { .. })) => {
                        return Err(refusal("join", &refused));
                    }
                    _ => {}
                }
            }
            self.state.borrow_mut().receive(self.shared, &mut self.member, &text);
        }
    }

    /// What will never be answered must not hold the in-flight cap.
    fn end(self, queue: &mut UnboundedReceiver<Due>) {
        queue.close();
        let mut state = self.state.borrow_mut();
        while queue.try_recv().is_ok() {
            state.unsent += 1;
            take(&self.shared.counters.in_flight, 1);
        }
        for number in self.pending.keys() {
            state.give_up(self.shared, *number, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ_between_connections() {
        for index in 0..1_000 {
            for attempt in 0..20 {
                let full = FIRST_WAIT.saturating_mul(1 << attempt.min(8)).min(LONGEST_WAIT);
                let wait = wait_before(attempt, index);
                assert!(wait >= full / 2 && wait <= full, "{attempt} {index}: {wait:?}");
            }
        }
        let distinct: std::collections::BTreeSet<_> = (0..100).map(|index| wait_before(3, index)).collect();
        assert!(distinct.len() > 90, "{}", distinct.len());
    }
}
