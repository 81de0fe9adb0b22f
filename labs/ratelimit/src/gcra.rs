//! Reference: the generic cell rate algorithm (ITU-T I.371, as a virtual scheduler), one STRING a subject.
//!
//! All that is kept of a subject is one time: when everything it took so far is *paid for*. A take costs `spacing`; it is
//! allowed while no more than `burst` of them are unpaid; time pays. An idle subject owes nothing, so its key expires.
//!
//! How many fit into a window of length `w`? Let the first take of `n` be at `a` and the last at `b`, `b - a < w`. The first one
//! moves the due time to `a + spacing` or later, each further one by `spacing`: at least `a + n * spacing` in the end. The last
//! was allowed, so the due time is at most `b + burst * spacing`. Together: `n * spacing <= burst * spacing + (b - a)`, so
//! `n < burst + w / spacing`.
//!
//! The usual choice, `burst = permits` and `spacing = w / permits`, therefore lets `2 * permits - 1` through: a full burst, and on
//! top of it what is paid for meanwhile. Here `spacing = w / (permits - burst + 1)`, rounded up, and so `n < permits + 1`: never over.
//!
//! The price: after the burst a subject gets `permits - burst + 1` a window, not `permits`. With `burst` half of the permits that is
//! half of them plus one. A larger burst means a slower refill; this is the middle.

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys, lua::Script, redis::Redis};

use crate::{Decision, Limit, RateLimiter, Reply, check_bounds, decision};

pub(crate) static GCRA: Script = Script::new(
    "ratelimit/gcra",
    include_str!("../../../lua/ratelimit/gcra.lua"),
    &["due"],
    &["spacing_us", "burst"],
);

/// One due time a subject.
#[derive(Debug, Clone)]
pub struct Gcra {
    redis: Redis,
    limit: Limit,
}

impl Gcra {
    /// Limits every subject to `limit`.
    pub fn new(redis: Redis, limit: Limit) -> Self {
        Self { redis, limit }
    }
}

/// What one permit costs, in microseconds, so that a burst and what is paid for in a window stay within the permits.
pub(crate) fn spacing_us(limit: &Limit) -> u64 {
    let refilled = limit.permits.saturating_sub(limit.burst()) + 1;
    (limit.window_ms * 1000).div_ceil(u64::from(refilled))
}

#[async_trait]
impl RateLimiter for Gcra {
    async fn take(&self, subject: &str) -> LabResult<Decision> {
        check_bounds(subject, &self.limit)?;
        let reply: Reply = GCRA
            .call()
            .key(keys::rate(subject))
            .arg(spacing_us(&self.limit))
            .arg(self.limit.burst())
            .run(&mut self.redis.clone())
            .await?;
        Ok(decision(reply))
    }
}
