//! Lab: live fan-out across server instances.
//!
//! This crate has the port and the reference variant; see [`sharded`].

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, subscribe::Health};

pub use chatlab_kit::subscribe::{FeedItem, Subscription};

pub mod sharded;

pub use sharded::Sharded;

/// The port: how an instance hears what happens in a room, and tells the others.
///
/// Delivery is at most once. A subscriber that was cut off gets [`FeedItem::Gap`] when it is back
/// and closes the gap from history.
#[async_trait]
pub trait Fanout: Send + Sync {
    /// Listens to a room. Returns once the server has confirmed; dropping the feed ends it.
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription>;

    /// Tells all subscribers of the room something that is not a message (messages are announced
    /// by the history's own script).
    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()>;

    /// Whether live delivery works at this moment.
    fn health(&self) -> Health;
}
