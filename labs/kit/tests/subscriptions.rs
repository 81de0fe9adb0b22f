//! Subscriptions on real servers: they deliver in order, say when something may be missing, and
//! come back after everything that a cluster does to them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chatlab_kit::prereq::find_server;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::subscribe::{ChannelKind, FeedItem, Health, SUBSCRIBER_QUEUE, Subscription, Subscriptions};
use tokio::sync::Semaphore;

/// How long a test waits for anything before it fails.
const BOUND: Duration = Duration::from_secs(20);
/// Within this every channel must be back after a failover.
const BACK_WITHIN: Duration = Duration::from_secs(10);
const CHANNELS: usize = 30;

fn fresh(topology: Topology) -> Managed {
    let binary = find_server(None).unwrap();
    Managed::start(topology, &binary, &ServerOptions::default()).unwrap()
}

/// Servers that no test breaks.
fn shared(topology: Topology) -> &'static Managed {
    static SINGLE: OnceLock<Managed> = OnceLock::new();
    static CLUSTER: OnceLock<Managed> = OnceLock::new();
    let cell = match topology {
        Topology::Single => &SINGLE,
        Topology::Cluster => &CLUSTER,
    };
    cell.get_or_init(|| fresh(topology))
}

fn config(managed: &Managed) -> RedisConfig {
    RedisConfig::new(managed.topology(), managed.addrs())
}

async fn open(managed: &Managed) -> (Redis, Subscriptions) {
    let config = config(managed);
    let redis = Redis::connect(&config).await.unwrap();
    let subscriptions = Subscriptions::start(&config).await.unwrap();
    (redis, subscriptions)
}

/// A name that no other test uses.
fn name(text: &str) -> String {
    format!("{text}:{}", uuid::Uuid::now_v7().simple())
}

async fn publish(redis: &mut Redis, kind: ChannelKind, channel: &str, text: &str) -> bool {
    let verb = match kind {
        ChannelKind::Sharded => "SPUBLISH",
        ChannelKind::Classic => "PUBLISH",
    };
    let sent: redis::RedisResult<i64> = redis::cmd(verb).arg(channel).arg(text).query_async(redis).await;
    sent.is_ok()
}

async fn next(subscription: &mut Subscription) -> FeedItem {
    tokio::time::timeout(BOUND, subscription.recv())
        .await
        .expect("nothing came")
        .expect("the queue was closed")
}

#[allow(clippy::needless_pass_by_value)]
fn text(text: impl ToString) -> FeedItem {
    FeedItem::Payload(text.to_string().into())
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !look().await {
        assert!(start.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        // A poll, bounded by `BOUND`.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_healthy(subscriptions: &Subscriptions) -> Health {
    until("healthy", async || subscriptions.health().healthy).await;
    subscriptions.health()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_order_on_every_kind_and_topology() {
    for topology in Topology::ALL {
        let (mut redis, subscriptions) = open(shared(topology)).await;
        for kind in [ChannelKind::Sharded, ChannelKind::Classic] {
            let channel = name("order");
            let mut first = subscriptions.subscribe(kind, &channel).await.unwrap();
            let mut second = subscriptions.subscribe(kind, &channel).await.unwrap();
            for number in 0..500 {
                assert!(publish(&mut redis, kind, &channel, &number.to_string()).await);
            }
            for number in 0..500 {
                assert_eq!(next(&mut first).await, text(number), "{topology} {kind:?}");
                assert_eq!(next(&mut second).await, text(number), "{topology} {kind:?}");
            }
        }
        subscriptions.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_spread_over_the_masters_and_health_counts_them() {
    let (mut redis, subscriptions) = open(shared(Topology::Cluster)).await;
    let owners = redis.slot_owners().await.unwrap();
    let mut feeds = Vec::new();
    let mut nodes = HashSet::new();
    for _ in 0..CHANNELS {
        let channel = name("spread");
        let slot = chatlab_kit::slots::slot(channel.as_bytes());
        nodes.insert(owners.owner_of(slot).unwrap().to_owned());
        feeds.push(subscriptions.subscribe(ChannelKind::Sharded, &channel).await.unwrap());
    }
    assert_eq!(nodes.len(), 3);
    for feed in &mut feeds {
        let channel = feed.channel().to_owned();
        assert!(publish(&mut redis, ChannelKind::Sharded, &channel, "x").await);
        assert_eq!(next(feed).await, text("x"));
    }
    let health = until_healthy(&subscriptions).await;
    assert_eq!((health.connected_nodes, health.channels, health.confirmed), (3, CHANNELS, CHANNELS));
    subscriptions.shutdown().await;
    assert_eq!(feeds[0].recv().await, None);
    assert!(!subscriptions.health().healthy);
    assert!(subscriptions.subscribe(ChannelKind::Sharded, "late").await.is_err());
}

/// The number of the server's subscribers of a shard channel, over all nodes.
async fn subscribers_of(redis: &Redis, channel: &str) -> i64 {
    let mut sum = 0;
    for (_, mut node) in redis.each_node().await.unwrap() {
        let (_, count): (String, i64) =
            redis::cmd("PUBSUB").arg("SHARDNUMSUB").arg(channel).query_async(&mut node).await.unwrap();
        sum += count;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_asked_once_and_left_by_the_last_subscriber() {
    for topology in Topology::ALL {
        let (mut redis, subscriptions) = open(shared(topology)).await;
        let channel = name("leave");
        let first = subscriptions.subscribe(ChannelKind::Sharded, &channel).await.unwrap();
        let second = subscriptions.subscribe(ChannelKind::Sharded, &channel).await.unwrap();
        assert_eq!(subscribers_of(&redis, &channel).await, 1);
        drop(first);
        assert_eq!(subscribers_of(&redis, &channel).await, 1);
        drop(second);
        until("left", async || subscribers_of(&redis, &channel).await == 0).await;
        let mut again = subscriptions.subscribe(ChannelKind::Sharded, &channel).await.unwrap();
        assert!(publish(&mut redis, ChannelKind::Sharded, &channel, "again").await);
        assert_eq!(next(&mut again).await, text("again"));
        subscriptions.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_and_returning_at_once_loses_nothing_and_shows_no_gap() {
    for topology in Topology::ALL {
        let (mut redis, subscriptions) = open(shared(topology)).await;
        let channel = name("churn");
        for number in 0..200 {
            let mut feed = subscriptions.subscribe(ChannelKind::Sharded, &channel).await.unwrap();
            assert!(publish(&mut redis, ChannelKind::Sharded, &channel, &number.to_string()).await);
            assert_eq!(next(&mut feed).await, text(number), "{topology}");
        }
        subscriptions.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_one_gap_and_holds_up_nobody_else() {
    let (mut redis, subscriptions) = open(shared(Topology::Single)).await;
    let (kind, channel) = (ChannelKind::Sharded, name("full"));
    let mut slow = subscriptions.subscribe(kind, &channel).await.unwrap();
    let mut quick = subscriptions.subscribe(kind, &channel).await.unwrap();
    let total = SUBSCRIBER_QUEUE + 500;
    for number in 0..total {
        assert!(publish(&mut redis, kind, &channel, &number.to_string()).await);
        assert_eq!(next(&mut quick).await, text(number));
    }
    for number in 0..SUBSCRIBER_QUEUE {
        assert_eq!(next(&mut slow).await, text(number));
    }
    assert_eq!(next(&mut slow).await, FeedItem::Gap);
    assert!(publish(&mut redis, kind, &channel, "after").await);
    assert_eq!(next(&mut slow).await, text("after"));
    subscriptions.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_messages_pass_one_connection_within_a_second() {
    let (redis, subscriptions) = open(shared(Topology::Single)).await;
    let (kind, channel) = (ChannelKind::Sharded, name("fast"));
    let mut feed = subscriptions.subscribe(kind, &channel).await.unwrap();
    let start = Instant::now();
    let total = 20_000;
    // Nobody gets further ahead of the reader than its queue is long: what happens then is another test's.
    let ahead = Arc::new(Semaphore::new(SUBSCRIBER_QUEUE - 100));
    let publisher = tokio::spawn({
        let (mut redis, channel, ahead) = (redis.clone(), channel.clone(), ahead.clone());
        async move {
            for batch in 0..total / 100 {
                ahead.acquire_many(100).await.unwrap().forget();
                let mut pipe = redis::pipe();
                for number in batch * 100..(batch + 1) * 100 {
                    pipe.cmd("SPUBLISH").arg(&channel).arg(number).ignore();
                }
                let () = pipe.query_async(&mut redis).await.unwrap();
            }
        }
    });
    for number in 0..total {
        assert_eq!(next(&mut feed).await, text(number));
        ahead.add_permits(1);
    }
    publisher.await.unwrap();
    let took = start.elapsed();
    println!("{total} messages in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    subscriptions.shutdown().await;
}

/// Publishes to every channel until each has delivered a message that was published after the
/// call; tells how long it took, and which subscribers saw a gap before that message.
async fn all_deliver(
    redis: &mut Redis,
    kind: ChannelKind,
    feeds: &mut [Subscription],
) -> (Duration, Vec<bool>) {
    let start = Instant::now();
    let mut gaps = vec![false; feeds.len()];
    let mut back = vec![false; feeds.len()];
    let mark = name("mark");
    while back.contains(&false) {
        assert!(start.elapsed() < BACK_WITHIN, "{back:?} after {BACK_WITHIN:?}");
        for (index, feed) in feeds.iter_mut().enumerate() {
            if back[index] {
                continue;
            }
            let publishing = publish(redis, kind, feed.channel(), &mark);
            // A command to a dead master may hang until its failover: do not wait for it.
            let _ = tokio::time::timeout(Duration::from_millis(100), publishing).await;
            let soon = Duration::from_millis(5);
            while let Ok(Some(item)) = tokio::time::timeout(soon, feed.recv()).await {
                match item {
                    FeedItem::Gap => gaps[index] = true,
                    FeedItem::Payload(payload) => back[index] |= payload == mark.as_bytes(),
                }
            }
        }
    }
    (start.elapsed(), gaps)
}

async fn many(subscriptions: &Subscriptions, kind: ChannelKind) -> Vec<Subscription> {
    let mut feeds = Vec::new();
    for _ in 0..CHANNELS {
        feeds.push(subscriptions.subscribe(kind, &name("many")).await.unwrap());
    }
    feeds
}

/// Which channels are in the slots that `node` owns.
async fn owned_by(redis: &Redis, node: &str, feeds: &[Subscription]) -> Vec<bool> {
    let owners = redis.slot_owners().await.unwrap();
    let owner = |feed: &Subscription| owners.owner_of(chatlab_kit::slots::slot(feed.channel().as_bytes()));
    feeds.iter().map(|feed| owner(feed) == Some(node)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_channel_is_back_after_a_master_was_killed() {
    let managed = fresh(Topology::Cluster);
    let (mut redis, subscriptions) = open(&managed).await;
    let mut feeds = many(&subscriptions, ChannelKind::Sharded).await;
    let hit = owned_by(&redis, &managed.addrs()[0], &feeds).await;
    assert!(hit.contains(&true) && hit.contains(&false));
    managed.kill_node(0).unwrap();
    until("the loss is seen", async || !subscriptions.health().healthy).await;
    let (took, gaps) = all_deliver(&mut redis, ChannelKind::Sharded, &mut feeds).await;
    println!("kill -9: {CHANNELS} of {CHANNELS} back after {took:?}");
    assert_eq!(gaps, hit, "a gap for exactly the channels of the dead master");
    assert_eq!(until_healthy(&subscriptions).await.confirmed, CHANNELS);
    subscriptions.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_channel_is_back_after_a_graceful_failover() {
    let managed = fresh(Topology::Cluster);
    let (mut redis, subscriptions) = open(&managed).await;
    let mut feeds = many(&subscriptions, ChannelKind::Sharded).await;
    assert_eq!(subscriptions.health().connections_made, 3);
    let (master, replica) = (managed.addrs()[0].clone(), managed.addrs()[3].clone());
    let hit = owned_by(&redis, &master, &feeds).await;
    for (node, mut connection) in redis.each_node().await.unwrap() {
        if node == replica {
            let () = redis::cmd("CLUSTER").arg("FAILOVER").query_async(&mut connection).await.unwrap();
        }
    }
    until("the replica is master", async || redis.primaries().await.unwrap().contains(&replica)).await;
    let (took, gaps) = all_deliver(&mut redis, ChannelKind::Sharded, &mut feeds).await;
    println!("graceful failover: {CHANNELS} of {CHANNELS} back after {took:?}");
    assert_eq!(gaps, hit, "a gap for exactly the channels that moved");
    let health = until_healthy(&subscriptions).await;
    assert_eq!((health.connected_nodes, health.connections_made), (3, 4));
    subscriptions.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_channel_is_back_after_its_connection_was_killed() {
    for kind in [ChannelKind::Sharded, ChannelKind::Classic] {
        let managed = fresh(Topology::Single);
        let (mut redis, subscriptions) = open(&managed).await;
        let mut feeds = many(&subscriptions, kind).await;
        let killed: i64 =
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).query_async(&mut redis).await.unwrap();
        assert_eq!(killed, 1);
        let (took, gaps) = all_deliver(&mut redis, kind, &mut feeds).await;
        println!("CLIENT KILL, {kind:?}: {CHANNELS} of {CHANNELS} back after {took:?}");
        assert!(!gaps.contains(&false));
        subscriptions.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_red_while_a_server_hangs_and_green_again() {
    let managed = fresh(Topology::Single);
    let (mut redis, subscriptions) = open(&managed).await;
    let mut feeds = vec![subscriptions.subscribe(ChannelKind::Sharded, "hang").await.unwrap()];
    assert!(until_healthy(&subscriptions).await.last_probe_ms_ago.is_some());
    managed.pause_node(0).unwrap();
    until("red", async || !subscriptions.health().healthy).await;
    println!("{}", subscriptions.health().why.unwrap());
    managed.resume_node(0).unwrap();
    all_deliver(&mut redis, ChannelKind::Sharded, &mut feeds).await;
    until_healthy(&subscriptions).await;
    subscriptions.shutdown().await;
}
