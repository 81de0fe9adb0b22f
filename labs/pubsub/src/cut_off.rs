//! Experiment: what a cut costs, and what the subscriber learns of it.

use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    ids::RoomId,
    lab::{Axis, Chart, Env, Findings, Point, Series},
};
use futures_util::future::try_join_all;

use crate::{KEEP, build, flow, flow::Account, outage::Outage};

/// Lengths of a cut, in milliseconds.
const CUTS_MS: [u64; 3] = [20, 200, 1_000];
/// Who is cut.
const VARIANTS: [&str; 8] = [
    "sharded",
    "classic",
    "stream_tail",
    "polling",
    "auto_resubscribe",
    "fire_and_forget",
    "tail_from_now",
    "list_offset",
];

/// Cuts each variant's subscriber while messages flow, and counts.
pub(crate) async fn cut_off(env: &Env) -> LabResult<Findings> {
    let columns = CUTS_MS.iter().flat_map(|ms| [format!("{ms} ms"), "untold".to_owned()]);
    let mut findings = Findings::new("lost when cut", columns);
    let mut series: Vec<Series> =
        VARIANTS.iter().map(|name| Series { name: (*name).to_owned(), points: Vec::new() }).collect();
    let mut rows = vec![Vec::new(); VARIANTS.len()];
    for ms in CUTS_MS {
        let runs = VARIANTS.iter().map(|variant| one(env, variant, Duration::from_millis(ms)));
        for (i, account) in try_join_all(runs).await?.into_iter().enumerate() {
            series[i].points.push(Point::at(ms as f64, account.lost as f64));
            rows[i].push(account);
        }
    }
    for (name, accounts) in VARIANTS.iter().zip(&rows) {
        let numbers: Vec<f64> =
            accounts.iter().flat_map(|account| [account.lost as f64, account.untold as f64]).collect();
        findings.row(*name, numbers);
        findings.conclude(sentence(name, accounts));
    }
    // Deaf for good: what it loses says how long the flow went on, not how long the cut was.
    series.retain(|line| line.name != "fire_and_forget");
    findings.charts.push(Chart {
        title: "messages lost in a cut".to_owned(),
        x: Axis::log("ms cut off"),
        y: Axis::linear("messages lost"),
        series,
    });
    findings.note(format!(
        "2 ms between two messages; the stores of stream_tail and polling keep {KEEP}. The cut is an ACL that lets the \
         subscriber's user log in and do nothing else, after CLIENT KILL USER; a feed is away longer than the cut, until it \
         has tried again."
    ));
    Ok(findings)
}

async fn one(env: &Env, variant: &str, cut: Duration) -> LabResult<Account> {
    let outage = Outage::new(&env.redis).await?;
    let unknown = || LabError::Other(format!("no variant {variant}"));
    let subscriber = build(variant, outage.redis.clone()).ok_or_else(unknown)?;
    let publisher = build(variant, env.redis.clone()).ok_or_else(unknown)?;
    let room = RoomId::new();
    let event = async {
        outage.begin().await?;
        // The planted fault, for so long.
        tokio::time::sleep(cut).await;
        outage.end().await
    };
    let account = flow::flow(&*subscriber, &*publisher, &room, event).await;
    drop(subscriber);
    outage.clean_up([room]).await?;
    account
}

fn sentence(variant: &str, accounts: &[Account]) -> String {
    let lost: u64 = accounts.iter().map(|account| account.lost).sum();
    let untold: u64 = accounts.iter().map(|account| account.untold).sum();
    let published: u64 = accounts.iter().map(|account| account.published).sum();
    match (lost, untold) {
        (0, _) => format!("{variant}: nothing of {published} messages was lost."),
        (_, 0) => format!("{variant}: {lost} of {published} were lost, and all of them were told by a gap."),
        _ => format!("{variant}: {lost} of {published} were lost, {untold} of them without a word."),
    }
}
