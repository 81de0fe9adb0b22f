//! Two chatlabs on a server version in other containers: people talk, what breaks comes back, and nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::sync::watch;

use crate::{
    built,
    conversation::{Party, Speaker, bodies, each_once, history},
    inside::version,
    matrix::{self, Row},
    nodes::{self, Network, Redis, Server, is_ready, until},
    settings::Settings,
    talker::Talker,
};

/// How long people talk before and after what happens.
const WHILE: Duration = Duration::from_secs(2);

pub async fn by_single(settings: &Settings, image: &str) -> anyhow::Result<()> {
    let network = Network::fresh();
    let redis = nodes::single(settings, image, &network).await?;
    served(settings, image, &network, &redis, "single").await
}

pub async fn by_cluster(settings: &Settings, image: &str) -> anyhow::Result<()> {
    let network = Network::fresh();
    let redis = nodes::cluster(settings, image, &network).await?;
    served(settings, image, &network, &redis, "cluster").await
}

async fn served(
    settings: &Settings,
    image: &str,
    network: &Network,
    redis: &Redis,
    topology: &'static str,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let chatlab = &built::programs(settings)?.chatlab;
    let postgres = nodes::postgres(&settings.postgres[settings.postgres.len() - 1], network).await?;
    let first = nodes::chatlab(settings, network, redis, &postgres).await?;
    let second = nodes::chatlab(settings, network, redis, &postgres).await?;
    let party = Party::gather(&first.http, 2).await?;
    let mut talkers = Vec::new();
    for (name, server) in party.names.iter().zip([&first, &second]) {
        talkers.push(Talker::join(chatlab, server.http.base(), name, &party.room).await?);
    }
    let (stop, stopped) = watch::channel(false);
    let speaker = Speaker {
        servers: vec![first.http.clone(), second.http.clone()],
        token: party.tokens[0].clone(),
        room: party.room.clone(),
        level: "archived",
        prefix: "said".to_owned(),
    };
    let speaking = tokio::spawn(speaker.speak(stopped));
    // People talk for a while: the time is what is wanted.
    tokio::time::sleep(WHILE).await;
    talkers[0].say("typed by the first").await?;
    talkers[1].say("typed by the second").await?;
    kill_and_start(redis, &party.room, [&first, &second]).await?;
    // And for a while after all is well again.
    tokio::time::sleep(WHILE).await;
    stop.send(true)?;
    let said = speaking.await??;
    let mut texts = said.texts.clone();
    texts.extend(["typed by the first", "typed by the second"].map(str::to_owned));
    for talker in &mut talkers {
        ensure!(talker.runs(), "a client gave up");
        talker.until_heard(&texts).await?;
        each_once("heard", &texts, talker.texts().iter().map(String::as_str))?;
    }
    let kept = history(&second.http, &party.tokens[1], &party.room).await?;
    each_once("in the history", &texts, bodies(&kept))?;
    is_refused_what_it_needs_not(redis).await?;
    println!("{image} {topology}, killed and started again: {}", said.told());
    matrix::add(Row::passed(&version(image)?, topology, "served", began.elapsed()));
    Ok(())
}

/// Kills the node that has the room, as a crash would, until the servers say so, and starts it again.
async fn kill_and_start(redis: &Redis, room: &str, servers: [&Server; 2]) -> anyhow::Result<()> {
    let mut of_room = None;
    for i in 0..redis.nodes.len() {
        if redis.is_master_of(i, room).await? {
            of_room = Some(i);
        }
    }
    let node = &redis.nodes[of_room.context("no master has the room")?];
    node.stop_with_timeout(Some(0)).await?;
    until("a server says that Redis is away", async || Ok(!is_ready(&servers[0].http).await)).await?;
    if redis.nodes.len() > 1 {
        // Its replica takes its place.
        until("the cluster serves without it", async || Ok(is_ready(&servers[0].http).await)).await?;
    }
    node.start().await?;
    for server in servers {
        until("all is well again", async || Ok(is_ready(&server.http).await)).await?;
    }
    Ok(())
}

/// The user of the servers was refused nothing so far, and is what it has no business with.
async fn is_refused_what_it_needs_not(redis: &Redis) -> anyhow::Result<()> {
    for i in 0..redis.nodes.len() {
        let refused = redis.refusals(i).await?;
        ensure!(refused.is_empty(), "a server was refused something at node {i}: {refused:?}");
    }
    let url = redis.url(0, "chatlab", nodes::REDIS_PASSWORD).await?;
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    for words in ["FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG SET maxmemory 1", "CONFIG GET *", "SHUTDOWN"] {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        for word in words {
            command.arg(word);
        }
        let answer: redis::RedisResult<redis::Value> = command.query_async(&mut connection).await;
        let code = answer.as_ref().err().and_then(|error| error.code().map(str::to_owned));
        ensure!(code.as_deref() == Some("NOPERM"), "{command:?}: {answer:?}");
    }
    Ok(())
}
