//! Variants that do one operation differently from the reference, and leave the others to it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chatlab_kit::LabResult;

use crate::{AuditLog, DeadLetter, Delivery, Event, EventId, Lag, StreamGroups};

/// The reference with something exchanged.
#[async_trait]
pub(crate) trait Over: Send + Sync {
    /// What does everything else.
    fn inner(&self) -> &StreamGroups;

    async fn join(&self, topic: &str, group: &str) -> LabResult<()> {
        self.inner().join(topic, group).await
    }

    async fn take(&self, topic: &str, group: &str, consumer: &str, count: usize) -> LabResult<Vec<Delivery>> {
        self.inner().take(topic, group, consumer, count).await
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        self.inner().work(topic, group, delivery).await
    }

    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag> {
        self.inner().lag(topic, group).await
    }

    async fn trim(&self, topic: &str) -> LabResult<u64> {
        self.inner().trim(topic).await
    }
}

#[async_trait]
impl<T: Over> AuditLog for T {
    async fn append(&self, topic: &str, event: &Event) -> LabResult<EventId> {
        self.inner().append(topic, event).await
    }

    async fn join(&self, topic: &str, group: &str) -> LabResult<()> {
        Over::join(self, topic, group).await
    }

    async fn take(&self, topic: &str, group: &str, consumer: &str, count: usize) -> LabResult<Vec<Delivery>> {
        Over::take(self, topic, group, consumer, count).await
    }

    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool> {
        Over::work(self, topic, group, delivery).await
    }

    async fn totals(&self, topic: &str, group: &str) -> LabResult<BTreeMap<String, u64>> {
        self.inner().totals(topic, group).await
    }

    async fn dead(&self, topic: &str, group: &str) -> LabResult<Vec<DeadLetter>> {
        self.inner().dead(topic, group).await
    }

    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag> {
        Over::lag(self, topic, group).await
    }

    async fn replay(&self, topic: &str, after: EventId, count: usize) -> LabResult<Vec<(EventId, Event)>> {
        self.inner().replay(topic, after, count).await
    }

    async fn erase(&self, topic: &str, id: EventId) -> LabResult<bool> {
        self.inner().erase(topic, id).await
    }

    async fn trim(&self, topic: &str) -> LabResult<u64> {
        Over::trim(self, topic).await
    }
}
