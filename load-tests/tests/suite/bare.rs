//! The bare loop: the writer's count and the reader's agree, and where they do not the run says so.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use chatlab_load::{
    bare::{BarePlan, generate, writer},
    report,
    result::RunResult,
    scenario::Scenario,
    verdict::Kind,
    ws::LoadError,
};

use crate::{
    driver::{ONE_AT_A_TIME, broken, patient},
    recording::against_schema,
};

const BYTES: usize = 200;
/// Frames of each socket in the warm-up and the window: 15 bursts, then 150, round three rooms.
const EACH: u64 = 55;

/// A writer, for the test process' whole life.
fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || writer::serve(&listener));
    address
}

/// 12 sockets in 3 rooms of 4, 150 bursts in a second.
fn plan(writer: SocketAddr) -> BarePlan {
    let scenario = Scenario {
        conns: 12,
        rooms: 3,
        rate: 150.0,
        secs: 1,
        warm_up_ms: 100,
        limits: patient(),
        ..Scenario::find("bare-writes").unwrap()
    };
    BarePlan::new(&scenario, (writer.to_string(), std::process::id()), BTreeMap::new()).unwrap()
}

fn run(plan: &BarePlan) -> Result<RunResult, LoadError> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    generate(plan, &mut |_| {})
}

/// Between reader and writer: what the writer sends on socket number `which` goes through `change`, frame by frame, with its
/// number on that socket.
fn between(writer: SocketAddr, which: u32, change: fn(u64, &[u8]) -> Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        // The first is the control connection.
        for (nth, reader) in listener.incoming().enumerate() {
            let (mut reader, mut writer) = (reader.unwrap(), TcpStream::connect(writer).unwrap());
            let (mut from, mut to) = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
            let changes = nth as u32 == which + 1;
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            thread::spawn(move || {
                if !changes {
                    let _ = std::io::copy(&mut writer, &mut reader);
                    return;
                }
                let mut frame = [0; BYTES];
                for number in 0.. {
                    if writer.read_exact(&mut frame).is_err()
                        || reader.write_all(&change(number, &frame)).is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn the_reader_counts_what_the_writer_wrote() {
    let writer = start();
    let result = run(&plan(writer)).unwrap();
    println!("{}", report::terminal(&result));
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?}", broken(&result));
    let (bare, counts) = (result.bare.unwrap(), &result.counts);
    assert_eq!((bare.writes, bare.calls, bare.reads), (600, 600, 600));
    assert_eq!((counts.intended, counts.sent, counts.acked, counts.delivered), (150, 150, 150, 600));
    assert_eq!((result.ledger.delivered, result.ledger.faults()), (12 * EACH, 0), "with the warm-up");
    let latency = &result.latency;
    assert_eq!(
        (latency.delivery.count, latency.pacing.count, latency.last_subscriber.count),
        (600, 150, 150)
    );
    assert!(bare.thread_us.unwrap() > 0.0 && bare.thread_us <= bare.process_us, "{bare:?}");
    assert!((result.delivered_per_s - 600.0).abs() < 30.0, "{}", result.delivered_per_s);
    assert_eq!(against_schema(&serde_json::to_value(&result).unwrap()), Vec::<String>::new());
    // The same writer serves the next run.
    assert_eq!(run(&plan(writer)).unwrap().bare.unwrap().reads, 600);
}

#[test]
fn frames_that_are_lost_repeated_or_damaged_on_the_way_are_found() {
    let through = |change: fn(u64, &[u8]) -> Vec<u8>| {
        let mut plan = plan(between(start(), 4, change));
        plan.drain_ms = 300;
        run(&plan).unwrap()
    };
    let lost = through(|number, frame| if number == 20 { Vec::new() } else { frame.to_vec() });
    assert_eq!((lost.ledger.lost, lost.ledger.faults()), (1, 1));
    assert_eq!((lost.bare.unwrap().writes, lost.bare.unwrap().reads), (600, 599));
    assert_eq!((lost.verdict.kind, lost.headline), (Kind::Unstable, None));
    let rules = broken(&lost);
    assert!(rules.contains(&"ledger_faults") && rules.contains(&"unanswered_sends"), "{rules:?}");
    let twice = through(|number, frame| if number == 20 { frame.repeat(2) } else { frame.to_vec() });
    assert_eq!((twice.ledger.duplicated, twice.ledger.reordered), (1, 1));
    assert_eq!(broken(&twice), ["ledger_faults"]);
    let elsewhere = through(|number, frame| {
        let mut frame = frame.to_vec();
        // The room's number.
        frame[4] ^= u8::from(number == 20);
        frame
    });
    assert_eq!((elsewhere.ledger.misrouted, elsewhere.ledger.lost), (1, 1));
    let halves = through(|_, frame| frame.to_vec());
    assert_eq!(halves.ledger.faults(), 0, "the way itself changes nothing");
}

#[test]
fn a_writer_that_goes_away_gives_no_result() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = plan(listener.local_addr().unwrap());
    thread::spawn(move || {
        // Everything is accepted, and then nobody is there.
        let mut all: Vec<TcpStream> = (0..13).map(|_| listener.accept().unwrap().0).collect();
        all[0].write_all(b"\"accepted\"\n").unwrap();
        let mut line = [0; 1];
        while all[0].read(&mut line).unwrap() > 0 && line != *b"}" {}
    });
    let error = run(&plan).unwrap_err().to_string();
    assert!(error.contains("broke"), "{error}");
}
