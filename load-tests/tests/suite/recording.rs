//! A run written to a folder and read back, by the drivers themselves.

use std::{fs, path::Path, time::Duration};

use chatlab_load::{
    recorder::{Latency, Summary},
    recording::{PACING, RESPONSE, RESULT, RecordedRun, SERVICE, TIMELINE, write_result},
    report,
    result::RunResult,
    schema::Schema,
    verdict::Kind,
    ws::{LoadError, generate},
};
use serde_json::Value;

use crate::{
    driver::{ONE_AT_A_TIME, broken, plan, run},
    scripted::Faults,
};

/// 12 connections in 3 rooms of 4, 300 messages a second for two seconds, on two threads.
fn record(dir: &Path) -> RunResult {
    let server = crate::scripted::start(Faults { refuse_every: Some(100), ..Faults::default() });
    let mut plan = plan(server, 12, 3, 300.0, 2_000);
    (plan.threads, plan.record) = (2, Some(dir.to_owned()));
    run(plan)
}

fn read_summary(summary: &Summary) -> Latency {
    Latency::from_summary(summary).unwrap()
}

#[test]
fn a_recorded_run_holds_second_by_second_what_its_result_holds_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/run");
    let result = record(&dir);
    let read = RecordedRun::read(&dir).unwrap();
    // All but the last digit of what is not counted: JSON has decimals.
    assert!(read.result.counts == result.counts && read.result.latency == result.latency);
    assert!(read.result.config == result.config && read.result.verdict == result.verdict);
    let latency = &result.latency;
    for (log, tag, whole) in [
        (&read.response, "ack", &latency.ack),
        (&read.response, "delivery", &latency.delivery),
        (&read.service, "ack", &latency.ack_service),
        (&read.service, "delivery", &latency.delivery_service),
        (&read.pacing, "send", &latency.pacing),
    ] {
        assert_eq!(log.merged(tag).unwrap(), read_summary(whole), "{tag}");
        let intervals: Vec<_> = log.intervals().map(Result::unwrap).filter(|i| i.tag == tag).collect();
        assert!(intervals.len() >= 2, "an interval a second");
        assert!(intervals.windows(2).all(|w| w[0].start_s + w[0].len_s <= w[1].start_s));
    }
    assert!(read.response.start_unix_s().is_some_and(|at| at > 1.6e9));
    assert_eq!(read.response.merged("send").unwrap().count(), 0);
    let sum =
        |figure: fn(&chatlab_load::recording::Row) -> u64| read.timeline.iter().map(figure).sum::<u64>();
    let counts = &result.counts;
    assert_eq!(sum(|row| row.due.unwrap()), counts.intended);
    assert_eq!(
        [sum(|row| row.sent), sum(|row| row.acked), sum(|row| row.delivered)],
        [counts.sent, counts.acked, counts.delivered]
    );
    assert!(sum(|row| row.errors) >= 5, "one message in a hundred is refused");
    assert!(read.timeline.iter().map(|row| row.second).eq(0..read.timeline.len() as u64));
    let first = read.timeline[0];
    assert!(first.ack_p50_us.is_some() && first.ack_p99_us.is_none(), "{first:?}");
    assert!(first.generator_cores.is_some() && first.redis_cores.is_none(), "{first:?}");
    for name in ["response-ack", "response-delivery", "service-ack", "service-delivery", "pacing"] {
        let text = fs::read_to_string(dir.join(format!("{name}.hgrm"))).unwrap();
        assert!(text.contains("1/(1-Percentile)") && text.contains("Total count"));
    }
    let reports = report::folder(&dir).unwrap();
    let page = fs::read_to_string(&reports[0].page).unwrap();
    assert!(reports.len() == 1 && page.len() as u64 == reports[0].bytes);
    for part in ["Latency by percentile", "Response time over time", "Throughput", "schedule SHA-256"] {
        assert!(page.contains(part), "{part}");
    }
    // A folder that holds a run is not written over, but what is learnt later can be added to its result.
    let server = crate::scripted::start(Faults::default());
    let mut again = plan(server, 1, 1, 10.0, 100);
    again.record = Some(dir.clone());
    let error = generate(again, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LoadError::Recording(_)) && error.to_string().contains("already"), "{error}");
    let mut more = result;
    more.labels.insert("reconciled".into(), "yes".into());
    write_result(&dir, &more).unwrap();
    assert_eq!(RecordedRun::read(&dir).unwrap().result.labels, more.labels);
}

#[test]
fn missing_and_broken_files_are_named_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path());
    let attempt = |name: &str, change: &dyn Fn(&str) -> Option<String>| {
        let file = folder.path().join(name);
        let good = fs::read_to_string(&file).unwrap();
        match change(&good) {
            Some(bad) => fs::write(&file, bad).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = RecordedRun::read(folder.path()).unwrap_err().to_string();
        fs::write(&file, good).unwrap();
        assert!(error.contains(name), "{error}");
        error
    };
    for name in [RESULT, RESPONSE, SERVICE, PACING, TIMELINE] {
        assert!(attempt(name, &|_| None).contains("is this the folder of a recorded run?"));
    }
    let cut = |good: &str| Some(good[..good.len() - 9].to_owned());
    assert!(attempt(RESULT, &cut).contains("line"));
    assert!(
        attempt(RESULT, &|good| Some(good.replace("\"schema\": 1", "\"schema\": 7"))).contains("schema 7")
    );
    assert!(attempt(RESULT, &|good| Some(good.replace("\"intended\"", "\"wanted\""))).contains("intended"));
    assert!(attempt(RESPONSE, &cut).contains("not a whole one"));
    assert!(attempt(RESPONSE, &|good| Some(format!("{good}hello\n"))).contains("no line of an interval log"));
    assert!(attempt(PACING, &|good| Some(good.replace(",HIST", ",TSIH"))).contains("interval 1"));
    assert!(attempt(TIMELINE, &cut).contains("line"));
    assert!(attempt(TIMELINE, &|good| Some(good.replace("due", "owed"))).contains("line 1"));
    assert!(RecordedRun::read(folder.path()).is_ok());
}

#[test]
fn a_real_result_is_as_the_published_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path());
    let result: Value = serde_json::from_slice(&fs::read(folder.path().join(RESULT)).unwrap()).unwrap();
    assert_eq!(as_published(folder.path()), Vec::<String>::new());
    // The check itself sees what is missing, of another type, and not described.
    let change = |path: &str, to: Option<Value>| {
        let mut other = result.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = other.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match to {
            Some(to) => parent.insert(key.into(), to),
            None => parent.remove(key),
        };
        against_schema(&other)
    };
    assert_eq!(change("/latency/ack/p99_us", None), ["result.latency.ack.p99_us is missing"]);
    assert_eq!(
        change("/latency/ack/p99_us", Some("fast".into())),
        ["result.latency.ack.p99_us is no integer or null"]
    );
    assert_eq!(change("/verdict/kind", Some("GOOD".into())), ["result.verdict.kind is none of its values"]);
    assert_eq!(
        change("/counts/fun", Some(1.into())),
        ["result.counts.fun is not described: add it to the schema"]
    );
}

/// What in a folder's result is not as the published schema says.
pub(crate) fn as_published(folder: &Path) -> Vec<String> {
    against_schema(&serde_json::from_slice(&fs::read(folder.join(RESULT)).unwrap()).unwrap())
}

pub(crate) fn against_schema(result: &Value) -> Vec<String> {
    Schema::read(include_str!("../../../docs/result.schema.json")).unwrap().check(result, "result")
}

#[test]
fn a_warm_up_ends_when_latency_has_settled() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut plan = plan(crate::scripted::start(Faults::default()), 12, 3, 300.0, 500);
    (plan.warm_up_ms, plan.settle_ms) = (0, 60_000);
    let result = generate(plan, &mut |_| {}).unwrap();
    let warm_up = result.warm_up.clone().unwrap();
    assert!(warm_up.settled && !warm_up.fixed && warm_up.steady_from_ms.is_some(), "{warm_up:?}");
    assert!((3_000..60_000).contains(&warm_up.ms), "found, not waited for: {} ms", warm_up.ms);
    assert!(warm_up.medians_us.len() >= 12);
    // The window is as long as it was asked for, and nothing of the warm-up is in it.
    assert_eq!((result.counts.intended, result.counts.sent, result.counts.acked), (150, 150, 150));
    assert_eq!(result.latency.ack.count, 150);
    assert!(
        result.ledger.delivered > 4 * 150 + 4 * 800 && result.ledger.faults() == 0,
        "{:?}",
        result.ledger
    );
}

#[test]
fn a_warm_up_that_never_settles_makes_the_run_unstable_and_says_how() {
    // A queue that grows by 0.4 s every second.
    let server = crate::scripted::start(Faults { cost: Duration::from_millis(7), ..Faults::default() });
    let mut plan = plan(server, 4, 1, 200.0, 500);
    (plan.warm_up_ms, plan.settle_ms, plan.drain_ms) = (0, 4_000, 10_000);
    let result = run(plan);
    let rule = result.verdict.evidence.iter().find(|e| e.rule == "settled").unwrap();
    assert!(
        !rule.kept && rule.means == Kind::Unstable && rule.seen.contains("not settled after 4"),
        "{rule:?}"
    );
    assert!(broken(&result).contains(&"settled") && result.headline.is_none());
    assert!(!result.warm_up.unwrap().settled);
}
