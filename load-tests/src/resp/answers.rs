//! What the lean client does with an answer: counts it, follows a redirect, or gives the command up.

use chatlab_kit::slots::slot;

use crate::recorder::Instants;

use super::{
    codec::Reply,
    conn::{Pending, What},
    keys::Dice,
    nodes::redirect,
    shard::{Shard, token},
};

/// How often one command is sent elsewhere before it counts as failed.
const REDIRECTS_MAX: u8 = 8;
/// The table of slots is asked for at most this often, in nanoseconds.
const REFRESH_EVERY_NS: u64 = 100_000_000;

impl Shard {
    /// Reads once and deals with everything that is whole.
    pub fn read(&mut self, node: usize, client: usize) {
        let Some(conn) = self.nodes[node].conns[client].as_mut() else { return };
        match conn.input.fill(&conn.stream) {
            Ok(0) => return self.lose(node, client, "closed by the server"),
            Ok(_) => {}
            Err(error) if is_nothing(&error) => return,
            Err(error) => return self.lose(node, client, &format!("read: {}", error.kind())),
        }
        self.now_ns = self.shared.now_ns();
        let mut input = std::mem::take(&mut conn.input);
        let wrong = loop {
            match input.next() {
                Ok(Some(reply)) => {
                    let conn = self.nodes[node].conns[client].as_mut();
                    match conn.and_then(|conn| conn.pending.pop_front()) {
                        Some(pending) => self.answer(node, client, pending, reply),
                        None => break Some("an answer that nobody asked for".to_owned()),
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        if let Some(wrong) = wrong {
            return self.lose(node, client, &wrong);
        }
        if let Some(conn) = self.nodes[node].conns[client].as_mut() {
            conn.input = input;
        }
        self.advance(node, client);
    }

    fn answer(&mut self, node: usize, client: usize, pending: Pending, reply: Reply<'_>) {
        match (pending.what, reply) {
            (What::Op(_), Reply::Error(text)) => self.refused(node, client, pending, text),
            (What::Op(op), reply) => {
                if op.publishes() {
                    self.tally.ledger.acknowledge(pending.key as u32, "1", u64::from(pending.number));
                    self.expected += self.shared.listeners_of(pending.key);
                }
                // A publish that reached fewer than it should shows in the ledger; others' answers are not looked at.
                let _ = reply;
                self.complete(client, pending);
            }
            (What::Slots, reply) => {
                if self.map.update(reply) {
                    self.know_nodes();
                }
            }
            (What::Asking, Reply::Error(_)) => self.tally.error("asking: refused"),
            (What::Asking, _) => {}
        }
    }

    fn complete(&mut self, client: usize, pending: Pending) {
        let What::Op(op) = pending.what else { return };
        self.completed += 1;
        if pending.measured {
            let Pending { intended_ns, sent_ns, .. } = pending;
            let at = Instants { intended_ns, sent_ns, done_ns: self.now_ns };
            let one = &mut self.tally.ops[op.index()];
            one.completed += 1;
            one.response.record_ns(at.response_ns());
            one.service.record_ns(at.service_ns());
            if !self.closed {
                self.tally.recorder.acked(at);
                if self.shared.plan.commands.listeners == 0 {
                    self.shared.eye.done_ns(at.response_ns());
                    self.tally.recorder.delivered(self.shared.third(intended_ns), at);
                }
            }
        } else if !self.closed {
            self.shared.pulse.record_ns(self.now_ns.saturating_sub(pending.intended_ns));
        }
        self.finish(client);
    }

    /// A command ends without success.
    pub fn fail(&mut self, client: usize, pending: Pending, why: &str) {
        let What::Op(op) = pending.what else { return };
        self.tally.error(&format!("{op}: {why}"));
        self.tally.recorder.error();
        self.shared.eye.error();
        self.tally.failures += 1;
        if pending.measured {
            self.tally.ops[op.index()].failed += 1;
        }
        self.finish(client);
    }

    fn finish(&mut self, client: usize) {
        self.answered += 1;
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(outstanding) = self.outstanding.get_mut(client).filter(|n| **n > 0) {
            *outstanding -= 1;
            if *outstanding == 0 {
                self.idle.push(client);
            }
        }
    }

    fn refused(&mut self, node: usize, client: usize, pending: Pending, text: &[u8]) {
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let counts = &mut self.tally.redirects;
        match code {
            b"MOVED" => counts.moved += 1,
            b"ASK" => counts.ask += 1,
            b"TRYAGAIN" => counts.tryagain += 1,
            b"CLUSTERDOWN" => counts.clusterdown += 1,
            _ => {}
        }
        let target = match code {
            b"MOVED" | b"ASK" => redirect(text, &self.nodes[node].address),
            _ => None,
        };
        let Some((moved, address)) = target else {
            if code == b"CLUSTERDOWN" {
                self.refresh();
            }
            // The code and a little of what follows: numbers in it would make every error a kind of its own.
            let text = String::from_utf8_lossy(text);
            return self.fail(client, pending, text.split_inclusive(' ').take(6).collect::<String>().trim());
        };
        if pending.redirected >= REDIRECTS_MAX {
            return self.fail(client, pending, "sent elsewhere too often");
        }
        let to = usize::from(self.map.number(&address));
        self.know_nodes();
        let again = Pending { redirected: pending.redirected + 1, ..pending };
        if code == b"MOVED" {
            self.map.set(moved, to as u16);
            self.refresh();
        } else {
            self.place(to, client, plain(What::Asking, again));
        }
        self.place(to, client, again);
    }

    /// Asks some node for the whole table of slots, unless that was done just now.
    pub fn refresh(&mut self) {
        if self.now_ns < self.refresh_at_ns || self.tally.slots.is_empty() {
            return;
        }
        let connected = |node: usize| self.nodes[node].conns.iter().position(Option::is_some);
        let found = (0..self.nodes.len()).find_map(|node| Some((node, connected(node)?)));
        let Some((node, client)) = found else { return };
        self.refresh_at_ns = self.now_ns + REFRESH_EVERY_NS;
        self.tally.redirects.refreshed += 1;
        let like = Pending {
            what: What::Slots,
            redirected: 1,
            measured: false,
            number: 0,
            key: 0,
            dice: Dice::of(0, 0),
            intended_ns: self.now_ns,
            sent_ns: self.now_ns,
        };
        self.encode(node, client, like);
    }

    /// A connection is gone, and with it what was under way on it.
    pub fn lose(&mut self, node: usize, client: usize, why: &str) {
        let Some(conn) = self.nodes[node].conns[client].take() else { return };
        self.poller.remove(token(node, client));
        self.tally.disconnects += 1;
        self.tally.error(why);
        for pending in conn.pending {
            if let What::Op(op) = pending.what {
                self.tally.ops[op.index()].unanswered += 1;
            }
            self.fail(client, pending, "the connection was lost");
        }
        for pending in conn.waiting {
            self.fail(client, pending, "the connection was lost");
        }
        self.refresh();
    }
}

/// The same place in time and order, but another question.
fn plain(what: What, like: Pending) -> Pending {
    Pending { what, ..like }
}

/// Nothing there, or the call was interrupted.
pub(super) fn is_nothing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted)
}

/// The slot of a channel.
pub(super) fn channel_slot(op: super::commands::Op, channel: u64) -> u16 {
    slot(op.key(channel).as_bytes())
}
