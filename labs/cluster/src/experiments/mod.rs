//! Predict, run, explain. Each experiment that moves slots or breaks nodes does that to a cluster of its own.

mod cross_slot;
mod failover;
mod moved;
mod skew;
mod stale_reads;

use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    lab::{Env, Experiment, Findings},
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerError, ServerOptions, Topology},
    slots::slot,
};
use redis::aio::MultiplexedConnection;

/// Where every experiment of this lab runs.
const OWN_CLUSTER: &str = "a cluster of its own (3 masters, 3 replicas)";
/// How long a private cluster may take to be whole again.
const WHOLE_BOUND: Duration = Duration::from_secs(20);
/// The bound on one reply.
const ANSWER_BOUND: Duration = Duration::from_secs(5);
/// The most numbers that are tried for a tag of a certain node.
const TAGS_TRIED: u32 = 10_000;

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "failover",
        question: "A master is killed while it takes writes. How many writes that it had acknowledged are gone, without WAIT \
                   and with it?",
        explanation: "A master answers its client and sends the write to its replica at about the same moment, and waits for \
                      no one. What the replica has not got when the master dies is gone, although a client was told that all \
                      is well. WAIT asks how many replicas have it. It does not undo anything and it is no error when too few \
                      have: the client must look at the number, and then knows which messages are safe. It does not make the \
                      cluster strongly consistent: which replica is promoted is not decided by what WAIT counted.",
    },
    Experiment {
        name: "skew",
        question: "The same rooms and the same load: how evenly do the nodes share them, by the way a room's tag is chosen?",
        explanation: "A tag decides the slot, slots are given to nodes in ranges. Few tags fall on the nodes as they like, and \
                      a slot is the least that can be moved away. 256 tags that are chosen to lie evenly give each node its \
                      share, on 3 nodes and on 6.",
    },
    Experiment {
        name: "moved",
        question: "A slot with 3,000 keys moves to another master under load. What does a client see?",
        explanation: "While the slot moves, its old owner answers ASK for a key that has left already: this once, ask there. \
                      Afterwards it answers MOVED: from now on, ask there. A command with several keys that lie on both sides \
                      for a moment gets TRYAGAIN. No write is lost, and a client that follows redirects sees latency only. \
                      MIGRATE stops both nodes for as long as it copies: small batches, and no huge values.",
    },
    Experiment {
        name: "stale-reads",
        question: "A client writes on the master and reads the same key from a replica at once. How old is what it reads?",
        explanation: "A replica answers from what it has. Usually it is behind by less than a millisecond, which a client that \
                      reads its own write still sees. When its link to the master is down it answers all the same, with what \
                      it had then, for as long as that lasts. A reader that says what it has seen before (AtLeast) \
                      notices.",
    },
    Experiment {
        name: "cross-slot",
        question: "Which commands with two keys does a cluster refuse when the keys lie in different slots of the same node?",
        explanation: "The rule is about slots, not about nodes: two slots may be on one node today and on two tomorrow. A \
                      pipeline is no transaction: each of its commands stands for itself. A script is believed: Redis looks \
                      at the keys that are declared, not at those that it computes.",
    },
];

/// Runs the experiment of that name, on a cluster of its own: it kills nodes and moves slots.
pub(crate) async fn run(name: &str, env: &Env) -> Option<LabResult<Findings>> {
    let found = match name {
        "failover" => failover::run(env).await,
        "skew" => skew::run(env).await,
        "moved" => moved::run(env).await,
        "stale-reads" => stale_reads::run(env).await,
        "cross-slot" => cross_slot::run(env).await,
        _ => return None,
    };
    Some(found.map(|findings| findings.measured_on(OWN_CLUSTER)))
}

/// A cluster of one experiment, gone when dropped.
struct Private {
    managed: Arc<Managed>,
    redis: Redis,
}

impl Private {
    async fn start(env: &Env, topology: Topology, node_timeout_ms: u64) -> LabResult<Self> {
        let options = ServerOptions { cluster_node_timeout_ms: node_timeout_ms, ..ServerOptions::default() };
        let managed =
            Managed::start_async(topology, env.server()?, &options).await.map_err(|e| broken(&e))?;
        let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await?;
        Ok(Self { managed: Arc::new(managed), redis })
    }

    /// Runs what blocks (starting a node, waiting for the cluster) beside the runtime's own threads.
    async fn blocking(
        &self,
        work: impl FnOnce(&Managed) -> Result<(), ServerError> + Send + 'static,
    ) -> LabResult<()> {
        let managed = self.managed.clone();
        let done = tokio::task::spawn_blocking(move || work(&managed)).await;
        done.map_err(|error| LabError::Other(error.to_string()))?.map_err(|error| broken(&error))
    }
}

fn broken(error: &ServerError) -> LabError {
    LabError::Other(error.to_string())
}

/// A plain connection to one node: it follows no redirect.
async fn plain(address: &str) -> LabResult<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{address}/"))?;
    let options = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_BOUND))
        .set_response_timeout(Some(ANSWER_BOUND));
    Ok(client.get_multiplexed_async_connection_with_config(&options).await?)
}

/// The first tag after `PREFIX` whose slot is one of those that are asked for.
fn tag_in(prefix: &str, wanted: impl Fn(u16) -> bool) -> LabResult<String> {
    (0..TAGS_TRIED)
        .map(|n| format!("{prefix}{n}"))
        .find(|tag| wanted(slot(tag.as_bytes())))
        .ok_or_else(|| LabError::Other(format!("no tag {prefix}N lies where it is needed")))
}

/// The value below which a share `of` of the sorted numbers lies; NaN for none.
fn quantile(sorted: &[f64], of: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let place = (of * (sorted.len() - 1) as f64).round();
    sorted[place as usize]
}

/// Sorted, for [`quantile`].
fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
