//! Kit's subscriptions, started when somebody first subscribes.

use std::sync::Arc;

use chatlab_kit::{
    LabResult,
    redis::RedisConfig,
    subscribe::{ChannelKind, Health, Subscriptions},
};
use tokio::sync::OnceCell;

use crate::Subscription;

/// Subscriptions that others share, or that are started at the first use: a variant is built without waiting.
#[derive(Clone)]
pub(crate) struct Listener {
    started: Arc<OnceCell<Subscriptions>>,
    config: RedisConfig,
}

impl Listener {
    pub(crate) fn shared(config: RedisConfig, subscriptions: Subscriptions) -> Self {
        Self { started: Arc::new(OnceCell::new_with(Some(subscriptions))), config }
    }

    pub(crate) fn lazy(config: RedisConfig) -> Self {
        Self { started: Arc::default(), config }
    }

    pub(crate) async fn subscribe(&self, kind: ChannelKind, channel: &str) -> LabResult<Subscription> {
        let subscriptions = self.started.get_or_try_init(|| Subscriptions::start(&self.config)).await?;
        Ok(subscriptions.subscribe(kind, channel).await?.into())
    }

    pub(crate) fn health(&self) -> Health {
        self.started.get().map_or_else(
            || Health {
                connected_nodes: 0,
                connections_made: 0,
                channels: 0,
                confirmed: 0,
                last_probe_ms_ago: None,
                healthy: true,
                why: None,
            },
            Subscriptions::health,
        )
    }
}
