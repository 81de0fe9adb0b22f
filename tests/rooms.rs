//! Rooms as such: settings and what they hold people to, letting somebody in, direct chats and their end, blocks.

use std::time::Instant;

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::{RoomId, UserId},
    servers::Topology,
    wire::{ErrorCode, Role, RoomInfo, RoomKind, ServerFrame},
};
use chatlab_load::client::{NewSettings, WsClient};
use serde_json::json;

use crate::{
    common::{SILENCE, SOON, code, party, shared, until_event, user},
    socketio::raw::Raw,
};

async fn settings(client: &mut WsClient, wanted: impl Fn(&RoomInfo) -> bool) {
    until_event(client, |event| matches!(event, ServerFrame::Settings(info) if wanted(info))).await;
}

async fn no_message(client: &mut WsClient) {
    let deadline = Instant::now() + SILENCE;
    while let Ok(event) = client.next_event(deadline.saturating_duration_since(Instant::now())).await {
        assert!(!matches!(event, ServerFrame::Message(_)), "{event:?}");
    }
}

/// Users who are in no room, spread over the processes.
async fn connected(stack: &Stack, n: usize) -> Vec<WsClient> {
    let tokens = stack.provision(n, 0).await.unwrap().tokens;
    let mut clients = Vec::new();
    for (nth, token) in tokens.iter().enumerate() {
        clients.push(WsClient::connect(&stack.ws_url(nth % stack.servers()), token).await.unwrap());
    }
    clients
}

/// An owner, a moderator and a member, on two processes.
async fn three(stack: &Stack) -> (Vec<WsClient>, RoomId) {
    let (mut clients, _, room) = party(stack, 3).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let moderator = user(&clients[1]);
    clients[0].set_role(room, moderator, Role::Moderator).await.unwrap();
    (clients, room)
}

async fn members_keep_to_the_settings(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, room) = three(stack).await;
    let [owner, moderator, member] = &mut clients[..] else { unreachable!() };
    let first = member.send(room, "c1", "before").await.unwrap().msg;
    let read_only = |on| NewSettings { read_only: Some(on), ..NewSettings::default() };
    assert_eq!(code(moderator.settings(room, read_only(true)).await), ErrorCode::Forbidden);
    owner.settings(room, read_only(true)).await.unwrap();
    settings(member, |info| info.read_only).await;
    assert_eq!(code(member.send(room, "c2", "x").await), ErrorCode::Forbidden);
    assert_eq!(code(member.edit(room, "c3", first, "x").await), ErrorCode::Forbidden);
    member.react(room, "c4", first, ("👍", true)).await.unwrap();
    settings(moderator, |info| info.read_only).await;
    moderator.send(room, "c5", "for all").await.unwrap();
    owner.settings(room, read_only(false)).await.unwrap();
    settings(member, |info| !info.read_only).await;
    member.send(room, "c6", "again").await.unwrap();

    let slow = |slow_s| NewSettings { slow_s: Some(slow_s), ..NewSettings::default() };
    assert_eq!(code(owner.settings(room, slow(7)).await), ErrorCode::Invalid);
    assert_eq!(code(owner.settings(room, NewSettings::default()).await), ErrorCode::Invalid);
    owner.settings(room, slow(3_600)).await.unwrap();
    settings(member, |info| info.slow_s == 3_600).await;
    member.send(room, "c7", "one").await.unwrap();
    assert_eq!(code(member.send(room, "c8", "two").await), ErrorCode::RateLimited);
    moderator.send(room, "c9", "one").await.unwrap();
    moderator.send(room, "c10", "two").await.unwrap();
    owner.settings(room, slow(0)).await.unwrap();
    settings(member, |info| info.slow_s == 0).await;
    member.send(room, "c11", "three").await.unwrap();

    // Who comes later is held to them as well, on a process that never heard of the change.
    owner.settings(room, read_only(true)).await.unwrap();
    let (mut late, _, _) = party(stack, 2).await;
    for client in &mut late {
        client.join(room, None).await.unwrap();
        assert_eq!(code(client.send(room, "c1", "x").await), ErrorCode::Forbidden);
    }
}

async fn who_is_not_let_in_stays_outside(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, room) = three(stack).await;
    let mut others = connected(stack, 3).await;
    let [owner, moderator, member] = &mut clients[..] else { unreachable!() };
    let new = NewSettings { name: Some("Chai".into()), invited: Some(true), ..NewSettings::default() };
    owner.settings(room, new).await.unwrap();
    let [asked, blocks, banned] = &mut others[..] else { unreachable!() };
    for other in [&mut *asked, &mut *blocks] {
        assert_eq!(code(other.join(room, None).await), ErrorCode::Forbidden);
        assert_eq!(code(other.history(room, None, None).await), ErrorCode::Forbidden);
    }
    assert_eq!(code(member.add(room, user(asked)).await), ErrorCode::Forbidden);
    assert_eq!(code(moderator.add(room, UserId::new()).await), ErrorCode::NotFound);
    moderator.add(room, user(asked)).await.unwrap();
    assert_eq!(code(moderator.add(room, user(asked)).await), ErrorCode::Conflict);
    let told = until_event(asked, |event| matches!(event, ServerFrame::Added(_))).await;
    let (listed, next) = asked.rooms(None, None).await.unwrap();
    assert_eq!((told, next), (ServerFrame::Added(listed[0].clone()), None));
    assert_eq!((listed.len(), listed[0].room, listed[0].name.as_str()), (1, room, "Chai"));
    asked.join(room, None).await.unwrap();
    blocks.block(user(moderator), true).await.unwrap();
    assert_eq!(code(moderator.add(room, user(blocks)).await), ErrorCode::Forbidden);
    owner.add(room, user(blocks)).await.unwrap();
    owner.remove(room, user(banned), true).await.unwrap();
    assert_eq!(code(owner.add(room, user(banned)).await), ErrorCode::Conflict);
}

async fn two_have_one_direct_chat_until_it_ends(topology: Topology) {
    let stack = shared(topology).await;
    let mut clients = connected(stack, 3).await;
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let [ada, bob, eve] = &mut clients[..] else { unreachable!() };
    assert_eq!(code(ada.direct(users[0], None).await), ErrorCode::Invalid);
    assert_eq!(code(ada.direct(users[1], Some(0)).await), ErrorCode::Invalid);
    assert_eq!(code(ada.direct(UserId::new(), None).await), ErrorCode::NotFound);
    let room = ada.direct(users[1], None).await.unwrap();
    let added = until_event(bob, |event| matches!(event, ServerFrame::Added(_))).await;
    let ServerFrame::Added(info) = added else { unreachable!() };
    assert_eq!((info.room, info.kind, info.with), (room, RoomKind::Direct, Some(users[0])));
    assert_eq!(bob.direct(users[0], None).await.unwrap(), room);
    let hi = ada.send(room, "c1", "hi").await.unwrap().msg;
    assert_eq!(bob.next_message(SOON).await.unwrap().draft.id, hi);
    bob.pin(room, "p1", hi, true).await.unwrap();
    for refused in [
        eve.join(room, None).await.map(drop),
        eve.history(room, None, None).await.map(drop),
        eve.end(room).await,
        ada.leave(room).await,
        ada.add(room, users[2]).await,
        ada.set_role(room, users[1], Role::Moderator).await,
        ada.remove(room, users[1], true).await,
        ada.settings(room, NewSettings { read_only: Some(true), ..NewSettings::default() }).await,
    ] {
        assert_eq!(code(refused), ErrorCode::Forbidden);
    }
    let group = eve.create("Group").await.unwrap();
    assert_eq!(code(eve.end(group).await), ErrorCode::Forbidden);

    bob.end(room).await.unwrap();
    for (client, who) in [(&mut *ada, users[0]), (&mut *bob, users[1])] {
        until_event(client, |event| *event == ServerFrame::Left { room, user: who }).await;
        assert_eq!(code(client.send(room, "c2", "x").await), ErrorCode::Forbidden);
        assert_eq!(code(client.history(room, None, None).await), ErrorCode::NotFound);
        assert_eq!(code(client.join(room, None).await), ErrorCode::NotFound);
        assert_eq!(code(client.end(room).await), ErrorCode::NotFound);
    }
    assert_eq!(ada.rooms(None, None).await.unwrap().0, Vec::new());
    let again = bob.direct(users[0], None).await.unwrap();
    assert_ne!(again, room);
    assert_eq!(ada.direct(users[1], None).await.unwrap(), again);
}

async fn a_chat_for_a_while_ends_by_itself(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, _) = party(stack, 2).await;
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    let room = ada.direct(users[1], Some(2)).await.unwrap();
    assert_eq!(bob.direct(users[0], Some(600)).await.unwrap(), room, "the first one's time holds");
    ada.send(room, "c1", "hi").await.unwrap();
    for (client, who) in [(&mut *ada, users[0]), (&mut *bob, users[1])] {
        until_event(client, |event| *event == ServerFrame::Left { room, user: who }).await;
        assert_eq!(code(client.history(room, None, None).await), ErrorCode::NotFound);
    }
    assert_ne!(ada.direct(users[1], None).await.unwrap(), room);
}

async fn nothing_comes_past_a_block(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, group) = party(stack, 2).await;
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let mut phone = WsClient::connect(&stack.ws_url(1), &tokens[0]).await.unwrap();
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    let room = ada.direct(users[1], None).await.unwrap();
    bob.join(room, None).await.unwrap();
    phone.join(room, None).await.unwrap();
    for client in [&mut *ada, &mut *bob] {
        client.join(group, None).await.unwrap();
    }
    let at = bob.position(room);
    assert_eq!(code(ada.block(users[0], true).await), ErrorCode::Invalid);
    assert_eq!(code(ada.block(UserId::new(), true).await), ErrorCode::NotFound);
    assert_eq!(ada.block(users[1], true).await.unwrap(), [users[1]]);
    assert_eq!(ada.block(users[1], true).await.unwrap(), [users[1]], "the same again");
    for (client, who) in [(&mut *ada, users[0]), (&mut phone, users[0]), (&mut *bob, users[1])] {
        until_event(client, |event| *event == ServerFrame::Left { room, user: who }).await;
    }
    for refused in [
        bob.send(room, "c1", "x").await.map(drop),
        bob.join(room, at.clone()).await.map(drop),
        bob.history(room, None, None).await.map(drop),
        bob.typing(room, true).await,
        bob.direct(users[0], None).await.map(drop),
        ada.direct(users[1], None).await.map(drop),
        ada.join(room, None).await.map(drop),
    ] {
        assert_eq!(code(refused), ErrorCode::Forbidden);
    }
    no_message(ada).await;
    // Only the one who is blocked does not see the other.
    assert_eq!(bob.who(group, None, None).await.unwrap().online, [users[1]]);
    let mut both = users.clone();
    both.sort_unstable();
    assert_eq!(ada.who(group, None, None).await.unwrap().online, both);
    assert_eq!(bob.blocks().await.unwrap(), []);
    // The order of a room of many is one for all.
    let said = bob.send(group, "c2", "to all").await.unwrap().msg;
    assert_eq!(ada.next_message(SOON).await.unwrap().draft.id, said);
    assert_eq!(ada.block(users[1], false).await.unwrap(), []);
    bob.join(room, at).await.unwrap();
    ada.direct(users[1], None).await.unwrap();
    let said = bob.send(room, "c3", "again").await.unwrap().msg;
    assert_eq!(ada.next_message(SOON).await.unwrap().draft.id, said);
}

async fn official_words_for_rooms(topology: Topology) {
    let stack = shared(topology).await;
    let (clients, tokens, room) = party(stack, 2).await;
    let mut raw = Raw::connect(stack, &tokens[0]).await;
    raw.send(&format!(r#"420["chat:join",{}]"#, json!({ "room": room }))).await;
    raw.send(&format!(r#"421["chat:settings",{}]"#, json!({ "room": room, "name": "Chai" }))).await;
    assert_eq!(raw.event("chat:settings").await["name"], "Chai");
    raw.send(&format!(r#"422["chat:direct",{}]"#, json!({ "user": user(&clients[1]) }))).await;
    // By then there is one.
    while !raw.next().await.unwrap().starts_with(r#"432[{"room":"#) {}
    raw.send(r#"423["chat:list",{}]"#).await;
    while !raw.next().await.unwrap().starts_with(r#"433[{"rooms":[{"#) {}
    let mut other = Raw::connect(stack, &tokens[1]).await;
    other.send(&format!(r#"424["user:block",{}]"#, json!({ "user": user(&clients[0]), "on": true }))).await;
    // That the other one is out comes first.
    while raw.event("left").await["user"] != json!(user(&clients[0])) {}
}

crate::on_each!(
    members_keep_to_the_settings,
    who_is_not_let_in_stays_outside,
    two_have_one_direct_chat_until_it_ends,
    a_chat_for_a_while_ends_by_itself,
    nothing_comes_past_a_block,
    official_words_for_rooms,
);
