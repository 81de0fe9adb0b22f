//! Direct chats that have ended: some time later nothing is left of what was said there.

use std::sync::Arc;

use chatlab::{
    app::open_archive,
    harness::Stack,
    service::{
        expiry::Expiry,
        hub::{Hub, Ports},
        ports::Standing,
        typing::Typing,
        vault::Vault,
    },
};
use chatlab_history::{History, Policy};
use chatlab_kit::{ids::RoomId, redis::Redis, servers::Topology, wire::AckLevel};

use crate::common::{ask, nodes_of, own, party, user};

/// After the end of everything that a test begins.
const LATER_MS: i64 = 3_600_000;

/// The keys of Redis that have a room in their name, and do not run out by themselves.
async fn keys_of(stack: &Stack, room: RoomId) -> Vec<String> {
    let alone = stack.managed().nodes().len() == 1;
    // All keys of a room are at one node, and as copies at its replica.
    let node = if alone { 0 } else { nodes_of(stack, room).await.0 };
    let mut found = Vec::new();
    let keys: Vec<String> = ask(stack, node, redis::cmd("KEYS").arg(format!("*{room}*"))).await;
    for key in keys {
        let ttl: i64 = ask(stack, node, redis::cmd("TTL").arg(&key)).await;
        if ttl < 0 {
            found.push(key);
        }
    }
    found
}

async fn what_was_said_in_a_chat_that_ended_is_removed_and_nothing_else(topology: Topology) {
    let stack = own(topology, 1).await;
    let (mut clients, _, _) = party(&stack, 3).await;
    let (bob, eve) = (user(&clients[1]), user(&clients[2]));
    let ada = &mut clients[0];
    let (over, kept) = (ada.direct(bob, None).await.unwrap(), ada.direct(eve, None).await.unwrap());
    for room in [over, kept] {
        for nth in 0..3 {
            ada.send(room, &format!("c{nth}"), "words").await.unwrap();
        }
        ada.send_at(room, "last", "words", AckLevel::Archived).await.unwrap();
    }
    ada.end(over).await.unwrap();

    let archive = open_archive(&stack.database()).await.unwrap();
    let redis = Redis::connect(&stack.redis_config()).await.unwrap();
    let history: Arc<dyn History> =
        chatlab_history::build("zset_hash", redis.clone(), Policy::default()).unwrap();
    let fanout = chatlab_pubsub::build("sharded", redis).unwrap();
    let hub = Hub::new(Ports {
        history: history.clone(),
        fanout: fanout.clone(),
        archive: archive.clone(),
        typing: Arc::new(Typing::new(fanout)),
        vault: Arc::new(Vault::default()),
    });
    assert!(!keys_of(&stack, over).await.is_empty());
    assert_eq!(archive.messages_before(&over, None, 10).await.unwrap().len(), 4);
    let expiry = Expiry::new(archive.clone(), history, Arc::new(hub));
    let now = chatlab::service::now_ms();
    expiry.look(now, LATER_MS).await;
    assert_eq!(archive.messages_before(&over, None, 10).await.unwrap().len(), 4, "not at once");
    expiry.look(now + LATER_MS, 0).await;
    assert_eq!(keys_of(&stack, over).await, [""; 0]);
    assert!(archive.messages_before(&over, None, 10).await.unwrap().is_empty());
    assert_eq!(archive.standing(&over, &bob).await.unwrap(), Standing::NoRoom);
    assert_eq!(archive.room(&over, None).await.unwrap(), None);

    assert!(!keys_of(&stack, kept).await.is_empty());
    assert_eq!(archive.messages_before(&kept, None, 10).await.unwrap().len(), 4);
    assert_eq!(ada.history(kept, None, None).await.unwrap().messages.len(), 4);
    stack.stop().await.unwrap();
}

crate::on_each!(what_was_said_in_a_chat_that_ended_is_removed_and_nothing_else);
