//! What clients see while a slot moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chatlab_kit::{
    LabError, LabResult,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    servers::{Topology, reshard::SlotMove},
    slots::slot,
};
use redis::aio::MultiplexedConnection;

use super::{Private, ms, plain, quantile, sorted};

const TAG: &str = "{moving}";
/// Keys in the slot.
const KEYS: u64 = 3_000;
/// Bytes of each value.
const VALUE_BYTES: usize = 200;
/// Clients, each with keys of its own.
const WORKERS: u64 = 4;
/// Keys moved at once.
const BATCH: usize = 30;
/// Between two batches, so that clients meet a slot that is half here and half there.
const PAUSE: Duration = Duration::from_millis(8);
/// How long clients work before the move, and after it.
const AROUND: Duration = Duration::from_millis(700);
/// How often one command follows a redirect.
const REDIRECTS_MAX: usize = 16;

const PHASES: [&str; 4] = ["before", "while it moves", "after", "done"];
const DONE: usize = 3;

/// What the clients saw in one phase.
#[derive(Clone, Default)]
struct Seen {
    took_us: Vec<f64>,
    moved: u64,
    ask: u64,
    try_again: u64,
    errors: u64,
}

/// One client: a plain connection to each of the two nodes, and what it believes.
struct Worker {
    nodes: [(String, MultiplexedConnection); 2],
    believes: usize,
    number: u64,
    /// How often each of its keys was written.
    written: Vec<u64>,
    seen: [Seen; 3],
}

/// Moves a slot under load and counts.
pub(super) async fn run(env: &Env) -> LabResult<Findings> {
    let cluster = Private::start(env, Topology::Cluster, 2_000).await?;
    let addrs = cluster.managed.addrs();
    let moving = slot(TAG.as_bytes());
    let owners = cluster.redis.slot_owners().await?;
    let source = owners.owner_of(moving).unwrap_or_default().to_owned();
    let target = owners.primaries().into_iter().find(|node| *node != source).unwrap_or_default();
    let mut redis = cluster.redis.clone();
    let mut pipe = redis::pipe();
    for key in 0..KEYS {
        pipe.cmd("SET").arg(format!("{TAG}:{key}")).arg(value(0)).ignore();
    }
    let _: () = pipe.query_async(&mut redis).await?;

    let phase = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let nodes = [(source.clone(), plain(&source).await?), (target.clone(), plain(&target).await?)];
        let written = vec![0; (KEYS / WORKERS) as usize];
        let worker = Worker { nodes, believes: 0, number, written, seen: Default::default() };
        workers.spawn(worker.work(phase.clone()));
    }
    // How long is measured before the move.
    tokio::time::sleep(AROUND).await;
    phase.store(1, Ordering::Release);
    let began = Instant::now();
    let mut moving = SlotMove::begin(&addrs, moving, &target).await?;
    while moving.move_keys(BATCH).await? > 0 {
        // The pace of the move.
        tokio::time::sleep(PAUSE).await;
    }
    moving.finish().await?;
    let took = began.elapsed();
    phase.store(2, Ordering::Release);
    // How long is measured after it.
    tokio::time::sleep(AROUND).await;
    phase.store(DONE, Ordering::Release);

    let mut all: [Seen; 3] = Default::default();
    let mut wrong = 0;
    while let Some(worker) = workers.join_next().await {
        let mut worker = worker.map_err(|error| LabError::Other(error.to_string()))??;
        wrong += worker.wrong_values().await?;
        for (sum, seen) in all.iter_mut().zip(worker.seen) {
            sum.took_us.extend(seen.took_us);
            sum.moved += seen.moved;
            sum.ask += seen.ask;
            sum.try_again += seen.try_again;
            sum.errors += seen.errors;
        }
    }
    Ok(findings(all, wrong, took))
}

fn value(version: u64) -> String {
    format!("{version:0VALUE_BYTES$}")
}

impl Worker {
    async fn work(mut self, phase: Arc<AtomicUsize>) -> LabResult<Self> {
        let keys = KEYS / WORKERS;
        for n in 0_u64.. {
            let now = phase.load(Ordering::Acquire);
            if now == DONE {
                break;
            }
            // Steps of a prime over the worker's own keys: writes, reads and pairs in turn.
            let place = (n * 7) % keys;
            let (key, other) = (self.key(place), self.key((place + keys / 2) % keys));
            let cmd = match n % 10 {
                0..3 => {
                    self.written[place as usize] += 1;
                    let version = value(self.written[place as usize]);
                    redis::cmd("SET").arg(&key).arg(version).to_owned()
                }
                3 => redis::cmd("MGET").arg(&key).arg(&other).to_owned(),
                _ => redis::cmd("GET").arg(&key).to_owned(),
            };
            let began = Instant::now();
            if self.send(&cmd, now).await?.is_none() {
                // TRYAGAIN: the pair is torn apart for now. One key is always on one side.
                for key in [&key, &other] {
                    self.send(redis::cmd("GET").arg(key), now).await?;
                }
            }
            self.seen[now].took_us.push(ms(began.elapsed()) * 1_000.0);
        }
        Ok(self)
    }

    fn key(&self, place: u64) -> String {
        format!("{TAG}:{}", place * WORKERS + self.number)
    }

    /// Sends a command, follows redirects as a cluster client does, and counts them. None after TRYAGAIN.
    async fn send(&mut self, cmd: &redis::Cmd, phase: usize) -> LabResult<Option<redis::Value>> {
        let mut asking = None;
        for _ in 0..REDIRECTS_MAX {
            let node = &mut self.nodes[asking.unwrap_or(self.believes)].1;
            let answer: Result<(redis::Value,), _> = match asking.take() {
                // ASKING counts for the next command only: both in one pipeline.
                Some(_) => {
                    let mut pipe = redis::pipe();
                    pipe.cmd("ASKING").ignore().add_command(cmd.clone());
                    pipe.query_async(node).await
                }
                None => cmd.query_async(node).await.map(|value| (value,)),
            };
            let error = match answer {
                Ok((value,)) => return Ok(Some(value)),
                Err(error) => error,
            };
            let there = error.redirect_node().map(|(address, _)| address.to_owned());
            let there = there.and_then(|address| self.nodes.iter().position(|node| node.0 == address));
            let seen = &mut self.seen[phase];
            match (error.code(), there) {
                (Some("MOVED"), Some(there)) => {
                    seen.moved += 1;
                    self.believes = there;
                }
                (Some("ASK"), Some(there)) => {
                    seen.ask += 1;
                    asking = Some(there);
                }
                (Some("TRYAGAIN"), _) => {
                    seen.try_again += 1;
                    return Ok(None);
                }
                _ => {
                    seen.errors += 1;
                    return Ok(Some(redis::Value::Nil));
                }
            }
        }
        Err(LabError::Other("a command was redirected for too long".into()))
    }

    /// How many keys do not have the value that was written last.
    async fn wrong_values(&mut self) -> LabResult<u64> {
        let mut wrong = 0;
        for place in 0..KEYS / WORKERS {
            let cmd = redis::cmd("GET").arg(self.key(place)).to_owned();
            let found = self.send(&cmd, 2).await?;
            let wanted = value(self.written[place as usize]);
            wrong += u64::from(found != Some(redis::Value::BulkString(wanted.into_bytes())));
        }
        Ok(wrong)
    }
}

fn findings(all: [Seen; 3], wrong: u64, took: Duration) -> Findings {
    let columns = ["commands", "MOVED", "ASK", "TRYAGAIN", "errors", "p50 µs", "p99 µs"];
    let mut findings = Findings::new("the slot", columns);
    let mut curves = Vec::new();
    let mut p99 = Vec::new();
    let (asked, again) = (all[1].ask, all[1].try_again);
    let moved: u64 = all.iter().map(|seen| seen.moved).sum();
    let errors: u64 = all.iter().map(|seen| seen.errors).sum();
    for (phase, seen) in PHASES.iter().zip(all) {
        let times = sorted(seen.took_us);
        let counts = [seen.moved, seen.ask, seen.try_again, seen.errors].map(|count| count as f64);
        let mut row = vec![times.len() as f64];
        row.extend(counts);
        row.extend([quantile(&times, 0.5), quantile(&times, 0.99)]);
        findings.row(*phase, row);
        p99.push(quantile(&times, 0.99));
        let shares = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
        let points = shares.iter().map(|share| Point::at(share * 100.0, quantile(&times, *share))).collect();
        curves.push(Series { name: (*phase).to_owned(), points });
    }
    findings.conclude(format!(
        "{KEYS} keys moved in {:.1} s, in batches of {BATCH}. Of the commands meanwhile, {asked} were answered ASK and {again} \
         TRYAGAIN (two keys, one on each side); {moved} MOVED taught the {WORKERS} clients the new owner.",
        took.as_secs_f64()
    ));
    findings.conclude(format!(
        "{errors} errors besides redirects, and {wrong} of {KEYS} keys with another value than the last one written."
    ));
    if let [before, during, _] = p99.as_slice() {
        findings.conclude(format!(
            "The 99th percentile was {:.1} times as long while the slot moved: a redirect is one more round trip, and each \
             MIGRATE stops both nodes.",
            during / before
        ));
    }
    findings.charts.push(Chart {
        title: "Latency by phase, redirects included".to_owned(),
        x: Axis::linear("percentile"),
        y: Axis::log("µs"),
        series: curves,
    });
    findings.note("plain connections that follow no redirect by themselves; the experiment does, and counts");
    findings
}
