//! Results for tests: of a made-up run, without a server.

use serde_json::json;

use crate::{
    recorder::{Latency, Summary},
    result::{RunResult, SCHEMA},
    verdict::Limits,
};

/// Latencies between 1 and 30 ms with a long tail, times a factor; the same at each call.
pub(crate) fn latency(factor: f64, samples: u32) -> Latency {
    let mut latency = Latency::new().unwrap();
    for i in 0..samples {
        let below = (f64::from(i) + 0.5) / f64::from(samples);
        let ms = factor * (1.0 + 0.35 * -(1.0 - below).ln() + 0.02 / (1.0 - below).sqrt());
        latency.record_ns((ms * 1e6) as u64);
    }
    latency
}

fn summary(factor: f64) -> Summary {
    latency(factor, 20_000).summary().unwrap()
}

/// A valid run whose latencies and whose server's cost are those of a sample, times a factor. Made from JSON, as it would be
/// read from a file: fields that are added later have their defaults.
pub(crate) fn run(factor: f64) -> RunResult {
    let usage =
        |cores: f64| json!({ "cores": cores, "us_per_delivery": cores * 50.0, "rss_bytes": 60 << 20 });
    let delivery = summary(2.0 * factor);
    let kept = |rule: &str, seen: &str, limit: &str| json!({ "rule": rule, "means": "GENERATOR_BOUND", "seen": seen, "limit": limit, "kept": true });
    let none = Summary::default();
    let zero = 0;
    serde_json::from_value(json!({
        "schema": SCHEMA,
        "scenario": "sample",
        "labels": { "topology": "single", "client": "redis-rs" },
        "environment": {
            "kernel": "Linux 6.1", "cpu_model": "A processor", "cores": 2, "nofile": 65_536, "version": "0.1.0",
        },
        "config": {
            "conns": 200, "rooms": 10, "rooms_per_conn": 1, "rate_per_s": 100.0, "secs": 10.0, "body_bytes": 180,
            "schedule": "poisson", "seed": 1, "schedule_sha256": "ab".repeat(32), "servers": 1,
            "in_flight_cap": 1000, "threads": 1, "limits": Limits::default(),
        },
        "verdict": {
            "kind": "VALID",
            "evidence": [kept("generator_thread_cpu", "31 %", "85 %"), kept("achieved_rate", "100 %", "99 %")],
        },
        "headline": { "messages_per_s": 100.0, "deliveries_per_s": 2000.0, "delivery_p99_us": delivery.p99_us },
        "acked_per_s": 100.0,
        "delivered_per_s": 2000.0,
        "counts": {
            "intended": 1000, "sent": 1000, "acked": 1000, "delivered": 20_000, "cap_hits": zero, "unsent": zero,
            "connect_failures": zero, "disconnects": zero, "error_frames": zero, "errors": {},
        },
        "ledger": {
            "delivered": 20_000, "lost": zero, "duplicated": zero, "reordered": zero, "corrupt": zero,
            "misrouted": zero, "stored_twice": zero, "holes": zero, "epoch_changes": zero, "foreign": zero,
            "overflowed": zero,
        },
        "latency": {
            "ack": summary(1.5 * factor),
            "ack_service": summary(1.4 * factor),
            "pacing": summary(0.05),
            "delivery_service": summary(1.9 * factor),
            "first_subscriber": summary(1.6 * factor),
            "median_subscriber": summary(2.0 * factor),
            "last_subscriber": summary(2.6 * factor),
            "delivery_p50_us_by_third": [delivery.p50_us, delivery.p50_us, delivery.p50_us],
            "reopen": none,
            "delivery": delivery,
        },
        "resources": {
            "generator": usage(0.3),
            "generator_busiest_thread": 0.2,
            "server": usage(0.5 * factor),
            "redis": usage(0.1),
        },
    }))
    .unwrap()
}
