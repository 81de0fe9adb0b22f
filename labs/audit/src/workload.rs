//! The same events for every variant.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::UserId,
    lab::{Operation, Workload},
};

use crate::{AuditLog, Event, Policy};

/// Under load no consumer dies.
pub(crate) const LOAD_POLICY: Policy = Policy { idle_ms: 60_000, max_deliveries: 5 };
/// Topics; `n` goes round them.
const TOPICS: u64 = 16;
/// The most events that one `deliver` works: more than it appends, so that no topic grows.
const BATCH: usize = 4;
const GROUP: &str = "archive";

const OPERATIONS: &[Operation] = &[
    Operation { name: "append", weight: 40 },
    Operation { name: "deliver", weight: 50 },
    Operation { name: "lag", weight: 5 },
    Operation { name: "trim", weight: 5 },
];

/// One variant and the topics that it keeps.
pub(crate) struct AuditWorkload {
    log: Arc<dyn AuditLog>,
    /// Tells the topics of two workloads apart.
    run: UserId,
}

impl AuditWorkload {
    pub(crate) fn new(log: Arc<dyn AuditLog>) -> Self {
        Self { log, run: UserId::new() }
    }
}

fn event(n: u64) -> Event {
    Event {
        actor: format!("u{}", n % 100),
        action: "room.joined".to_owned(),
        text: format!("room {:0>48}", n % 1_000),
    }
}

#[async_trait]
impl Workload for AuditWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        for n in 0..TOPICS {
            let topic = format!("{}:{n}", self.run);
            self.log.join(&topic, GROUP).await?;
            self.log.append(&topic, &event(n)).await?;
        }
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let topic = format!("{}:{}", self.run, n % TOPICS);
        match operation {
            "append" => self.log.append(&topic, &event(n)).await.map(drop),
            "deliver" => {
                self.log.append(&topic, &event(n)).await?;
                let consumer = format!("c{}", n % 4);
                for delivery in self.log.take(&topic, GROUP, &consumer, BATCH).await? {
                    if !self.log.work(&topic, GROUP, &delivery).await? {
                        let why = format!("{} was worked before", delivery.id);
                        return Err(LabError::Corrupt { key: topic, why });
                    }
                }
                Ok(())
            }
            "lag" => self.log.lag(&topic, GROUP).await.map(drop),
            "trim" => self.log.trim(&topic).await.map(drop),
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }
}
