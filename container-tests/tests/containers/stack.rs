//! The stack of `docker/compose.stack.yml`, broken while people talk: an instance of chatlab, a Redis master, PostgreSQL, each killed and
//! started again by the engine alone. Nobody who is left is restarted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hyper::Method;
use tokio::{process::Command, sync::watch, task::JoinHandle};

use crate::{
    built,
    compose::Compose,
    conversation::{Party, Said, Speaker, bodies, each_once, history, room},
    engine::docker,
    http::Ask,
    nodes::until,
    settings::Settings,
    talker::Talker,
};

const INSTANCES: [&str; 3] = ["chatlab-1", "chatlab-2", "chatlab-3"];
const NODES: [&str; 6] = ["redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6"];
/// People with a connection.
const TALKERS: usize = 6;
/// Rooms besides the one that all are in: with them every master has some.
const ROOMS: usize = 5;
/// How long an instance, and PostgreSQL, are away.
const AWAY: Duration = Duration::from_secs(20);
/// How long all goes well between two faults.
const CALM: Duration = Duration::from_secs(3);
/// How often each instance is asked whether it is ready.
const ASKED: Duration = Duration::from_millis(500);

pub async fn is_broken(settings: &Settings) -> anyhow::Result<()> {
    let program = &built::programs(settings)?.chatlab;
    let stack = Compose::new(settings, "stack")?;
    stack.up(&[])?;
    let tested = broken(&stack, program).await;
    tested.with_context(|| stack.logs())
}

async fn broken(stack: &Compose, program: &std::path::Path) -> anyhow::Result<()> {
    let http = stack.http();
    let party = Party::gather(&http, TALKERS).await?;
    let mut talkers = Vec::new();
    for name in &party.names {
        talkers.push(Talker::join(program, http.base(), name, &party.room).await?);
    }
    let spread = instances_with_connections(stack).await?;
    ensure!(spread > 1, "all are at one instance");
    for (i, talker) in talkers.iter_mut().enumerate() {
        talker.say(&format!("typed-{i}")).await?;
    }
    let typed: Vec<_> = (0..TALKERS).map(|i| format!("typed-{i}")).collect();
    for talker in &talkers {
        talker.until_heard(&typed).await?;
    }
    println!("stack: {TALKERS} clients at {spread} instances heard each other");

    let (stop, stopped) = watch::channel(false);
    let speakers = speakers(stack, &party, &stopped).await?;
    let watched = Arc::new(Watched::default());
    let watching = watch_readiness(stack, &watched, &stopped)?;

    let mut faults = Vec::new();
    for fault in ["instance", "redis", "postgres"] {
        // People talk while nothing is broken: what comes then must arrive, too.
        tokio::time::sleep(CALM).await;
        let began = Instant::now();
        break_and_mend(stack, &party.room, fault, &watched).await?;
        faults.push((fault, began..Instant::now()));
    }
    // The same after the last fault.
    tokio::time::sleep(CALM).await;
    stop.send(true)?;
    let mut said = Vec::new();
    for (room, speaker) in speakers {
        said.push((room, speaker.await??));
    }
    for task in watching {
        task.await?;
    }
    for (fault, during) in faults {
        let longest = |said: &Said| said.longest(|began| during.contains(&began)).as_secs_f64();
        let each: Vec<_> = said.iter().map(|(_, said)| format!("{:.1}", longest(said))).collect();
        println!("stack: {fault} away, the longest wait of each speaker: {} s", each.join(", "));
    }
    nothing_is_lost(stack, &party, &said, &mut talkers).await?;
    running_all_the_time(stack)
}

/// How many instances Prometheus counts connections at.
async fn instances_with_connections(stack: &Compose) -> anyhow::Result<usize> {
    let prometheus = stack.prometheus();
    let query = "/api/v1/query?query=chatlab_connections";
    let ask = async || {
        let told = prometheus.must(Method::GET, query, Ask::default()).await?;
        let results = told["data"]["result"].as_array().cloned().unwrap_or_default();
        let counts = results.iter().filter_map(|result| result["value"][1].as_str()?.parse::<usize>().ok());
        anyhow::Ok(counts.collect::<Vec<_>>())
    };
    until("Prometheus counts all connections", async || Ok(ask().await?.iter().sum::<usize>() >= TALKERS))
        .await?;
    Ok(ask().await?.iter().filter(|count| **count > 0).count())
}

type Speaking = JoinHandle<anyhow::Result<Said>>;

/// Somebody speaks in every room; in that of all, also one who wants no more than that Redis has it.
async fn speakers(
    stack: &Compose,
    party: &Party,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<(String, Speaking)>> {
    let http = stack.http();
    let mut places = vec![(party.room.clone(), 0, "archived"), (party.room.clone(), 1, "memory")];
    for i in 0..ROOMS {
        let name = format!("Room {i}");
        places.push((room(&http, &party.tokens[i % TALKERS], &name).await?, i % TALKERS, "archived"));
    }
    let speak = |(i, (room, by, level)): (usize, (String, usize, &'static str))| {
        let (token, prefix) = (party.tokens[by].clone(), format!("{level}-{i}"));
        let speaker = Speaker { servers: vec![http.clone()], token, room: room.clone(), level, prefix };
        (room, tokio::spawn(speaker.speak(stopped.clone())))
    };
    Ok(places.into_iter().enumerate().map(speak).collect())
}

/// When each instance said what of itself.
#[derive(Default)]
struct Watched(Mutex<Vec<(Instant, &'static str, bool)>>);

impl Watched {
    fn add(&self, instance: &'static str, ready: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), instance, ready));
    }

    /// The first time after `from` that an instance of these was, or was not, ready.
    fn first(&self, from: Instant, among: &[&str], ready: bool) -> Option<Instant> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |(at, instance, said): &&(Instant, &str, bool)| {
            *at >= from && among.contains(instance) && *said == ready
        };
        seen.iter().find(wanted).map(|(at, ..)| *at)
    }

    /// Since when an instance has been ready; none if it is not.
    fn since(&self, instance: &str) -> Option<Instant> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = seen.iter().rev().filter(|(_, name, _)| *name == instance);
        of.take_while(|(.., ready)| *ready).last().map(|(at, ..)| *at)
    }
}

/// Asks each instance from within its container, as an orchestrator does.
fn watch_readiness(
    stack: &Compose,
    watched: &Arc<Watched>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let mut tasks = Vec::new();
    for instance in INSTANCES {
        let (id, watched, mut stopped) = (stack.container(instance)?, Arc::clone(watched), stopped.clone());
        tasks.push(tokio::spawn(async move {
            while tokio::time::timeout(ASKED, stopped.wait_for(|stop| *stop)).await.is_err() {
                let asked = Command::new("docker").args(["exec", &id, "healthy", "readiness"]).output().await;
                watched.add(instance, asked.is_ok_and(|output| output.status.success()));
            }
        }));
    }
    Ok(tasks)
}

async fn break_and_mend(stack: &Compose, room: &str, fault: &str, watched: &Watched) -> anyhow::Result<()> {
    let victim = match fault {
        "instance" => INSTANCES[1].to_owned(),
        "redis" => master_of(stack, room)?,
        _ => "postgres".to_owned(),
    };
    let container = stack.container(&victim)?;
    let killed = Instant::now();
    docker(["kill", &container])?;
    let others: Vec<&str> = INSTANCES.into_iter().filter(|instance| *instance != victim).collect();
    let red = async || Ok(watched.first(killed, &others, false).is_some());
    if fault == "instance" {
        // How long it is away is what is tested.
        tokio::time::sleep(AWAY).await;
        ensure!(!red().await?, "others were not ready because of it");
    } else {
        until("an instance says that it is not ready", red).await?;
        if fault == "redis" {
            until("the replica has taken its place", async || Ok(all_ready(watched, killed + ASKED))).await?;
        } else {
            // As above, the time it is away is what is tested.
            tokio::time::sleep(AWAY.saturating_sub(killed.elapsed())).await;
        }
    }
    let started = Instant::now();
    docker(["start", &container])?;
    until("all instances are ready", async || Ok(all_ready(watched, started))).await?;
    let seconds = |at: Instant| format!("{:.1} s", at.saturating_duration_since(killed).as_secs_f64());
    let red = watched.first(killed, &others, false).map_or_else(|| "never".to_owned(), seconds);
    let green = INSTANCES.iter().filter_map(|instance| watched.since(instance)).max().map(seconds);
    println!(
        "stack: {victim} killed, started again after {}: others red after {red}, all ready after {}",
        seconds(started),
        green.unwrap_or_default()
    );
    Ok(())
}

/// Whether every instance says it is ready, and said so after `from`.
fn all_ready(watched: &Watched, from: Instant) -> bool {
    INSTANCES
        .iter()
        .all(|instance| watched.since(instance).is_some() && watched.first(from, &[instance], true).is_some())
}

/// The service that is the master of a room, as the nodes say themselves.
fn master_of(stack: &Compose, room: &str) -> anyhow::Result<String> {
    for node in NODES {
        let id = stack.container(node)?;
        // The password is in the container already.
        let ask = |words: &str| {
            let script = format!("REDISCLI_AUTH=$REDIS_ADMIN_PASSWORD redis-cli --user admin {words}");
            docker(["exec", &id, "sh", "-c", &script])
        };
        if ask("info replication")?.contains("role:master") && !ask(&format!("keys '*{room}*'"))?.is_empty() {
            return Ok(node.to_owned());
        }
    }
    anyhow::bail!("no master has the room {room}")
}

async fn nothing_is_lost(
    stack: &Compose,
    party: &Party,
    said: &[(String, Said)],
    talkers: &mut [Talker],
) -> anyhow::Result<()> {
    let http = stack.http();
    for (i, (room, said)) in said.iter().enumerate() {
        println!("stack: speaker {i}: {}", said.told());
        let by = if *room == party.room { 0 } else { (i - 2) % TALKERS };
        let kept = history(&http, &party.tokens[by], room).await?;
        each_once("in the history", &said.texts, bodies(&kept))?;
    }
    let heard: Vec<_> = said.iter().filter(|(room, _)| *room == party.room).collect();
    let heard: Vec<String> = heard.into_iter().flat_map(|(_, said)| said.texts.clone()).collect();
    for (i, talker) in talkers.iter_mut().enumerate() {
        ensure!(talker.runs(), "a client gave up");
        talker.until_heard(&heard).await?;
        each_once("heard", &heard, talker.texts().iter().map(String::as_str))?;
        println!(
            "stack: client {i} heard all {}, each once; cut off {} times, back {} times; longest silence {:.1} s",
            heard.len(),
            talker.count("lost"),
            talker.count("back"),
            talker.longest_silence().as_secs_f64()
        );
    }
    Ok(())
}

/// Nobody was started again but who was killed, once.
fn running_all_the_time(stack: &Compose) -> anyhow::Result<()> {
    for service in INSTANCES.iter().chain(&NODES).chain(&["postgres", "nginx"]) {
        let format = "{{.RestartCount}} {{.State.Running}}";
        let told = docker(["inspect", "--format", format, &stack.container(service)?])?;
        ensure!(told == "0 true", "{service}: {told}");
    }
    Ok(())
}
