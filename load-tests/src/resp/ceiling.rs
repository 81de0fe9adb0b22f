//! The most that each client gets out of one node, beside `redis-benchmark`, in one interleaved run.
//!
//! A closed load: each of the connections sends its next batch when the one before is answered. Every client has one
//! thread, as `redis-benchmark` has, and sends the same command to the same keys. The clients take turns, there and back
//! again, so that a machine that drifts drifts for all of them. Where the server's thread is busy all the time the figure is
//! the server's, and a ratio near 1 says no more than that the client does not hold it back.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde::Serialize;

use super::{
    Client, Commands, RespPlan,
    commands::{Op, value},
    keys::Spread,
    library,
    nodes::{SlotMap, fill},
};
use crate::{
    reconcile::Snapshot, report::clip, result::Environment, schedule::Load, verdict::Limits, ws::LoadError,
};

/// Commands of the run that finds out how many are enough, for each place in the pipeline.
const CALIBRATION: u64 = 20_000;

/// What is to be measured. One node, which nobody else uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CeilingPlan {
    /// `HOST:PORT`.
    pub node: String,
    /// `redis-benchmark`; without it the clients are compared with each other.
    pub benchmark: Option<PathBuf>,
    /// Clients, in the order in which they take turns.
    pub clients: Vec<Client>,
    /// Commands.
    pub ops: Vec<Op>,
    /// Depths of the pipeline.
    pub pipelines: Vec<usize>,
    /// Connections.
    pub conns: usize,
    /// Keys, alike; all are filled before.
    pub keys: u64,
    /// The length of a value, in bytes.
    pub value_bytes: usize,
    /// One run, in milliseconds; half a second of warm-up comes on top.
    pub run_ms: u64,
    /// How often all take their turns there and back again.
    pub rounds: usize,
}

impl CeilingPlan {
    /// `GET` and `SET`, 50 connections, pipelines of 1, 16 and 64, 100,000 keys of 100 bytes; two minutes and a half in all.
    pub fn usual(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            benchmark: find_benchmark(),
            clients: Client::available(),
            ops: vec![Op::Get, Op::Set],
            pipelines: vec![1, 16, 64],
            conns: 50,
            keys: 100_000,
            value_bytes: 100,
            run_ms: 2_000,
            rounds: 1,
        }
    }
}

/// `redis-benchmark` or `valkey-benchmark` on `PATH`.
pub fn find_benchmark() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["redis-benchmark", "valkey-benchmark"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// One run of one client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CeilingRun {
    /// `redis-benchmark`, or a client's name.
    pub who: String,
    /// Commands a second.
    pub per_s: f64,
    /// The server's CPU time over the time of the run and its warm-up, as it tells itself; 1 is one core.
    pub server_cores: Option<f64>,
}

/// One client at one point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Who.
    pub who: String,
    /// Mean of its runs, commands a second.
    pub per_s: f64,
    /// Its slowest and its fastest run.
    pub range: [f64; 2],
    /// Over the mean of `redis-benchmark`, or of the first client where that is not there.
    pub ratio: f64,
    /// The most that the server used in one of its runs, in cores.
    pub server_cores: Option<f64>,
}

/// One command at one depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The command.
    pub op: Op,
    /// The depth of the pipeline.
    pub pipeline: usize,
    /// In the order in which they were taken.
    pub runs: Vec<CeilingRun>,
    /// Each client.
    pub standings: Vec<Standing>,
}

/// All points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// What was measured.
    pub plan: CeilingPlan,
    /// Where.
    pub environment: Environment,
    /// The points.
    pub points: Vec<Point>,
}

/// Measures all points. Blocks; not to be called on a runtime's own thread. `progress` is told what is about to run, and how
/// many runs there are.
///
/// # Errors
/// [`LoadError`] when the node does not answer, or a run gives no figure.
pub fn ceiling(
    plan: &CeilingPlan,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Ceiling, LoadError> {
    let nofile = crate::preflight::preflight(plan.conns)?.nofile;
    let map = SlotMap::single(&plan.node);
    fill(&map, plan.keys, &value(plan.value_bytes)).map_err(|e| LoadError::NoConnection(e.to_string()))?;
    let mut turns: Vec<Option<Client>> = plan.benchmark.iter().map(|_| None).collect();
    turns.extend(plan.clients.iter().copied().map(Some));
    let there_and_back: Vec<_> = turns.iter().chain(turns.iter().rev()).copied().collect();
    let of = plan.ops.len() * plan.pipelines.len() * plan.rounds * there_and_back.len();
    let mut points = Vec::new();
    let mut done = 0;
    for &op in &plan.ops {
        for &pipeline in &plan.pipelines {
            let mut runs = Vec::new();
            let count = commands_for(plan, op, pipeline)?;
            for turn in std::iter::repeat_n(&there_and_back, plan.rounds).flatten() {
                let who = turn.map_or("redis-benchmark", Client::as_str);
                progress(&format!("{op} -P {pipeline} {who}"), done, of);
                runs.push(one(plan, op, pipeline, count, *turn)?);
                done += 1;
            }
            points.push(Point { op, pipeline, standings: standings(&runs), runs });
        }
    }
    Ok(Ceiling { plan: plan.clone(), environment: Environment::here(nofile), points })
}

fn one(
    plan: &CeilingPlan,
    op: Op,
    pipeline: usize,
    count: u64,
    who: Option<Client>,
) -> Result<CeilingRun, LoadError> {
    let node = [plan.node.clone()];
    let (before, began) = (cpu(&node), Instant::now());
    let per_s = match who {
        None => benchmark(plan, op, pipeline, count)?,
        Some(client) => {
            let resp = resp_plan(plan, op, pipeline, client);
            match client.library() {
                Some(kind) => library::closed(&resp, kind, op)?,
                None => lean(resp)?,
            }
        }
    };
    let wall_s = began.elapsed().as_secs_f64();
    let server_cores = before.zip(cpu(&node)).map(|(before, after)| (after - before) / wall_s);
    Ok(CeilingRun { who: who.map_or("redis-benchmark", Client::as_str).to_owned(), per_s, server_cores })
}

fn lean(plan: RespPlan) -> Result<f64, LoadError> {
    let map = SlotMap::single(&plan.nodes[0]);
    let measured = super::measure(plan, map, None, &mut |_| {})?;
    if measured.tally.failures > 0 {
        let kinds: Vec<_> = measured.tally.errors.keys().cloned().collect();
        return Err(LoadError::Workload(kinds.join(", ")));
    }
    Ok(measured.samples.1.rate_since(&measured.samples.0, 2))
}

fn cpu(node: &[String]) -> Option<f64> {
    Snapshot::take(node).nodes.pop()?.1.ok().map(|stat| stat.cpu_s)
}

fn resp_plan(plan: &CeilingPlan, op: Op, pipeline: usize, client: Client) -> RespPlan {
    RespPlan {
        scenario: "ceiling".into(),
        commands: Commands {
            client,
            mix: BTreeMap::from([(op, 1)]),
            pipeline,
            keys: plan.keys,
            spread: Spread::Uniform,
            exponent: 1.0,
            channels: 0,
            listeners: 0,
        },
        topology: "single".into(),
        nodes: vec![plan.node.clone()],
        conns: plan.conns,
        value_bytes: plan.value_bytes,
        load: Load::Closed {
            concurrency: (plan.conns * pipeline) as u32,
            duration_ns: plan.run_ms * 1_000_000,
        },
        seed: 1,
        warm_up_ms: 500,
        settle_ms: 0,
        record: None,
        drain_ms: 5_000,
        in_flight_cap: u64::MAX,
        threads: 1,
        limits: Limits::default(),
        redis_pids: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// How many commands `redis-benchmark`, which counts and does not look at the clock, needs for the time of a run.
fn commands_for(plan: &CeilingPlan, op: Op, pipeline: usize) -> Result<u64, LoadError> {
    if plan.benchmark.is_none() {
        return Ok(0);
    }
    let per_s = benchmark(plan, op, pipeline, CALIBRATION * pipeline as u64)?;
    Ok((per_s * plan.run_ms as f64 / 1000.0).max(1.0) as u64)
}

/// One run of `redis-benchmark`, with our keys: `__rand_int__` becomes a number of twelve digits.
fn benchmark(plan: &CeilingPlan, op: Op, pipeline: usize, count: u64) -> Result<f64, LoadError> {
    let fail = |why: String| LoadError::Workload(format!("redis-benchmark: {why}"));
    let program: &Path = plan.benchmark.as_deref().ok_or_else(|| fail("is not there".into()))?;
    let (host, port) =
        plan.node.rsplit_once(':').ok_or_else(|| fail(format!("{} is no HOST:PORT", plan.node)))?;
    let numbers = [plan.conns as u64, pipeline as u64, count, plan.keys].map(|n| n.to_string());
    let [conns, pipeline, count, keys] = &numbers;
    let key = op.key(0).replace(&"0".repeat(12), "__rand_int__");
    let mut command = Command::new(program);
    command.args(["-h", host, "-p", port, "-c", conns, "-P", pipeline, "-n", count, "-r", keys, "--csv"]);
    command.args([&op.name().to_ascii_uppercase(), &key]);
    if op == Op::Set {
        command.arg(String::from_utf8_lossy(&value(plan.value_bytes)).as_ref());
    }
    let output = command.output().map_err(|e| fail(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    csv_rate(&text).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        fail(format!("{}: {} {}", output.status, text.trim(), said.trim()))
    })
}

/// The second column of the last line, under `"test","rps",…`.
fn csv_rate(text: &str) -> Option<f64> {
    let (head, rows) = text.trim().split_once('\n')?;
    let place = head.split(',').position(|name| name.trim_matches('"') == "rps")?;
    // The command may hold commas of its own in the first column, but no quotes.
    rows.lines().last()?.split("\",\"").nth(place)?.trim_matches('"').parse().ok()
}

fn standings(runs: &[CeilingRun]) -> Vec<Standing> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.who.as_str()) {
            names.push(&run.who);
        }
    }
    let mut base = None;
    names
        .into_iter()
        .map(|who| {
            let own: Vec<&CeilingRun> = runs.iter().filter(|run| run.who == who).collect();
            let rates: Vec<f64> = own.iter().map(|run| run.per_s).collect();
            let per_s = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
            let base = *base.get_or_insert(per_s);
            let range = [f64::min, f64::max].map(|pick| rates.iter().copied().reduce(pick).unwrap_or(0.0));
            let server_cores = own.iter().filter_map(|run| run.server_cores).reduce(f64::max);
            Standing { who: who.to_owned(), per_s, range, ratio: per_s / base.max(1e-9), server_cores }
        })
        .collect()
}

/// For people, at most [`crate::report::WIDTH`] columns.
pub fn terminal(ceiling: &Ceiling) -> String {
    let plan = &ceiling.plan;
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "Ceilings, one node: {} connections, {} keys of {} B, closed loop, 1 thread",
        plan.conns, plan.keys, plan.value_bytes
    );
    let _ = writeln!(
        out,
        "\n{:<7}{:>4}  {:<16}{:>11}{:>21}{:>8}{:>9}",
        "", "-P", "", "commands/s", "slowest to fastest", "ratio", "server"
    );
    for point in &ceiling.points {
        for (nth, standing) in point.standings.iter().enumerate() {
            let (op, depth) = if nth == 0 {
                (point.op.to_string(), point.pipeline.to_string())
            } else {
                Default::default()
            };
            let range = format!("{:.0} to {:.0}", standing.range[0], standing.range[1]);
            let cores = standing.server_cores.map_or_else(|| "–".into(), |c| format!("{:.0} %", c * 100.0));
            let _ = writeln!(
                out,
                "{op:<7}{depth:>4}  {:<16}{:>11.0}{range:>21}{:>8.2}{cores:>9}",
                standing.who, standing.per_s, standing.ratio
            );
        }
    }
    let beside = plan.benchmark.as_ref().map_or("the first", |_| "redis-benchmark");
    let _ = writeln!(
        out,
        "\n  ratio: over {beside}; {} runs each, in turns there and back.\n  server: its CPU, of one core; \
         near 100 % the figure is the server's ceiling.",
        2 * plan.rounds
    );
    let environment = &ceiling.environment;
    let _ = writeln!(out, "  {} × {}, {}", environment.cores, environment.cpu_model, environment.kernel);
    clip(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_stands_in_the_second_column() {
        let text =
            "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET load:s:__rand_int__ a,b\",\"123456.78\",\"0.1\"\n";
        assert_eq!(csv_rate(text), Some(123_456.78));
        assert_eq!(csv_rate("Could not connect"), None);
    }

    #[test]
    fn ratios_are_over_the_first_that_had_a_turn() {
        let run = |who: &str, per_s| CeilingRun { who: who.into(), per_s, server_cores: Some(0.5) };
        let runs = [
            run("redis-benchmark", 90.0),
            run("lean", 100.0),
            run("lean", 110.0),
            run("redis-benchmark", 110.0),
        ];
        let standings = standings(&runs);
        assert_eq!(standings.len(), 2);
        assert!((standings[1].ratio - 1.05).abs() < 1e-9);
        assert_eq!(standings[1].range, [100.0, 110.0]);
    }
}
