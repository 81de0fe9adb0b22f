//! Console steps on real servers: typed as in redis-cli, judged by state and trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::lab::{Manifest, Step};
use chatlab_kit::prereq::find_server;
use chatlab_kit::proxy::Proxy;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::steps::{Attempt, Judgement, Typist, instance, prove};

const BOUND: Duration = Duration::from_secs(20);

struct World {
    managed: Managed,
    redis: Redis,
    proxy: Arc<Proxy>,
}

impl World {
    /// A server of its own: steps empty it.
    async fn start(topology: Topology) -> Self {
        let binary = find_server(None).unwrap();
        let managed = Managed::start_async(topology, &binary, &ServerOptions::steady()).await.unwrap();
        let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await.unwrap();
        let proxy = Arc::new(Proxy::start(topology, &managed.addrs()).await.unwrap());
        Self { managed, redis, proxy }
    }

    fn typist(&self) -> Typist {
        Typist::new(self.managed.topology(), self.proxy.addrs())
    }

    async fn begin(&self, step: Step) -> Attempt {
        Attempt::begin(step, &self.redis, self.proxy.clone()).await.unwrap()
    }

    /// Judges `expects` after `lines` were typed into a fresh step.
    async fn judged(&self, setup: &[&str], lines: &[&str], expects: &str) -> Judgement {
        let attempt = self.begin(step(setup, "", expects)).await;
        let mut typist = self.typist();
        for line in lines {
            typist.line(line).await;
        }
        attempt.judge().await.unwrap()
    }

    /// Judges until so many predicates hold: a message may be on its way still.
    async fn judged_until(&self, met: usize, lines: &[&str], expects: &str) -> Judgement {
        let attempt = self.begin(step(&[], "", expects)).await;
        let mut typist = self.typist();
        for line in lines {
            typist.line(line).await;
        }
        let end = tokio::time::Instant::now() + BOUND;
        loop {
            let judgement = attempt.judge().await.unwrap();
            if judgement.met.len() == met || tokio::time::Instant::now() > end {
                return judgement;
            }
        }
    }
}

fn manifest(setup: &[&str], drive: &str, expects: &str) -> Manifest {
    let text = format!(
        "id = 'x'\ntitle = 'X'\n[[steps]]\nid = 'a'\ngoal = 'g'\nhints = ['h']\nsolution = ['PING']\n\
         setup = {setup:?}\ndrive = [{drive}]\nexpect = [{expects}]\n"
    );
    Manifest::parse(&text).unwrap()
}

fn step(setup: &[&str], drive: &str, expects: &str) -> Step {
    instance(&manifest(setup, drive, expects), "a", 1).unwrap()
}

/// Each predicate: what is typed, and the predicate that then holds and the one that does not, with its sentence.
const PREDICATES: &[(&[&str], &str, &str, &str)] = &[
    (
        &["SET k v"],
        "'type', key = 'k', is = 'string'",
        "'type', key = 'k', is = 'hash'",
        "k is a string, not a hash",
    ),
    (&["SET k v"], "'absent', key = 'j'", "'absent', key = 'k'", "k still exists: it is a string"),
    (
        &["SET k v PX 9000"],
        "'ttl', key = 'k', min_ms = 1, max_ms = 9000",
        "'no_ttl', key = 'k'",
        "it should never",
    ),
    (
        &["SET k v"],
        "'no_ttl', key = 'k'",
        "'ttl', key = 'k', min_ms = 1, max_ms = 9",
        "k never expires; it should within 9 ms",
    ),
    (&["SET k v"], "'value', key = 'k', is = 'v'", "'value', key = 'k', is = 'w'", "k is \"v\", not \"w\""),
    (
        &["SET k 5"],
        "'number', key = 'k', min = 5, max = 5",
        "'number', key = 'k', min = 6",
        "k is 5; it should be at least 6",
    ),
    (
        &["HSET k f 5"],
        "'number', key = 'k', of = 'f', max = 5",
        "'number', key = 'k', of = 'g'",
        "g is not in k",
    ),
    (
        &["ZADD k 5 m"],
        "'number', key = 'k', of = 'm', min = 5",
        "'number', key = 'k', of = 'm', max = 4",
        "the score of m in k is 5",
    ),
    (
        &["HSET k f v"],
        "'field', key = 'k', field = 'f'",
        "'field', key = 'k', field = 'f', is = 'w'",
        "is \"v\", not \"w\"",
    ),
    (
        &["SADD k m"],
        "'has', key = 'k', member = 'm'",
        "'lacks', key = 'k', member = 'm'",
        "m is in k, and should not be",
    ),
    (&["ZADD k 1 m"], "'lacks', key = 'k', member = 'n'", "'has', key = 'k', member = 'n'", "n is not in k"),
    (&["RPUSH k m"], "'has', key = 'k', member = 'm'", "'has', key = 'j', member = 'm'", "j does not exist"),
    (
        &["ZADD k 1 a 2 b"],
        "'members', key = 'k', count = 2",
        "'members', key = 'k', count = 3",
        "it should have 3",
    ),
    (
        &["XADD k 1-1 f v"],
        "'length', key = 'k', min = 1, max = 1",
        "'length', key = 'k', min = 2",
        "k has 1 entries; it should have at least 2",
    ),
    (&["PING"], "'length', key = 'k', max = 0", "'length', key = 'k', min = 1", "does not exist"),
    (
        &["RPUSH k a b"],
        "'sequence', key = 'k', is = ['a', 'b']",
        "'sequence', key = 'k', is = ['a']",
        "k holds a, b; it should hold a",
    ),
    (
        &["ZADD k 2 b 1 a"],
        "'sequence', key = 'k', is = ['a', 'b']",
        "'sequence', key = 'k', is = ['b', 'a']",
        "holds a, b",
    ),
    (
        &["HSET k f v"],
        "'encoding', key = 'k', is = 'listpack'",
        "'encoding', key = 'k', is = 'hashtable'",
        "encoded as listpack",
    ),
    (
        &["XADD k 1-1 f v", "XGROUP CREATE k g 0", "XREADGROUP GROUP g c STREAMS k >"],
        "'group', key = 'k', group = 'g', pending_min = 1, pending_max = 1",
        "'group', key = 'k', group = 'g', pending_max = 0",
        "has 1 entries pending; it should have at most 0",
    ),
    (&["XADD k 1-1 f v"], "'sent', verb = 'XADD'", "'group', key = 'k', group = 'g'", "no consumer group g"),
    (&["PING"], "'same_slot', keys = ['{a}1', '{a}2']", "'same_slot', keys = ['a', 'b']", "different slots"),
    (
        &["GET k", "GET j"],
        "'sent', verb = 'GET', min = 2, max = 2",
        "'sent', verb = 'GET', max = 1",
        "at most once is allowed",
    ),
    (&["GET k"], "'not_sent', verb = 'KEYS'", "'not_sent', verb = 'GET'", "GET was sent: GET k"),
    (
        &["SET k v NX PX 50"],
        "'sent_like', pattern = 'set * nx *'",
        "'not_sent_like', pattern = 'SET*'",
        "should not be sent",
    ),
    (
        &["GET k"],
        "'not_sent_like', pattern = 'SET *'",
        "'sent_like', pattern = 'SET *'",
        "no command like SET *",
    ),
    (
        &["SET k v", "LPUSH k v"],
        "'reply_like', verb = 'LPUSH', pattern = '*WRONGTYPE*'",
        "'reply_like', verb = '*', pattern = '(nil)'",
        "was answered",
    ),
    (
        &["MULTI", "SET a 1", "PING", "INCR a", "EXEC"],
        "'in_multi', verbs = ['SET', 'INCR']",
        "'in_multi', verbs = ['INCR', 'SET']",
        "did not run",
    ),
    (&["MULTI", "SET a 1", "DISCARD"], "'sent', verb = 'SET'", "'in_multi', verbs = ['SET']", "did not run"),
    (
        &["SUBSCRIBE c", "@2 PUBLISH c hi", "@2 PUBLISH c hi"],
        "'received', channel = 'c', min = 2",
        "'received', channel = 'c', min = 3",
        "2 messages arrived",
    ),
    (
        &["SET a 1 ;; SET b 1", "GET a"],
        "'round_trips', max = 2",
        "'round_trips', max = 1",
        "2 round trips were made",
    ),
    (&["SCAN 0"], "'nothing_linear'", "'sent', verb = 'GET'", "GET was not sent"),
    (&["KEYS *"], "'sent', verb = 'KEYS'", "'nothing_linear'", "walks over every key"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_predicate_holds_or_says_what_is_missing() {
    let world = World::start(Topology::Single).await;
    for (lines, holds, fails, sentence) in PREDICATES {
        let judgement = world
            .judged_until(1, lines, &format!("{{ predicate = {holds} }}, {{ predicate = {fails} }}"))
            .await;
        assert_eq!(judgement.met.len(), 1, "{lines:?}: {judgement:?}");
        assert!(judgement.unmet[0].contains(sentence), "{lines:?}: {judgement:?}");
        assert!(!judgement.passed());
    }
}

/// Predicates over state that mean something on a cluster too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_run_on_a_cluster_and_redirects_are_followed() {
    let world = World::start(Topology::Cluster).await;
    let attempt = world
        .begin(step(
            &["SET before 1"],
            "{ do = 'await_sent', verb = 'SET', times = 6 }, { do = 'run', commands = ['SET after 1'] }",
            "{ predicate = 'length', key = 'k5', min = 1 }, { predicate = 'reply_like', verb = 'SET', pattern = '*MOVED*' },
             { predicate = 'sent', verb = 'SET', min = 6, max = 6 }, { predicate = 'value', key = 'after', is = '1' }",
        ))
        .await;
    let mut typist = world.typist();
    let mut redirected = 0;
    for n in 0..6 {
        let typed = typist.line(&format!("SET k{n} v")).await;
        assert!(typed.text.ends_with("OK") && !typed.error, "{typed:?}");
        redirected += usize::from(typed.text.starts_with("-> Redirected to slot ["));
    }
    assert!(redirected > 0, "six keys on three nodes");
    attempt.settle(BOUND).await;
    let judgement = attempt.judge().await.unwrap();
    assert!(judgement.passed(), "{judgement:?}");
    // The next step finds nothing of this one.
    let judgement = world
        .judged(
            &[],
            &["PING"],
            "{ predicate = 'absent', key = 'k5' }, { predicate = 'absent', key = 'before' }",
        )
        .await;
    assert!(judgement.passed(), "{judgement:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_around_the_learner_waits_for_the_learner() {
    let world = World::start(Topology::Single).await;
    let drive = "{ do = 'await_sent', verb = 'BLPOP' }, { do = 'run', commands = ['RPUSH q job'] },
        { do = 'await_sent', verb = 'SUBSCRIBE' }, { do = 'run', commands = ['PUBLISH news hi'] }, { do = 'cut' },
        { do = 'latency', ms = 30 }";
    let expects = "{ predicate = 'reply_like', verb = 'BLPOP', pattern = '*job*' }, { predicate = 'received', channel = 'news', min = 1 }";
    let attempt = world.begin(step(&[], drive, expects)).await;
    attempt.settle(BOUND).await;
    let first = attempt.judge().await.unwrap();
    assert_eq!(first.waiting.as_deref(), Some("the step waits for you to send BLPOP"));
    let mut typist = world.typist();
    let popped = typist.line("BLPOP q 20").await;
    assert!(popped.text.contains("\"job\""), "{popped:?}");
    let typed = typist.line("@2 SUBSCRIBE news").await;
    assert_eq!(typed.text, "1) \"subscribe\"\n2) \"news\"\n3) (integer) 1");
    attempt.settle(BOUND).await;
    let judgement = attempt.judge().await.unwrap();
    assert!(judgement.passed(), "{judgement:?}");
    let mut came = Vec::new();
    while came.len() < 2 {
        came.extend(typist.arrived(BOUND).await);
    }
    assert_eq!(came[0], (2, "1) \"message\"\n2) \"news\"\n3) \"hi\"".to_owned()));
    assert_eq!(came[1], (2, "Error: Server closed the connection".to_owned()));
    let began = std::time::Instant::now();
    assert_eq!(typist.line("@2 PING").await.text, "PONG");
    assert!(began.elapsed() >= Duration::from_millis(30));
    // A new step begins without the added latency, and the old one's actions are over.
    let attempt = world.begin(step(&[], "", "{ predicate = 'sent', verb = 'PING' }")).await;
    assert!(world.proxy.trace().entries().is_empty());
    typist.line("PING").await;
    assert!(attempt.judge().await.unwrap().passed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_come_late_and_wrong_lines_are_shown() {
    let world = World::start(Topology::Single).await;
    let mut typist = world.typist();
    let blocked = typist.line("@2 BLPOP q 0").await;
    assert!(blocked.text.contains("waiting"), "{blocked:?}");
    assert_eq!(typist.line("RPUSH q a").await.text, "(integer) 1");
    let late = typist.arrived(BOUND).await;
    assert_eq!(late, [(2, "1) \"q\"\n2) \"a\"".to_owned())]);
    assert_eq!(typist.line("@2 PING").await.text, "PONG");
    assert!(typist.line("SET k \"a").await.error);
    assert!(typist.line("@99 PING").await.error);
    assert!(typist.line("NOSUCH").await.text.starts_with("(error) ERR unknown command"));
    assert_eq!(typist.line("").await.text, "");
    assert_eq!(typist.line("SET a 1 ;; INCR a ;; GET a").await.text, "OK\n(integer) 2\n\"2\"");
    assert!(typist.line("HELLO 3").await.text.contains("\"proto\" => (integer) 3"));
    typist.line("HSET h f v").await;
    assert_eq!(typist.line("HGETALL h").await.text, "1# \"f\" => \"v\"");
    assert_eq!(typist.line("SUBSCRIBE c d").await.text.matches("subscribe").count(), 2);
    assert_eq!(typist.line("UNSUBSCRIBE").await.text.matches("unsubscribe").count(), 2);
    assert_eq!(typist.line("UNSUBSCRIBE").await.text, "1> \"unsubscribe\"\n2> (nil)\n3> (integer) 0");
    assert_eq!(typist.line("SET bin \"\\xff\\x00\"").await.text, "OK");
    assert_eq!(typist.line("GET bin").await.text, "\"\\xff\\x00\"");
}

/// Connections of the step before would be counted, or be given what is pushed for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_since_the_step_before_is_cut_off() {
    for topology in [Topology::Single, Topology::Cluster] {
        let world = World::start(topology).await;
        let _before = world.begin(step(&[], "", "{ predicate = 'sent', verb = 'PING' }")).await;
        let mut old = world.typist();
        for line in ["@1 SUBSCRIBE c", "@2 SSUBSCRIBE c", "@3 BLPOP q 0", "@4 MONITOR"] {
            assert!(!old.line(line).await.error, "{line}");
        }
        let _after = world.begin(step(&[], "", "{ predicate = 'sent', verb = 'PING' }")).await;
        let mut new = world.typist();
        for (line, answer) in [
            ("SPUBLISH c m", "(integer) 0"),
            ("PUBLISH c m", "(integer) 0"),
            ("RPUSH q a", "(integer) 1"),
            ("LLEN q", "(integer) 1"),
        ] {
            let typed = new.line(line).await;
            assert!(typed.text.ends_with(answer), "{topology}, {line}: {typed:?}");
        }
        assert_eq!(
            old.line("@4 PING").await.text,
            "PONG",
            "a new connection takes the place of the lost one"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_of_the_sessions_lab_are_proven() {
    let world = World::start(Topology::Single).await;
    let manifest = Manifest::parse(include_str!("../../sessions/lab.toml")).unwrap();
    for step in &manifest.steps {
        for seed in 1..=3 {
            prove("sessions", &manifest, &step.id, seed, &world.redis, world.proxy.clone()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_cannot_teach_is_not_proven() {
    let world = World::start(Topology::Single).await;
    let text = "id = 'x'\ntitle = 'X'\n[[steps]]\nid = 'a'\ngoal = 'g'\nhints = ['h']\nsolution = ['SET k 1']\n\
        expect = [{ predicate = 'value', key = 'k', is = '1' }]\n[[steps.mistakes]]\nsay = 'two'\n\
        when = [{ predicate = 'value', key = 'k', is = '2' }]\nattempt = ['SET k 2']\n";
    let proven = async |text: &str| {
        let manifest = Manifest::parse(text).unwrap();
        prove("x", &manifest, "a", 1, &world.redis, world.proxy.clone()).await
    };
    proven(text).await.unwrap();
    let idle = text.replace("'value', key = 'k', is = '1'", "'absent', key = 'j'");
    assert!(proven(&idle).await.unwrap_err().contains("before anything is typed"));
    let harmless = text.replace("'SET k 2'", "'SET k 1'");
    assert!(proven(&harmless).await.unwrap_err().contains("passes"));
    let other = text.replace("'SET k 2'", "'SET k 3'");
    assert!(proven(&other).await.unwrap_err().contains("not recognised"));
    let wrong = text.replace("solution = ['SET k 1']", "solution = ['SET k 4']");
    assert!(proven(&wrong).await.unwrap_err().contains("the solution does not pass: [\"k is \\\"4\\\", not"));
}
