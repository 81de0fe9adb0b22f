//! Waits until everything that was published has passed every node.
//!
//! On a cluster `PUBLISH` answers before the other nodes have the message: it travels over the cluster bus, and a busy
//! node may read it a second later. A subscriber that was away when it was published, and is back by then, hears it all
//! the same. Between two nodes the bus keeps the order, so a message that follows all others tells that they have passed.

use std::time::Duration;

use chatlab_kit::{LabError, LabResult, ids::RoomId, redis::Redis};
use futures_util::{StreamExt, future::try_join_all};
use redis::aio::{MultiplexedConnection, PubSubStream};

/// The longest that the bus may take.
const PASS_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel of the checker's own, heard on every node.
pub(crate) struct Fence {
    channel: String,
    nodes: Vec<MultiplexedConnection>,
    ears: Vec<PubSubStream>,
    round: u64,
}

impl Fence {
    /// Listens on every node.
    pub(crate) async fn new(redis: &Redis) -> LabResult<Self> {
        let channel = format!("fence-{}", RoomId::new());
        let (mut nodes, mut ears) = (Vec::new(), Vec::new());
        for (address, node) in redis.each_node().await? {
            let client = redis::Client::open(redis.config().connection_info(&address)?)?;
            let mut ear = client.get_async_pubsub().await?;
            ear.subscribe(&channel).await?;
            nodes.push(node);
            ears.push(ear.into_on_message());
        }
        Ok(Self { channel, nodes, ears, round: 0 })
    }

    /// Returns when every node has heard from every node what was published there before this call.
    pub(crate) async fn pass(&mut self) -> LabResult<()> {
        self.round += 1;
        let (round, count) = (self.round.to_string(), self.nodes.len());
        let said = self.nodes.iter().cloned().map(|mut node| {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&self.channel).arg(&round);
            async move { publish.query_async::<()>(&mut node).await }
        });
        try_join_all(said).await?;
        let heard = self.ears.iter_mut().map(|ear| hear(ear, round.as_bytes(), count));
        let late =
            |_| LabError::Other(format!("the nodes did not pass a message on within {PASS_TIMEOUT:?}"));
        tokio::time::timeout(PASS_TIMEOUT, try_join_all(heard)).await.map_err(late)?.map(drop)
    }
}

/// Waits for a round's message of `count` nodes.
async fn hear(ear: &mut PubSubStream, round: &[u8], count: usize) -> LabResult<()> {
    let mut heard = 0;
    while heard < count {
        let message = ear.next().await;
        let message = message.ok_or_else(|| LabError::Other("a node ended the checker's own feed".into()))?;
        heard += usize::from(message.get_payload_bytes() == round);
    }
    Ok(())
}
