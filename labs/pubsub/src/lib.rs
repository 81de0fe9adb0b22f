//! Lab: live fan-out across server instances.
//!
//! | module | for |
//! | --- | --- |
//! | `feed`, `listener` | what all variants stand on: a bounded feed, and kit's subscriptions when first needed |
//! | [`sharded`] | the reference |
//! | [`classic`], [`stream_tail`], [`polling`] | alternatives |
//! | [`fire_and_forget`], [`auto_resubscribe`], [`unconfirmed`], [`unbounded_queue`], [`one_channel`], [`tail_from_now`], [`list_offset`] | flawed |
//! | `checks`, `steps`, `world`, `outage`, `fence`, `feedback` | named checks: plans, histories with cuts, judgements |

pub mod auto_resubscribe;
mod broadcast;
mod checks;
pub mod classic;
mod cut_off;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod feed;
mod feedback;
mod fence;
pub mod fire_and_forget;
mod flow;
mod lab;
mod latency;
pub mod list_offset;
mod listener;
pub mod one_channel;
mod outage;
pub mod polling;
mod raw;
pub mod sharded;
mod slow_reader;
mod steps;
pub mod stream_tail;
pub mod tail_from_now;
pub mod unbounded_queue;
pub mod unconfirmed;
mod variants;
mod workload;
mod world;

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, subscribe::Health};

pub use auto_resubscribe::AutoResubscribe;
pub use chatlab_kit::subscribe::FeedItem;
pub use classic::Classic;
#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use feed::{Feeder, Feeds, Subscription};
pub use fire_and_forget::FireAndForget;
pub use lab::{LAB, PubsubLab};
pub use list_offset::ListOffset;
pub use one_channel::OneChannel;
pub use polling::Polling;
pub use sharded::Sharded;
pub use stream_tail::StreamTail;
pub use tail_from_now::TailFromNow;
pub use unbounded_queue::UnboundedQueue;
pub use unconfirmed::Unconfirmed;
pub use variants::build;

/// The most messages that may wait for one subscriber who does not read, and the most that a variant keeps of a room,
/// wherever they wait. Who falls back further is told by a [`FeedItem::Gap`].
pub const BACKLOG_MAX: usize = 5_000;
/// Messages that the variants with a store keep of a room.
pub const KEEP: usize = 256;
/// How long such a store outlives the last message of its room, in milliseconds.
pub const KEEP_TTL_MS: u64 = 60 * 60 * 1000;
/// Items that wait for one subscriber of a variant that fills its queue itself.
pub const FEED_QUEUE: usize = 256;

/// The port: how an instance hears what happens in a room, and tells the others.
///
/// Delivery is at most once and in order of publication. **Whatever a subscriber misses it is told**: where messages are
/// missing from the feed stands [`FeedItem::Gap`], and the subscriber reads the history.
#[async_trait]
pub trait Fanout: Send + Sync {
    /// Listens to a room. Every message of which the publication begins after this has returned is heard or is part of a
    /// gap. Dropping the feed ends it. A feed that ends by itself is a gap too.
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription>;

    /// Tells all subscribers of the room something that is not a message (messages are announced
    /// by the history's own script).
    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()>;

    /// Whether live delivery works at this moment.
    fn health(&self) -> Health;
}
