//! `load run --fault`: breaks the servers that this process owns, and tells the generator when.

mod chaos;
mod kinds;

use std::time::Duration;

use anyhow::bail;
use chatlab_kit::servers::Topology;
use chatlab_load::{
    faults::{Fault, Injected, Kind, MAX_FAULTS, monotonic_ns},
    scenario::{Driver, Scenario},
};
use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinSet,
};

pub(super) use chaos::Chaos;

/// A node's silence, in milliseconds, after which a cluster takes it for dead, in runs with faults. Redis' own default, 15 s, makes
/// an outage longer than most windows. Below some seconds, a node that a busy machine leaves without a processor is
/// taken for dead without being so, and the run shows two faults instead of one. 5 s is what many a cluster in service has.
const NODE_TIMEOUT_MS: u64 = 5_000;

/// Options of `load run` about faults.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct FaultArgs {
    /// Break something in the window; may be repeated. KIND is kill-master, failover, move-slots, pause-node, kill-pubsub or
    /// cut-server; at SECONDS after the window's start (a third of it); ARG is the master's number (0 has most of the
    /// rooms), the server's number, how many slots, or milliseconds
    #[arg(long = "fault", value_name = "KIND[@SECONDS][:ARG]", conflicts_with = "against")]
    faults: Vec<Fault>,
    /// Silence after which a cluster takes a node for dead [default: 15000; with faults: 5000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(500..=60_000))]
    node_timeout_ms: Option<u64>,
}

impl FaultArgs {
    /// The faults.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The node timeout, where it is another than usual.
    pub(super) fn node_timeout_ms(&self) -> Option<u64> {
        self.node_timeout_ms.or((!self.faults.is_empty()).then_some(NODE_TIMEOUT_MS))
    }

    /// Whether all this can be done, before anything is started.
    pub(super) fn check(&self, scenario: &Scenario, topology: Topology, servers: u8) -> anyhow::Result<()> {
        if self.faults.len() > MAX_FAULTS {
            bail!("at most {MAX_FAULTS} faults in one run");
        }
        for fault in &self.faults {
            if scenario.driver != Driver::Ws {
                bail!("{}: --fault is for scenarios that load the chat server", scenario.name);
            }
            if fault.kind.needs_cluster() && topology == Topology::Single {
                bail!(
                    "--fault {fault} needs --topology cluster: a single node has no other to take its place"
                );
            }
            let cut = fault.kind == Kind::CutServer;
            if cut && servers < 2 {
                bail!("--fault {fault} needs --servers 2 or more: its clients must have somewhere to go");
            }
            if cut && fault.argument.is_some_and(|n| n >= u64::from(servers)) {
                bail!("--fault {fault}: there are the servers 0 to {}", servers - 1);
            }
            fault.check(scenario.secs * 1000).map_err(|why| anyhow::anyhow!(why))?;
        }
        Ok(())
    }
}

/// Does the faults of one run: started when the window begins.
pub(super) struct Injector {
    faults: Vec<Fault>,
    window_ms: u64,
    chaos: Chaos,
    begins: oneshot::Receiver<u64>,
    tell: Sender<Injected>,
}

/// What the one who starts the generator holds of an [`Injector`].
pub(super) struct Ends {
    /// Takes the window's start, on the clock that all processes share.
    pub begin: Option<oneshot::Sender<u64>>,
    /// What the generator is to be told.
    pub injected: Receiver<Injected>,
}

impl Injector {
    pub(super) fn new(faults: &[Fault], window_ms: u64, chaos: Chaos) -> (Self, Ends) {
        let (begin, begins) = oneshot::channel();
        let (tell, injected) = mpsc::channel(MAX_FAULTS);
        let injector = Self { faults: faults.to_vec(), window_ms, chaos, begins, tell };
        (injector, Ends { begin: Some(begin), injected })
    }

    /// Waits for the window and does each fault at its instant. Dropped before its end, it begins no further one.
    pub(super) async fn run(self) {
        let Ok(begins_ns) = self.begins.await else { return };
        let mut doing = JoinSet::new();
        for (nth, fault) in self.faults.into_iter().enumerate() {
            let (chaos, tell) = (self.chaos.clone(), self.tell.clone());
            let due_ns = begins_ns + fault.due_ms(self.window_ms) * 1_000_000;
            doing.spawn(async move {
                // Until the planned instant, which lies in the window.
                tokio::time::sleep(Duration::from_nanos(due_ns.saturating_sub(monotonic_ns()))).await;
                let began_ns = monotonic_ns();
                let done = chaos.inject(&fault).await;
                let injected = Injected {
                    nth,
                    target: done.target,
                    began_ns,
                    ended_ns: monotonic_ns(),
                    proved: done.proved,
                    facts: done.facts,
                };
                // The generator may have ended with an error, and then there is nobody to tell.
                let _ = tell.send(injected).await;
            });
        }
        while doing.join_next().await.is_some() {}
    }
}
