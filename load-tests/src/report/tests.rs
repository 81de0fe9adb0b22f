//! The pages of made-up results: well-formed, complete, and without anything from elsewhere.

use std::{convert::Infallible, fs};

use super::*;
use crate::{
    compare::{Options, Session, Which},
    knee::{Search, Seen},
    matrix::{Axes, Matrix},
    recording, testing,
    verdict::Kind,
};

/// A page of this much is a report; more is a mistake.
const MOST_BYTES: usize = 400_000;

fn timeline() -> Timeline {
    let second = |i: u32| Second {
        at_s: f64::from(i),
        long_s: 1.0,
        response: Some(testing::latency(if i == 20 { 30.0 } else { 2.0 }, 2_000)),
        due: Some(100),
        done: Some(if i == 20 { 60 } else { 100 }),
        errors: Some(u64::from(i == 20) * 40),
        server_cores: Some(0.5 + f64::from(i % 3) * 0.05),
        redis_cores: Some(0.1),
        generator_cores: Some(0.2),
    };
    let fault = Fault {
        what: "kill a master".into(),
        at_s: 20.0,
        whole_s: Some(23.5),
        found: vec![("errors".into(), "40".into())],
    };
    Timeline { seconds: (0..60).map(second).collect(), faults: vec![fault] }
}

fn check(page: &str) {
    assert!(page.len() < MOST_BYTES, "{} bytes", page.len());
    for bad in ["<script", "http://", "https://", "@import", "url(", "src=", "NaN", "inf"] {
        let outside: String =
            page.split("<style>").map(|part| part.split("</style>").last().unwrap_or("")).collect();
        assert!(!outside.contains(bad), "{bad}");
    }
    for tag in ["svg", "table", "figure", "section", "dl", "ul", "text", "p", "main"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn a_run_over_time_shows_everything_there_is() {
    let page = run_page(&testing::run(1.0), &timeline());
    check(&page);
    for part in [
        "VALID",
        "Latency by percentile",
        "Response time",
        "Throughput",
        "CPU",
        "kill a master",
        "schedule SHA-256",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.matches("role=\"img\"").count() >= 4);
}

#[test]
fn a_run_that_is_not_valid_withholds_its_headline() {
    let mut result = testing::run(1.0);
    result.verdict.kind = Kind::GeneratorBound;
    result.verdict.evidence[0].kept = false;
    result.headline = None;
    let page = run_page(&result, &Timeline::default());
    check(&page);
    assert!(
        page.contains("withheld")
            && page.contains("generator_thread_cpu")
            && !page.contains("class=\"tiles\"")
    );
    assert!(page.contains("Intervals were not recorded"));
}

fn compared(ratio: f64) -> crate::compare::Compared {
    let mut factor = 1.0;
    Session::new("reference", "history=list <b>", Options { resamples: 999, ..Options::default() })
        .take(|which| {
            factor = if factor > 1.02 { 1.0 } else { factor + 0.01 };
            Ok::<_, Infallible>(testing::run(if which == Which::B { factor * ratio } else { factor }))
        })
        .unwrap()
}

#[test]
fn comparisons_knees_and_tables_have_pages() {
    let differs = compare_page(&compared(1.2));
    check(&differs);
    assert!(differs.contains("differs") && differs.contains("history=list &lt;b&gt;"));
    let knee = Search::new("sample", crate::knee::Options::default()).take(|ask| {
        let us = (4_600_000.0 / (1000.0 - ask.rate).max(1.0)) as u64;
        let kind = if ask.rate > 1000.0 { Kind::ServerBound } else { Kind::Valid };
        Ok::<_, Infallible>(Seen::new(kind, Some(us), Some(us), ask.rate))
    });
    let page = knee_page(&knee.unwrap());
    check(&page);
    assert!(page.contains("objective 50 ms") && page.contains("recovers"));
    let axes = Axes {
        variants: vec!["reference".into(), "history=list".into()],
        clients: vec!["redis-rs".into()],
        topologies: vec!["single".into(), "cluster".into()],
        repeats: 2,
        seed: 1,
    };
    let table = Matrix::new("sample", axes).take(|_| Ok::<_, String>(testing::run(1.0)));
    check(&matrix_page(&table));
}

#[test]
fn terminal_texts_are_no_wider_than_they_may_be() {
    for ratio in [1.0, 1.2] {
        let text = crate::compare::terminal_of_session(&compared(ratio));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
    let wrapped = wrap(&"word ".repeat(40), "  ");
    assert!(wrapped.lines().count() > 2 && wrapped.lines().all(|line| line.chars().count() <= WIDTH));
    assert!(wrapped.lines().nth(1).unwrap().starts_with("  word"));
}

#[test]
fn a_recorded_run_shows_what_happened_over_time() {
    let dir = std::env::temp_dir().join(format!("chatlab-recorded-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let histogram = testing::latency(2.0, 500).summary().unwrap().hdr_v2;
    let log = |tag: &str| {
        let head = "#[StartTime: 1700000000.000 (seconds since epoch)]\n#[BaseTime: 1700000000.000 (seconds since epoch)]\n";
        let lines = (0..4).map(|second| format!("Tag={tag},{second}.000,1.000,40.000,{histogram}\n"));
        head.to_owned() + &lines.collect::<String>()
    };
    let rows = (0..5).map(|second| format!("\n{second},100,100,100,500,0,,,,,0.200,0.500,0.100"));
    let files = [
        (recording::RESULT, serde_json::to_string(&testing::run(1.0)).unwrap()),
        (recording::RESPONSE, log("delivery")),
        (recording::SERVICE, log("delivery")),
        (recording::PACING, log("send")),
        (recording::TIMELINE, recording::HEADER.to_owned() + &rows.collect::<String>() + "\n"),
    ];
    for (name, text) in &files {
        fs::write(dir.join(name), text).unwrap();
    }
    let run = recording::RecordedRun::read(&dir).unwrap();
    let timeline = recorded::timeline(&run).unwrap();
    assert_eq!((timeline.seconds.len(), timeline.end_s()), (5, 5.0));
    assert!(timeline.seconds[3].response.is_some() && timeline.seconds[4].response.is_none());
    let reports = folder(&dir).unwrap();
    let page = fs::read_to_string(&reports[0].page).unwrap();
    check(&page);
    assert!(page.contains("Throughput") && page.contains("Response time over time"));
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_folder_is_reported_on_from_its_files_alone() {
    let dir = std::env::temp_dir().join(format!("chatlab-report-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    assert!(matches!(folder(&dir), Err(ReportError::Empty(_))));
    write("run.json", &serde_json::to_string(&testing::run(1.0)).unwrap());
    write("compared.json", &serde_json::to_string(&compared(1.2)).unwrap());
    write("other.json", "{\"something\": 1}");
    write("broken.json", "{");
    let reports = folder(&dir).unwrap();
    let names: Vec<_> =
        reports.iter().map(|r| r.page.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["compared.html", "run.html"]);
    let first = fs::read(dir.join("run.html")).unwrap();
    assert_eq!(first.len() as u64, reports[1].bytes);
    folder(&dir).unwrap();
    assert_eq!(fs::read(dir.join("run.html")).unwrap(), first, "the same again");
    write("run.json", "{\"schema\": 1, \"verdict\": {}}");
    assert!(matches!(folder(&dir), Err(ReportError::Malformed { .. })));
    fs::remove_dir_all(&dir).unwrap();
}
