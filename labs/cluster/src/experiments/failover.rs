//! Acknowledged and lost: a master dies under load.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chatlab_kit::{
    LabError, LabResult,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    servers::Topology,
};

use super::{Private, broken, ms, plain, quantile, sorted, tag_in};

/// After so many milliseconds of silence the nodes of this cluster suspect one of their own.
const NODE_TIMEOUT_MS: u64 = 700;
/// How often each kind of failure is made.
const RUNS: usize = 3;
/// Clients that write all the time.
const WRITERS: u64 = 4;
/// How long they write before the failure.
const LOAD: Duration = Duration::from_millis(400);
/// How long the link to the replica is cut before the master dies, where it is.
const CUT: Duration = Duration::from_millis(200);
/// How long a write waits for its replica, in milliseconds.
const WAIT_MS: u64 = 50;
/// The longest that a promotion may take.
const PROMOTION_BOUND: Duration = Duration::from_secs(15);
/// How often the replica is asked whether it takes writes.
const POLL: Duration = Duration::from_millis(5);

/// A kind of failure.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    cut: bool,
    wait: bool,
}

const KINDS: [Kind; 3] = [
    Kind { name: "killed, no WAIT", cut: false, wait: false },
    Kind { name: "tail cut, no WAIT", cut: true, wait: false },
    Kind { name: "tail cut, WAIT 1 obeyed", cut: true, wait: true },
];
/// The same runs as the last kind, counted as if nobody had looked at WAIT's number.
const IGNORED: &str = "tail cut, WAIT 1 ignored";

/// One write that was answered.
struct Answered {
    n: u64,
    /// How many replicas had it; 0 where nobody asked.
    replicas: u64,
}

/// What one run came to.
#[derive(Clone, Copy)]
struct Outcome {
    acknowledged: u64,
    lost: u64,
    /// Of all answered writes, whatever WAIT said.
    answered: u64,
    answered_lost: u64,
    unavailable_ms: f64,
}

/// Kills masters and counts.
pub(super) async fn run(env: &Env) -> LabResult<Findings> {
    let cluster = Private::start(env, Topology::Cluster, NODE_TIMEOUT_MS).await?;
    let mut outcomes: [Vec<Outcome>; KINDS.len()] = Default::default();
    // Master and replica of each third of the slots; they change places.
    let mut pairs = [(0_usize, 3_usize), (1, 4), (2, 5)];
    let mut number = 0;
    for _ in 0..RUNS {
        for (kind, outcomes) in KINDS.iter().zip(&mut outcomes) {
            let pair = &mut pairs[number % 3];
            cluster.blocking(|managed| managed.await_whole(super::WHOLE_BOUND)).await?;
            outcomes.push(one_run(&cluster, *kind, *pair, number).await?);
            let dead = pair.0;
            cluster.blocking(move |managed| managed.restart_node(dead)).await?;
            *pair = (pair.1, pair.0);
            number += 1;
        }
    }
    Ok(findings(&outcomes))
}

async fn one_run(
    cluster: &Private,
    kind: Kind,
    (master, replica): (usize, usize),
    run: usize,
) -> LabResult<Outcome> {
    let addrs = cluster.managed.addrs();
    let owners = cluster.redis.slot_owners().await?;
    let tag = tag_in("f", |slot| owners.owner_of(slot) == Some(addrs[master].as_str()))?;
    let key = format!("{{{tag}}}:failover:{run}");
    let mut at_replica = plain(&addrs[replica]).await?;

    let next = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let connection = plain(&addrs[master]).await?;
        writers.spawn(write(connection, key.clone(), kind.wait, next.clone()));
    }
    // How long is written before the fault.
    tokio::time::sleep(LOAD).await;
    if kind.cut {
        // The replica hears nothing any more, and what the master sends from now on goes nowhere.
        cluster.managed.pause_node(replica).map_err(|e| broken(&e))?;
        let mut at_master = plain(&addrs[master]).await?;
        let _: redis::Value =
            redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica").query_async(&mut at_master).await?;
        // The planted fault, for so long.
        tokio::time::sleep(CUT).await;
    }
    let killed = Instant::now();
    cluster.managed.kill_node(master).map_err(|e| broken(&e))?;
    if kind.cut {
        cluster.managed.resume_node(replica).map_err(|e| broken(&e))?;
    }
    let mut answered = Vec::new();
    while let Some(done) = writers.join_next().await {
        answered.extend(done.map_err(|error| LabError::Other(error.to_string()))?);
    }
    loop {
        let taken: Result<u64, _> =
            redis::cmd("HSET").arg(&key).arg("after").arg(1).query_async(&mut at_replica).await;
        match taken {
            Ok(_) => break,
            Err(error) if killed.elapsed() > PROMOTION_BOUND => return Err(error.into()),
            // A poll, bounded by `PROMOTION_BOUND`.
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    let unavailable_ms = ms(killed.elapsed());
    let kept: HashSet<String> = redis::cmd("HKEYS").arg(&key).query_async(&mut at_replica).await?;
    Ok(count(&answered, &kept, kind.wait, unavailable_ms))
}

/// Writes until the connection breaks; what was answered.
async fn write(
    mut connection: redis::aio::MultiplexedConnection,
    key: String,
    wait: bool,
    next: Arc<AtomicU64>,
) -> Vec<Answered> {
    let mut answered = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let mut pipe = redis::pipe();
        pipe.cmd("HSET").arg(&key).arg(n).arg(1);
        let replicas = if wait {
            pipe.cmd("WAIT").arg(1).arg(WAIT_MS);
            pipe.query_async(&mut connection).await.map(|(_, replicas): (u64, u64)| replicas)
        } else {
            pipe.query_async(&mut connection).await.map(|(_,): (u64,)| 0)
        };
        match replicas {
            Ok(replicas) => answered.push(Answered { n, replicas }),
            Err(_) => return answered,
        }
    }
}

fn count(answered: &[Answered], kept: &HashSet<String>, wait: bool, unavailable_ms: f64) -> Outcome {
    let lost = |write: &&Answered| !kept.contains(&write.n.to_string());
    let is_acknowledged = |write: &&Answered| !wait || write.replicas >= 1;
    Outcome {
        acknowledged: answered.iter().filter(is_acknowledged).count() as u64,
        lost: answered.iter().filter(is_acknowledged).filter(lost).count() as u64,
        answered: answered.len() as u64,
        answered_lost: answered.iter().filter(lost).count() as u64,
        unavailable_ms,
    }
}

fn findings(outcomes: &[Vec<Outcome>; KINDS.len()]) -> Findings {
    let mut findings =
        Findings::new(format!("{RUNS} runs each"), ["acknowledged", "lost", "worst run", "no writes ms"]);
    let mut lines = Vec::new();
    let mut add = |findings: &mut Findings, name: &str, counts: Vec<(u64, u64)>, outcomes: &[Outcome]| {
        let (all, lost): (u64, u64) = counts.iter().fold((0, 0), |sum, c| (sum.0 + c.0, sum.1 + c.1));
        let worst = counts.iter().map(|c| c.1).max().unwrap_or(0);
        let times = sorted(outcomes.iter().map(|o| o.unavailable_ms).collect());
        findings.row(name, [all as f64, lost as f64, worst as f64, quantile(&times, 0.5)]);
        let points = counts.iter().enumerate().map(|(i, c)| Point::at((i + 1) as f64, c.1 as f64)).collect();
        lines.push(Series { name: name.to_owned(), points });
        (all, lost)
    };
    let obeyed = |o: &Outcome| (o.acknowledged, o.lost);
    let mut sums = Vec::new();
    for (kind, outcomes) in KINDS.iter().zip(outcomes) {
        sums.push(add(&mut findings, kind.name, outcomes.iter().map(obeyed).collect(), outcomes));
    }
    let waited = &outcomes[KINDS.len() - 1];
    let ignored = waited.iter().map(|o| (o.answered, o.answered_lost)).collect();
    let ignored = add(&mut findings, IGNORED, ignored, waited);
    conclude(&mut findings, &sums, ignored);
    findings.charts.push(Chart {
        title: "Acknowledged writes that were lost".to_owned(),
        x: Axis::linear("run"),
        y: Axis::linear("lost writes"),
        series: lines,
    });
    findings.note(format!(
        "tail cut: the replica's link is cut {} ms before the master dies; node timeout {NODE_TIMEOUT_MS} ms, {WRITERS} writers, \
         one key each run",
        CUT.as_millis()
    ));
    findings.note("no writes ms: median from the kill to the first write that the promoted replica takes");
    findings
}

fn conclude(findings: &mut Findings, sums: &[(u64, u64)], ignored: (u64, u64)) {
    let [plain, cut, waited] = sums else { return };
    findings.conclude(if plain.1 == 0 {
        format!(
            "Killed under load, the master took none of its {} acknowledged writes with it: on one machine the replica is \
             microseconds behind. That is luck and no guarantee.",
            plain.0
        )
    } else {
        format!("Killed under load, the master took {} of {} acknowledged writes with it.", plain.1, plain.0)
    });
    findings.conclude(format!(
        "With its link to the replica cut for {} ms before it died, {} of {} acknowledged writes are gone ({:.0} %): \
         everything after the cut. Its clients had been told that all is well.",
        CUT.as_millis(),
        cut.1,
        cut.0,
        cut.1 as f64 / (cut.0.max(1)) as f64 * 100.0
    ));
    findings.conclude(format!(
        "With WAIT 1, and counting only what a replica had confirmed, {} of {} are gone. {}",
        waited.1,
        waited.0,
        if waited.1 == 0 { "What was confirmed survived." } else { "WAIT is no guarantee of survival." }
    ));
    findings.conclude(format!(
        "The same runs, but WAIT's number ignored: {} of {} are gone. WAIT only helps who reads its answer.",
        ignored.1, ignored.0
    ));
}
