//! How safe a message is when its sender is told: each level means what it says, and what was not reached is not claimed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chatlab::{
    archive::SqliteArchive,
    harness::Stack,
    service::{
        archivist::Archivist,
        commits::{Commits, MAX_WAITING},
        consume::{Outcome, Work},
        levels::Levels,
        ports::Archive,
    },
};
use chatlab_audit::{EventId, outbox::Entry};
use chatlab_cluster::replication::GroupWait;
use chatlab_history::{Announce, Appended, History, ZsetHash};
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    keys::RoomKeys,
    message::{Draft, Message, MessageKind},
    redis::Redis,
    servers::Topology,
    slots::Partition,
    wire::{
        ARCHIVED_WAIT_MS, AckLevel, ClientFrame, ErrorCode, MAX_LEVEL_WAITS, REPLICA_WAIT_MS, ServerFrame,
    },
};
use chatlab_load::client::{Ack, WsClient};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::common::{SOON, next_event, own, party, shared};

/// Whoever waited in vain for a replica needed longer.
const AT_ONCE: Duration = Duration::from_millis(REPLICA_WAIT_MS);

/// The level of an answer, and the one that was wanted and not reached.
fn levels(ack: &Ack) -> (AckLevel, Option<AckLevel>) {
    (ack.level, ack.wanted)
}

async fn database(stack: &Stack) -> SqliteConnection {
    let file = stack.managed().folder().join("chatlab.db");
    SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap()
}

async fn is_archived(database: &mut SqliteConnection, id: MessageId) -> bool {
    let query = sqlx::query_as("SELECT COUNT(*) FROM messages WHERE id = $1").bind(id.to_string());
    let (count,): (i64,) = query.fetch_one(database).await.unwrap();
    count == 1
}

/// Sends without waiting for the answer; the request's number.
async fn send(client: &mut WsClient, room: RoomId, cid: &str, level: AckLevel) -> u64 {
    let id = client.next_request();
    let (cid, body) = (cid.parse().unwrap(), "x".to_owned());
    client
        .send_frame(&ClientFrame::Send {
            id,
            room,
            cid,
            kind: MessageKind::Text,
            body,
            reply_to: None,
            level,
        })
        .await
        .unwrap();
    id
}

/// The next `ack` or `error`; messages are passed over.
async fn next_answer(client: &mut WsClient) -> ServerFrame {
    loop {
        let event = next_event(client).await.unwrap();
        if matches!(event, ServerFrame::Ack { .. } | ServerFrame::Error { .. }) {
            return event;
        }
    }
}

/// The number of the replica of the master that has a room; of a cluster as it was started.
async fn replica_of(stack: &Stack, room: RoomId) -> usize {
    let redis = Redis::connect(&stack.redis_config()).await.unwrap();
    let owners = redis.slot_owners().await.unwrap();
    let owner = owners.owner_of(Partition::of(&room).slot()).unwrap();
    stack.managed().addrs().iter().position(|address| address == owner).unwrap() + 3
}

async fn each_level_is_told_when_it_is_reached(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    let mut database = database(stack).await;
    for (nth, client) in clients.iter_mut().enumerate() {
        client.join(room, None).await.unwrap();
        let memory = client.send(room, &format!("m{nth}"), "x").await.unwrap();
        assert_eq!(levels(&memory), (AckLevel::Memory, None));
        let began = Instant::now();
        let replica = client.send_at(room, &format!("r{nth}"), "x", AckLevel::Replica).await.unwrap();
        let expected = match topology {
            Topology::Cluster => (AckLevel::Replica, None),
            // Nobody is there to wait for, and nothing else is claimed.
            Topology::Single => (AckLevel::Memory, Some(AckLevel::Replica)),
        };
        assert_eq!(levels(&replica), expected);
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        let archived = client.send_at(room, &format!("a{nth}"), "x", AckLevel::Archived).await.unwrap();
        assert_eq!(levels(&archived), (AckLevel::Archived, None));
        assert!(is_archived(&mut database, archived.msg).await, "said to be archived, and is not");
        // A retry is the same message, and as safe by now.
        let again = client.send_at(room, &format!("m{nth}"), "x", AckLevel::Archived).await.unwrap();
        assert_eq!((again.msg, again.dup, levels(&again)), (memory.msg, true, (AckLevel::Archived, None)));
    }
}

async fn who_waits_for_the_archive_holds_nobody_up_and_is_not_lied_to(topology: Topology) {
    let stack = own(topology, 1).await;
    let (mut clients, _, room) = party(&stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let client = &mut clients[0];
    let mut other = database(&stack).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let began = Instant::now();
    let mut waiting = Vec::new();
    for nth in 0..MAX_LEVEL_WAITS {
        waiting.push(send(client, room, &format!("a{nth}"), AckLevel::Archived).await);
    }
    let one_more = send(client, room, "more", AckLevel::Archived).await;
    // Neither the one more nor what needs no waiting waits, although all of that was asked for later.
    let ServerFrame::Error { id, code, retryable, .. } = next_answer(client).await else {
        panic!("no error")
    };
    assert_eq!((id, code, retryable), (Some(one_more), ErrorCode::RateLimited, true));
    let plain = client.send(room, "plain", "x").await.unwrap();
    assert_eq!(plain.seq, u64::from(MAX_LEVEL_WAITS) + 1, "the one more was not stored");
    client.ping().await.unwrap();
    let page = client.history(room, None, Some(1)).await.unwrap();
    assert_eq!(page.messages[0].draft.id, plain.msg);
    assert!(began.elapsed() < Duration::from_millis(ARCHIVED_WAIT_MS), "{:?}", began.elapsed());
    // The others hear all of it at once, whoever waits.
    for seq in 1..=plain.seq {
        assert_eq!(clients[1].next_message(SOON).await.unwrap().seq, seq);
    }
    let client = &mut clients[0];
    let mut told = Vec::new();
    while told.len() < waiting.len() {
        match next_answer(client).await {
            ServerFrame::Ack { id, level, wanted, dup, .. } => {
                assert_eq!((level, wanted, dup), (AckLevel::Memory, Some(AckLevel::Archived), false));
                told.push(id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(ARCHIVED_WAIT_MS), "{:?}", began.elapsed());
    told.sort_unstable();
    assert_eq!(told, waiting);
    other.execute("ROLLBACK").await.unwrap();
    // Sent again it is the same message, and waited for again: there is place for that.
    let again = client.send_at(room, "a0", "x", AckLevel::Archived).await.unwrap();
    assert_eq!((again.seq, again.dup, levels(&again)), (1, true, (AckLevel::Archived, None)));
    assert!(is_archived(&mut other, again.msg).await);
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stands_still_is_waited_for_in_bounds_and_beside_other_requests() {
    let stack = own(Topology::Cluster, 1).await;
    let (mut clients, _, room) = party(&stack, 1).await;
    let client = &mut clients[0];
    client.join(room, None).await.unwrap();
    let first = client.send_at(room, "first", "x", AckLevel::Replica).await.unwrap();
    assert_eq!(levels(&first), (AckLevel::Replica, None));

    let replica = replica_of(&stack, room).await;
    stack.managed().pause_node(replica).unwrap();
    let began = Instant::now();
    let waiting = send(client, room, "waits", AckLevel::Replica).await;
    client.send(room, "plain", "x").await.unwrap();
    client.ping().await.unwrap();
    assert!(began.elapsed() < AT_ONCE, "held up: {:?}", began.elapsed());
    let ServerFrame::Ack { id, seq, level, wanted, .. } = next_answer(client).await else { panic!("no ack") };
    assert_eq!((id, seq, level, wanted), (waiting, 2, AckLevel::Memory, Some(AckLevel::Replica)));
    assert!(began.elapsed() >= Duration::from_millis(REPLICA_WAIT_MS), "{:?}", began.elapsed());

    stack.managed().resume_node(replica).unwrap();
    let again = client.send_at(room, "waits", "x", AckLevel::Replica).await.unwrap();
    assert_eq!((again.seq, again.dup, levels(&again)), (2, true, (AckLevel::Replica, None)));
    stack.stop().await.unwrap();
}

fn draft(room: RoomId, cid: &str) -> Draft {
    let (id, from, cid) = (MessageId::new(), UserId::new(), cid.parse().unwrap());
    Draft {
        room,
        id,
        from,
        cid,
        kind: MessageKind::Text,
        about: None,
        reply_to: None,
        forwarded_from: None,
        body: "x".into(),
    }
}

fn as_message(draft: &Draft, stored: &Appended) -> Message {
    let (epoch, seq, ts) = (stored.epoch.clone(), stored.seq, stored.ts);
    Message { epoch, seq, ts, changed: None, reactions: Vec::new(), draft: draft.clone() }
}

/// What a failover leaves: a master that has a replica, and not the message. Its replicas have all that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_not_called_replicated() {
    let stack = shared(Topology::Cluster).await;
    let mut redis = Redis::connect(&stack.redis_config()).await.unwrap();
    let history = Arc::new(ZsetHash::new(redis.clone(), Announce::Sharded));
    let folder = tempfile::tempdir().unwrap();
    let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::open(&folder.path().join("a.db")).await.unwrap());
    let replication = Arc::new(GroupWait::new(redis.clone()));
    let commits = Arc::new(Commits::new(archive.clone()));
    let waiting = Levels::new(history.clone(), archive.clone(), replication, commits);
    let room = RoomId::new();
    let mut stored = Vec::new();
    for n in 0..3 {
        let draft = draft(room, &format!("c{n}"));
        let appended = history.append(&draft).await.unwrap();
        stored.push((draft, appended));
    }
    for (_, appended) in &stored {
        assert_eq!(waiting.reach(&room, appended, AckLevel::Replica).await.unwrap(), AckLevel::Replica);
    }
    let keys = RoomKeys::new(&room);
    let lose = async |redis: &mut Redis, id: MessageId| {
        redis::cmd("ZREM").arg(keys.log()).arg(id.to_string()).query_async::<()>(redis).await.unwrap();
        redis::cmd("HDEL").arg(keys.msg()).arg(id.to_string()).query_async::<()>(redis).await.unwrap();
    };
    let (_, last) = &stored[2];
    lose(&mut redis, last.id).await;
    let lost = waiting.reach(&room, last, AckLevel::Replica).await.unwrap_err();
    assert!(lost.code == ErrorCode::Unavailable && lost.message.contains("again"), "{lost}");
    assert!(lost.code.retryable());
    // Another message in its place is another message.
    redis::cmd("HSET").arg(keys.meta()).arg("seq").arg(2).query_async::<()>(&mut redis).await.unwrap();
    assert_eq!(history.append(&draft(room, "again")).await.unwrap().seq, 3);
    assert!(waiting.reach(&room, last, AckLevel::Replica).await.is_err());
    // The rest is there; and what Redis has let go is where the archive has it, or nobody knows.
    let (draft, first) = &stored[0];
    assert_eq!(waiting.reach(&room, first, AckLevel::Replica).await.unwrap(), AckLevel::Replica);
    lose(&mut redis, first.id).await;
    assert_eq!(waiting.reach(&room, first, AckLevel::Replica).await.unwrap(), AckLevel::Memory);
    archive.add_messages(&[as_message(draft, first)]).await.unwrap();
    assert_eq!(waiting.reach(&room, first, AckLevel::Replica).await.unwrap(), AckLevel::Replica);
}

/// Nobody asks the archive here: the archivist tells.
#[tokio::test]
async fn what_this_process_archived_is_told_by_its_archivist() {
    let folder = tempfile::tempdir().unwrap();
    let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::open(&folder.path().join("a.db")).await.unwrap());
    let commits = Arc::new(Commits::new(archive.clone()));
    let archivist = Archivist { archive, commits: commits.clone() };
    let draft = draft(RoomId::new(), "c");
    let payload = format!("e 1 1 {}", serde_json::to_string(&draft).unwrap()).into_bytes();
    let batch = [(Partition::FIRST, Entry { id: EventId(1, 0), deliveries: 1, payload })];
    let (told, done) = tokio::join!(commits.wait(draft.id, false, SOON), archivist.work(&batch));
    assert_eq!((told, done), (Ok(()), Ok(vec![Outcome::Done])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_archived_is_found_and_who_gives_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::open(&folder.path().join("a.db")).await.unwrap());
    let commits = Arc::new(Commits::new(archive.clone()));
    let tending = tokio::spawn({
        let commits = commits.clone();
        async move { commits.tend().await }
    });
    let stored = |seq: u64| Appended {
        epoch: chatlab_kit::message::Epoch("e".into()),
        seq,
        id: MessageId::new(),
        ts: 1,
        duplicate: false,
    };
    let room = RoomId::new();
    let message = as_message(&draft(room, "c"), &stored(1));
    let id = message.draft.id;
    // Two wait for the same one, and nobody here says that it is committed.
    let (first, second, ()) =
        tokio::join!(commits.wait(id, false, SOON), commits.wait(id, true, SOON), async {
            archive.add_messages(std::slice::from_ref(&message)).await.unwrap();
        });
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(commits.wait(id, true, SOON).await, Ok(()), "an old one is asked for at once");
    assert_eq!(commits.wait(MessageId::new(), true, AT_ONCE).await, Err("too_late"));

    // As many as may; all give up, and then there is place for as many again.
    for _ in 0..2 {
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..MAX_WAITING {
            let commits = commits.clone();
            waiting.spawn(async move { commits.wait(MessageId::new(), false, 10 * SOON).await });
        }
        while commits.waiting() < MAX_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(commits.wait(MessageId::new(), false, SOON).await, Err("too_many"));
        waiting.shutdown().await;
        assert_eq!(commits.waiting(), 0);
    }
    tending.abort();
}

crate::on_both!(
    each_level_is_told_when_it_is_reached,
    who_waits_for_the_archive_holds_nobody_up_and_is_not_lied_to,
);

/// Each level one after the other, and by many at once; of each 300 sends of 180 bytes, milliseconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn what_a_level_costs() {
    const SENDS: usize = 300;
    const AT_ONCE: usize = 64;
    for topology in Topology::ALL {
        let stack = own(topology, 1).await;
        let (mut clients, _, room) = party(&stack, 1).await;
        let client = &mut clients[0];
        client.join(room, None).await.unwrap();
        for level in [AckLevel::Memory, AckLevel::Replica, AckLevel::Archived] {
            // One in flight, then many; archiving waits for its batch, so fewer do.
            for at_once in [1, AT_ONCE] {
                let sends = if level == AckLevel::Archived && at_once == 1 { SENDS / 10 } else { SENDS };
                let (mut took, mut under_way) = (Vec::new(), std::collections::HashMap::new());
                let mut sent = 0;
                while took.len() < sends {
                    while sent < sends && under_way.len() < at_once {
                        let cid = format!("{}-{at_once}-{sent}", level.as_str());
                        let began = Instant::now();
                        under_way.insert(send(client, room, &cid, level).await, began);
                        sent += 1;
                    }
                    let ServerFrame::Ack { id, .. } = next_answer(client).await else { panic!("refused") };
                    took.push(under_way.remove(&id).unwrap().elapsed());
                }
                took.sort_unstable();
                let ms = |quantile: usize| took[(took.len() - 1) * quantile / 100].as_secs_f64() * 1e3;
                println!(
                    "{topology} {} with {at_once} in flight: p50 {:.2}, p90 {:.2}, p99 {:.2} ms of {sends}",
                    level.as_str(),
                    ms(50),
                    ms(90),
                    ms(99)
                );
            }
        }
        stack.stop().await.unwrap();
    }
}
