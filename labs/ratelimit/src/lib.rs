//! Lab: rate limiting. At most so many in any window of time, decided in one round trip, for every server alike.

mod checks;
mod clock;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod fixed_window;
mod gcra;
mod gcra_full_burst;
mod history;
mod incr_expire;
mod judge;
mod lab;
mod last_permit;
mod log_then_count;
mod read_then_write;
mod sliding_counter;
mod sliding_log;
mod token_bucket;
mod variants;
mod weighted_counter;
mod workload;
mod world;

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult};
use serde::{Deserialize, Serialize};

#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use fixed_window::FixedWindow;
pub use gcra::Gcra;
pub use gcra_full_burst::GcraFullBurst;
pub use incr_expire::IncrExpire;
pub use lab::{LAB, RateLimitLab};
pub use log_then_count::LogThenCount;
pub use read_then_write::ReadThenWrite;
pub use sliding_counter::{SLICES, SlidingCounter};
pub use sliding_log::SlidingLog;
pub use token_bucket::TokenBucket;
pub use variants::build;
pub use weighted_counter::WeightedCounter;

/// The longest name of a subject, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 128;
/// The most permits of a limit.
pub const MAX_PERMITS: u32 = 100_000;
/// The longest window of a limit, in milliseconds: a day.
pub const MAX_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// At most `permits` takes of a subject are allowed in **any** window of `window_ms`, wherever it begins: in
/// `[t, t + window_ms)` for every `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How many. From 1 to [`MAX_PERMITS`].
    pub permits: u32,
    /// In how many milliseconds. From 1 to [`MAX_WINDOW_MS`].
    pub window_ms: u64,
}

impl Limit {
    /// `permits` in any `window_ms`.
    pub const fn new(permits: u32, window_ms: u64) -> Self {
        Self { permits, window_ms }
    }

    /// How many takes a subject that was idle may have at once, in every variant that keeps the port: half of the permits,
    /// rounded up. What a variant gives beyond that is a present.
    pub const fn burst(&self) -> u32 {
        self.permits.div_ceil(2)
    }
}

/// What became of one take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the subject may go on.
    pub allowed: bool,
    /// How many further takes would be allowed right now.
    pub remaining: u32,
    /// For a refused take: after so many milliseconds by Redis' clock, rounded up, one is allowed, if nobody else takes it.
    /// 0 for an allowed one.
    pub retry_after_ms: u64,
}

/// The port: what the server asks of a rate limiter.
///
/// **Never over.** No window holds more allowed takes than [`Limit::permits`].
///
/// **Never far under.** Exact bookkeeping of every take costs memory, so a variant may give less, but not much less:
/// - a subject that took nothing for two windows may take [`Limit::burst`] at once;
/// - a subject that takes at an even pace, half of the permits a window, is never refused;
/// - a subject that asks all the time is given half of the permits a window, at least, on average.
///
/// **Atomic.** Two clients never get the same permit. A refused take changes nothing: asking often delays nobody. A client
/// that dies in the middle of a take leaves nothing that stays for ever: what is kept of a subject is gone four windows after
/// its last take.
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Takes one permit of `subject`, such as `send:USER` or `login:ADDRESS`, if there is one.
    ///
    /// # Errors
    /// [`LabError::Bound`] for an empty subject or one longer than [`MAX_SUBJECT_BYTES`], and for a limit out of its bounds.
    async fn take(&self, subject: &str) -> LabResult<Decision>;
}

/// Refuses what is out of bounds.
fn check_bounds(subject: &str, limit: &Limit) -> LabResult<()> {
    let bound = |what, bound| Err(LabError::Bound { what, bound });
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES {
        return bound("the length of a subject (at least 1 byte)", MAX_SUBJECT_BYTES as u64);
    }
    if limit.permits == 0 || limit.permits > MAX_PERMITS {
        return bound("the permits of a limit (at least 1)", u64::from(MAX_PERMITS));
    }
    if limit.window_ms == 0 || limit.window_ms > MAX_WINDOW_MS {
        return bound("the window of a limit in milliseconds (at least 1)", MAX_WINDOW_MS);
    }
    Ok(())
}

/// A script's answer: allowed, remaining, retry after.
type Reply = (bool, u32, u64);

/// The decision that a script answered.
const fn decision((allowed, remaining, retry_after_ms): Reply) -> Decision {
    Decision { allowed, remaining, retry_after_ms }
}
