//! A plain pub/sub connection, for the variants that manage their own.

use std::time::Duration;

use bytes::Bytes;
use chatlab_kit::{LabError, LabResult, redis::Redis};
use futures_util::StreamExt;
use redis::aio::{PubSub, PubSubStream};

use crate::Feeder;

/// The longest that connecting and subscribing may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before a new connection is tried.
pub(crate) const RETRY: Duration = Duration::from_millis(20);

/// Connects to one master (of a cluster any will do) and subscribes; returns when the server has confirmed.
pub(crate) async fn subscribed(redis: &Redis, channel: &str) -> LabResult<PubSubStream> {
    let connect = async {
        let nodes = redis.primaries().await?;
        let node = nodes.first().ok_or_else(|| LabError::Other("there is no master".into()))?;
        let client = redis::Client::open(redis.config().connection_info(node)?)?;
        let mut connection: PubSub = client.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        Ok(connection.into_on_message())
    };
    let late = |_| LabError::Other(format!("no subscription within {CONNECT_TIMEOUT:?}"));
    tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(late)?
}

/// The same again and again until it succeeds.
pub(crate) async fn subscribed_again(redis: &Redis, channel: &str) -> PubSubStream {
    loop {
        if let Ok(messages) = subscribed(redis, channel).await {
            return messages;
        }
        // The pace of attempts while the server does not answer.
        tokio::time::sleep(RETRY).await;
    }
}

/// Passes messages on until the connection is lost.
pub(crate) async fn forward(messages: &mut PubSubStream, feeder: &mut Feeder) {
    while let Some(message) = messages.next().await {
        feeder.offer(Bytes::copy_from_slice(message.get_payload_bytes()));
    }
}
