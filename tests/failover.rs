//! A failover that loses the end of a room: it is told, and nothing is silent.

use chatlab::harness::Stack;
use chatlab_kit::{
    keys::RoomKeys,
    message::Position,
    servers::{Role, Topology, inspect},
    wire::{AckLevel, ServerFrame},
};
use chatlab_load::{client::WsClient, http::HttpClient};
use hyper::Method;

use crate::common::{SOON, ask, next_event, nodes_of, own, party, replicated, until_role};

async fn resync(client: &mut WsClient) -> Position {
    match next_event(client).await.unwrap() {
        ServerFrame::Resync { head, .. } => head,
        other => panic!("not told of the loss: {other:?}"),
    }
}

/// The replica hears nothing of the last messages; then the master dies, and the replica takes its place without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_saw_what_a_failover_lost_is_told_and_no_number_comes_twice() {
    const KEPT: u64 = 5;
    const LOST: u64 = 3;
    let stack = own(Topology::Cluster, 2).await;
    let (mut clients, tokens, room) = party(&stack, 3).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let mut last = None;
    for i in 0..KEPT {
        last = Some(clients[0].send(room, &format!("kept{i}"), "x").await.unwrap());
    }
    let (master, replica) = nodes_of(&stack, room).await;
    // The replica has what was sent so far …
    replicated(&stack, room, master).await;
    let seen = last.unwrap();
    // … and of the rest nothing: it stands still, and its link is cut.
    stack.managed().pause_node(replica).unwrap();
    let cut: u64 = ask(&stack, master, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica")).await;
    assert_eq!(cut, 1);
    let mut lost = None;
    for i in 0..LOST {
        lost = Some(clients[0].send(room, &format!("lost{i}"), "x").await.unwrap());
    }
    let lost = lost.unwrap();
    for client in &mut clients {
        for seq in 1..=KEPT + LOST {
            assert_eq!(client.next_message(SOON).await.unwrap().seq, seq);
        }
    }
    // The third client is away when it happens, and has seen everything.
    let away = clients.pop().unwrap();
    away.close().await.unwrap();
    stack.managed().kill_node(master).unwrap();
    stack.managed().resume_node(replica).unwrap();
    until_role(&stack, replica, Role::Master).await;

    // Who is connected is told, on both servers, and the number of what is lost is not given again.
    for client in &mut clients {
        let head = resync(client).await;
        assert_eq!((head.seq, head.id), (KEPT + LOST, None));
        assert_ne!(head.epoch, lost.epoch);
    }
    // Who comes back with a position that is lost is told; with one that is kept too, since a new run has begun.
    for seen in [&lost, &seen] {
        let mut back = WsClient::connect(&stack.ws_url(1), &tokens[2]).await.unwrap();
        let after = Position { epoch: seen.epoch.clone(), seq: seen.seq, id: Some(seen.msg) };
        back.join(room, Some(after)).await.unwrap();
        assert_eq!(resync(&mut back).await.seq, KEPT + LOST);
        // What is left can be read.
        let page = back.history(room, None, None).await.unwrap();
        let kept: Vec<u64> = page.messages.iter().map(|m| m.seq).collect();
        assert_eq!(kept, (1..=KEPT).collect::<Vec<_>>());
    }
    let next = clients[0].send(room, "after", "x").await.unwrap();
    assert_eq!(next.seq, KEPT + LOST + 1);
    for client in &mut clients {
        assert_eq!(client.next_message(SOON).await.unwrap().seq, next.seq);
    }
    // A retry of what was lost is a new message: nothing remembers the first one.
    let again = clients[0].send(room, "lost0", "x").await.unwrap();
    assert!(!again.dup && again.seq == next.seq + 1, "{again:?}");
}

/// The end of a room is lost and its numbers are given again, while no subscription is cut: as when a listener's server is told by
/// a node that stays. The room's keys are put back to what they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_given_again_tells_the_loss_to_who_heard_the_first() {
    const KEPT: u64 = 3;
    const LOST: u64 = 4;
    let stack = own(Topology::Single, 2).await;
    let (mut clients, _, room) = party(&stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let names = RoomKeys::new(&room);
    let mut before: Vec<(String, Vec<u8>)> = Vec::new();
    let mut last = None;
    for i in 1..=KEPT + LOST {
        last = Some(clients[0].send(room, &format!("c{i}"), "x").await.unwrap());
        if i == KEPT {
            for key in [names.meta(), names.log(), names.msg()] {
                let dump = ask(&stack, 0, redis::cmd("DUMP").arg(&key)).await;
                before.push((key, dump));
            }
        }
    }
    for client in &mut clients {
        for seq in 1..=KEPT + LOST {
            assert_eq!(client.next_message(SOON).await.unwrap().seq, seq);
        }
    }
    for (key, dump) in before {
        let mut restore = redis::cmd("RESTORE");
        let _: String = ask(&stack, 0, restore.arg(key).arg(0).arg(dump).arg("REPLACE")).await;
    }
    let again = clients[0].send(room, "again", "x").await.unwrap();
    let lost = last.unwrap();
    assert_eq!((again.seq, &again.epoch), (KEPT + 1, &lost.epoch), "the number is not given again");
    for client in &mut clients {
        let head = resync(client).await;
        assert_eq!((head.seq, head.id), (lost.seq, None));
        assert_ne!(head.epoch, lost.epoch);
    }
    let next = clients[1].send(room, "next", "x").await.unwrap();
    assert_eq!(next.seq, lost.seq + 1);
    for client in &mut clients {
        assert_eq!(client.next_message(SOON).await.unwrap().draft.id, next.msg);
    }
    stack.stop().await.unwrap();
}

/// The replica has what was called replicated; what was only in memory when its link was cut is what is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_called_replicated_outlives_its_master_and_nothing_else_was() {
    const KEPT: u64 = 20;
    let stack = own(Topology::Cluster, 1).await;
    let (mut clients, _, room) = party(&stack, 1).await;
    let client = &mut clients[0];
    client.join(room, None).await.unwrap();
    let mut replicated = Vec::new();
    for i in 0..KEPT {
        let ack = client.send_at(room, &format!("kept{i}"), "x", AckLevel::Replica).await.unwrap();
        assert_eq!((ack.level, ack.wanted), (AckLevel::Replica, None));
        replicated.push(ack.msg);
    }
    let (master, replica) = nodes_of(&stack, room).await;
    stack.managed().pause_node(replica).unwrap();
    let cut: u64 = ask(&stack, master, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica")).await;
    assert_eq!(cut, 1);
    let lost = client.send_at(room, "lost", "x", AckLevel::Replica).await.unwrap();
    assert_eq!((lost.level, lost.wanted), (AckLevel::Memory, Some(AckLevel::Replica)), "nobody has it");
    stack.managed().kill_node(master).unwrap();
    stack.managed().resume_node(replica).unwrap();
    until_role(&stack, replica, Role::Master).await;
    while !matches!(next_event(client).await.unwrap(), ServerFrame::Resync { .. }) {}
    let page = client.history(room, None, None).await.unwrap();
    assert_eq!(page.messages.iter().map(|m| m.draft.id).collect::<Vec<_>>(), replicated);
    // Sent again it is stored again; the one that is left has no replica, and says so.
    let again = client.send_at(room, "lost", "x", AckLevel::Replica).await.unwrap();
    assert_eq!((again.dup, again.level, again.wanted), (false, AckLevel::Memory, Some(AckLevel::Replica)));
}

/// Everything of a room is gone from Redis; the archive knows how far its numbers went.
async fn a_room_that_redis_forgot_goes_on_above_what_is_archived(topology: Topology) {
    let mut stack = own(topology, 1).await;
    let (mut clients, tokens, room) = party(&stack, 1).await;
    clients[0].join(room, None).await.unwrap();
    for i in 0..4 {
        clients[0].send(room, &format!("c{i}"), "x").await.unwrap();
    }
    let fresh = forget_all(&mut stack).await;
    assert_ne!(fresh, tokens[0]);
    let mut client = WsClient::connect(&stack.ws_url(0), &fresh).await.unwrap();
    client.join(room, None).await.unwrap();
    assert_eq!(client.send(room, "anew", "y").await.unwrap().seq, 5);
    let page = client.history(room, None, None).await.unwrap();
    assert_eq!(page.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    stack.stop().await.unwrap();
}

/// As well by requests of somebody who listens to no room: one says something, one is about a message that only the archive has.
async fn a_room_that_redis_forgot_goes_on_by_requests_too(topology: Topology) {
    let mut stack = own(topology, 1).await;
    let (mut clients, ..) = party(&stack, 1).await;
    let rooms = stack.provision(1, 2).await.unwrap().rooms;
    let mut said = Vec::new();
    for room in &rooms {
        clients[0].join(*room, None).await.unwrap();
        for i in 0..4 {
            said.push(clients[0].send(*room, &format!("c{i}"), "x").await.unwrap().msg);
        }
    }
    let fresh = forget_all(&mut stack).await;
    let http = HttpClient::new(&stack.http_url(0));
    let seq = async |method, path: String, body: Option<Vec<u8>>| {
        let answer = http.request(method, &path, Some(&fresh), body).await.unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {} {text}", answer.status);
        serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|answer| answer["seq"].as_u64())
    };
    for room in &rooms {
        seq(Method::POST, format!("/v1/rooms/{room}/join"), None).await;
    }
    let body = Some(br#"{"body":"y"}"#.to_vec());
    assert_eq!(seq(Method::POST, format!("/v1/rooms/{}/messages", rooms[0]), body).await, Some(5));
    let thumb = format!("/v1/rooms/{}/messages/{}/reactions/%F0%9F%91%8D", rooms[1], said[5]);
    assert_eq!(seq(Method::PUT, thumb, None).await, Some(5));
    stack.stop().await.unwrap();
}

/// Redis is empty; what was said is in the archive. Gives the token of somebody new, since all sessions are gone.
async fn forget_all(stack: &mut Stack) -> String {
    // A stop waits for what was not archived yet.
    stack.stop_server(0).await.unwrap();
    for node in 0..stack.managed().nodes().len() {
        if inspect(stack.managed().nodes()[node].port).unwrap().role == Role::Master {
            let _: String = ask(stack, node, redis::cmd("FLUSHALL").arg("SYNC")).await;
        }
    }
    stack.restart_server(0).await.unwrap();
    stack.provision(1, 0).await.unwrap().tokens.remove(0)
}

crate::on_both!(
    a_room_that_redis_forgot_goes_on_above_what_is_archived,
    a_room_that_redis_forgot_goes_on_by_requests_too,
);
