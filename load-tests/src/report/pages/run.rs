//! The page of one run.

use super::{
    super::{
        chart::{heat, over_time, percentiles},
        html::{Tone, badge, charts, figure, list, page as whole, paragraph, section, table, tiles},
        slow,
        terminal::{NONE, a_write, asked_for, mib, ms, per_s, processes, share, usage},
        timeline::Timeline,
    },
    reconciled,
};
use crate::{
    faults::show,
    recorder::{Latency, Summary},
    result::RunResult,
};

const NOT_RECORDED: &str = "Intervals were not recorded with this run: there is nothing to show over time. Everything above is of the whole window.";

/// The page of a run, with what was recorded over time.
pub fn page(result: &RunResult, timeline: &Timeline) -> String {
    let labels: Vec<String> = result.labels.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let head = format!(
        "<h1>{}</h1>\n{}{}",
        super::super::html::escape(&result.scenario),
        paragraph("about", &labels.join(", ")),
        paragraph("about", &asked_for(result)),
    );
    let body = [
        head,
        verdict(result),
        section("Latency", &latency(result)),
        section("Over time", &over_time_part(timeline)),
        section("Faults", &faults(timeline)),
        section("Where every message went", &accounts(result)),
        section("Who received what", &ledger(result)),
        section("Slow readers", &slow_readers(result)),
        section("CPU and memory in the window", &resources(result)),
        reconciled_part(result),
        section("The verdict's rules", &evidence(result)),
        section("What was asked for", &configuration(result)),
        section("Where it took place", &environment(result)),
    ];
    whole(&format!("{}: {}", result.scenario, result.verdict.kind), &body.concat())
}

fn is_operations(result: &RunResult) -> bool {
    result.config.is_operations()
}

fn verdict(result: &RunResult) -> String {
    let tone = if result.verdict.is_valid() { Tone::Good } else { Tone::Bad };
    let mut out = badge(tone, &result.verdict.kind.to_string());
    if let Some(faults) = &result.verdict.apart_from {
        out += &paragraph("", &format!("Judged apart from {faults}."));
    }
    match result.headline {
        Some(headline) => {
            let mut shown = vec![(per_s(headline.messages_per_s), "messages a second")];
            if is_operations(result) {
                shown[0].1 = "operations a second";
            } else {
                shown.push((per_s(headline.deliveries_per_s), "deliveries a second"));
            }
            let p99 =
                headline.delivery_p99_us.map_or_else(|| NONE.into(), |us| format!("{} ms", ms(Some(us))));
            shown.push((
                p99,
                if is_operations(result) { "p99, from the intended instant" } else { "delivery p99" },
            ));
            out += &tiles(&shown);
        }
        None if result.verdict.is_valid() => {
            out +=
                &paragraph("", "No headline: figures of the whole window mix what is usual with the fault.");
        }
        None => {
            out += &paragraph("", "The headline is withheld: the figures below do not stand for the server.");
            for broken in result.verdict.broken() {
                let text = format!("Broken: {}: {} (limit {}).", broken.rule, broken.seen, broken.limit);
                out += &paragraph("", &text);
            }
        }
    }
    out
}

fn latency(result: &RunResult) -> String {
    let read = |summary: &Summary| Latency::from_summary(summary).ok();
    let (response, service) = if is_operations(result) {
        (read(&result.latency.ack), read(&result.latency.ack_service))
    } else {
        (read(&result.latency.delivery), read(&result.latency.delivery_service))
    };
    // In a closed loop nothing has an intended instant.
    let closed = result.config.closed_concurrency.is_some();
    let response = response.filter(|_| !closed);
    let pacing = read(&result.latency.pacing).filter(|_| !closed);
    let named = [
        ("s1", "response: from the intended instant", &response),
        ("s2", "service: from the actual send", &service),
        ("s3", "pacing error: the generator's own lateness", &pacing),
    ];
    let series: Vec<_> = named
        .iter()
        .filter_map(|(class, name, latency)| {
            let latency = latency.as_ref().filter(|l| l.count() > 0)?;
            Some(percentiles::Series { name: name.split(':').next().unwrap_or(name), class, latency })
        })
        .collect();
    let legend: Vec<_> = named
        .iter()
        .filter(|(.., latency)| latency.as_ref().is_some_and(|l| l.count() > 0))
        .map(|(class, name, _)| (*class, *name))
        .collect();
    let chart = percentiles::chart(&series).map(|svg| {
        figure(
            "Latency by percentile",
            &legend,
            &svg,
            "Each step to the right is ten times rarer. A line ends where fewer than ten samples lie beyond; the ring is \
             the highest of all. Where response leaves service behind, work waited to be sent.",
        )
    });
    charts(&chart.into_iter().collect::<Vec<_>>()) + &latency_table(result)
}

fn latency_table(result: &RunResult) -> String {
    let l = &result.latency;
    let mut rows: Vec<(String, &Summary)> = Vec::new();
    for operation in &result.operations {
        rows.push((operation.name.clone(), &operation.response));
        rows.push((format!("{}, from the actual call", operation.name), &operation.service));
    }
    let named: &[(&str, &Summary)] = if is_operations(result) {
        &[("all operations", &l.ack), ("pacing error", &l.pacing), ("runtime lag", &l.runtime_lag)]
    } else {
        &[
            ("ack", &l.ack),
            ("ack, from the actual send", &l.ack_service),
            ("ack, from the 10 ms tick before it", &l.ack_tick),
            ("delivery", &l.delivery),
            ("delivery, from the actual send", &l.delivery_service),
            ("first subscriber", &l.first_subscriber),
            ("median subscriber", &l.median_subscriber),
            ("last subscriber", &l.last_subscriber),
            ("pacing error", &l.pacing),
            ("runtime lag", &l.runtime_lag),
            ("close, open and join", &l.reopen),
        ]
    };
    rows.extend(named.iter().filter(|(_, s)| s.count > 0).map(|(name, s)| ((*name).to_owned(), *s)));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, s)| {
            let figures = [s.p50_us, s.p90_us, s.p99_us, s.p999_us, s.max_us].map(ms);
            [name.clone(), s.count.to_string()].into_iter().chain(figures).collect()
        })
        .collect();
    table(&["ms", "samples", "p50", "p90", "p99", "p99.9", "max"], &cells, true)
        + &paragraph(
            "note",
            "From the intended instant unless said otherwise. –: too few samples for this percentile.",
        )
}

fn over_time_part(timeline: &Timeline) -> String {
    let mut figures = Vec::new();
    if let Some(svg) = heat::chart(timeline) {
        let legend = heat::LEVELS.map(|(_, class, name)| (class, name));
        let caption =
            "Each column is an interval; a box's shade is the share of its answers that took that long.";
        figures.push(figure("Response time", &legend, &svg, caption));
    }
    let faults =
        if timeline.faults.is_empty() { "" } else { " Shaded: a fault, until the service was whole." };
    let lines = [
        (
            "Throughput",
            "a second",
            &over_time::THROUGHPUT,
            "What was due, answered and failed in each interval.",
        ),
        ("CPU", "% of a core", &over_time::CPU, "Over 100 % when several cores are used."),
    ];
    for (title, unit, lines, caption) in lines {
        if let Some(svg) = over_time::chart(timeline, title, unit, lines) {
            let legend = over_time::present(timeline, lines);
            figures.push(figure(title, &legend, &svg, &format!("{caption}{faults}")));
        }
    }
    if figures.is_empty() { paragraph("note", NOT_RECORDED) } else { charts(&figures) }
}

fn faults(timeline: &Timeline) -> String {
    let one = |fault: &super::super::timeline::Fault| {
        let mut entries = vec![("at".to_owned(), format!("{:.1} s", fault.at_s))];
        let whole = fault.whole_s.map_or_else(
            || "not seen".into(),
            |s| format!("at {s:.1} s, {:.1} s after the fault", s - fault.at_s),
        );
        entries.push(("whole again".to_owned(), whole));
        entries.extend(fault.found.iter().cloned());
        format!("<h3>{}</h3>\n{}", super::super::html::escape(&fault.what), list(&entries))
    };
    timeline.faults.iter().map(one).collect()
}

/// Sums of a run with faults: each line's parts are the ones indented below it.
fn accounts(result: &RunResult) -> String {
    let Some(accounts) = &result.accounts else { return String::new() };
    let indented = |depth: usize, name: &str| format!("{}{name}", "\u{2003}".repeat(depth));
    let sums =
        show::sums(accounts).into_iter().map(|(depth, name, n)| vec![indented(depth, name), n.to_string()]);
    let seen = show::beside(accounts).into_iter().filter(|(_, n)| *n > 0);
    let beside: Vec<_> = seen.map(|(name, n)| vec![name.to_owned(), n.to_string()]).collect();
    let mut out = table(&["messages", ""], &sums.collect::<Vec<_>>(), true);
    if !beside.is_empty() {
        out += &table(&["across these", ""], &beside, true);
    }
    out
}

fn counted(entries: &[(&str, u64)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, n)| ((*name).to_owned(), n.to_string())).collect()
}

fn ledger(result: &RunResult) -> String {
    let (c, l) = (&result.counts, &result.ledger);
    let mut entries = counted(&[("due", c.intended), ("sent", c.sent)]);
    if is_operations(result) {
        for operation in &result.operations {
            let text = format!("{} succeeded, {} failed", operation.completed, operation.failed);
            entries.push((operation.name.clone(), text));
        }
    } else {
        entries.extend(counted(&[
            ("acknowledged", c.acked),
            ("deliveries", c.delivered),
            ("lost", l.lost),
            ("duplicated", l.duplicated),
            ("reordered", l.reordered),
            ("corrupt", l.corrupt),
            ("misrouted", l.misrouted),
            ("stored twice", l.stored_twice),
            ("holes", l.holes),
        ]));
    }
    let seldom = [
        ("epoch changes", l.epoch_changes),
        ("foreign", l.foreign),
        ("not recorded", l.overflowed),
        ("never sent", c.unsent),
        ("in-flight cap hits", c.cap_hits),
        ("connections failed", c.connect_failures),
        ("connections broken", c.disconnects),
        ("closed and opened again", c.reopened),
        ("closed and not opened again", c.reopen_failures),
        ("presence frames", c.presence_frames),
    ];
    entries.extend(counted(&seldom.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>()));
    entries.extend(c.errors.iter().map(|(kind, n)| (format!("error: {kind}"), n.to_string())));
    list(&entries)
}

fn slow_readers(result: &RunResult) -> String {
    let told = |reader| paragraph("", &slow::lines(reader).join(". "));
    result.slow.iter().map(told).collect()
}

fn resources(result: &RunResult) -> String {
    let r = &result.resources;
    let each = if is_operations(result) { "µs an operation" } else { "µs a delivery" };
    let [server, redis, generator] = processes(result);
    let mut rows: Vec<Vec<String>> = [(server, r.server), (redis, r.redis), (generator, r.generator)]
        .into_iter()
        .filter(|(_, used)| used.is_some())
        .map(|(name, used)| {
            vec![
                name.to_owned(),
                share(used.map(|u| u.cores)),
                usage(used, |u| Some(format!("{:.1}", u.us_per_delivery?))),
                usage(used, |u| Some(mib(u.rss_bytes))),
                usage(used, |u| Some(u.sockets?.count.to_string())),
                usage(used, |u| Some(mib(u.sockets?.bytes))),
            ]
        })
        .collect();
    if r.generator_busiest_thread.is_some() {
        let busiest = share(r.generator_busiest_thread);
        rows.push(vec![
            format!("{generator}'s busiest thread"),
            busiest,
            NONE.into(),
            NONE.into(),
            NONE.into(),
            NONE.into(),
        ]);
    }
    let calibrated = result.calibration.as_ref().map(|calibration| {
        let headroom = calibration.headroom.map_or_else(|| NONE.into(), |times| format!("{times:.1} ×"));
        let text = format!(
            "The same load, offered to a responder that does nothing: busiest thread {}, p99 {} ms, headroom {headroom}.",
            share(calibration.busiest_thread),
            ms(calibration.p99_us)
        );
        paragraph("note", &text)
    });
    let bare = result
        .bare
        .as_ref()
        .map(|bare| paragraph("note", &format!("By the writer's own clocks, {}.", a_write(bare))));
    table(&["", "CPU, of one core", each, "RSS MiB", "sockets", "held by the kernel, MiB"], &rows, true)
        + &calibrated.or(bare).unwrap_or_default()
}

fn reconciled_part(result: &RunResult) -> String {
    let seen = result.reconciliation.as_ref();
    seen.map(|seen| section("Beside the servers' own count", &reconciled::part(seen))).unwrap_or_default()
}

fn evidence(result: &RunResult) -> String {
    let rows: Vec<Vec<String>> = result
        .verdict
        .evidence
        .iter()
        .map(|e| {
            let kept = if e.kept { "✓\u{a0}kept" } else { "✗\u{a0}broken" };
            vec![e.rule.clone(), kept.to_owned(), e.seen.clone(), e.limit.clone(), e.means.to_string()]
        })
        .collect();
    table(&["rule", "", "seen", "limit", "broken, it means"], &rows, false)
}

fn configuration(result: &RunResult) -> String {
    let c = &result.config;
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| entries.push((name.to_owned(), value));
    match (&c.lab, &c.redis) {
        (Some(driven), _) => add("lab and variant", format!("{}={}", driven.lab, driven.variant)),
        (None, Some(commands)) => {
            let mix: Vec<_> = commands.mix.iter().map(|(op, weight)| format!("{weight} {op}")).collect();
            add("client", commands.client.to_string());
            add("connections to a master", c.conns.to_string());
            add("mix", mix.join(", "));
            add("keys of each structure", commands.keys.to_string());
            add("value", format!("{} B", c.body_bytes));
            if commands.listeners > 0 {
                add("listeners", format!("{} on {} channels", commands.listeners, commands.channels));
            }
        }
        (None, None) => {
            add("connections", c.conns.to_string());
            add("rooms", format!("{}, {} a connection", c.rooms, c.rooms_per_conn));
            add("body", format!("{} B", c.body_bytes));
            add("chat server processes", c.servers.to_string());
            if c.churn_conns > 0 {
                add("reconnecting", format!("{} connections, {} a second", c.churn_conns, c.churn_per_s));
            }
        }
    }
    add("rate", format!("{} a second, {}", c.rate_per_s, c.schedule));
    if let Some(warm_up) = &result.warm_up {
        add("warm-up", warm_up.told());
    }
    add("window", format!("{} s", c.secs));
    add("seed", c.seed.to_string());
    add("schedule SHA-256", c.schedule_sha256.clone());
    add("in-flight cap", c.in_flight_cap.to_string());
    add("generator threads", c.threads.to_string());
    list(&entries)
}

fn environment(result: &RunResult) -> String {
    let e = &result.environment;
    let mut entries = vec![
        ("processor".to_owned(), format!("{} × {}", e.cores, e.cpu_model)),
        ("kernel".to_owned(), e.kernel.clone()),
        ("open files".to_owned(), e.nofile.to_string()),
        ("chatlab".to_owned(), e.version.clone()),
    ];
    entries.extend(result.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    list(&entries)
}
