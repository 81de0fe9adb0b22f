//! `cargo bench --bench cpu`: what the processor alone costs: codecs, slot hashing, the ledger, the chat's frames. No server.

mod common;

use std::hint::black_box;
use std::time::SystemTime;

use chatlab::benches;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Draft, Envelope, MessageKind},
    slots::{Partition, slot},
    wire::{AckLevel, ClientFrame, ServerFrame},
};
use chatlab_load::{
    ledger::Ledger,
    payload::{Payload, quick_parse, slow_parse},
    resp::codec,
};
use criterion::{BatchSize, BenchmarkId, Criterion, measurement::WallTime};

type Failure = Box<dyn std::error::Error>;
type Group<'a> = criterion::BenchmarkGroup<'a, WallTime>;

/// Bodies of messages: a line, and the longest but for the payload's head.
const BODIES: [usize; 2] = [64, 4_000];
/// Subscribers of the ledger's room, as many as a room has in `ws-10k`.
const SUBSCRIBERS: usize = 100;
/// Messages that each of them receives.
const MESSAGES: u64 = 100;

fn main() -> Result<(), Failure> {
    let began = SystemTime::now();
    let mut criterion = common::criterion()?;
    all(&mut criterion)?;
    criterion.final_summary();
    let figures = benches::read(&benches::folder()?, benches::CPU, Some(began))?;
    print!("\n{}", benches::cpu_table(&figures));
    Ok(())
}

fn all(criterion: &mut Criterion) -> Result<(), Failure> {
    let mut group = criterion.benchmark_group(benches::CPU);
    resp(&mut group);
    slots(&mut group);
    ledger(&mut group);
    payload(&mut group);
    frames(&mut group)?;
    group.finish();
    Ok(())
}

/// RESP: a command encoded, replies read where they lie.
fn resp(group: &mut Group<'_>) {
    for bytes in [64, 4_096] {
        let value = vec![b'x'; bytes];
        let mut out = Vec::with_capacity(2 * bytes);
        group.bench_function(BenchmarkId::new("resp encode", format!("SET {bytes} B")), |b| {
            b.iter(|| {
                out.clear();
                codec::command(&mut out, &[b"SET", b"key:000000001234", black_box(&value)]);
                out.len()
            });
        });
        let reply = [format!("${bytes}\r\n").as_bytes(), &value, b"\r\n"].concat();
        group.bench_function(BenchmarkId::new("resp parse", format!("bulk {bytes} B")), |b| {
            b.iter(|| codec::parse(black_box(&reply)).is_ok());
        });
    }
    let page = [
        b"*50\r\n".as_slice(),
        &b"$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(50),
    ]
    .concat();
    group.bench_function(BenchmarkId::new("resp parse", "array of 50 bulks"), |b| {
        b.iter(|| codec::parse(black_box(&page)).is_ok());
    });
    group.bench_function(BenchmarkId::new("resp parse", "+OK"), |b| {
        b.iter(|| codec::parse(black_box(b"+OK\r\n")).is_ok());
    });
}

/// Which slot a key has.
fn slots(group: &mut Group<'_>) {
    let (tagged, plain) =
        ("chatlab:{p17}:history:room:0191e2a0:messages", "chatlab:history:room:0191e2a0:messages");
    group.bench_function(BenchmarkId::new("slot", "with a tag"), |b| {
        b.iter(|| slot(black_box(tagged.as_bytes())));
    });
    group.bench_function(BenchmarkId::new("slot", "whole key"), |b| {
        b.iter(|| slot(black_box(plain.as_bytes())));
    });
    let room = RoomId::new();
    group.bench_function(BenchmarkId::new("slot", "partition of a room"), |b| {
        b.iter(|| Partition::of(black_box(&room)));
    });
}

/// A room's deliveries, in order and each second one late, and the books closed.
fn ledger(group: &mut Group<'_>) {
    let subscribed = || {
        let mut ledger = Ledger::new(1);
        let subs: Vec<usize> = (0..SUBSCRIBERS).map(|_| ledger.subscribe(0, Some("e1"), 0)).collect();
        (ledger, subs)
    };
    let deliver = |(ledger, subs): &mut (Ledger, Vec<usize>), swapped: bool| {
        for seq in 1..=MESSAGES {
            // 2 1 4 3 6 5 …
            let came = if swapped { ((seq - 1) ^ 1) + 1 } else { seq };
            ledger.acknowledge(0, "e1", came);
            for sub in subs.iter() {
                ledger.deliver(*sub, "e1", came);
            }
        }
    };
    for (case, swapped) in [("10000 deliveries in order", false), ("10000 deliveries in pairs swapped", true)]
    {
        group.bench_function(BenchmarkId::new("ledger", case), |b| {
            b.iter_batched_ref(subscribed, |books| deliver(books, swapped), BatchSize::LargeInput);
        });
    }
    let full = || {
        let mut books = subscribed();
        deliver(&mut books, false);
        books.0
    };
    group.bench_function(BenchmarkId::new("ledger", "settle 100 subscribers"), |b| {
        b.iter_batched(full, Ledger::settle, BatchSize::LargeInput);
    });
}

/// The generator's bodies with their checksum.
fn payload(group: &mut Group<'_>) {
    let payload = Payload { run: 0xABCD_EF01, room: 19, number: 123_456, intended_ns: 12_345_678_901 };
    for bytes in BODIES {
        group.bench_function(BenchmarkId::new("payload write", format!("{bytes} B")), |b| {
            b.iter(|| black_box(payload).body(bytes));
        });
        let body = payload.body(bytes);
        group.bench_function(BenchmarkId::new("payload verify", format!("{bytes} B")), |b| {
            b.iter(|| Payload::parse(black_box(body.as_bytes())).is_ok());
        });
    }
}

/// The chat server's frames: what it reads, what it sends, and how the generator reads that.
fn frames(group: &mut Group<'_>) -> Result<(), Failure> {
    for bytes in BODIES {
        let body = Payload { run: 1, room: 2, number: 3, intended_ns: 4 }.body(bytes);
        let (room, cid) = (RoomId::new(), "r1-7".parse()?);
        let draft = Draft {
            room,
            id: MessageId::new(),
            from: UserId::new(),
            cid,
            kind: MessageKind::Text,
            about: None,
            reply_to: None,
            forwarded_from: None,
            body: body.clone(),
        };
        let (cid, level) = (draft.cid.clone(), AckLevel::Memory);
        let send = serde_json::to_string(&ClientFrame::Send {
            id: 7,
            room,
            cid,
            kind: MessageKind::Text,
            body,
            reply_to: None,
            level,
        })?;
        let stored = format!("epoch-1 42 1700000000000 {}", serde_json::to_string(&draft)?);
        let frame = Envelope::parse(stored.as_bytes())?.frame();
        let case = |what: &str| BenchmarkId::new(what, format!("{bytes} B"));
        group.bench_function(case("frame read send"), |b| {
            b.iter(|| serde_json::from_str::<ClientFrame>(black_box(&send)).is_ok());
        });
        group.bench_function(case("frame write draft"), |b| {
            b.iter(|| serde_json::to_string(black_box(&draft)).is_ok());
        });
        group.bench_function(case("frame splice envelope"), |b| {
            b.iter(|| Envelope::parse(black_box(stored.as_bytes())).map(|envelope| envelope.frame()));
        });
        group.bench_function(case("frame read message, quick"), |b| {
            b.iter(|| quick_parse(black_box(&frame)).is_some());
        });
        group.bench_function(case("frame read message, JSON"), |b| {
            b.iter(|| slow_parse(black_box(&frame)).is_ok());
        });
    }
    let ack = ServerFrame::Pong { id: 7 };
    group.bench_function(BenchmarkId::new("frame write", "pong"), |b| {
        b.iter(|| serde_json::to_string(black_box(&ack)).is_ok());
    });
    Ok(())
}
