//! How old a replica's answer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chatlab_kit::{
    LabError, LabResult,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    servers::Topology,
};
use redis::aio::MultiplexedConnection;

use super::{Private, ms, plain, quantile, sorted, tag_in};

/// How long each row is measured.
const ROW: Duration = Duration::from_millis(2_000);
/// Clients that load the master.
const WRITERS: usize = 4;
/// Commands of one of their pipelines.
const PIPELINE: usize = 50;
/// How long the link is down in the last row.
const LINK_DOWN: Duration = Duration::from_millis(500);
/// How long the replica may take to show a write before the experiment gives up.
const VISIBLE_BOUND: Duration = Duration::from_secs(10);
/// Between two probes.
const BETWEEN: Duration = Duration::from_millis(1);

/// The probes of one row.
#[derive(Default)]
struct Probes {
    count: u64,
    /// The first read did not show the write that was acknowledged before.
    stale: u64,
    /// From the acknowledgement until a read showed the write.
    visible_ms: Vec<f64>,
    /// How many acknowledged writes the oldest answer lacked.
    behind_max: u64,
}

/// Writes on the master, reads from the replica.
pub(super) async fn run(env: &Env) -> LabResult<Findings> {
    let cluster = Private::start(env, Topology::Cluster, 2_000).await?;
    let addrs = cluster.managed.addrs();
    let owners = cluster.redis.slot_owners().await?;
    let tag = tag_in("s", |slot| owners.owner_of(slot) == Some(addrs[0].as_str()))?;
    let mut master = plain(&addrs[0]).await?;
    let mut replica = plain(&addrs[3]).await?;
    let refused: Result<Option<u64>, _> =
        redis::cmd("GET").arg(format!("{{{tag}}}:n")).query_async(&mut replica).await;
    let _: () = redis::cmd("READONLY").query_async(&mut replica).await?;

    let quiet = probe_for(&mut master, &mut replica, &tag, ROW).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(load(plain(&addrs[0]).await?, format!("{{{tag}}}:load:{writer}"), stop.clone()));
    }
    let loaded = probe_for(&mut master, &mut replica, &tag, ROW).await?;
    stop.store(true, Ordering::Release);
    let mut written = 0;
    while let Some(done) = writers.join_next().await {
        written += done.map_err(|error| LabError::Other(error.to_string()))??;
    }
    let cut = link_down(&mut master, &mut replica, &tag).await?;

    let per_second = written as f64 / ROW.as_secs_f64();
    let rows = [
        ("quiet".to_owned(), quiet),
        (format!("{:.0}k writes/s", per_second / 1_000.0), loaded),
        (format!("link down {} ms", LINK_DOWN.as_millis()), cut),
    ];
    Ok(findings(rows, refused.err().and_then(|error| error.code().map(str::to_owned))))
}

async fn load(mut connection: MultiplexedConnection, key: String, stop: Arc<AtomicBool>) -> LabResult<u64> {
    let mut written = 0;
    let text = "x".repeat(100);
    while !stop.load(Ordering::Acquire) {
        let mut pipe = redis::pipe();
        for n in 0..PIPELINE {
            pipe.cmd("SET").arg(format!("{key}:{n}")).arg(&text).ignore();
        }
        let _: () = pipe.query_async(&mut connection).await?;
        written += PIPELINE as u64;
    }
    Ok(written)
}

async fn probe_for(
    master: &mut MultiplexedConnection,
    replica: &mut MultiplexedConnection,
    tag: &str,
    length: Duration,
) -> LabResult<Probes> {
    let key = format!("{{{tag}}}:n");
    let mut probes = Probes::default();
    let began = Instant::now();
    while began.elapsed() < length {
        let n: u64 = redis::cmd("INCR").arg(&key).query_async(master).await?;
        let acknowledged = Instant::now();
        probes.count += 1;
        let mut first = true;
        loop {
            let seen: Option<u64> = redis::cmd("GET").arg(&key).query_async(replica).await?;
            let seen = seen.unwrap_or(0);
            if seen >= n {
                break;
            }
            probes.stale += u64::from(first);
            probes.behind_max = probes.behind_max.max(n - seen);
            first = false;
            if acknowledged.elapsed() > VISIBLE_BOUND {
                return Err(LabError::Other("the replica never shows a write".into()));
            }
        }
        probes.visible_ms.push(ms(acknowledged.elapsed()));
        // The pace of writes.
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(probes)
}

/// The link is down for a while: the replica cannot log in at its master. It answers reads all the same.
async fn link_down(
    master: &mut MultiplexedConnection,
    replica: &mut MultiplexedConnection,
    tag: &str,
) -> LabResult<Probes> {
    let key = format!("{{{tag}}}:n");
    let set = |password: &str| redis::cmd("CONFIG").arg("SET").arg("masterauth").arg(password).to_owned();
    let _: () = set("a-wrong-password").query_async(replica).await?;
    let _: redis::Value =
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica").query_async(master).await?;
    let mut probes = Probes::default();
    let began = Instant::now();
    let mut open = Vec::new();
    while began.elapsed() < LINK_DOWN {
        let n: u64 = redis::cmd("INCR").arg(&key).query_async(master).await?;
        open.push((n, Instant::now()));
        let seen: Option<u64> = redis::cmd("GET").arg(&key).query_async(replica).await?;
        let behind = n.saturating_sub(seen.unwrap_or(0));
        probes.count += 1;
        probes.stale += u64::from(behind > 0);
        probes.behind_max = probes.behind_max.max(behind);
        // The pace of writes while the link is down, for `LINK_DOWN`.
        tokio::time::sleep(BETWEEN).await;
    }
    let _: () = set("").query_async(replica).await?;
    while !open.is_empty() {
        let seen: Option<u64> = redis::cmd("GET").arg(&key).query_async(replica).await?;
        let now = Instant::now();
        let seen = seen.unwrap_or(0);
        probes.visible_ms.extend(open.iter().filter(|w| w.0 <= seen).map(|w| ms(now.duration_since(w.1))));
        open.retain(|write| write.0 > seen);
        if began.elapsed() > VISIBLE_BOUND {
            return Err(LabError::Other("the replica does not come back to its master".into()));
        }
        // A poll, bounded by `VISIBLE_BOUND`.
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(probes)
}

fn findings(rows: [(String, Probes); 3], refused: Option<String>) -> Findings {
    let columns = ["probes", "stale %", "p50 ms", "p99 ms", "max ms", "behind"];
    let mut findings = Findings::new("replica", columns);
    let mut curves = Vec::new();
    for (name, probes) in rows {
        let times = sorted(probes.visible_ms);
        let stale = probes.stale as f64 / probes.count.max(1) as f64 * 100.0;
        let at = [0.5, 0.99, 1.0].map(|of| quantile(&times, of));
        findings
            .row(name.clone(), [probes.count as f64, stale, at[0], at[1], at[2], probes.behind_max as f64]);
        findings.conclude(format!(
            "{name}: {stale:.1} % of the reads right after an acknowledged write did not show it; the slowest was visible \
             after {:.1} ms.",
            at[2]
        ));
        let shares = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
        let points = shares.iter().map(|share| Point::at(share * 100.0, quantile(&times, *share))).collect();
        curves.push(Series { name, points });
    }
    findings.charts.push(Chart {
        title: "From the acknowledgement to the replica's answer".to_owned(),
        x: Axis::linear("percentile of writes"),
        y: Axis::log("ms"),
        series: curves,
    });
    if let Some(code) = refused {
        findings.note(format!("before READONLY the replica answered every read with {code}"));
    }
    findings.note("behind: the most acknowledged writes that an answer lacked");
    findings.note("ms: from the acknowledgement until the replica shows the write; includes the round trips of the reads: an upper bound of how old an answer is");
    findings
}
