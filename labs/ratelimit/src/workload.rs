//! The same takes for every variant.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::UserId,
    lab::{Operation, Workload},
};

use crate::{Limit, RateLimiter};

/// The limit under load: so wide that at the rates of one machine every take is allowed.
pub(crate) const LOAD_LIMIT: Limit = Limit::new(10_000, 60_000);
/// Subjects that take again and again; `n` goes round them.
const SUBJECTS: u64 = 1_024;

const OPERATIONS: &[Operation] =
    &[Operation { name: "take", weight: 90 }, Operation { name: "first_take", weight: 10 }];

/// One variant and the subjects that take from it.
pub(crate) struct RateLimitWorkload {
    limiter: Arc<dyn RateLimiter>,
    /// Tells the subjects of two workloads apart.
    run: UserId,
}

impl RateLimitWorkload {
    pub(crate) fn new(limiter: Arc<dyn RateLimiter>) -> Self {
        Self { limiter, run: UserId::new() }
    }
}

#[async_trait]
impl Workload for RateLimitWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        for n in 0..SUBJECTS {
            self.run("take", n).await?;
        }
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let subject = match operation {
            "take" => format!("{}:{}", self.run, n % SUBJECTS),
            // Nobody has taken anything by this name yet.
            "first_take" => format!("{}:first:{n}", self.run),
            other => return Err(LabError::Other(format!("there is no operation {other}"))),
        };
        let decision = self.limiter.take(&subject).await?;
        let sound = decision.allowed || decision.retry_after_ms > 0;
        if !sound || decision.remaining >= LOAD_LIMIT.permits {
            return Err(LabError::Corrupt { key: subject, why: format!("{decision:?}") });
        }
        Ok(())
    }
}
