//! The driver `sql` on SQLite, and on PostgreSQL where it is installed: what was planned must be in the tables.

use std::{collections::BTreeMap, path::Path, sync::PoisonError};

use chatlab_load::{
    report,
    result::RunResult,
    scenario::Scenario,
    sql::{SqlPlan, generate},
    verdict::Kind,
    ws::LoadError,
};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{
    driver::{ONE_AT_A_TIME, patient},
    postgres::Postgres,
};

/// 400 operations of a second: 200 reads, 100 inserts, 100 transactions of two inserts; and 40 before it.
const SCENARIO: &str = r#"
title = "t"
about = "t"
driver = "sql"
conns = 3
rate = 400.0
secs = 1
schedule = "constant"
seed = 3
warm_up_ms = 100
settle_ms = 0
drain_ms = 5000
in_flight_cap = 1000
threads = 1
[sql]
prepare = [
    "DROP TABLE IF EXISTS load_t",
    "CREATE TABLE load_t (id TEXT NOT NULL PRIMARY KEY, who TEXT NOT NULL, at BIGINT NOT NULL)",
]
[[sql.fill]]
rows = 2500
sql = "INSERT INTO load_t (id, who, at) VALUES ($1, $2, $3)"
params = [{ kind = "id", of = "thing", below = 2500 }, { kind = "fixed", value = "fill" }, { kind = "now_ms" }]
[[sql.operations]]
name = "read"
weight = 2
must_find = true
sql = "SELECT who, at FROM load_t WHERE id = $1 LIMIT $2"
params = [{ kind = "id", of = "thing", below = 2500 }, { kind = "int", from = 1, to = 9 }]
[[sql.operations]]
name = "insert"
weight = 1
writes = true
sql = "INSERT INTO load_t (id, who, at) VALUES ($1, 'insert', $2)"
params = [{ kind = "new_id", of = "one" }, { kind = "now_ms" }]
[[sql.operations]]
name = "both"
weight = 1
writes = true
[[sql.operations.transaction]]
sql = "INSERT INTO load_t (id, who, at) VALUES ($1, 'both', $2)"
params = [{ kind = "new_id", of = "left" }, { kind = "int", from = 5, to = 5 }]
[[sql.operations.transaction]]
sql = "INSERT INTO load_t (id, who, at) VALUES ($1, 'both', $2)"
params = [{ kind = "new_id", of = "right" }, { kind = "int", from = 5, to = 5 }]
"#;

fn scenario(change: impl Fn(&str) -> String) -> Scenario {
    Scenario::parse("t", &change(SCENARIO)).unwrap()
}

fn run(scenario: &Scenario, url: &str, pids: Vec<u32>) -> Result<RunResult, LoadError> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut plan = SqlPlan::new(scenario, url, pids, BTreeMap::new()).unwrap();
    plan.run.limits = patient();
    generate(plan, &mut |_| {})
}

fn file(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("t.db").display())
}

const COUNT: &str = "SELECT COUNT(*) FROM load_t WHERE who = $1";

/// 400 in the window and 40 before it, in the order of their weights.
fn as_planned(result: &RunResult, counts: [i64; 3]) {
    let broken: Vec<_> = result.verdict.broken().map(|e| &e.rule).collect();
    assert_eq!(result.verdict.kind, Kind::Valid, "{broken:?} {:?}", result.counts.errors);
    let by_name: Vec<_> =
        result.operations.iter().map(|o| (o.name.as_str(), o.sent, o.completed, o.failed)).collect();
    assert_eq!(by_name, [("read", 200, 200, 0), ("insert", 100, 100, 0), ("both", 100, 100, 0)]);
    assert_eq!(counts, [2500, 110, 220], "fill, insert, both: with the warm-up");
    let text = report::terminal(result);
    println!("{text}");
    assert!(text.contains("3 connections, operations/s") && result.reconciliation.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_in_sqlites_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = file(folder.path());
    let target = url.clone();
    let result = tokio::task::spawn_blocking(move || run(&scenario(str::to_owned), &target, vec![]));
    let result = result.await.unwrap().unwrap();
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let mut counts = [0i64; 3];
    for (count, who) in counts.iter_mut().zip(["fill", "insert", "both"]) {
        *count = sqlx::query_scalar(COUNT).bind(who).fetch_one(&mut connection).await.unwrap();
    }
    as_planned(&result, counts);
    assert!(result.labels["database"].starts_with("SQLite 3."), "{:?}", result.labels);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_in_postgresqls_tables() {
    let Some(server) = tokio::task::spawn_blocking(Postgres::start).await.unwrap() else { return };
    let (url, pid) = (server.url(), server.pid());
    let target = url.clone();
    let result = tokio::task::spawn_blocking(move || run(&scenario(str::to_owned), &target, vec![pid]));
    let result = result.await.unwrap().unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut counts = [0i64; 3];
    for (count, who) in counts.iter_mut().zip(["fill", "insert", "both"]) {
        *count = sqlx::query_scalar(COUNT).bind(who).fetch_one(&mut connection).await.unwrap();
    }
    as_planned(&result, counts);
    assert!(result.labels["database"].starts_with("PostgreSQL "), "{:?}", result.labels);
    assert!(result.resources.server.is_some());
    connection.close().await.unwrap();
}

#[test]
fn what_fails_is_told_by_its_cause_and_a_missing_row_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let missing = scenario(|text| {
        text.replace("below = 2500 }, { kind = \"int\"", "below = 1, every = 1 }, { kind = \"int\"")
            .replace("rows = 2500", "rows = 0")
    });
    let result = run(&missing, &file(folder.path()), vec![]).unwrap();
    assert_eq!((result.verdict.kind, result.headline), (Kind::Unstable, None));
    assert_eq!(result.counts.errors.keys().collect::<Vec<_>>(), ["read: no row, where there is one"]);
    let folder = tempfile::tempdir().unwrap();
    let twice = scenario(|text| {
        text.replace("{ kind = \"new_id\", of = \"one\" }", "{ kind = \"fixed\", value = \"x\" }")
    });
    let result = run(&twice, &file(folder.path()), vec![]).unwrap();
    let kinds: Vec<_> = result.counts.errors.keys().collect();
    assert!(kinds.len() == 1 && kinds[0].contains("UNIQUE constraint failed"), "{kinds:?}");
}

#[test]
fn no_database_and_impossible_statements_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let url = file(&folder.path().join("no/such/folder"));
    let error = run(&scenario(str::to_owned), &url, vec![]).unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
    let wrong = scenario(|text| text.replace("BIGINT NOT NULL)", "BIGINT NOT NULL"));
    let error = run(&wrong, &file(folder.path()), vec![]).unwrap_err().to_string();
    assert!(error.contains("prepare"), "{error}");
    for (from, to, named) in [
        ("sql = \"SELECT", "sqll = \"SELECT", "sqll"),
        ("below = 2500 }, { kind = \"int\"", "below = 0 }, { kind = \"int\"", "below"),
        ("name = \"insert\"", "name = \"read\"", "two of the name read"),
        ("rows = 2500", "rows = 99999999", "rows"),
        ("conns = 3", "conns = 0", "conns"),
        ("conns = 3", "conns = 3\nrooms = 3", "rooms belongs"),
        ("kind = \"now_ms\"", "kind = \"later\"", "later"),
    ] {
        let error = Scenario::parse("t", &SCENARIO.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}
