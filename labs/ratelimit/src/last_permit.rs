//! The race for the last permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Finding, Racers, server_ms},
    keys,
    redis::Redis,
};

use crate::{Decision, Limit, RateLimiter};

/// Makes the variant over a handle.
pub(crate) type Make<'a> = &'a (dyn Fn(Redis) -> Arc<dyn RateLimiter> + Send + Sync);

/// Several clients, one permit left.
pub(crate) struct LastPermit<'a> {
    pub(crate) make: Make<'a>,
    pub(crate) limit: Limit,
    pub(crate) clients: usize,
    /// How many takes the variant allows at once; see [`capacity`].
    pub(crate) capacity: u32,
    /// What the subjects are called.
    pub(crate) base: String,
    /// How many subjects there were.
    pub(crate) places: AtomicU32,
    /// A handle whose commands nobody sees.
    pub(crate) unseen: Redis,
}

/// A subject with one permit left.
pub(crate) struct OneLeft {
    subject: String,
    since_ms: u64,
}

/// How many takes a variant allows at once to a subject that has never taken anything; at most one more than the permits.
pub(crate) async fn capacity(limiter: &dyn RateLimiter, subject: &str, limit: &Limit) -> LabResult<u32> {
    let mut allowed = 0;
    while allowed <= limit.permits && limiter.take(subject).await?.allowed {
        allowed += 1;
    }
    Ok(allowed)
}

impl LastPermit<'_> {
    async fn now_ms(&self, subject: &str) -> LabResult<u64> {
        server_ms(&mut self.unseen.clone(), &keys::rate(subject)).await
    }
}

#[async_trait]
impl Racers for LastPermit<'_> {
    type Place = OneLeft;
    type Answer = LabResult<Decision>;

    fn clients(&self) -> usize {
        self.clients
    }

    async fn place(&self, _redis: &Redis) -> LabResult<OneLeft> {
        let subject = format!("{}:{}", self.base, self.places.fetch_add(1, Ordering::Relaxed));
        let since_ms = self.now_ms(&subject).await?;
        let limiter = (self.make)(self.unseen.clone());
        for _ in 1..self.capacity {
            limiter.take(&subject).await?;
        }
        Ok(OneLeft { subject, since_ms })
    }

    async fn act(&self, place: &OneLeft, _client: usize, redis: Redis) -> LabResult<Decision> {
        (self.make)(redis).take(&place.subject).await
    }

    async fn judge(
        &self,
        place: &OneLeft,
        _redis: &Redis,
        answers: &[LabResult<Decision>],
    ) -> LabResult<Finding> {
        if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
            return Ok(Finding::Broken(format!("`take` answered: {error}")));
        }
        let allowed = answers.iter().flatten().filter(|decision| decision.allowed).count();
        // No variant gives a permit back sooner than after a good part of `window / permits`.
        let took_ms = self.now_ms(&place.subject).await?.saturating_sub(place.since_ms);
        if took_ms >= self.limit.window_ms / u64::from(self.limit.permits) / 4 {
            return Ok(Finding::Inconclusive("so slow that a permit may have come back".into()));
        }
        Ok(match allowed {
            1 => Finding::Holds,
            0 => Finding::Broken("one permit was left, and nobody got it".into()),
            more => Finding::Broken(format!("one permit was left, and {more} clients got it")),
        })
    }
}
