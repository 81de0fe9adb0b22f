//! What a lab writes: properties of its port; and what it gets to run them with.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use redis::aio::ConnectionLike;

use crate::lua::Script;
use crate::redis::{Hook, Redis, Trace};
use crate::{LabError, LabResult};

/// The generator of every plan: the same seed gives the same plan on every platform.
pub type Rng = rand_chacha::ChaCha8Rng;

/// How much slower than usual the clocks of a history run: a machine too busy to prove anything at
/// pace 1 gets more time before the check gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(pub u32);

impl Pace {
    /// `ms` at this pace.
    pub fn ms(self, ms: u64) -> u64 {
        ms * u64::from(self.0)
    }
}

/// Makes a variant over a handle.
pub type Factory<P> = Arc<dyn Fn(Redis, Pace) -> Arc<P> + Send + Sync>;

/// The variant to check and where.
pub struct Target<P: ?Sized> {
    /// An untraced handle.
    pub redis: Redis,
    /// Makes the variant.
    pub make: Factory<P>,
    /// The lab's scripts, so that the commands are shown with names and not with hashes.
    pub scripts: Vec<&'static Script>,
}

/// The variant during one run of a history. Every run has a trace of its own.
pub struct Subject<'a, P: ?Sized> {
    target: &'a Target<P>,
    trace: Trace,
    /// How slowly to go.
    pub pace: Pace,
}

impl<'a, P: ?Sized> Subject<'a, P> {
    pub(super) fn new(target: &'a Target<P>, pace: Pace) -> Self {
        let trace = Trace::new();
        for script in &target.scripts {
            trace.name_script(script.sha(), script.name);
        }
        Self { target, trace, pace }
    }

    /// The same run with all clocks `times` slower, for what is not about time.
    pub fn slower(&self, times: u32) -> Self {
        Self { target: self.target, trace: self.trace.clone(), pace: Pace(self.pace.0 * times) }
    }

    /// A client of the variant; its commands are in the trace under `label`.
    pub fn client(&self, label: &str) -> Arc<P> {
        (self.target.make)(self.target.redis.traced_into(&self.trace, label), self.pace)
    }

    /// A client of the variant over another connection, such as that of a user whom the checker throws out; its commands
    /// are in the trace under `label`.
    pub fn client_over(&self, redis: &Redis, label: &str) -> Arc<P> {
        (self.target.make)(redis.traced_into(&self.trace, label), self.pace)
    }

    /// A client whose commands pass `hook`.
    pub fn hooked(&self, label: &str, hook: Arc<dyn Hook>) -> Arc<P> {
        (self.target.make)(self.target.redis.traced_into(&self.trace, label).hooked(hook), self.pace)
    }

    /// The variant over a handle of the caller's, such as a racer's; only what that handle traces is recorded.
    pub fn over(&self, redis: Redis) -> Arc<P> {
        (self.target.make)(redis, self.pace)
    }

    /// The lab's scripts.
    pub fn scripts(&self) -> &'a [&'static Script] {
        &self.target.scripts
    }

    /// A handle for the checker's own questions, outside the trace.
    pub fn probe(&self) -> Redis {
        self.target.redis.clone()
    }

    /// What the clients have sent.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// What one run of a history showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Something was put to the test, and the invariant held.
    Holds,
    /// The invariant is broken; what was seen.
    Broken(String),
    /// Nothing was put to the test; why not.
    Inconclusive(String),
    /// The server lacks what the variant needs.
    Unsupported(String),
}

impl Finding {
    /// What it means that an operation of the variant answered with `error`, without any fault being injected.
    /// A refusal by the server is the variant's doing; a lost connection is not.
    ///
    /// # Errors
    /// `error` itself when it says nothing about the variant.
    pub fn of_error(operation: &str, error: LabError) -> LabResult<Self> {
        match error {
            LabError::Redis(e) if e.is_io_error() || e.is_timeout() || e.is_connection_dropped() => {
                Err(e.into())
            }
            LabError::Other(_) => Err(error),
            LabError::Unsupported { .. } => Ok(Self::Unsupported(error.to_string())),
            LabError::Unfinished(what) => {
                Ok(Self::Broken(format!("`{operation}` is not written yet: {what}")))
            }
            LabError::Redis(_) | LabError::Corrupt { .. } | LabError::Bound { .. } => {
                Ok(Self::Broken(format!("`{operation}` answered: {error}")))
            }
        }
    }
}

/// One run of a history.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it showed.
    pub finding: Finding,
    /// How many steps of the plan were run; a broken invariant ends a history.
    pub steps: usize,
    /// What happened, a step a line.
    pub history: Vec<String>,
    /// Long names in keys and replies, and what to show in their place.
    pub aliases: Vec<(String, String)>,
}

/// An invariant of a port.
#[async_trait]
pub trait Property: Send + Sync {
    /// The lab's port.
    type Port: ?Sized + Send + Sync;
    /// One step of a history.
    type Step: Clone + Display + Send + Sync;

    /// A stable name, such as `revoked_stays_revoked`.
    fn name(&self) -> &'static str;

    /// The invariant in one sentence.
    fn states(&self) -> &'static str;

    /// How many histories to try.
    fn instances(&self) -> u32 {
        3
    }

    /// A history to try.
    fn plan(&self, rng: &mut Rng) -> Vec<Self::Step>;

    /// Runs a history in a place that no other run shares (a new user, a new room), and judges it. It must cope with any
    /// part of a plan: steps that refer to what was left out do nothing.
    ///
    /// # Errors
    /// When the checker's own commands or the machine fail. What the *variant* answers is part of the finding.
    async fn run(&self, subject: &Subject<'_, Self::Port>, plan: &[Self::Step]) -> LabResult<Run>;
}

/// The clock of the node that owns `key`, in milliseconds since 1970.
///
/// # Errors
/// When the node does not answer.
pub async fn server_ms(redis: &mut impl ConnectionLike, key: &str) -> LabResult<u64> {
    // A script with a key goes to the key's node; a bare TIME would go to any.
    let (seconds, micros): (u64, u64) =
        redis::cmd("EVAL").arg("return redis.call('TIME')").arg(1).arg(key).query_async(redis).await?;
    Ok(seconds * 1000 + micros / 1000)
}
