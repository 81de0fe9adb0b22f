//! The same commands through a client library: redis-rs or fred, over kit's handle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chatlab_kit::{
    LabError, LabResult,
    lab::{Operation, Workload},
    redis::{ClientKind, Redis, RedisConfig},
    slots::{SLOTS, slot},
};
use redis::{Cmd, Value};

use super::{
    RespPlan,
    commands::{Mix, Op, value},
    config,
    keys::{Dice, Keys},
};
use crate::{
    lab::{self, LabPlan},
    plan::{PlanError, Progress},
    reconcile::{Reconciliation, Sent, Snapshot},
    recording,
    result::{Config, RunResult},
    schedule::Load,
    ws::LoadError,
};

/// What is counted, by the workload and for the reconciliation.
#[derive(Debug)]
struct Counts {
    /// By [`Op::index`]: calls of the library, from the warm-up on.
    called: Vec<AtomicU64>,
    failed: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
}

/// Commands of the mix, each through one of several handles.
struct Library {
    handles: Vec<Redis>,
    operations: &'static [Operation],
    keys: Keys,
    seed: u64,
    value: Vec<u8>,
    counts: Arc<Counts>,
}

/// Connects once for each connection of the plan.
async fn connect(plan: &RespPlan, kind: ClientKind) -> LabResult<Vec<Redis>> {
    let topology = plan.topology.parse().map_err(|e| LabError::Other(format!("{e}")))?;
    let nodes = if plan.is_cluster() { plan.nodes.clone() } else { plan.nodes[..1].to_vec() };
    let config = RedisConfig::new(topology, nodes).with_client(kind);
    let mut handles = Vec::with_capacity(plan.conns);
    for _ in 0..plan.conns {
        handles.push(Redis::connect(&config).await?);
    }
    Ok(handles)
}

fn cmd(op: Op, key: u64, dice: &mut Dice, value: &[u8]) -> Cmd {
    let mut cmd = Cmd::new();
    for word in op.words(key, dice, value) {
        cmd.arg(word);
    }
    cmd
}

#[async_trait::async_trait]
impl Workload for Library {
    fn operations(&self) -> &'static [Operation] {
        self.operations
    }

    async fn prepare(&self) -> LabResult<()> {
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let op = Op::ALL.into_iter().find(|op| op.name() == operation);
        let op = op.ok_or_else(|| LabError::Other(format!("there is no command {operation}")))?;
        let mut dice = Dice::of(self.seed ^ (op.index() as u64) << 56, n);
        let key = self.keys.draw(&mut dice);
        self.counts.called[op.index()].fetch_add(1, Relaxed);
        if op.has_slot()
            && let Some(count) = self.counts.slots.get(usize::from(slot(op.key(key).as_bytes())))
        {
            count.fetch_add(1, Relaxed);
        }
        let mut handle = self.handles[dice.below(self.handles.len() as u64) as usize].clone();
        let outcome = cmd(op, key, &mut dice, &self.value).query_async::<Value>(&mut handle).await;
        if outcome.is_err() {
            self.counts.failed[op.index()].fetch_add(1, Relaxed);
        }
        Ok(outcome.map(drop)?)
    }
}

/// The run of a plan whose client is a library; `before` is from before the first connection.
pub(super) fn generate(
    plan: &RespPlan,
    kind: ClientKind,
    before: &Snapshot,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunResult, LoadError> {
    let lab_plan = lab_plan(plan)?;
    let mix = Mix::new(&plan.commands.mix, plan.value_bytes);
    let zeros = |n: usize| std::iter::repeat_with(AtomicU64::default).take(n).collect::<Vec<_>>();
    let counts = Arc::new(Counts {
        called: zeros(Op::ALL.len()),
        failed: zeros(Op::ALL.len()),
        slots: zeros(if plan.is_cluster() { usize::from(SLOTS) } else { 0 }),
    });
    let weight = |op: Op| plan.commands.mix.get(&op).copied().unwrap_or(0);
    let operations: Vec<_> = mix.ops().map(|op| Operation { name: op.name(), weight: weight(op) }).collect();
    // A generator's process has one run.
    let operations: &'static [Operation] = operations.leak();
    let make = || async {
        let library = Library {
            handles: connect(plan, kind).await?,
            operations,
            keys: Keys::new(plan.commands.keys, plan.commands.spread, plan.commands.exponent),
            seed: plan.seed,
            value: value(plan.value_bytes),
            counts: counts.clone(),
        };
        Ok::<Arc<dyn Workload>, LabError>(Arc::new(library))
    };
    let mut result = lab::generate(lab_plan, make, progress)?;
    let after = Snapshot::take(&plan.nodes);
    let sent: Vec<Sent> = mix.ops().map(|op| sent(op, &counts, &result)).collect();
    let slots: Vec<u64> = counts.slots.iter().map(|count| count.load(Relaxed)).collect();
    let reconciliation = Reconciliation::new(before, &after).sent(&sent, None).slots(&slots);
    // Another schedule than the lean client's: its clients are the weights, and say which command comes.
    let schedule_sha256 = std::mem::take(&mut result.config.schedule_sha256);
    result.config = Config { schedule_sha256, ..config(plan) };
    result.reconcile(reconciliation);
    if let Some(dir) = &plan.record {
        // What is known only now: the commands, and the servers' own count.
        recording::write_result(dir, &result)?;
    }
    Ok(result)
}

fn sent(op: Op, counts: &Counts, result: &RunResult) -> Sent {
    let operation = result.operations.iter().find(|operation| operation.name == op.name());
    Sent {
        command: op.name().to_owned(),
        completed: operation.map_or(0, |operation| operation.completed),
        on_wire: counts.called[op.index()].load(Relaxed),
        // A call that failed may have been executed, or not.
        unanswered: counts.failed[op.index()].load(Relaxed),
        client_p50_us: operation.and_then(|operation| operation.service.p50_us),
    }
}

fn lab_plan(plan: &RespPlan) -> Result<LabPlan, LoadError> {
    let Load::Open(schedule) = &plan.load else {
        return Err(PlanError("a closed load through a library is what `ceiling` is for".into()).into());
    };
    Ok(LabPlan {
        scenario: plan.scenario.clone(),
        lab: "redis".into(),
        variant: plan.commands.client.to_string(),
        topology: plan.topology.clone(),
        client: plan.commands.client.to_string(),
        nodes: plan.nodes.clone(),
        schedule: schedule.kind.clone(),
        rate: schedule.rate_per_s,
        secs: plan.load.duration_ns() / 1_000_000_000,
        seed: schedule.seed,
        warm_up_ms: plan.warm_up_ms,
        settle_ms: plan.settle_ms,
        record: plan.record.clone(),
        drain_ms: plan.drain_ms,
        in_flight_cap: plan.in_flight_cap,
        threads: plan.threads,
        limits: plan.limits,
        server_pids: Vec::new(),
        redis_pids: plan.redis_pids.clone(),
        labels: plan.labels.clone(),
    })
}

/// A closed load of one command on one thread: each connection sends its next batch of `pipeline` commands when the one
/// before is answered. Commands a second.
pub(super) fn closed(plan: &RespPlan, kind: ClientKind, op: Op) -> Result<f64, LoadError> {
    let failed = |e: LabError| LoadError::Workload(format!("{kind}: {e}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)?;
    runtime.block_on(async {
        let handles = connect(plan, kind).await.map_err(failed)?;
        let keys = Keys::new(plan.commands.keys, plan.commands.spread, plan.commands.exponent);
        let value = value(plan.value_bytes);
        let start = Instant::now() + Duration::from_millis(plan.warm_up_ms);
        let end = start + Duration::from_nanos(plan.load.duration_ns());
        let clients = handles.into_iter().enumerate().map(|(client, mut handle)| {
            let (keys, value) = (&keys, &value);
            async move {
                let (mut number, mut counted) = ((client as u64) << 40, 0u64);
                loop {
                    let sent = Instant::now();
                    if sent >= end {
                        return Ok(counted);
                    }
                    let mut pipe = redis::pipe();
                    for _ in 0..plan.batch() {
                        let mut dice = Dice::of(plan.seed, number);
                        let key = keys.draw(&mut dice);
                        let next = cmd(op, key, &mut dice, value);
                        number += 1;
                        if plan.batch() == 1 {
                            next.query_async::<Value>(&mut handle).await?;
                        } else {
                            pipe.add_command(next);
                        }
                    }
                    if plan.batch() > 1 {
                        pipe.query_async::<Vec<Value>>(&mut handle).await?;
                    }
                    let now = Instant::now();
                    counted += u64::from(now >= start && now < end) * plan.batch() as u64;
                }
            }
        });
        let counts = futures_util::future::try_join_all(clients).await;
        let counts: Vec<u64> = counts.map_err(|e: redis::RedisError| failed(e.into()))?;
        let secs = plan.load.duration_ns() as f64 / 1e9;
        Ok(counts.iter().sum::<u64>() as f64 / secs)
    })
}
