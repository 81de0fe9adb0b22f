//! Faults: a client that crashes between two commands, and a client that is overtaken between two commands.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use redis::RedisError;

use crate::redis::{CutAfter, Hook, Stepper};

/// A client that crashes after a number of commands, and remembers whether it came to that.
#[derive(Debug)]
pub struct Crash {
    cut: CutAfter,
    fired: AtomicBool,
}

impl Crash {
    /// Lets `n` commands through, then crashes.
    pub fn after(n: u64) -> Arc<Self> {
        Arc::new(Self { cut: CutAfter { n }, fired: AtomicBool::new(false) })
    }

    /// Whether the client wanted to send one command more, and so really crashed.
    pub fn fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }
}

#[async_trait]
impl Hook for Crash {
    async fn before(&self, n: u64, command: &[String]) -> Result<(), RedisError> {
        self.cut.before(n, command).await.inspect_err(|_| self.fired.store(true, Ordering::Release))
    }
}

/// A number of commands, for people.
#[derive(Debug, Clone, Copy)]
pub struct After(pub u64);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "before the first command"),
            1 => write!(f, "after 1 command"),
            n => write!(f, "after {n} commands"),
        }
    }
}

/// How far a race came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The first client was held between its commands while the second one ran.
    Overtaken,
    /// The first client was done before it could be held: there was no race.
    AlreadyDone,
}

/// Lets `first`, whose client is hooked with `stepper`, send `commands` commands, runs `second` from beginning to end,
/// then lets `first` finish. Bound it with a timeout.
pub async fn race<A, B>(
    stepper: &Stepper,
    commands: u64,
    first: impl Future<Output = A> + Send,
    second: impl Future<Output = B> + Send,
) -> (Held, A, B) {
    let mut first: Pin<Box<dyn Future<Output = A> + Send + '_>> = Box::pin(first);
    let hold = async {
        for _ in 0..commands {
            stepper.step().await;
        }
        stepper.waiting().await;
    };
    let early = tokio::select! {
        biased;
        done = &mut first => Some(done),
        () = hold => None,
    };
    match early {
        Some(done) => (Held::AlreadyDone, done, second.await),
        None => {
            let overtaken_by = second.await;
            stepper.open();
            (Held::Overtaken, first.await, overtaken_by)
        }
    }
}
