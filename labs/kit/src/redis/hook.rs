//! Code that runs around each command: simulated crashes, and races driven step by step.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::redis::RedisError;
use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

/// The most commands that a [`Stepper`] holds; further ones fail.
pub const STEPPER_QUEUE: usize = 1_024;

/// Runs around each command of a [hooked](super::Redis::hooked) handle.
///
/// `n` counts the commands of the handle and its clones, from 0. `command` is printable and cut
/// as in a trace. A pipeline calls both methods for each of its commands, in order: all the
/// `before`, then one send, then all the `after`.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Runs before the command. With an error it is **not sent**, nor is any other command of
    /// its pipeline.
    async fn before(&self, n: u64, command: &[String]) -> Result<(), RedisError>;

    /// Runs when the reply is there. With an error the **reply is lost**: the command ran.
    async fn after(&self, _n: u64, _command: &[String]) -> Result<(), RedisError> {
        Ok(())
    }
}

fn cut(why: &'static str) -> RedisError {
    RedisError::from(std::io::Error::new(std::io::ErrorKind::BrokenPipe, why))
}

/// A client that crashes: its first `n` commands go through, every later one fails with an I/O
/// error and is not sent.
#[derive(Clone, Copy, Debug)]
pub struct CutAfter {
    /// The number of commands that still go through.
    pub n: u64,
}

#[async_trait]
impl Hook for CutAfter {
    async fn before(&self, n: u64, _command: &[String]) -> Result<(), RedisError> {
        if n < self.n { Ok(()) } else { Err(cut("cut: the client crashed before this command")) }
    }
}

/// Holds each command until it is released, so that a test drives two clients into a race.
///
/// One stepper a client: `let (a, b) = (Stepper::new(), Stepper::new())`, each as the hook of a
/// handle. Then `a.step()`, `b.step()` … in the order to be tried.
pub struct Stepper {
    state: Mutex<StepperState>,
    /// Counts changes of the state; whoever waits looks again.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct StepperState {
    held: VecDeque<Held>,
    /// Replies so far.
    replies: u64,
    open: bool,
}

struct Held {
    command: Vec<String>,
    /// `true` lets the command go, `false` fails it.
    go: oneshot::Sender<bool>,
}

impl Stepper {
    /// A stepper that holds everything.
    pub fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { state: Mutex::default(), changes: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, StepperState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits until a command is held, and tells which. Bound it with a timeout.
    pub async fn waiting(&self) -> Vec<String> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(command) = self.front() {
                return command;
            }
            // The sender lives as long as `self`: this cannot fail while we are here.
            let _ = changes.changed().await;
        }
    }

    /// The command that is held now, if any.
    pub fn front(&self) -> Option<Vec<String>> {
        let mut state = self.state();
        while state.held.front().is_some_and(|held| held.go.is_closed()) {
            state.held.pop_front();
        }
        state.held.front().map(|held| held.command.clone())
    }

    /// Lets the held command go. `false` when none was held.
    pub fn release(&self) -> bool {
        self.decide(true)
    }

    /// Fails the held command with an I/O error, unsent: the client crashes right here. `false`
    /// when none was held.
    pub fn crash(&self) -> bool {
        self.decide(false)
    }

    fn decide(&self, go: bool) -> bool {
        let mut state = self.state();
        while let Some(held) = state.held.pop_front() {
            if held.go.send(go).is_ok() {
                return true;
            }
        }
        false
    }

    /// Waits for a held command, lets it go, and returns it when its reply has come or the next
    /// command is held (the next one of the same pipeline, which is sent as a whole).
    pub async fn step(&self) -> Vec<String> {
        let command = self.waiting().await;
        let mut changes = self.changes.subscribe();
        let before = self.state().replies;
        self.release();
        while self.state().replies == before && self.front().is_none() {
            let _ = changes.changed().await;
        }
        command
    }

    /// From now on holds nothing, and lets go whatever is held.
    pub fn open(&self) {
        let held = {
            let mut state = self.state();
            state.open = true;
            std::mem::take(&mut state.held)
        };
        for held in held {
            let _ = held.go.send(true);
        }
    }
}

#[async_trait]
impl Hook for Stepper {
    async fn before(&self, _n: u64, command: &[String]) -> Result<(), RedisError> {
        let gone = {
            let mut state = self.state();
            if state.open {
                return Ok(());
            }
            if state.held.len() >= STEPPER_QUEUE {
                return Err(cut("stepper: too many commands are held"));
            }
            let (go, gone) = oneshot::channel();
            let command = command.to_vec();
            state.held.push_back(Held { command, go });
            gone
        };
        self.changed();
        match gone.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(cut("stepper: the client crashed before this command")),
            Err(_) => Err(cut("stepper: gone")),
        }
    }

    async fn after(&self, _n: u64, _command: &[String]) -> Result<(), RedisError> {
        self.state().replies += 1;
        self.changed();
        Ok(())
    }
}
