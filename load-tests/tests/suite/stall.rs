//! The driver `redis` against a scripted server that stands still once: the percentiles are known beforehand.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, PoisonError, atomic::AtomicU64, atomic::Ordering::SeqCst},
    time::Duration,
};

use chatlab_load::{
    report,
    resp::{
        Client, Commands, RespPlan,
        codec::{Parsed, Reply, parse},
        commands::Op,
        generate,
        keys::Spread,
    },
    schedule::{Load, Schedule, ScheduleKind},
    verdict::Limits,
};

use crate::driver::ONE_AT_A_TIME;

const RATE: u64 = 500;
const SECS: u64 = 2;
/// The command before which the server stands still: in the middle of the window.
const AT: u64 = RATE * SECS / 2;
const STALL: Duration = Duration::from_millis(400);

/// Answers everything with `+OK`, one command after the other.
fn serve(mut stream: TcpStream, pings: &AtomicU64) {
    let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        while let Ok(Parsed::Whole { reply, taken }) = parse(&input) {
            let Reply::Items(words) = reply else { panic!("no command: {reply:?}") };
            if words.iter().next() == Some(Reply::Bulk(b"PING")) && pings.fetch_add(1, SeqCst) == AT {
                std::thread::sleep(STALL);
            }
            input.drain(..taken);
            if stream.write_all(b"+OK\r\n").is_err() {
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => input.extend_from_slice(&chunk[..n]),
        }
    }
}

fn plan(node: String) -> RespPlan {
    RespPlan {
        scenario: "stall".into(),
        commands: Commands {
            client: Client::Lean,
            mix: BTreeMap::from([(Op::Ping, 1)]),
            // A client that waits for each answer: what it does not send in the meantime it can't measure.
            pipeline: 1,
            keys: 1,
            spread: Spread::Uniform,
            exponent: 1.0,
            channels: 0,
            listeners: 0,
        },
        topology: "single".into(),
        nodes: vec![node],
        conns: 1,
        value_bytes: 1,
        seed: 1,
        load: Load::Open(Schedule {
            kind: ScheduleKind::Constant,
            rate_per_s: RATE as f64,
            duration_ns: SECS * 1_000_000_000,
            clients: 1,
            seed: 1,
        }),
        warm_up_ms: 0,
        settle_ms: 0,
        record: None,
        drain_ms: 10_000,
        in_flight_cap: 100_000,
        threads: 1,
        limits: Limits::default(),
        redis_pids: Vec::new(),
        labels: BTreeMap::new(),
    }
}

#[test]
fn a_planned_stall_shows_whole_from_the_intended_instant_and_hardly_from_the_send() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = listener.local_addr().unwrap().to_string();
    let pings = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            let pings = pings.clone();
            std::thread::spawn(move || serve(stream, &pings));
        }
    });
    let result = generate(plan(node), &mut |_| {}).unwrap();
    println!("{}", report::terminal(&result));
    // 200 of the 1,000 commands are due while it stands still, and each waits for what is left of it: from 400 ms evenly
    // down to 0. A tenth of all, 100, waits for 200 ms or more, a hundredth for 380 ms. The machine may add to that.
    let (response, service) = (&result.operations[0].response, &result.operations[0].service);
    assert_eq!((response.count, service.count), (1000, 1000));
    let [p90, p99, max] = [response.p90_us, response.p99_us, response.max_us].map(Option::unwrap);
    for (seen, known) in [(p90, 198_000), (p99, 378_000), (max, 398_000)] {
        assert!(seen >= known, "{seen} µs instead of {known} at least: {response:?}");
    }
    // From the actual send there was one slow command: the tenth that waited is not seen.
    assert!(service.p90_us.unwrap() < p90 && service.max_us.unwrap() >= 399_000, "{service:?}");
}
