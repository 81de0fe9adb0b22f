//! Results for people: plain text, aligned, at most [`WIDTH`] columns.

use std::fmt::Write;

use super::slow;
use crate::{
    bare::Bare,
    faults, reconcile,
    recorder::Summary,
    result::{RunResult, Usage},
};

/// The widest line.
pub const WIDTH: usize = 80;

/// What stands for a figure that is not known or that samples do not support.
pub(super) const NONE: &str = "–";

pub(super) fn ms(us: Option<u64>) -> String {
    us.map_or_else(|| NONE.into(), |us| format!("{:.2}", us as f64 / 1000.0))
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

pub(super) fn per_s(rate: f64) -> String {
    format!("{rate:.0}")
}

pub(super) fn share(cores: Option<f64>) -> String {
    cores.map_or_else(|| NONE.into(), |cores| format!("{:.0} %", cores * 100.0))
}

pub(super) fn usage(usage: Option<Usage>, figure: impl Fn(Usage) -> Option<String>) -> String {
    usage.and_then(figure).unwrap_or_else(|| NONE.into())
}

/// One run, in full.
pub fn terminal(result: &RunResult) -> String {
    let mut out = head(result);
    verdict_part(&mut out, result);
    if result.config.is_operations() {
        operations_part(&mut out, result);
        if result.config.redis.as_ref().is_some_and(|commands| commands.listeners > 0) {
            delivery_part(&mut out, result);
        }
    } else {
        latency_part(&mut out, result);
        ledger_part(&mut out, result);
        slow_part(&mut out, result);
        out.push_str(&faults::show::terminal(&result.faults, result.accounts.as_ref()));
    }
    resource_part(&mut out, result);
    generators_part(&mut out, result);
    if let Some(warm_up) = &result.warm_up {
        let _ = writeln!(out, "\n  warm-up: {}", warm_up.told());
    }
    if let Some(reconciliation) = &result.reconciliation {
        out.push_str(&reconcile::terminal(reconciliation));
    }
    let environment = &result.environment;
    let hash: String = config_hash(result);
    let _ = writeln!(out, "  {} × {}", environment.cores, environment.cpu_model);
    let _ = writeln!(
        out,
        "  {}, nofile {}, chatlab {}, schedule {hash}",
        environment.kernel, environment.nofile, environment.version
    );
    clip(&out)
}

/// What was run, in two lines.
pub fn head(result: &RunResult) -> String {
    let labels: Vec<_> = result.labels.iter().map(|(key, value)| format!("{key} {value}")).collect();
    clip(&format!("{}   {}\n  {}\n", result.scenario, labels.join(", "), asked_for(result)))
}

fn config_hash(result: &RunResult) -> String {
    result.config.schedule_sha256.chars().take(12).collect()
}

pub(super) fn asked_for(result: &RunResult) -> String {
    let config = &result.config;
    let rate = match config.closed_concurrency {
        // Nobody shall take its latency for response time.
        Some(_) => format!("as many as possible ({}; service time only), {} s", config.schedule, config.secs),
        None => format!("{} {}, {} s", config.rate_per_s, config.schedule, config.secs),
    };
    if let Some(commands) = &config.redis {
        return format!(
            "{} connections of {}, commands/s {rate}, {} keys, {} B, seed {}",
            config.conns, commands.client, commands.keys, config.body_bytes, config.seed
        );
    }
    if let Some(sql) = &config.sql {
        return format!(
            "{}, {} connections, operations/s {rate}, seed {}",
            sql.database, sql.conns, config.seed
        );
    }
    if let Some(http) = &config.http {
        return format!("{} connections, requests/s {rate}, seed {}", http.conns, config.seed);
    }
    if let Some(bare) = &result.bare {
        return format!(
            "{} sockets, {} rooms, bursts/s {rate}, {} B a write, seed {}",
            config.conns, config.rooms, bare.bytes, config.seed
        );
    }
    match &config.lab {
        Some(driven) => {
            format!(
                "{}={} without the server, operations/s {rate}, seed {}",
                driven.lab, driven.variant, config.seed
            )
        }
        None => format!(
            "{} connections, {} rooms, msg/s {rate}, {} B, seed {}",
            config.conns, config.rooms, config.body_bytes, config.seed
        ),
    }
}

fn verdict_part(out: &mut String, result: &RunResult) {
    let _ = writeln!(out, "\nVerdict  {}", result.verdict.kind);
    if let Some(faults) = &result.verdict.apart_from {
        let _ = writeln!(out, "{}", wrap(&format!("  judged apart from {faults}"), "    "));
    }
    for broken in result.verdict.broken() {
        let _ = writeln!(out, "  broken: {}: {} (limit {})", broken.rule, broken.seen, broken.limit);
    }
    match result.headline {
        Some(headline) => {
            let _ = writeln!(
                out,
                "  {}",
                if result.config.is_operations() {
                    format!(
                        "{} operations/s, p99 {} ms",
                        per_s(headline.deliveries_per_s),
                        ms(headline.delivery_p99_us)
                    )
                } else {
                    format!(
                        "{} messages/s, {} deliveries/s, delivery p99 {} ms",
                        per_s(headline.messages_per_s),
                        per_s(headline.deliveries_per_s),
                        ms(headline.delivery_p99_us)
                    )
                }
            );
        }
        None if result.verdict.is_valid() => {
            let _ =
                writeln!(out, "  No headline: figures of the whole window mix what is usual with the fault.");
        }
        None => {
            let _ = writeln!(out, "  No headline: the figures below do not stand for the server.");
        }
    }
}

fn latency_head(out: &mut String) {
    let _ = writeln!(
        out,
        "\n{:<24}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "Latency, ms", "samples", "p50", "p90", "p99", "p99.9", "max"
    );
}

fn latency_row(out: &mut String, name: &str, s: &Summary) {
    let [p50, p90, p99, p999, max] = [s.p50_us, s.p90_us, s.p99_us, s.p999_us, s.max_us].map(ms);
    let _ = writeln!(out, "{name:<24}{:>9}{p50:>9}{p90:>9}{p99:>9}{p999:>9}{max:>9}", s.count);
}

fn latency_part(out: &mut String, result: &RunResult) {
    latency_head(out);
    let latency = &result.latency;
    let rows: [(&str, &Summary); 9] = [
        ("ack", &latency.ack),
        ("  from the actual send", &latency.ack_service),
        ("delivery", &latency.delivery),
        ("  from the actual send", &latency.delivery_service),
        ("  first subscriber", &latency.first_subscriber),
        ("  median subscriber", &latency.median_subscriber),
        ("  last subscriber", &latency.last_subscriber),
        ("pacing error", &latency.pacing),
        ("runtime lag", &latency.runtime_lag),
    ];
    for (name, s) in rows {
        latency_row(out, name, s);
    }
    if result.config.churn_conns > 0 {
        latency_row(out, "close, open and join", &latency.reopen);
    }
    let _ = writeln!(out, "  from the intended instant unless said otherwise; {NONE}: too few samples");
}

fn operations_part(out: &mut String, result: &RunResult) {
    latency_head(out);
    for operation in &result.operations {
        latency_row(out, &operation.name, &operation.response);
        latency_row(out, "  from the actual call", &operation.service);
    }
    latency_row(out, "all", &result.latency.ack);
    latency_row(out, "pacing error", &result.latency.pacing);
    let _ = writeln!(out, "  from the intended instant unless said otherwise; {NONE}: too few samples");
    let counts = &result.counts;
    let _ = writeln!(out, "\nOperations   {} due, {} called", counts.intended, counts.sent);
    for operation in &result.operations {
        let _ = writeln!(
            out,
            "  {:<22}{:>9} succeeded, {} failed (weight {})",
            operation.name, operation.completed, operation.failed, operation.weight
        );
        for (class, n) in &operation.statuses {
            let _ = writeln!(out, "    {n:>29} × {class}");
        }
    }
    for (name, n) in [("never called", counts.unsent), ("in-flight cap hits", counts.cap_hits)] {
        if n > 0 {
            let _ = writeln!(out, "  {n} {name}");
        }
    }
    for (kind, n) in &counts.errors {
        let _ = writeln!(out, "  {n} × {kind}");
    }
}

/// Driver `redis`: what listeners received.
fn delivery_part(out: &mut String, result: &RunResult) {
    latency_head(out);
    latency_row(out, "delivery", &result.latency.delivery);
    ledger_part(out, result);
}

fn ledger_part(out: &mut String, result: &RunResult) {
    let (counts, ledger) = (&result.counts, &result.ledger);
    let _ = writeln!(
        out,
        "\nLedger   {} due, {} sent, {} acknowledged, {} deliveries",
        counts.intended, counts.sent, counts.acked, counts.delivered
    );
    let _ = writeln!(
        out,
        "  {} lost, {} duplicated, {} reordered, {} corrupt, {} misrouted",
        ledger.lost, ledger.duplicated, ledger.reordered, ledger.corrupt, ledger.misrouted
    );
    let rest = [
        ("stored twice", ledger.stored_twice),
        ("holes", ledger.holes),
        ("epoch changes", ledger.epoch_changes),
        ("foreign", ledger.foreign),
        ("not recorded", ledger.overflowed),
        ("never sent", counts.unsent),
        ("in-flight cap hits", counts.cap_hits),
        ("connections failed", counts.connect_failures),
        ("connections broken", counts.disconnects),
        ("closed and opened again", counts.reopened),
        ("closed and not opened again", counts.reopen_failures),
        ("presence frames", counts.presence_frames),
        ("looks at a room's history", counts.polls),
        ("of them with nothing new", counts.empty_polls),
    ];
    for (name, n) in rest.iter().filter(|(_, n)| *n > 0) {
        let _ = writeln!(out, "  {n} {name}");
    }
    for (kind, n) in &counts.errors {
        let _ = writeln!(out, "  {n} × {kind}");
    }
}

/// What the processes are called that are observed.
pub(super) fn processes(result: &RunResult) -> [&'static str; 3] {
    if result.bare.is_some() { ["writer", "redis", "reader"] } else { ["server", "redis", "generator"] }
}

/// What a write of a bare loop costs by the writer's own clocks.
pub(super) fn a_write(bare: &Bare) -> String {
    let us = |us: Option<f64>| us.map_or_else(|| NONE.into(), |us| format!("{us:.2} µs"));
    format!(
        "a write: {} of its thread, {} of its process; {} writes, {} calls, {} read",
        us(bare.thread_us),
        us(bare.process_us),
        bare.writes,
        bare.calls,
        bare.reads
    )
}

/// Connections that stopped reading, a few lines each.
fn slow_part(out: &mut String, result: &RunResult) {
    for reader in &result.slow {
        let _ = writeln!(out, "\nSlow reader");
        for line in slow::lines(reader) {
            let _ = writeln!(out, "  {line}");
        }
    }
}

fn resource_part(out: &mut String, result: &RunResult) {
    let resources = &result.resources;
    let lab = result.config.is_operations();
    let each = if lab { "CPU µs/operation" } else { "CPU µs/delivery" };
    let _ = writeln!(
        out,
        "\n{:<24}{:>10}{each:>17}{:>10}{:>9}{:>10}",
        "In the window", "CPU", "RSS MiB", "sockets", "held MiB"
    );
    let [server, redis, generator] = processes(result);
    let rows = [(server, resources.server), (redis, resources.redis), (generator, resources.generator)];
    // A server of its own has a row where one is observed.
    for (name, used) in rows.into_iter().skip(usize::from(lab && resources.server.is_none())) {
        let _ = writeln!(
            out,
            "{name:<24}{:>10}{:>17}{:>10}{:>9}{:>10}",
            share(used.map(|u| u.cores)),
            usage(used, |u| Some(format!("{:.1}", u.us_per_delivery?))),
            usage(used, |u| Some(mib(u.rss_bytes))),
            usage(used, |u| Some(u.sockets?.count.to_string())),
            usage(used, |u| Some(mib(u.sockets?.bytes)))
        );
    }
    let _ = writeln!(out, "{:<24}{:>10}", "  its busiest thread", share(resources.generator_busiest_thread));
    if let Some(bare) = &result.bare {
        let _ = writeln!(out, "{}", wrap(&format!("  {}", a_write(bare)), "  "));
    }
    if let Some(calibration) = &result.calibration {
        let headroom = calibration.headroom.map_or_else(|| NONE.into(), |times| format!("{times:.1} ×"));
        let _ = writeln!(
            out,
            "  before a responder that does nothing: {} of it, p99 {} ms, headroom {headroom}",
            share(calibration.busiest_thread),
            ms(calibration.p99_us)
        );
    }
}

/// Of a run by several generators, a line each.
fn generators_part(out: &mut String, result: &RunResult) {
    if result.generators.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:<16}{:<16}{:>9}{:>11}{:>8}{:>9}{:>11}",
        "Generators", "verdict", "sent", "delivered", "CPU", "busiest", "clock ± µs"
    );
    for (number, one) in result.generators.iter().enumerate() {
        let name: String = format!("{} {}", number + 1, one.place).chars().take(15).collect();
        let clock =
            one.clock_uncertain_ns.map_or_else(|| NONE.into(), |ns| format!("{:.0}", ns as f64 / 1e3));
        let _ = writeln!(
            out,
            "{name:<16}{:<16}{:>9}{:>11}{:>8}{:>9}{clock:>11}",
            one.verdict.to_string(),
            one.sent,
            one.delivered,
            share(one.cores),
            share(one.busiest_thread),
        );
    }
}

/// Breaks a line at spaces so that no part is wider than [`WIDTH`]; each part after the first begins with `indent`.
pub(crate) fn wrap(text: &str, indent: &str) -> String {
    let width = |line: &str| line.chars().count();
    let lead: String = text.chars().take_while(|c| *c == ' ').collect();
    let (mut lines, mut line) = (Vec::new(), lead);
    for word in text.split_whitespace() {
        if width(&line) + 1 + width(word) > WIDTH && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

pub(crate) fn clip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        out.extend(line.chars().take(WIDTH));
        out.push('\n');
    }
    out
}

type Row = (&'static str, fn(&RunResult) -> String);

/// The rows of [`side_by_side`].
const ROWS: &[Row] = &[
    ("messages/s", |r| per_s(r.acked_per_s)),
    ("deliveries/s", |r| per_s(r.delivered_per_s)),
    ("ack p50, ms", |r| ms(r.latency.ack.p50_us)),
    ("ack p99, ms", |r| ms(r.latency.ack.p99_us)),
    ("delivery p50, ms", |r| ms(r.latency.delivery.p50_us)),
    ("delivery p99, ms", |r| ms(r.latency.delivery.p99_us)),
    ("delivery p99.9, ms", |r| ms(r.latency.delivery.p999_us)),
    ("pacing error p99, ms", |r| ms(r.latency.pacing.p99_us)),
    ("lost", |r| r.ledger.lost.to_string()),
    ("duplicated", |r| r.ledger.duplicated.to_string()),
    ("reordered", |r| r.ledger.reordered.to_string()),
    ("server CPU, µs a delivery", |r| {
        usage(r.resources.server, |u| Some(format!("{:.1}", u.us_per_delivery?)))
    }),
    ("server RSS, MiB", |r| usage(r.resources.server, |u| Some(mib(u.rss_bytes)))),
    ("Redis CPU, of one core", |r| share(r.resources.redis.map(|u| u.cores))),
    ("Redis RSS, MiB", |r| usage(r.resources.redis, |u| Some(mib(u.rss_bytes)))),
    ("generator CPU, of one core", |r| share(r.resources.generator.map(|u| u.cores))),
    ("verdict", |r| r.verdict.kind.to_string()),
];

/// Several results as the columns of one table, each under its title. Up to three fit [`WIDTH`].
pub fn side_by_side(results: &[(&str, &RunResult)]) -> String {
    const NAME: usize = 27;
    let columns = results.len().max(1);
    let width = ((WIDTH - NAME) / columns).clamp(16, 18);
    let mut out = String::new();
    let mut line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>width$}")).collect();
        let _ = writeln!(out, "{name:<NAME$}{cells}");
    };
    line("", results.iter().map(|(title, _)| (*title).to_owned()).collect());
    line(&"─".repeat(NAME), results.iter().map(|_| "─".repeat(width)).collect());
    for (name, figure) in ROWS {
        line(name, results.iter().map(|(_, result)| figure(result)).collect());
    }
    clip(&out)
}
