//! The driver against a scripted server: what was planned must be what is measured.

use std::{collections::BTreeMap, net::SocketAddr, sync::Mutex, time::Duration};

use crate::scripted::{Act, Faults};
use chatlab_kit::ids::RoomId;
use chatlab_load::{
    plan::{Churn, Plan, Progress},
    recorder::Latency,
    report,
    result::RunResult,
    schedule::{Schedule, ScheduleKind},
    verdict::{Kind, Limits},
    ws::{LoadError, generate},
};

/// Runs share two cores with their servers: one at a time, or they measure each other.
pub static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub fn plan(server: SocketAddr, conns: usize, rooms: usize, rate: f64, ms: u64) -> Plan {
    let schedule = Schedule::new(ScheduleKind::Constant, rate, ms * 1_000_000, conns as u32, 1).unwrap();
    Plan {
        scenario: "scripted".into(),
        ws_urls: vec![format!("ws://{server}/v1/ws")],
        tokens: vec!["good".into(); conns],
        rooms: (0..rooms).map(|_| RoomId::new()).collect(),
        rooms_per_conn: 1,
        churn: Churn::default(),
        slow: None,
        share: None,
        receive: None,
        dialect: None,
        schedule,
        warm_up_ms: 100,
        settle_ms: 0,
        record: None,
        drain_ms: 700,
        connect_ms: 5_000,
        connect_concurrency: 32,
        body_bytes: 180,
        in_flight_cap: 1_000,
        threads: 1,
        limits: limits(),
        faults: vec![],
        server_pids: vec![std::process::id()],
        redis_pids: vec![],
        redis_nodes: Vec::new(),
        labels: BTreeMap::from([("topology".into(), "none".into())]),
    }
}

/// The tests may share the machine with a compiler.
pub fn limits() -> Limits {
    Limits { pacing_p99_us: 200_000, runtime_lag_us: 200_000, thread_cpu: 2.0, ..Limits::default() }
}

/// Where no test looks at latencies: not even a machine that stands still for seconds breaks them.
pub fn patient() -> Limits {
    let long = 5_000_000;
    Limits { pacing_p99_us: long, runtime_lag_us: long, lag_growth_us: long, stall_us: long, ..limits() }
}

pub fn run(plan: Plan) -> RunResult {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let result = generate(plan, &mut |_| {}).unwrap();
    println!("{}", report::terminal(&result));
    result
}

pub fn broken(result: &RunResult) -> Vec<&str> {
    result.verdict.broken().map(|e| e.rule.as_str()).collect()
}

/// 12 connections in 3 rooms of 4, 300 messages a second for a second; a fault from the ledger.
fn run_with(delivery: fn(usize, u64) -> Act) -> RunResult {
    let server = crate::scripted::start(Faults { delivery, ..Faults::default() });
    let result = run(plan(server, 12, 3, 300.0, 1_000));
    assert_eq!(result.counts.acked, 300);
    result
}

#[test]
fn a_good_server_gives_a_valid_run_with_every_delivery_in_it() {
    let server = crate::scripted::start(Faults::default());
    let mut plan = plan(server, 60, 6, 200.0, 2_000);
    plan.threads = 2;
    let mut phases = Vec::new();
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let result = generate(plan.clone(), &mut |p| phases.push(p)).unwrap();
    drop(alone);
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?}", broken(&result));
    assert!(result.headline.is_some());
    assert_eq!((result.counts.intended, result.counts.sent, result.counts.acked), (400, 400, 400));
    assert_eq!(result.counts.delivered, 400 * 10);
    assert_eq!((result.ledger.faults(), result.ledger.foreign), (0, 0));
    assert_eq!(result.ledger.delivered, (400 + 20) * 10, "with the warm-up");
    let latency = &result.latency;
    assert_eq!(latency.delivery.count, 4_000);
    assert_eq!(
        [&latency.first_subscriber, &latency.median_subscriber, &latency.last_subscriber].map(|s| s.count),
        [400; 3]
    );
    assert!(latency.first_subscriber.p50_us <= latency.last_subscriber.p50_us);
    assert_eq!(latency.delivery.p999_us, None, "4,000 samples do not support it");
    assert_eq!(result.config.schedule_sha256, plan.schedule.hash());
    assert!((result.acked_per_s - 200.0).abs() < 10.0 && (result.delivered_per_s - 2_000.0).abs() < 100.0);
    assert!(matches!(phases[0], Progress::Connecting { of: 60, .. }));
    assert!(phases.iter().any(|p| matches!(p, Progress::Measuring { .. })));

    let json = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<RunResult>(&json).unwrap().latency, result.latency);
    let read_back = Latency::from_summary(&result.latency.delivery).unwrap();
    assert_eq!(read_back.count(), 4_000);
    let table = report::side_by_side(&[("single", &result), ("cluster", &result)]);
    println!("{}\n{table}", report::terminal(&result));
    let widest = |text: &str| text.lines().map(|l| l.chars().count()).max();
    assert!(widest(&table) <= Some(80) && widest(&report::terminal(&result)) <= Some(80));
    for row in ["lost", "duplicated", "reordered", "verdict", "VALID"] {
        assert!(table.contains(row), "{row}");
    }
}

#[test]
fn connections_that_come_and_go_are_timed_and_cost_no_message() {
    let server = crate::scripted::start(Faults::default());
    let mut plan = plan(server, 12, 3, 200.0, 1_000);
    plan.churn = Churn { tokens: vec!["good".into(); 5], per_s: 20.0, storm: None };
    let due = plan.churn.clone();
    assert_eq!([due.due_ns(0, 0), due.due_ns(1, 0), due.due_ns(0, 1)], [0, 50_000_000, 250_000_000]);
    let result = run(plan);
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?}", broken(&result));
    assert_eq!(
        (result.counts.delivered, result.ledger.faults()),
        (200 * 4, 0),
        "the churning ones are not counted"
    );
    assert_eq!((result.counts.reopened, result.counts.reopen_failures), (20, 0));
    assert_eq!((result.latency.reopen.count, result.config.churn_conns), (20, 5));
}

#[test]
fn dropped_messages_are_lost_also_the_last_one() {
    // Each room gets 100 measured messages and 10 of the warm-up: 110 is the last.
    let result = run_with(|nth, seq| match (nth, seq) {
        (1, 50) | (2, 110) => Act::Drop,
        _ => Act::Deliver,
    });
    assert_eq!((result.ledger.lost, result.ledger.faults()), (6, 6));
    assert_eq!((result.verdict.kind, broken(&result)), (Kind::Unstable, vec!["ledger_faults"]));
    assert_eq!(result.headline, None, "withheld");
}

#[test]
fn duplicated_and_reordered_messages_are_told_apart() {
    let result = run_with(|nth, seq| match (nth, seq) {
        (0, 40) => Act::Twice,
        (3, 60) => Act::Hold,
        _ => Act::Deliver,
    });
    let ledger = result.ledger;
    assert_eq!((ledger.duplicated, ledger.reordered, ledger.lost, ledger.faults()), (3, 3, 0, 6));
    assert_eq!(result.verdict.kind, Kind::Unstable);
}

#[test]
fn damaged_and_misrouted_messages_are_found() {
    let result = run_with(|nth, seq| match (nth, seq) {
        (0, 40) => Act::Corrupt,
        (1, 41) => Act::OtherRoom,
        _ => Act::Deliver,
    });
    let ledger = result.ledger;
    // What arrived under another room's id is also missing where it belongs.
    assert_eq!((ledger.corrupt, ledger.misrouted, ledger.lost, ledger.faults()), (3, 3, 3, 9));
}

#[test]
fn a_stall_of_300_ms_shows_in_the_percentiles_as_planned() {
    // One room, 2 subscribers, 500 messages a second for 3 s; the stall begins about in the middle.
    // Messages due in it wait for the rest of it: 10 % of all, evenly between 0 and 300 ms. So
    // the 99th percentile lies where a tenth of those is left: at 270 ms.
    let stall = Some((800, Duration::from_millis(300)));
    let server = crate::scripted::start(Faults { stall, ..Faults::default() });
    let result = run(plan(server, 2, 1, 500.0, 3_000));
    let delivery = Latency::from_summary(&result.latency.delivery).unwrap();
    let quantile_ms = |q| delivery.quantile_us(q).unwrap() as f64 / 1000.0;
    assert!((quantile_ms(0.99) - 270.0).abs() < 15.0, "p99 {} ms", quantile_ms(0.99));
    assert!((quantile_ms(0.95) - 150.0).abs() < 25.0, "p95 {} ms", quantile_ms(0.95));
    assert!(quantile_ms(0.5) < 25.0, "p50 {} ms", quantile_ms(0.5));
    let max = result.latency.delivery.max_us.unwrap();
    assert!((295_000..360_000).contains(&max), "max {max} µs");
    assert_eq!((result.verdict.kind, broken(&result)), (Kind::Unstable, vec!["standstill"]));
    assert_eq!(result.ledger.faults(), 0);
}

#[test]
fn a_server_that_falls_behind_is_server_bound() {
    // 200 messages a second at 8 ms each: the queue grows by 0.6 s every second.
    let server = crate::scripted::start(Faults { cost: Duration::from_millis(8), ..Faults::default() });
    let mut plan = plan(server, 4, 1, 200.0, 1_500);
    plan.drain_ms = 5_000;
    let result = run(plan);
    assert_eq!((result.verdict.kind, broken(&result)), (Kind::ServerBound, vec!["delivery_lag_growth"]));
    assert_eq!(result.counts.acked, 300, "late, but all of them");
}

#[test]
fn the_in_flight_cap_holds_arrivals_back_and_counts_them() {
    let server = crate::scripted::start(Faults { cost: Duration::from_millis(8), ..Faults::default() });
    let mut plan = plan(server, 4, 1, 200.0, 1_000);
    (plan.in_flight_cap, plan.drain_ms) = (10, 5_000);
    let result = run(plan);
    assert_eq!(result.verdict.kind, Kind::ServerBound);
    assert!(result.counts.cap_hits > 50 && broken(&result).contains(&"in_flight_cap_hits"));
    // Sent late, measured from when they were due.
    assert_eq!((result.counts.sent, result.counts.unsent), (200, 0));
    assert!(result.latency.ack.max_us > result.latency.ack_service.max_us);
}

#[test]
fn refusals_missing_acks_and_hang_ups_are_counted_by_kind() {
    let refusing = crate::scripted::start(Faults { refuse_every: Some(10), ..Faults::default() });
    let result = run(plan(refusing, 4, 1, 200.0, 500));
    assert_eq!(result.counts.errors.get("error frame: RateLimited"), Some(&12));
    assert!(broken(&result).contains(&"error_frames"));

    let silent = crate::scripted::start(Faults { swallow_ack: Some(50), ..Faults::default() });
    let result = run(plan(silent, 4, 1, 200.0, 500));
    assert_eq!((result.counts.sent, result.counts.acked), (100, 99));
    assert_eq!((result.verdict.kind, broken(&result)), (Kind::Unstable, vec!["unanswered_sends"]));

    let hanging_up = crate::scripted::start(Faults { hang_up_at: Some(50), ..Faults::default() });
    let result = run(plan(hanging_up, 4, 1, 200.0, 500));
    assert_eq!(result.counts.disconnects, 1);
    assert!(result.counts.unsent > 0 && broken(&result).contains(&"disconnects"));
}

#[test]
fn a_refused_token_or_no_server_is_an_error_that_says_why() {
    let server = crate::scripted::start(Faults::default());
    let mut refused = plan(server, 3, 1, 10.0, 100);
    refused.tokens = vec!["bad".into(); 3];
    let error = generate(refused, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("hello refused: Unauthorized (3)"), "{error}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = generate(plan(nobody, 3, 1, 10.0, 100), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, LoadError::NoConnection(why) if why.contains("refused")), "{error}");
}

/// Not a test of behaviour: `cargo test --release -p chatlab-load -- --ignored --nocapture` shows
/// what a delivery costs the generator, without a recording and with one.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_a_delivery_with_2000_connections() {
    let folder = tempfile::tempdir().unwrap();
    for record in [None, Some(folder.path().to_owned())] {
        let server = crate::scripted::start(Faults::default());
        let mut plan = plan(server, 2_000, 20, 200.0, 5_000);
        let how = if record.is_some() { "recorded" } else { "not recorded" };
        plan.record = record;
        let result = run(plan);
        let busiest = result.resources.generator_busiest_thread.unwrap();
        println!(
            "{how}: {:.2} µs a delivery on the generator's thread",
            busiest * 1e6 / result.delivered_per_s
        );
    }
}
