//! The measuring itself: servers that stand still as planned, so that the percentiles are known before the run.
//!
//! A server that answers at once, and stands still when the nth request comes, gives every request that was due in the
//! meantime the rest of the standstill as its response time. The schedule says which those are. The table beside it shows what
//! generators report that do not know the intended instant: one that stamps at the actual send, and one that works every
//! 10 ms and stamps with its tick. They were held back by their own full pipeline while the server stood still, and
//! leave out what they never sent.
//!
//! `chatlab test` runs these when nothing else runs, one at a time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    lab::{Operation, Workload},
};
use chatlab_load::{
    lab::{self, LabPlan},
    recorder::{Instants, Latency, Recorder, Summary},
    result::RunResult,
    schedule::{Schedule, ScheduleKind},
    ws,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::{Mutex, oneshot},
};

use crate::{
    driver::{ONE_AT_A_TIME, limits, plan},
    scripted::Faults,
    scripted_resp,
};

/// Arrivals a second, and seconds.
const RATE: f64 = 400.0;
const SECS: u64 = 5;
const SEED: u64 = 42;
/// Which request of the window finds the server standing still, and for how many milliseconds: 14 % of all have to wait.
const STALLS: [(u64, u64); 3] = [(350, 200), (800, 400), (1500, 100)];
/// Requests without an answer: a generator that holds back, as most do.
const CAP: u64 = 16;
/// What threads may have to wait for a CPU on a quiet machine, and what it takes to catch up after a stall, in microseconds.
const ALLOWANCE_US: u64 = 40_000;
/// A thread that only sleeps is woken up later than this when the machine is busy …
const LATE: Duration = Duration::from_millis(2);
/// … and altogether by more than this in one run, when it is too busy to judge by how long something took.
const BUSY: Duration = Duration::from_millis(150);
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.995];

fn schedule() -> Schedule {
    Schedule::new(ScheduleKind::Constant, RATE, SECS * 1_000_000_000, 1, SEED).unwrap()
}

/// The response time of each request in nanoseconds, in their order: one after another, at no cost but the stalls.
fn expected_ns(schedule: &Schedule) -> Vec<u64> {
    let mut free_ns = 0;
    let waits = schedule.arrivals().zip(0u64..).map(|(arrival, nth)| {
        if let Some((_, ms)) = STALLS.iter().find(|(at, _)| *at == nth) {
            free_ns = arrival.at_ns.max(free_ns) + ms * 1_000_000;
        }
        free_ns.saturating_sub(arrival.at_ns)
    });
    waits.collect()
}

/// The value that a share of `q` of all is not over, in microseconds.
fn quantile_us(sorted_ns: &[u64], q: f64) -> u64 {
    let rank = (q * sorted_ns.len() as f64).ceil().max(1.0) as usize;
    sorted_ns[rank - 1] / 1000
}

/// Prints the table, and asserts that ours is what it must be and that the others' are not. No machine can make ours too low:
/// a stall begins when a request comes, which is not before it was due. Whether it is too high is judged with an allowance
/// only, which a machine that is busy itself has none of.
fn judge(title: &str, [ours, send, tick]: [&Latency; 3], allowance_us: Option<u64>) {
    let mut expected = expected_ns(&schedule());
    expected.sort_unstable();
    println!("{title}: {} requests, stalls of 200, 400 and 100 ms; in milliseconds", expected.len());
    println!("{:>10}{:>12}{:>12}{:>14}{:>10}", "", "expected", "intended", "actual send", "tick");
    let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
    for q in QUANTILES {
        let expected_us = quantile_us(&expected, q);
        let [ours, send, tick] = [ours, send, tick].map(|latency| latency.quantile_us(q).unwrap());
        let name = format!("p{}", q * 100.0);
        println!("{name:>10}{:>12}{:>12}{:>14}{:>10}", ms(expected_us), ms(ours), ms(send), ms(tick));
        // Three significant digits: one part in a thousand; what is below 1 µs counts as 1.
        let resolution_us = expected_us / 1000 + 1;
        assert!(ours + resolution_us >= expected_us, "{name}: {ours} for {expected_us} µs");
        let Some(allowance_us) = allowance_us else { continue };
        assert!(ours <= expected_us + resolution_us + allowance_us, "{name}: {ours} for {expected_us} µs");
        if (0.9..0.99).contains(&q) {
            assert!(send < expected_us / 2, "{name}: the actual send would have shown it: {send} µs");
        }
    }
}

/// Runs it beside a thread that only sleeps; by how much that one was woken up too late, where that was noticeable.
fn beside_a_sleeper(run: impl FnOnce() -> RunResult) -> (RunResult, Duration) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let nap = Duration::from_millis(5);
            let mut late = Duration::ZERO;
            while !done.load(Relaxed) {
                let before = Instant::now();
                std::thread::sleep(nap);
                let over = before.elapsed().saturating_sub(nap);
                late += if over > LATE { over } else { Duration::ZERO };
            }
            late
        });
        let result = run();
        done.store(true, Relaxed);
        (result, sleeper.join().unwrap())
    })
}

fn judge_result(title: &str, (result, late): &(RunResult, Duration)) {
    println!(
        "a sleeping thread was woken up too late by {late:.1?} in all; over {BUSY:?}, only what is too low is judged"
    );
    assert_eq!(result.counts.acked, (RATE as u64) * SECS);
    let latency = &result.latency;
    let [ours, send, tick] = [&latency.ack, &latency.ack_service, &latency.ack_tick]
        .map(|s: &Summary| Latency::from_summary(s).unwrap());
    judge(title, [&ours, &send, &tick], (*late <= BUSY).then_some(ALLOWANCE_US));
}

#[test]
fn in_virtual_time_the_percentiles_are_exact_to_the_histograms_resolution() {
    let schedule = schedule();
    let (mut recorder, mut done_ns) = (Recorder::new().unwrap(), VecDeque::new());
    for (arrival, response_ns) in schedule.arrivals().zip(expected_ns(&schedule)) {
        // With the pipeline full, it is sent when the oldest is answered.
        let room_ns = if done_ns.len() as u64 == CAP { done_ns.pop_front().unwrap() } else { 0 };
        let sent_ns = arrival.at_ns.max(room_ns);
        let at = Instants {
            intended_ns: arrival.at_ns,
            sent_ns,
            done_ns: sent_ns.max(arrival.at_ns + response_ns),
        };
        recorder.sent(at.intended_ns, at.sent_ns);
        recorder.acked(at);
        done_ns.push_back(at.done_ns);
    }
    judge("virtual time", [&recorder.ack, &recorder.ack_service, &recorder.ack_tick], Some(0));
}

#[test]
fn planned_stalls_of_a_websocket_server_are_measured_as_computed() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let schedule = schedule();
    let warm_up = schedule.warm_up(100).count();
    // One room: its sequences go on from the warm-up, from 1.
    let stalls = STALLS.map(|(nth, ms)| (warm_up + nth + 1, Duration::from_millis(ms)));
    let server = crate::scripted::start(Faults { stalls: stalls.into(), ..Faults::default() });
    let mut plan = plan(server, 1, 1, RATE, SECS * 1000);
    (plan.schedule, plan.in_flight_cap, plan.drain_ms) = (schedule, CAP, 5_000);
    judge_result("WebSocket", &beside_a_sleeper(|| ws::generate(plan, &mut |_| {}).unwrap()));
}

#[test]
fn planned_stalls_of_a_resp_server_are_measured_as_computed() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let warm_up = schedule().warm_up(100).count();
    let stalls = STALLS.map(|(nth, ms)| (warm_up + nth, Duration::from_millis(ms)));
    let server = scripted_resp::start(stalls.into());
    let plan = LabPlan {
        scenario: "scripted".into(),
        lab: "scripted".into(),
        variant: "resp".into(),
        topology: "none".into(),
        client: "none".into(),
        nodes: vec![],
        schedule: ScheduleKind::Constant,
        rate: RATE,
        secs: SECS,
        seed: SEED,
        warm_up_ms: 100,
        settle_ms: 0,
        record: None,
        drain_ms: 5_000,
        in_flight_cap: CAP,
        threads: 1,
        limits: limits(),
        server_pids: vec![],
        redis_pids: vec![],
        labels: Default::default(),
    };
    let make = || async move {
        Pipelined::connect(server).await.map(|client| Arc::new(client) as Arc<dyn Workload>)
    };
    judge_result("RESP", &beside_a_sleeper(|| lab::generate(plan, make, &mut |_| {}).unwrap()));
}

/// One pipelined connection that sets a key.
struct Pipelined(Mutex<(OwnedWriteHalf, std::sync::mpsc::Sender<oneshot::Sender<()>>)>);

impl Pipelined {
    async fn connect(server: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (source, sink) = stream.into_split();
        let (asked, waiting) = std::sync::mpsc::channel::<oneshot::Sender<()>>();
        tokio::spawn(async move {
            let mut lines = BufReader::new(source).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                assert_eq!(line, "+OK");
                // Whoever asked is in the queue before the request is on its way.
                let _ = waiting.recv().unwrap().send(());
            }
        });
        Ok(Self(Mutex::new((sink, asked))))
    }
}

#[async_trait]
impl Workload for Pipelined {
    fn operations(&self) -> &'static [Operation] {
        &[Operation { name: "set", weight: 1 }]
    }

    async fn prepare(&self) -> LabResult<()> {
        Ok(())
    }

    async fn run(&self, _: &str, _: u64) -> LabResult<()> {
        let other = |e: &dyn std::fmt::Display| LabError::Other(e.to_string());
        let (tell, told) = oneshot::channel();
        {
            let mut line = self.0.lock().await;
            line.1.send(tell).map_err(|e| other(&e))?;
            line.0.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n").await.map_err(|e| other(&e))?;
        }
        told.await.map_err(|e| other(&e))
    }
}
