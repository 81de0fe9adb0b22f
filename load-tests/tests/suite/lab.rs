//! The lab driver on a workload whose behaviour is known: what was planned must be what is measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    lab::{Operation, Workload},
    prereq::find_server,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use chatlab_load::{
    compare::{self, Comparison},
    lab::{LabPlan, generate},
    report,
    result::RunResult,
    schedule::ScheduleKind,
    verdict::{Kind, Limits},
    ws::LoadError,
};
use redis::AsyncCommands;

use crate::driver::ONE_AT_A_TIME;

const OPERATIONS: &[Operation] = &[
    Operation { name: "write", weight: 3 },
    Operation { name: "read", weight: 1 },
    // Benched and rehearsed, but never under load.
    Operation { name: "wipe", weight: 0 },
];

/// Writes and reads counters in Redis; `fail_every` nth read fails, each write takes `slow` longer.
struct Counters {
    redis: Redis,
    /// The numbers of the writes that came. On a busy machine many are due at once, and they need not begin in order.
    written: Mutex<BTreeSet<u64>>,
    fail_every: Option<u64>,
    slow: Duration,
}

impl Counters {
    fn new(redis: Redis) -> Self {
        Self { redis, written: Mutex::default(), fail_every: None, slow: Duration::ZERO }
    }
}

#[async_trait]
impl Workload for Counters {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        let () = self.redis.clone().set("{c}:prepared", 1).await?;
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let mut redis = self.redis.clone();
        match operation {
            "write" => {
                assert!(self.written.lock().unwrap().insert(n), "write {n} comes once");
                tokio::time::sleep(self.slow).await;
                Ok(redis.incr("{c}:writes", 1).await?)
            }
            "read" if self.fail_every.is_some_and(|every| n.is_multiple_of(every)) => {
                Err(LabError::Other("as planned".into()))
            }
            "read" => {
                let prepared: u32 = redis.get("{c}:prepared").await?;
                assert_eq!(prepared, 1);
                Ok(())
            }
            other => panic!("{other} must never come under load"),
        }
    }
}

fn plan(managed: &Managed, rate: f64) -> LabPlan {
    LabPlan {
        scenario: "counters".into(),
        lab: "counters".into(),
        variant: "reference".into(),
        topology: managed.topology().to_string(),
        client: "redis-rs".into(),
        nodes: managed.addrs(),
        schedule: ScheduleKind::Constant,
        rate,
        secs: 1,
        seed: 1,
        warm_up_ms: 100,
        settle_ms: 0,
        record: None,
        drain_ms: 5_000,
        in_flight_cap: 1_000,
        threads: 1,
        // The tests may share the machine with a compiler.
        limits: Limits {
            pacing_p99_us: 300_000,
            runtime_lag_us: 300_000,
            thread_cpu: 2.0,
            stall_us: 5_000_000,
            ..Limits::default()
        },
        server_pids: vec![],
        redis_pids: vec![std::process::id()],
        labels: BTreeMap::new(),
    }
}

fn run(plan: LabPlan, change: impl FnOnce(&mut Counters)) -> Result<RunResult, LoadError> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let config = RedisConfig::new(plan.topology.parse().unwrap(), plan.nodes.clone());
    let make = || async move {
        let mut counters = Counters::new(Redis::connect(&config).await?);
        change(&mut counters);
        Ok::<Arc<dyn Workload>, LabError>(Arc::new(counters))
    };
    generate(plan, make, &mut |_| {})
}

fn start(topology: Topology) -> Managed {
    Managed::start(topology, &find_server(None).unwrap(), &ServerOptions::steady()).unwrap()
}

#[test]
fn every_operation_is_called_as_often_as_planned_on_one_node_and_on_six() {
    for topology in Topology::ALL {
        let managed = start(topology);
        let result = run(plan(&managed, 400.0), |_| {}).unwrap();
        println!("{}", report::terminal(&result));
        let broken: Vec<_> = result.verdict.broken().map(|e| &e.rule).collect();
        assert_eq!(result.verdict.kind, Kind::Valid, "{broken:?}");
        assert_eq!((result.counts.intended, result.counts.sent), (400, 400));
        let by_name: Vec<_> =
            result.operations.iter().map(|o| (o.name.as_str(), o.sent, o.completed, o.failed)).collect();
        // Equal gaps go round the weights, wherever in the round the window begins.
        assert_eq!(by_name, [("write", 300, 300, 0), ("read", 100, 100, 0)]);
        assert_eq!(result.latency.ack.count, 400);
        assert_eq!(result.operations[0].response.count, 300);
        assert!((result.delivered_per_s - 400.0).abs() < 40.0, "{}", result.delivered_per_s);
    }
}

#[test]
fn failures_are_counted_by_kind_and_the_headline_is_withheld() {
    let managed = start(Topology::Single);
    let result = run(plan(&managed, 400.0), |counters| counters.fail_every = Some(10)).unwrap();
    assert_eq!((result.verdict.kind, result.headline), (Kind::Unstable, None));
    assert_eq!(result.operations[1].failed, 10);
    assert_eq!(result.counts.errors.keys().collect::<Vec<_>>(), ["read: as planned"]);
    assert!(report::terminal(&result).contains("read: as planned"));
}

#[test]
fn what_is_slower_shows_from_the_intended_instant_and_in_a_comparison() {
    let managed = start(Topology::Single);
    let slow = Duration::from_millis(40);
    let one = |slow| run(plan(&managed, 200.0), |counters| counters.slow = slow).unwrap();
    let runs = [one(Duration::ZERO), one(slow), one(slow), one(Duration::ZERO)];
    let response = &runs[1].operations[0].response;
    assert!(response.p50_us.unwrap() >= 40_000, "{response:?}");
    let comparison = Comparison::new("counters=fast", "counters=slow", runs);
    let text = compare::terminal(&comparison);
    println!("{text}");
    assert!(comparison.valid, "{text}");
    let figure = comparison.figures.iter().find(|f| f.name == "write p50, ms").unwrap();
    assert!(figure.differs && figure.ratio.unwrap() > 1.0, "{figure:?}");
    assert!(text.lines().all(|line| line.chars().count() <= report::WIDTH), "{text}");
}

#[test]
fn a_workload_that_cannot_be_made_is_an_error_that_says_why() {
    let managed = start(Topology::Single);
    let plan = plan(&managed, 100.0);
    let make = || async { Err::<Arc<dyn Workload>, _>("the lab has no such variant") };
    let error = generate(plan, make, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no such variant"), "{error}");
}
