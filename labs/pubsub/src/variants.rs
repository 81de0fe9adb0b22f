//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{
    lab::{Variant, VariantKind},
    redis::Redis,
};

use crate::{
    AutoResubscribe, Classic, Fanout, FireAndForget, ListOffset, OneChannel, Polling, Sharded, StreamTail,
    TailFromNow, UnboundedQueue, Unconfirmed, polling,
};

const fn variant(name: &'static str, kind: VariantKind, summary: &'static str) -> Variant {
    Variant { name, summary, kind, needs: None }
}

const fn flawed(name: &'static str, caught_by: &'static str, summary: &'static str) -> Variant {
    variant(name, VariantKind::Flawed { caught_by }, summary)
}

/// The reference first, the exercise last.
pub(crate) const VARIANTS: &[Variant] = &[
    variant("sharded", VariantKind::Reference, "SPUBLISH: stays within the shard; gaps are told"),
    variant("classic", VariantKind::Alternative, "PUBLISH: goes to every node of a cluster"),
    variant("stream_tail", VariantKind::Alternative, "STREAM and XREAD BLOCK from the last id"),
    variant("polling", VariantKind::Alternative, "ZSET by number, asked every 10 ms"),
    flawed("fire_and_forget", "resumes_after_cut", "SUBSCRIBE once: deaf after a cut"),
    flawed("auto_resubscribe", "tells_of_every_gap", "SUBSCRIBE again in silence: loses, says nothing"),
    flawed("unconfirmed", "subscribed_means_subscribed", "returns before the server has confirmed"),
    flawed("unbounded_queue", "slow_subscriber_is_bounded", "queues without end for a reader that hangs"),
    flawed("one_channel", "rooms_are_separate", "one channel for all rooms, unfiltered"),
    flawed("tail_from_now", "tells_of_every_gap", "XREAD from $: skips what came in between"),
    flawed("list_offset", "delivers_in_order_once", "LRANGE by position: drifts when LTRIM trims"),
    variant("exercise", VariantKind::Exercise, "yours: labs/pubsub/src/exercise.rs"),
];

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis) -> Option<Arc<dyn Fanout>> {
    Some(match name {
        "sharded" => Arc::new(Sharded::lazy(redis)),
        "classic" => Arc::new(Classic::new(redis)),
        "stream_tail" => Arc::new(StreamTail::new(redis)),
        "polling" => Arc::new(Polling::new(redis, polling::INTERVAL)),
        "fire_and_forget" => Arc::new(FireAndForget::new(redis)),
        "auto_resubscribe" => Arc::new(AutoResubscribe::new(redis)),
        "unconfirmed" => Arc::new(Unconfirmed::new(redis)),
        "unbounded_queue" => Arc::new(UnboundedQueue::new(redis)),
        "one_channel" => Arc::new(OneChannel::new(redis)),
        "tail_from_now" => Arc::new(TailFromNow::new(redis)),
        "list_offset" => Arc::new(ListOffset::new(redis)),
        #[cfg(feature = "exercise")]
        "exercise" => Arc::new(crate::exercise::Exercise::new(redis)),
        _ => return None,
    })
}
