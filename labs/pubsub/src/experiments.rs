//! Predict, run, explain.

use chatlab_kit::{
    LabResult,
    lab::{Env, Experiment, Findings},
};

use crate::{broadcast, cut_off, latency, slow_reader};

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "cut-off",
        question: "A subscriber is cut off for 20, 200 and 1,000 ms while messages flow. What does each variant lose, and of \
                   which part is the subscriber told?",
        explanation: "Pub/sub keeps nothing: what is published while nobody is connected goes to nobody. What matters is \
                      whether the subscriber knows. A stream or a sorted set keeps some messages, and a reader who remembers \
                      its place loses nothing within them; who reads from `$` or by position has no place to come back to.",
    },
    Experiment {
        name: "slow-reader",
        question: "A subscriber stops reading. How much is published until Redis closes it, and where does it wait meanwhile?",
        explanation: "First the sockets fill, then the client's output buffer in Redis' own memory. At the hard limit Redis \
                      closes the connection, and everything that waited is gone: a closed connection is a gap. The default \
                      allows 32 MB a subscriber, so a hundred that hang may take 3 GB.",
    },
    Experiment {
        name: "latency",
        question: "From publishing to hearing: how much slower than a push is a blocked read of a stream, and a poll every 10 \
                   or 100 ms?",
        explanation: "A blocked XREAD is woken by the XADD, as a subscriber is by the PUBLISH; it costs one round trip more \
                      before the next one. A poll waits half its interval on average, and asks in vain for the rest of the day.",
    },
    Experiment {
        name: "broadcast",
        question: "On a cluster of six nodes: to how many further nodes does a PUBLISH travel, and to how many a SPUBLISH?",
        explanation: "A classic channel belongs to no slot: a subscriber may sit anywhere, so every node gets every message. A \
                      sharded channel belongs to the shard of its slot, and only that shard's replicas get a copy.",
    },
    Experiment {
        name: "slot-move",
        question: "The slot of a room moves to another master while messages flow. Which variants lose something, and who is told?",
        explanation: "When a slot leaves, its node sends `sunsubscribe` to every subscriber of its sharded channels. A client \
                      that does not watch for that push is deaf from then on, on a connection that is in best order. Classic \
                      channels have no slot. A blocked XREAD is answered with MOVED.",
    },
];

/// Runs one of them; none for a name that is none.
pub(crate) async fn run(name: &str, env: &Env) -> Option<LabResult<Findings>> {
    Some(match name {
        "cut-off" => cut_off::cut_off(env).await,
        "slow-reader" => slow_reader::slow_reader(env).await,
        "latency" => latency::latency(env).await,
        "broadcast" => broadcast::broadcast(env).await,
        "slot-move" => broadcast::slot_move(env).await,
        _ => return None,
    })
}
