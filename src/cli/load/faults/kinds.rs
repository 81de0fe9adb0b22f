//! Each kind of fault: what is done, and what proves it.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use chatlab_kit::servers::{
    Role, inspect, poll,
    process::{Identity, signal},
    reshard::{SlotMove, owners},
};
use chatlab_load::faults::Fact;
use rustix::process::Signal;

use super::chaos::{Chaos, Done};

/// Beside three node timeouts: how long a cluster may take to put a replica in a dead master's place.
const PROMOTE_BOUND: Duration = Duration::from_secs(15);
/// How long a cluster may take to be whole again after a node was started anew.
const WHOLE_BOUND: Duration = Duration::from_secs(30);
/// How long a failover without a death may take.
const FAILOVER_BOUND: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
const GONE_BOUND: Duration = Duration::from_secs(5);
/// Keys that one step of a move carries: few, so that clients meet the slot half moved and must ask twice (`ASK`).
const KEYS_A_STEP: usize = 8;
/// The most steps of one slot.
const MAX_STEPS: usize = 100_000;

fn after(since: Instant, what: impl Display) -> String {
    format!("{what} after {} ms", since.elapsed().as_millis())
}

impl Chaos {
    /// `SIGKILL`. The node comes back only when its replica was promoted: started before, without persistence, it would come
    /// back empty as the master it was, and its replica would copy that.
    pub(super) async fn kill_master(&self, nth: usize) -> anyhow::Result<Done> {
        let (index, used) = self.master(nth).await?;
        let replica = self.replica_of(index).await?;
        let target = self.name(index);
        let bound = self.node_timeout * 3 + PROMOTE_BOUND;
        let (proved, facts) = self
            .blocking(move |managed| {
                let (pid, began) = (managed.pid(index), Instant::now());
                managed.kill_node(index)?;
                let gone = managed.pid(index).is_none();
                let mut facts =
                    vec![used, Fact::new("process gone", format!("{gone} ({})", pid.unwrap_or(0)))];
                let port = managed.nodes()[replica].port;
                let promoted = await_role(port, Role::Master, bound);
                let told = match &promoted {
                    Ok(()) => after(began, format!("node {replica}")),
                    Err(why) => format!("no: {why}"),
                };
                facts.push(Fact::new("promoted", told));
                managed.restart_node(index).context("starting the node again")?;
                facts.push(Fact::new("started again", after(began, format!("node {index}"))));
                managed.await_whole(WHOLE_BOUND).context("waiting for the whole cluster")?;
                facts.push(Fact::new("cluster whole", after(began, "yes,")));
                Ok((gone && promoted.is_ok(), facts))
            })
            .await?;
        Ok(Done { target, proved, facts })
    }

    /// `CLUSTER FAILOVER`: the replica waits for all that its master has, then takes its place.
    pub(super) async fn failover(&self, nth: usize) -> anyhow::Result<Done> {
        let (index, used) = self.master(nth).await?;
        let replica = self.replica_of(index).await?;
        let began = Instant::now();
        let _: String = self.ask(replica, redis::cmd("CLUSTER").arg("FAILOVER")).await?;
        let facts = self
            .blocking(move |managed| {
                let [old, new] = [index, replica].map(|node| managed.nodes()[node].port);
                let bound = FAILOVER_BOUND;
                await_role(new, Role::Master, bound).map_err(|why| anyhow!("node {replica}: {why}"))?;
                let promoted = Fact::new("promoted", after(began, format!("node {replica}")));
                await_role(old, Role::Replica, bound).map_err(|why| anyhow!("node {index}: {why}"))?;
                Ok(vec![used, promoted, Fact::new("now a replica", after(began, format!("node {index}")))])
            })
            .await?;
        Ok(Done { target: self.name(replica), proved: true, facts })
    }

    /// Slots of rooms that are talked in, spread over all of them, each to another master.
    pub(super) async fn move_slots(&self, count: usize) -> anyhow::Result<Done> {
        let addrs = self.managed.addrs();
        let count = count.min(self.slots.len());
        let chosen: Vec<u16> = (0..count).map(|i| self.slots[i * self.slots.len() / count]).collect();
        let began = Instant::now();
        let (mut keys, mut steps) = (0, 0);
        for slot in &chosen {
            let owners = owners(&addrs).await?;
            let owner = owners.iter().position(|owner| owner.owns(*slot));
            let owner = owner.with_context(|| format!("nobody owns slot {slot}"))?;
            let to = &owners[(owner + 1) % owners.len()].address;
            let mut moving = SlotMove::begin(&addrs, *slot, to).await?;
            for _ in 0..MAX_STEPS {
                match moving.move_keys(KEYS_A_STEP).await? {
                    0 => break,
                    moved => (keys, steps) = (keys + moved, steps + 1),
                }
            }
            moving.finish().await?;
        }
        let owners = owners(&addrs).await?;
        let all_owned =
            chosen.iter().all(|slot| owners.iter().filter(|owner| owner.owns(*slot)).count() == 1);
        let facts = vec![
            Fact::new("slots moved", after(began, format!("{count}, with {keys} keys in {steps} steps,"))),
            Fact::new("each has one owner", all_owned),
        ];
        let rooms = self.slots.len();
        Ok(Done { target: format!("{count} of {rooms} slots in use"), proved: all_owned && keys > 0, facts })
    }

    /// `SIGSTOP`, and `SIGCONT` after that time.
    pub(super) async fn pause_node(&self, pause: Duration) -> anyhow::Result<Done> {
        let (index, used) = self.master(0).await?;
        let target = self.name(index);
        let pid = self.managed.pid(index).context("the node has no process")?;
        self.managed.pause_node(index)?;
        let began = Instant::now();
        // Whatever happens from here on, it must run on.
        let state = poll(GONE_BOUND.min(pause), || match state_of(pid) {
            Some('T') => Ok(()),
            other => Err(format!("{other:?}")),
        });
        // The fault itself: it stands still for so long, at most `MAX_PAUSE_MS`.
        tokio::time::sleep(pause.saturating_sub(began.elapsed())).await;
        self.managed.resume_node(index)?;
        let stopped = began.elapsed().as_millis();
        let told = match &state {
            Ok(()) => "T (stopped by a signal)".to_owned(),
            Err((seen, _)) => format!("not seen as stopped: {seen}"),
        };
        let facts = vec![
            used,
            Fact::new("how", format!("SIGSTOP, and SIGCONT after {stopped} ms")),
            Fact::new("its state meanwhile", told),
        ];
        Ok(Done { target, proved: state.is_ok(), facts })
    }

    /// Ends every subscriber's connection, on every node.
    pub(super) async fn kill_pubsub(&self) -> anyhow::Result<Done> {
        let mut killed = Vec::new();
        for node in 0..self.managed.nodes().len() {
            let mut command = redis::cmd("CLIENT");
            killed.push(self.ask::<u64>(node, command.arg("KILL").arg("TYPE").arg("pubsub")).await?);
        }
        let all: u64 = killed.iter().sum();
        let each = killed.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let facts = vec![Fact::new("connections ended", format!("{all} (by node: {each})"))];
        Ok(Done { target: format!("pub/sub of {} node(s)", killed.len()), proved: all > 0, facts })
    }

    /// `SIGKILL` to a chat server; the last one unless another is named.
    pub(super) async fn cut_server(&self, which: Option<u64>) -> anyhow::Result<Done> {
        let index = which.map_or(self.server_pids.len() - 1, |n| n as usize);
        let pid = *self.server_pids.get(index).with_context(|| format!("there is no server {index}"))?;
        let identity = Identity::of(pid).with_context(|| format!("server {index} does not run"))?;
        let began = Instant::now();
        if !signal(pid, Signal::KILL) {
            bail!("server {index} could not be killed");
        }
        let gone = self
            .blocking(move |_| {
                Ok(poll(GONE_BOUND, || if identity.is_alive() { Err("alive".into()) } else { Ok(()) })
                    .is_ok())
            })
            .await?;
        let fact = Fact::new("process gone", after(began, format!("{gone} ({pid}),")));
        Ok(Done { target: format!("chat server {index}, process {pid}"), proved: gone, facts: vec![fact] })
    }
}

fn await_role(port: u16, role: Role, bound: Duration) -> Result<(), String> {
    let look = || match inspect(port)?.role {
        now if now == role => Ok(()),
        other => Err(format!("it is still a {other:?}")),
    };
    poll(bound, look).map_err(|(seen, waited)| format!("{seen} ({} s)", waited.as_secs()))
}

/// The state of a process, where the system tells it.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}
