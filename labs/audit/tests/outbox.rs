//! The server's outbox: each group has each entry, nothing unread goes, what cannot be worked is set aside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use chatlab_audit::{
    EventId,
    outbox::{Outbox, OutboxPolicy, PAYLOAD_MAX_BYTES, Streams},
};
use chatlab_kit::{LabError, lab::proving, servers::Topology, slots::Partition};

const TOPIC: &str = "test.topic";
/// At once: whoever asks next is given what another one holds.
const IMPATIENT: OutboxPolicy = OutboxPolicy { idle_ms: 0, kept_ms: 0 };
/// Longer than any test.
const PATIENT: OutboxPolicy = OutboxPolicy { idle_ms: 600_000, kept_ms: 600_000 };

fn partitions() -> Vec<Partition> {
    // Some on each master.
    Partition::all().filter(|partition| partition.index() % 50 == 0).collect()
}

async fn each_group_has_each_entry_once(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let outbox = Streams::new(env.redis.clone(), PATIENT);
    for partition in partitions() {
        assert!(outbox.take(partition, TOPIC, "g", "c", 9).await.unwrap().is_empty(), "nothing was told yet");
        assert_eq!(outbox.lag(partition, TOPIC).await.unwrap().groups, []);
        let mut told = Vec::new();
        for n in 0..250_u32 {
            told.push(outbox.emit(partition, TOPIC, &n.to_be_bytes()).await.unwrap());
        }
        // Two consumers of one group share, another group has all of it again.
        let mut seen = Vec::new();
        for consumer in ["a", "b", "a", "b", "a"] {
            let taken = outbox.take(partition, TOPIC, "g", consumer, 100).await.unwrap();
            assert!(taken.iter().all(|entry| entry.deliveries == 1));
            seen.extend(taken);
        }
        assert_eq!(seen.iter().map(|entry| entry.id).collect::<Vec<_>>(), told);
        assert_eq!(seen[7].payload, 7_u32.to_be_bytes());
        assert_eq!(outbox.take(partition, TOPIC, "late", "a", 100).await.unwrap().len(), 100);
        let lag = outbox.lag(partition, TOPIC).await.unwrap();
        assert_eq!(lag.length, 250);
        let of = |name: &str| lag.groups.iter().find(|group| group.group == name).unwrap().clone();
        assert_eq!((of("g").undelivered, of("g").pending), (0, 250));
        assert_eq!((of("late").undelivered, of("late").pending), (150, 100));
        let page = outbox.replay(partition, TOPIC, told[9], 3).await.unwrap();
        assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), told[10..13]);
    }
}

async fn nothing_goes_before_every_group_is_done_with_it(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let outbox = Streams::new(env.redis.clone(), IMPATIENT);
    let partition = partitions()[1];
    let mut ids = Vec::new();
    for n in 0..1_000 {
        ids.push(outbox.emit(partition, TOPIC, format!("{n}").as_bytes()).await.unwrap());
    }
    // The slow group holds the first entry and has not seen the others.
    assert_eq!(outbox.take(partition, TOPIC, "slow", "s", 1).await.unwrap()[0].id, ids[0]);
    let mut quick = Vec::new();
    while quick.len() < 1_000 {
        let taken = outbox.take(partition, TOPIC, "quick", "q", 100).await.unwrap();
        let taken: Vec<EventId> = taken.iter().map(|entry| entry.id).collect();
        assert_eq!(
            outbox.done(partition, TOPIC, "quick", &taken).await.unwrap(),
            0,
            "the slow group needs all"
        );
        quick.extend(taken);
    }
    assert_eq!(quick, ids);
    let mut slow = vec![ids[0]];
    let mut dropped = outbox.done(partition, TOPIC, "slow", &slow).await.unwrap();
    while slow.len() < 1_000 {
        let taken = outbox.take(partition, TOPIC, "slow", "s", 100).await.unwrap();
        let taken: Vec<EventId> = taken.iter().map(|entry| entry.id).collect();
        dropped += outbox.done(partition, TOPIC, "slow", &taken).await.unwrap();
        slow.extend(taken);
    }
    assert_eq!(slow, ids);
    let left = outbox.lag(partition, TOPIC).await.unwrap().length;
    assert_eq!(left + dropped, 1_000);
    assert!(left < 200, "{left} entries are left: whole nodes of the stream go");
    // What all are done with is kept as long as somebody may want to replay it.
    let keeping = Streams::new(env.redis.clone(), PATIENT);
    let other = partitions()[2];
    for _ in 0..500 {
        keeping.emit(other, TOPIC, b"x").await.unwrap();
    }
    for _ in 0..5 {
        let taken = keeping.take(other, TOPIC, "g", "c", 100).await.unwrap();
        let taken: Vec<EventId> = taken.iter().map(|entry| entry.id).collect();
        assert_eq!(keeping.done(other, TOPIC, "g", &taken).await.unwrap(), 0);
    }
    assert_eq!(keeping.lag(other, TOPIC).await.unwrap().length, 500);
}

async fn what_a_dead_consumer_held_is_given_to_another(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let outbox = Streams::new(env.redis.clone(), IMPATIENT);
    let partition = partitions()[3];
    for n in 0..3 {
        outbox.emit(partition, TOPIC, format!("{n}").as_bytes()).await.unwrap();
    }
    let held = outbox.take(partition, TOPIC, "g", "dead", 9).await.unwrap();
    let again = outbox.take(partition, TOPIC, "g", "other", 9).await.unwrap();
    let ids = |entries: &[chatlab_audit::outbox::Entry]| entries.iter().map(|e| e.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&held));
    assert!(again.iter().all(|entry| entry.deliveries == 2));
    // One of them cannot be worked: it is set aside, once, with the error, and the others are done.
    let poison = again[1].id;
    let why = format!("{}ä", "x".repeat(511));
    assert!(outbox.bury(partition, TOPIC, "g", poison, &why).await.unwrap());
    assert!(!outbox.bury(partition, TOPIC, "g", poison, &why).await.unwrap());
    let letters = outbox.dead(partition, TOPIC, "g").await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].id, letters[0].payload.as_slice()), (poison, b"1".as_slice()));
    assert_eq!(letters[0].error, "x".repeat(511), "an error is cut between two letters");
    outbox.done(partition, TOPIC, "g", &[again[0].id, again[2].id]).await.unwrap();
    assert!(outbox.take(partition, TOPIC, "g", "other", 9).await.unwrap().is_empty());
    let lag = outbox.lag(partition, TOPIC).await.unwrap();
    assert_eq!((lag.groups[0].undelivered, lag.groups[0].pending, lag.groups[0].oldest_ms), (0, 0, 0));
    // Acknowledging again, and what is not there, changes nothing.
    outbox.done(partition, TOPIC, "g", &[again[0].id, EventId(1, 1)]).await.unwrap();
    let large = vec![0; PAYLOAD_MAX_BYTES + 1];
    assert!(matches!(outbox.emit(partition, TOPIC, &large).await, Err(LabError::Bound { .. })));
}

/// Events of a partition lie in its slot, whatever the topic.
#[test]
fn topics_of_a_partition_share_its_slot() {
    let keys: BTreeSet<u16> = ["a", "b.c"]
        .iter()
        .flat_map(|topic| {
            [
                chatlab_kit::keys::events(Partition::FIRST, topic),
                chatlab_kit::keys::dead_events(Partition::FIRST, topic, "g"),
            ]
        })
        .map(|key| chatlab_kit::slots::slot(key.as_bytes()))
        .collect();
    assert_eq!(keys, BTreeSet::from([Partition::FIRST.slot()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_has_each_entry_once_on_one_node() {
    each_group_has_each_entry_once(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_has_each_entry_once_on_a_cluster() {
    each_group_has_each_entry_once(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_before_every_group_is_done_with_it_on_one_node() {
    nothing_goes_before_every_group_is_done_with_it(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_before_every_group_is_done_with_it_on_a_cluster() {
    nothing_goes_before_every_group_is_done_with_it(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_held_is_given_to_another_on_one_node() {
    what_a_dead_consumer_held_is_given_to_another(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_held_is_given_to_another_on_a_cluster() {
    what_a_dead_consumer_held_is_given_to_another(Topology::Cluster).await;
}
