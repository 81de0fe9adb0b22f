//! Holds commands on their way to the server, so that someone drives two clients step by step.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Shared;

/// Holds every command until it is let go, from [`Proxy::hold`](super::Proxy::hold) on until it is dropped.
#[derive(Debug)]
pub struct Gate {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    conn: Arc<str>,
    command: Vec<String>,
    number: u64,
    go: oneshot::Sender<()>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a command, unless the gate is open; the receiver hears when it may go.
    pub(super) fn hold(
        &self,
        conn: Arc<str>,
        command: Vec<String>,
        number: u64,
    ) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if state.open {
            return None;
        }
        let (go, gone) = oneshot::channel();
        // At most one a connection: bounded by their number.
        state.held.push_back(Held { conn, command, number, go });
        Some(gone)
    }

    pub(super) fn open(&self) {
        let mut state = self.state();
        state.open = true;
        for held in state.held.drain(..) {
            let _ = held.go.send(());
        }
    }

    /// Lets the command of a connection go; its number in the trace.
    fn release(&self, conn: &str) -> Option<(u64, Vec<String>)> {
        let mut state = self.state();
        state.held.retain(|held| !held.go.is_closed());
        let at = state.held.iter().position(|held| &*held.conn == conn)?;
        let held = state.held.remove(at)?;
        let _ = held.go.send(());
        Some((held.number, held.command))
    }
}

impl Gate {
    pub(super) fn new(inner: Arc<Inner>, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// The commands that are held now, one a connection, with the connection as the trace names it (`c1`, `c2`, …).
    pub fn waiting(&self) -> Vec<(String, Vec<String>)> {
        let mut state = self.inner.state();
        state.held.retain(|held| !held.go.is_closed());
        state.held.iter().map(|held| (held.conn.to_string(), held.command.clone())).collect()
    }

    /// Lets the held command of a connection go. `false` when none is held.
    pub fn release(&self, conn: &str) -> bool {
        self.inner.release(conn).is_some()
    }

    /// Waits for a held command of the connection, lets it go, waits for its reply, and returns the command. Bound it with a
    /// timeout: a client that sends nothing, or a command that blocks, keeps it waiting.
    pub async fn step(&self, conn: &str) -> Vec<String> {
        let mut changes = self.shared.changes.subscribe();
        let (number, command) = loop {
            if let Some(released) = self.inner.release(conn) {
                break released;
            }
            // The sender lives as long as `self`: this cannot fail while we are here.
            let _ = changes.changed().await;
        };
        while self.shared.trace.is_waiting(number) {
            let _ = changes.changed().await;
        }
        command
    }

    /// Lets everything go and holds nothing any more.
    pub fn open(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut current = self.shared.gate();
        if current.as_ref().is_some_and(|gate| Arc::ptr_eq(gate, &self.inner)) {
            *current = None;
        }
        drop(current);
        self.inner.open();
    }
}
