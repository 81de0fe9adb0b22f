//! The driver `redis` against real servers: what was planned is what was sent, and what the servers counted.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, mpsc},
    time::{Duration, Instant},
};

use chatlab_kit::{
    prereq::find_server,
    servers::{Managed, ServerOptions, Topology, reshard::SlotMove},
    slots::slot,
};
use chatlab_load::{
    plan::Progress,
    reconcile::{Reconciliation, Snapshot},
    recording::{RecordedRun, TAGS},
    report::{self, Timeline},
    resp::{
        Client, Commands, RespPlan,
        ceiling::{self, CeilingPlan},
        commands::Op,
        generate,
        keys::Spread,
        nodes::Admin,
    },
    result::RunResult,
    schedule::{Load, Schedule, ScheduleKind},
    verdict::{Kind, Limits},
};

use crate::driver::ONE_AT_A_TIME;

/// How long something that must come may take.
const BOUND: Duration = Duration::from_secs(20);

fn start(topology: Topology) -> Managed {
    Managed::start(topology, &find_server(None).unwrap(), &ServerOptions::steady()).unwrap()
}

fn commands(mix: &[(Op, u32)]) -> Commands {
    Commands {
        client: Client::Lean,
        mix: mix.iter().copied().collect(),
        pipeline: 64,
        keys: 200,
        spread: Spread::Zipf,
        exponent: 0.99,
        channels: 0,
        listeners: 0,
    }
}

fn plan(managed: &Managed, rate: f64, commands: Commands) -> RespPlan {
    let conns = 6;
    RespPlan {
        scenario: "test".into(),
        commands,
        topology: managed.topology().to_string(),
        nodes: managed.addrs(),
        conns,
        value_bytes: 80,
        seed: 3,
        load: Load::Open(Schedule {
            kind: ScheduleKind::Poisson,
            rate_per_s: rate,
            duration_ns: 1_000_000_000,
            clients: conns as u32,
            seed: 3,
        }),
        warm_up_ms: 100,
        settle_ms: 0,
        record: None,
        drain_ms: 10_000,
        in_flight_cap: 100_000,
        threads: 1,
        // The tests may share the machine with a compiler.
        limits: Limits {
            pacing_p99_us: 3_000_000,
            runtime_lag_us: 3_000_000,
            thread_cpu: 2.0,
            stall_us: 50_000_000,
            lag_growth_us: 50_000_000,
            ..Limits::default()
        },
        redis_pids: vec![std::process::id()],
        labels: BTreeMap::new(),
    }
}

fn run_and(plan: RespPlan, progress: &mut dyn FnMut(Progress)) -> RunResult {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let result = generate(plan, progress).unwrap();
    println!("{}", report::terminal(&result));
    result
}

fn run(plan: RespPlan) -> RunResult {
    run_and(plan, &mut |_| {})
}

fn reconciled(result: &RunResult) -> &Reconciliation {
    let reconciliation = result.reconciliation.as_ref().unwrap();
    assert_eq!(reconciliation.unexplained, Some(0), "{reconciliation:?}");
    reconciliation
}

const MIX: [(Op, u32); 11] = [
    (Op::Get, 20),
    (Op::Set, 10),
    (Op::Incr, 5),
    (Op::HSet, 5),
    (Op::HGet, 5),
    (Op::SAdd, 2),
    (Op::ZAdd, 2),
    (Op::ZRange, 2),
    (Op::LPush, 2),
    (Op::RPop, 2),
    (Op::XAdd, 2),
];

#[test]
fn every_client_sends_what_is_planned_and_the_servers_count_the_same() {
    for topology in Topology::ALL {
        let managed = start(topology);
        for client in Client::available() {
            let result = run(plan(&managed, 1_000.0, Commands { client, ..commands(&MIX) }));
            let broken: Vec<_> = result.verdict.broken().map(|e| &e.rule).collect();
            assert_eq!(result.verdict.kind, Kind::Valid, "{client} {topology} {broken:?}");
            assert_eq!(result.counts.sent, result.counts.intended);
            assert_eq!((result.operations.len(), result.counts.error_frames), (MIX.len(), 0));
            let completed: u64 = result.operations.iter().map(|operation| operation.completed).sum();
            assert_eq!((completed, result.latency.ack.count), (result.counts.sent, completed));
            let seen = reconciled(&result);
            assert_eq!(seen.nodes.len(), topology.node_count());
            assert_eq!(seen.skew.is_some(), topology == Topology::Cluster);
            assert!(seen.commands.iter().all(|row| row.sent > Some(0) && row.server_us.is_some()));
        }
    }
}

#[test]
fn several_threads_share_the_connections_and_a_shallow_pipeline_only_makes_commands_wait() {
    let managed = start(Topology::Single);
    let base = plan(&managed, 2_000.0, Commands { pipeline: 1, ..commands(&MIX) });
    let result = run(RespPlan { threads: 3, ..base });
    assert_eq!(result.verdict.kind, Kind::Valid);
    assert_eq!((result.counts.sent, result.counts.acked), (result.counts.intended, result.counts.intended));
    reconciled(&result);
}

/// Waits until the nodes have counted an error of that kind.
fn await_error(addrs: &[String], kind: &str) {
    let began = Instant::now();
    let counted = |(_, node): &(String, Result<chatlab_load::reconcile::NodeStat, String>)| {
        node.as_ref().is_ok_and(|node| node.errors.get(kind).is_some_and(|n| *n > 0))
    };
    while !Snapshot::take(addrs).nodes.iter().any(counted) {
        assert!(began.elapsed() < BOUND, "nobody was told {kind}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Moves a slot to a master that does not own it, and holds it half-way until somebody was told `ASK`.
fn move_under_load(addrs: &[String], slot: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut moving = None;
        for to in &addrs[..3] {
            if let Ok(begun) = SlotMove::begin(addrs, slot, to).await {
                moving = Some(begun);
                break;
            }
        }
        let mut moving = moving.unwrap();
        while moving.move_keys(100).await.unwrap() > 0 {}
        await_error(addrs, "ASK");
        moving.finish().await.unwrap();
    });
    await_error(addrs, "MOVED");
}

#[test]
fn a_slot_that_moves_under_load_costs_redirects_that_are_followed_and_counted() {
    let managed = start(Topology::Cluster);
    let addrs = managed.addrs();
    let one_key = Commands { keys: 1, ..commands(&[(Op::Get, 1), (Op::Set, 1)]) };
    let mut plan = plan(&managed, 400.0, one_key);
    if let Load::Open(schedule) = &mut plan.load {
        schedule.duration_ns = 6_000_000_000;
    }
    let (begin, begun) = mpsc::channel();
    let mover = std::thread::spawn(move || {
        begun.recv().unwrap();
        move_under_load(&addrs, slot(Op::Get.key(0).as_bytes()));
    });
    let result = run_and(plan, &mut |progress| {
        if matches!(progress, Progress::Measuring { .. }) {
            let _ = begin.send(());
        }
    });
    mover.join().unwrap();
    assert_eq!(result.verdict.kind, Kind::Valid);
    let seen = reconciled(&result);
    let redirects = seen.redirects.unwrap();
    assert!(redirects.ask > 0 && redirects.moved > 0 && redirects.refreshed > 0, "{redirects:?}");
    assert_eq!((seen.errors["ASK"], seen.errors["MOVED"]), (redirects.ask, redirects.moved));
    let sent: u64 = seen.commands.iter().filter_map(|row| row.sent).sum();
    let called: u64 = seen.commands.iter().map(|row| row.calls).sum();
    assert_eq!(sent, called + redirects.resent());
}

#[test]
fn listeners_hear_every_message_once_and_in_order_classic_and_sharded() {
    for topology in Topology::ALL {
        let managed = start(topology);
        for op in [Op::Publish, Op::SPublish] {
            let what = Commands { channels: 5, listeners: 20, ..commands(&[(op, 1)]) };
            let result = run(plan(&managed, 300.0, what));
            let broken: Vec<_> = result.verdict.broken().map(|e| &e.rule).collect();
            assert_eq!(result.verdict.kind, Kind::Valid, "{op} {topology} {broken:?}");
            assert_eq!(result.counts.delivered, 4 * result.counts.intended);
            assert_eq!((result.ledger.faults(), result.ledger.foreign), (0, 0));
            assert_eq!(result.latency.delivery.count, result.counts.delivered);
            reconciled(&result);
        }
    }
}

#[test]
fn a_refused_command_is_counted_by_kind_and_withholds_the_headline() {
    let managed = start(Topology::Single);
    let mut admin = Admin::connect(&managed.addrs()[0]).unwrap();
    admin.call(&["LPUSH", &Op::Incr.key(0), "x"], |_| ()).unwrap();
    let result = run(plan(&managed, 200.0, Commands { keys: 1, ..commands(&[(Op::Incr, 1)]) }));
    assert_eq!((result.verdict.kind, result.headline), (Kind::Unstable, None));
    let kinds: Vec<_> = result.counts.errors.keys().collect();
    assert_eq!(kinds, ["incr: WRONGTYPE Operation against a key holding"]);
    assert_eq!(result.operations[0].failed, result.counts.intended);
    assert_eq!(reconciled(&result).commands[0].failed, reconciled(&result).commands[0].calls);
}

#[test]
fn a_lost_connection_is_opened_again_and_what_was_under_way_is_told() {
    let managed = start(Topology::Single);
    let mut admin = Admin::connect(&managed.addrs()[0]).unwrap();
    let mut killed = false;
    let result = run_and(plan(&managed, 2_000.0, commands(&MIX)), &mut |progress| {
        if !killed && matches!(progress, Progress::Measuring { .. }) {
            killed = true;
            admin.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"], |_| ()).unwrap();
        }
    });
    assert_eq!((result.verdict.kind, result.counts.disconnects), (Kind::Unstable, 6));
    let seen = reconciled(&result);
    let unanswered: u64 = seen.commands.iter().map(|row| row.unanswered).sum();
    assert!(unanswered < result.counts.sent / 2, "it went on: {unanswered}");
    assert!(result.counts.acked == result.counts.sent);
}

#[test]
fn a_closed_load_says_so_and_is_reconciled() {
    let managed = start(Topology::Single);
    let mut plan = plan(&managed, 1.0, commands(&MIX));
    plan.load = Load::Closed { concurrency: 48, duration_ns: 300_000_000 };
    let result = run(plan);
    assert_eq!((result.config.closed_concurrency, result.counts.acked), (Some(48), result.counts.sent));
    assert!(result.acked_per_s > 0.0);
    reconciled(&result);
}

#[test]
fn a_ceiling_has_a_figure_of_every_client_at_every_point() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let managed = start(Topology::Single);
    let plan = CeilingPlan {
        pipelines: vec![1, 8],
        keys: 100,
        run_ms: 100,
        ..CeilingPlan::usual(&managed.addrs()[0])
    };
    let clients = plan.clients.len() + usize::from(plan.benchmark.is_some());
    let ceiling = ceiling::ceiling(&plan, &mut |_, _, _| {}).unwrap();
    let text = ceiling::terminal(&ceiling);
    println!("{text}");
    assert_eq!(ceiling.points.len(), 4);
    for point in &ceiling.points {
        assert_eq!((point.standings.len(), point.runs.len()), (clients, 2 * clients));
        assert!(point.standings.iter().all(|standing| standing.per_s > 0.0 && standing.ratio > 0.0));
    }
    assert!(text.lines().all(|line| line.chars().count() <= report::WIDTH), "{text}");
}

#[test]
fn a_run_of_any_client_settles_first_and_is_recorded_second_by_second() {
    for topology in Topology::ALL {
        let managed = start(topology);
        for client in Client::available() {
            let folder = tempfile::tempdir().unwrap();
            let mut plan = plan(&managed, 1_000.0, Commands { client, ..commands(&MIX) });
            (plan.settle_ms, plan.record) = (60_000, Some(folder.path().to_owned()));
            plan.threads = 2;
            let result = run(plan);
            let warm_up = result.warm_up.clone().unwrap();
            assert!(warm_up.settled && !warm_up.fixed, "{client} {topology} {warm_up:?}");
            assert!((2_900..60_000).contains(&warm_up.ms), "found, not waited for: {} ms", warm_up.ms);
            reconciled(&result);
            assert_eq!(crate::recording::as_published(folder.path()), Vec::<String>::new());
            let recorded = RecordedRun::read(folder.path()).unwrap();
            assert_eq!(
                (&recorded.result.counts, &recorded.result.latency),
                (&result.counts, &result.latency)
            );
            assert_eq!(recorded.result.reconciliation.unwrap().nodes.len(), managed.addrs().len());
            let mut answered = 0;
            for interval in recorded.response.intervals() {
                let interval = interval.unwrap();
                answered += if interval.tag == TAGS[0] { interval.latency.count() } else { 0 };
            }
            assert_eq!((answered, result.counts.acked), (result.counts.intended, result.counts.intended));
            let page = report::run_page(&result, &Timeline::default());
            assert!(page.contains("Beside the servers") && page.contains("executed"), "{page}");
        }
    }
}

#[test]
fn a_closed_loop_is_not_recorded_second_by_second() {
    let managed = start(Topology::Single);
    let mut plan = plan(&managed, 1_000.0, commands(&MIX));
    plan.load = Load::Closed { concurrency: 6, duration_ns: 1_000_000_000 };
    plan.record = Some("nowhere".into());
    assert!(generate(plan, &mut |_| {}).unwrap_err().to_string().contains("closed loop"));
}
