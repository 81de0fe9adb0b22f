//! How the lean client sends: which node, which connection, when it is written.

use std::time::Duration;

use chatlab_kit::slots::slot;

use super::{
    codec,
    commands::{self, Op},
    conn::{Pending, What},
    shard::{Shard, token},
};
use crate::payload::Payload;

/// How long connecting again may take in the run, where it holds up everything else.
const RECONNECT_BOUND: Duration = Duration::from_millis(50);
/// After a failed attempt nothing is tried with that node for so long.
const RECONNECT_PAUSE_NS: u64 = 100_000_000;

impl Shard {
    /// The node of a command.
    pub fn route(&mut self, op: Op, key: u64, conn: usize) -> Option<usize> {
        if self.tally.slots.is_empty() {
            return Some(0);
        }
        if !op.has_slot() {
            return self.any_nodes.get(conn % self.any_nodes.len().max(1)).copied();
        }
        let slot = slot(op.key(key).as_bytes());
        self.tally.slots[usize::from(slot)] += 1;
        self.map.owner(slot)
    }

    /// Puts a command on a connection, or in its queue when it is at its depth.
    pub fn place(&mut self, node: usize, client: usize, pending: Pending) {
        let depth = self.shared.plan.commands.pipeline;
        if self.nodes[node].conns[client].is_none() && !self.reconnect(node, client) {
            self.fail(client, pending, "not connected");
            return;
        }
        let Some(conn) = self.nodes[node].conns[client].as_mut() else { return };
        if conn.pending.len() >= depth && pending.redirected == 0 {
            conn.waiting.push_back(pending);
        } else {
            self.encode(node, client, pending);
        }
    }

    /// Lets those that waited for their turn go as far as the depth allows.
    pub fn advance(&mut self, node: usize, client: usize) {
        let depth = self.shared.plan.commands.pipeline;
        while let Some(conn) = self.nodes[node].conns[client].as_mut() {
            if conn.pending.len() >= depth {
                return;
            }
            let Some(next) = conn.waiting.pop_front() else { return };
            self.encode(node, client, next);
        }
    }

    /// Appends a command to what the connection will write.
    pub fn encode(&mut self, node: usize, client: usize, mut pending: Pending) {
        let Some(conn) = self.nodes[node].conns[client].as_mut() else { return };
        pending.sent_ns = self.now_ns;
        match pending.what {
            What::Op(op) if op.publishes() => {
                let payload = Payload {
                    run: self.shared.run,
                    room: pending.key as u16,
                    number: pending.number,
                    intended_ns: pending.intended_ns,
                };
                let body = payload.body(self.shared.plan.value_bytes);
                commands::publish(&mut conn.out, op, pending.key, body.as_bytes());
            }
            What::Op(op) => self.shared.mix.append(&mut conn.out, op, pending.key, &mut { pending.dice }),
            What::Asking => codec::command(&mut conn.out, &[b"ASKING"]),
            What::Slots => codec::command(&mut conn.out, &[b"CLUSTER", b"SLOTS"]),
        }
        if let What::Op(op) = pending.what {
            self.tally.ops[op.index()].on_wire += 1;
        }
        conn.pending.push_back(pending);
        if !conn.dirty && !conn.blocked {
            conn.dirty = true;
            self.dirty.push((node, client));
        }
    }

    pub fn flush(&mut self, node: usize, client: usize) {
        let Some(conn) = self.nodes[node].conns[client].as_mut() else { return };
        conn.dirty = false;
        let done = match conn.flush() {
            Ok(done) => done,
            Err(error) => return self.lose(node, client, &format!("write: {}", error.kind())),
        };
        if conn.blocked == done {
            conn.blocked = !done;
            if let Err(error) = self.poller.want_write(&conn.stream, token(node, client), !done) {
                self.lose(node, client, &format!("poll: {}", error.kind()));
            }
        }
    }

    fn reconnect(&mut self, node: usize, client: usize) -> bool {
        if self.now_ns < self.nodes[node].retry_at_ns {
            return false;
        }
        match self.connect(node, client, RECONNECT_BOUND) {
            Ok(()) => true,
            Err(error) => {
                self.tally.connect_failures += 1;
                self.tally.error(&format!("connect: {}", error.kind()));
                self.nodes[node].retry_at_ns = self.now_ns + RECONNECT_PAUSE_NS;
                self.refresh();
                false
            }
        }
    }
}
