//! One order a room, one copy a message.

use std::sync::Arc;

use chatlab_kit::{message::Message, servers::Topology};
use chatlab_load::client::WsClient;

use crate::common::{SOON, party, shared};

async fn a_retry_on_any_connection_gives_one_message(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 1).await;
    let mut second = WsClient::connect(&stack.ws_url(1), &tokens[0]).await.unwrap();
    let first = &mut clients[0];
    first.join(room, None).await.unwrap();
    second.join(room, None).await.unwrap();

    let original = first.send(room, "once", "hello").await.unwrap();
    let same = first.send(room, "once", "hello").await.unwrap();
    let elsewhere = second.send(room, "once", "hello").await.unwrap();
    assert!(!original.dup && same.dup && elsewhere.dup);
    for retry in [&same, &elsewhere] {
        assert_eq!((retry.seq, retry.msg, retry.ts), (original.seq, original.msg, original.ts));
    }
    let next = second.send(room, "twice", "next").await.unwrap();
    assert_eq!(next.seq, original.seq + 1, "a retry takes no number");
    for client in [first, &mut second] {
        let seen =
            [client.next_message(SOON).await.unwrap().seq, client.next_message(SOON).await.unwrap().seq];
        assert_eq!(seen, [1, 2]);
    }
    assert_eq!(second.history(room, None, None).await.unwrap().messages.len(), 2);
}

async fn concurrent_senders_get_one_sequence_and_everyone_the_same_order(topology: Topology) {
    const SENDERS: usize = 200;
    const EACH: usize = 3;
    const TOTAL: usize = SENDERS * EACH;
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, SENDERS).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let start = Arc::new(tokio::sync::Barrier::new(SENDERS));
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                let mut acks = Vec::new();
                for i in 0..EACH {
                    acks.push(client.send(room, &format!("m{i}"), "x").await.unwrap().seq);
                }
                let mut seen: Vec<Message> = Vec::new();
                while seen.len() < TOTAL {
                    seen.push(client.next_message(SOON).await.unwrap());
                }
                (acks, seen)
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    let mut orders = Vec::new();
    for task in tasks {
        let (acks, seen) = task.await.unwrap();
        acknowledged.extend(acks);
        orders.push(seen.iter().map(|m| (m.seq, m.draft.id)).collect::<Vec<_>>());
    }
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=TOTAL as u64).collect::<Vec<_>>(), "no hole, no number twice");
    assert!(orders[0].iter().map(|(seq, _)| *seq).eq(1..=TOTAL as u64));
    assert!(orders.iter().all(|order| *order == orders[0]), "every subscriber sees the same order");
}

crate::on_both!(
    a_retry_on_any_connection_gives_one_message,
    concurrent_senders_get_one_sequence_and_everyone_the_same_order,
);
