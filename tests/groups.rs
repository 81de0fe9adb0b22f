//! Members of a room: their roles, and the end of a membership by somebody else.

use std::time::Instant;

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::{RoomId, UserId},
    servers::Topology,
    wire::{ErrorCode, Role, ServerFrame},
};
use chatlab_load::client::WsClient;
use serde_json::json;

use crate::{
    common::{SILENCE, SOON, code, party, shared, until_event, user},
    socketio::raw::Raw,
};

/// `n` users in a room of the first of them, spread over the processes.
async fn room_of(stack: &Stack, n: usize) -> (Vec<WsClient>, Vec<String>, RoomId) {
    let (mut clients, tokens, room) = party(stack, n).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    (clients, tokens, room)
}

async fn roles_are_given_downwards(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = room_of(stack, 4).await;
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let [owner, admin, moderator, member] = &mut clients[..] else { unreachable!() };
    assert_eq!(code(admin.set_role(room, users[3], Role::Moderator).await), ErrorCode::Forbidden);
    owner.set_role(room, users[1], Role::Admin).await.unwrap();
    // Told to everybody, on every process; it holds from the answer on.
    for client in [&mut *admin, member] {
        let told = until_event(client, |event| matches!(event, ServerFrame::Role { .. })).await;
        assert_eq!(told, ServerFrame::Role { room, user: users[1], role: Role::Admin });
    }
    admin.set_role(room, users[2], Role::Moderator).await.unwrap();
    for (target, role) in
        [(users[0], Role::Member), (users[3], Role::Admin), (users[1], Role::Member), (users[3], Role::Owner)]
    {
        assert_eq!(code(admin.set_role(room, target, role).await), ErrorCode::Forbidden, "{role:?}");
    }
    assert_eq!(code(owner.set_role(room, users[3], Role::Owner).await), ErrorCode::Forbidden);
    assert_eq!(code(owner.set_role(room, UserId::new(), Role::Member).await), ErrorCode::NotFound);
    assert_eq!(code(moderator.set_role(room, users[3], Role::Member).await), ErrorCode::Forbidden);

    let (roster, next) = member.members(room, None, None).await.unwrap();
    assert!(roster.windows(2).all(|pair| pair[0].user < pair[1].user) && next.is_none());
    let role = |user: UserId| roster.iter().find(|entry| entry.user == user).unwrap().role;
    assert_eq!(
        users.iter().map(|user| role(*user)).collect::<Vec<_>>(),
        [Role::Owner, Role::Admin, Role::Moderator, Role::Member]
    );
    assert!(roster.iter().all(|entry| !entry.name.is_empty()));
    let (first, next) = member.members(room, None, Some(3)).await.unwrap();
    let (rest, end) = member.members(room, next, Some(3)).await.unwrap();
    assert_eq!(first.into_iter().chain(rest).collect::<Vec<_>>(), roster);
    assert!(end.is_none());
    assert_eq!(code(member.members(room, None, Some(0)).await), ErrorCode::Invalid);

    // What a role allows, and no longer.
    let text = member.send(room, "c1", "hi").await.unwrap().msg;
    moderator.pin(room, "p1", text, true).await.unwrap();
    admin.set_role(room, users[2], Role::Member).await.unwrap();
    assert_eq!(code(moderator.pin(room, "p2", text, false).await), ErrorCode::Forbidden);
    assert_eq!(code(moderator.delete(room, "d1", text).await), ErrorCode::Forbidden);
    admin.delete(room, "d1", text).await.unwrap();
}

async fn who_is_removed_may_come_back_and_who_is_banned_may_not(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = room_of(stack, 4).await;
    let users: Vec<UserId> = clients.iter().map(user).collect();
    // The one who goes has two devices, on two processes.
    let mut phone = WsClient::connect(&stack.ws_url(1), &tokens[2]).await.unwrap();
    phone.join(room, None).await.unwrap();
    let [owner, moderator, gone, other] = &mut clients[..] else { unreachable!() };
    owner.set_role(room, users[1], Role::Moderator).await.unwrap();
    for (who, whom) in [(2, 3), (1, 0)] {
        let by = if who == 1 { &mut *moderator } else { &mut *gone };
        assert_eq!(code(by.remove(room, users[whom], true).await), ErrorCode::Forbidden);
    }
    assert_eq!(code(moderator.remove(room, users[1], false).await), ErrorCode::Invalid, "oneself leaves");
    assert_eq!(code(moderator.remove(room, UserId::new(), false).await), ErrorCode::NotFound);
    assert_eq!(code(moderator.remove(room, UserId::new(), true).await), ErrorCode::NotFound, "no user");

    moderator.remove(room, users[2], false).await.unwrap();
    let left = ServerFrame::Left { room, user: users[2] };
    for client in [&mut *gone, &mut phone, &mut *other] {
        until_event(client, |event| *event == left).await;
    }
    assert_eq!(code(gone.send(room, "c1", "x").await), ErrorCode::Forbidden);
    assert_eq!(code(gone.history(room, None, None).await), ErrorCode::Forbidden);
    gone.join(room, None).await.unwrap();
    phone.join(room, None).await.unwrap();
    let last = other.send(room, "c1", "before").await.unwrap();
    for client in [&mut *gone, &mut phone] {
        assert_eq!(client.next_message(SOON).await.unwrap().draft.id, last.msg);
    }
    let at = gone.position(room);

    moderator.remove(room, users[2], true).await.unwrap();
    for client in [&mut *gone, &mut phone, &mut *other] {
        until_event(client, |event| *event == left).await;
    }
    other.send(room, "c2", "after").await.unwrap();
    for client in [&mut *gone, &mut phone] {
        assert_eq!(code(client.join(room, None).await), ErrorCode::Forbidden);
        assert_eq!(code(client.join(room, at.clone()).await), ErrorCode::Forbidden, "no resume either");
        assert_eq!(code(client.history(room, None, None).await), ErrorCode::Forbidden);
        assert_eq!(code(client.members(room, None, None).await), ErrorCode::Forbidden);
        let deadline = Instant::now() + SILENCE;
        while let Ok(event) = client.next_event(deadline.saturating_duration_since(Instant::now())).await {
            assert!(!matches!(event, ServerFrame::Message(_)), "past the ban: {event:?}");
        }
    }
    assert_eq!(code(moderator.remove(room, users[2], true).await), ErrorCode::Conflict);
    assert_eq!(code(gone.unban(room, users[2]).await), ErrorCode::Forbidden);
    moderator.unban(room, users[2]).await.unwrap();
    assert_eq!(code(moderator.unban(room, users[2]).await), ErrorCode::NotFound);
    gone.join(room, None).await.unwrap();
    // Also who never was a member.
    let mut stranger =
        WsClient::connect(&stack.ws_url(0), &stack.provision(1, 0).await.unwrap().tokens[0]).await.unwrap();
    owner.remove(room, user(&stranger), true).await.unwrap();
    assert_eq!(code(stranger.join(room, None).await), ErrorCode::Forbidden);
}

async fn official_words_for_members(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = room_of(stack, 3).await;
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let mut raw = Raw::connect(stack, &tokens[0]).await;
    raw.send(&format!(r#"420["chat:join",{}]"#, json!({ "room": room }))).await;
    let role = json!({ "room": room, "user": users[1], "role": "moderator" });
    raw.send(&format!(r#"421["chat:role",{role}]"#)).await;
    assert_eq!(raw.event("chat:role").await["role"], "moderator");
    let ban = json!({ "room": room, "user": users[2], "ban": true });
    raw.send(&format!(r#"422["chat:remove",{ban}]"#)).await;
    assert_eq!(raw.event("left").await["user"], json!(users[2]));
    assert_eq!(code(clients[2].join(room, None).await), ErrorCode::Forbidden);
}

crate::on_each!(
    roles_are_given_downwards,
    who_is_removed_may_come_back_and_who_is_banned_may_not,
    official_words_for_members,
);
