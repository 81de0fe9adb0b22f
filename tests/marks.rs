//! What members do around messages: reactions and pins, which have their place in the room's order, and read marks, which have none.

use std::time::Instant;

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    keys::RoomKeys,
    message::{Message, MessageKind, PINS_MAX, Position, REACTIONS_MAX},
    redis::Redis,
    servers::Topology,
    wire::{AckLevel, ErrorCode, MAX_MARKS, MarkRoom, RoomMarks, ServerFrame},
};
use chatlab_load::client::WsClient;
use serde_json::{Value, json};

use crate::{
    common::{SOON, code, party, shared, trim, until_history, user},
    socketio::raw::Raw,
};

/// The reactions of a message, by emoji.
fn reactions(message: &Message) -> Vec<(&str, Vec<UserId>)> {
    let mut all: Vec<_> =
        message.reactions.iter().map(|one| (one.emoji.as_str(), one.users.clone())).collect();
    all.sort_unstable();
    all
}

async fn reactions_are_told_in_order_and_shown_with_their_message(topology: Topology) {
    use MessageKind::{React, Text, Unreact};
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 3).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let first = clients[0].send(room, "c1", "tea?").await.unwrap();
    let text = first.msg;
    for (who, cid, emoji, on) in [
        (1, "c1", "👍", true),
        (0, "c2", "👍", true),
        (1, "c2", "🎉", true),
        // A retry is no second one.
        (1, "c2", "🎉", true),
        (1, "c3", "👍", false),
        (1, "c4", "👨‍👩‍👧‍👦", true),
    ] {
        clients[who].react(room, cid, text, (emoji, on)).await.unwrap();
    }
    let expected = [
        (1, Text, None, "tea?"),
        (2, React, Some(text), "👍"),
        (3, React, Some(text), "👍"),
        (4, React, Some(text), "🎉"),
        (5, Unreact, Some(text), "👍"),
        (6, React, Some(text), "👨‍👩‍👧‍👦"),
    ];
    for client in &mut clients {
        for (seq, kind, about, body) in expected {
            let Message { seq: at, draft, .. } = client.next_message(SOON).await.unwrap();
            assert_eq!((at, draft.kind, draft.about, draft.body.as_str()), (seq, kind, about, body));
        }
    }
    let page = clients[2].history(room, None, None).await.unwrap().messages;
    let mut now = vec![("👍", vec![users[0]]), ("🎉", vec![users[1]]), ("👨‍👩‍👧‍👦", vec![users[1]])];
    now.sort_unstable();
    assert_eq!(reactions(&page[0]), now);
    assert!(page[1..].iter().all(|message| message.reactions.is_empty()));
    // Who comes back is told what was done meanwhile, each in its place.
    let mut back = WsClient::connect(&stack.ws_url(0), &tokens[2]).await.unwrap();
    back.join(room, Some(Position { epoch: first.epoch.clone(), seq: 1, id: Some(text) })).await.unwrap();
    for (seq, kind, ..) in &expected[1..] {
        let message = back.next_message(SOON).await.unwrap();
        assert_eq!((message.seq, message.draft.kind), (*seq, *kind));
    }

    let [ada, bob, ..] = &mut clients[..] else { unreachable!() };
    assert_eq!(code(bob.react(room, "d1", text, ("🎉", true)).await), ErrorCode::Conflict);
    assert_eq!(code(bob.react(room, "d2", text, ("👍", false)).await), ErrorCode::NotFound);
    for no_emoji in ["", "x", "👍👍", "<b>", " 👍"] {
        assert_eq!(
            code(bob.react(room, "d3", text, (no_emoji, true)).await),
            ErrorCode::Invalid,
            "{no_emoji}"
        );
    }
    assert_eq!(code(bob.react(room, "d4", MessageId::new(), ("👍", true)).await), ErrorCode::NotFound);
    assert_eq!(code(bob.react(RoomId::new(), "d5", text, ("👍", true)).await), ErrorCode::Forbidden);
    assert_eq!(code(bob.react(room, "d6", page[1].draft.id, ("👍", true)).await), ErrorCode::Invalid);
    ada.delete(room, "d7", text).await.unwrap();
    assert_eq!(code(bob.react(room, "d8", text, ("👍", true)).await), ErrorCode::NotFound);
    let page = bob.history(room, None, None).await.unwrap().messages;
    assert_eq!((reactions(&page[0]), page.len()), (vec![], 7), "the refused left no trace");
}

async fn a_message_bears_so_many_reactions_and_no_more(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 1).await;
    let ada = &mut clients[0];
    ada.join(room, None).await.unwrap();
    let text = ada.send(room, "c", "many").await.unwrap().msg;
    let mut emojis = emojis::iter().map(emojis::Emoji::as_str);
    for (nth, emoji) in emojis.by_ref().take(REACTIONS_MAX).enumerate() {
        ada.react(room, &format!("r{nth}"), text, (emoji, true)).await.unwrap();
        ada.next_message(SOON).await.unwrap();
    }
    let one_more = emojis.next().unwrap();
    assert_eq!(code(ada.react(room, "more", text, (one_more, true)).await), ErrorCode::Conflict);
    let page = ada.history(room, Some(2), None).await.unwrap().messages;
    assert_eq!(page[0].reactions.len(), REACTIONS_MAX);
    ada.react(room, "less", text, (&page[0].reactions[7].emoji, false)).await.unwrap();
    ada.react(room, "more", text, (one_more, true)).await.unwrap();
}

async fn what_only_the_archive_has_bears_reactions_and_pins(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let mut redis = Redis::connect(&stack.redis_config()).await.unwrap();
    let users: Vec<UserId> = clients.iter().map(user).collect();
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    let text = ada.send(room, "c1", "old").await.unwrap().msg;
    let mut old = vec![text];
    for (cid, emoji, on) in [("c1", "👍", true), ("c2", "🎉", true), ("c3", "🎉", false)] {
        old.push(bob.react(room, cid, text, (emoji, on)).await.unwrap().msg);
    }
    // The archive hears in the order of the room: with the last it has all.
    ada.send_at(room, "c2", "new", AckLevel::Archived).await.unwrap();
    trim(&mut redis, room, &old).await;
    let page = until_history(ada, room, |page| page.len() == 5).await;
    assert_eq!(reactions(&page[0]), [("👍", vec![users[1]])]);

    assert_eq!(code(bob.react(room, "d1", text, ("👍", true)).await), ErrorCode::Conflict);
    assert_eq!(code(bob.react(room, "d2", text, ("🎉", false)).await), ErrorCode::NotFound);
    ada.react(room, "d3", text, ("👍", true)).await.unwrap();
    ada.pin(room, "d4", text, true).await.unwrap();
    until_history(bob, room, |page| reactions(&page[0]) == [("👍", vec![users[1], users[0]])]).await;
    assert_eq!(bob.pins(room).await.unwrap()[0].draft.body, "old");
    // Redis loses the pins, and the archive has them.
    ada.send_at(room, "d5", "newest", AckLevel::Archived).await.unwrap();
    redis::cmd("DEL").arg(RoomKeys::new(&room).pins()).query_async::<()>(&mut redis).await.unwrap();
    assert_eq!(bob.pins(room).await.unwrap()[0].draft.id, text);
    redis::cmd("DEL").arg(RoomKeys::new(&room).pins()).query_async::<()>(&mut redis).await.unwrap();
    assert_eq!(code(ada.pin(room, "d6", text, true).await), ErrorCode::Conflict, "it is pinned already");
    ada.pin(room, "d7", text, false).await.unwrap();
    assert_eq!(bob.pins(room).await.unwrap(), []);
}

async fn pins_are_the_owners_and_told_in_order(topology: Topology) {
    use MessageKind::{Delete, Pin, Text, Unpin};
    let stack = shared(topology).await;
    // The first of them made the room.
    let (mut clients, _, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    assert_eq!(bob.pins(room).await.unwrap(), []);
    let one = ada.send(room, "c1", "one").await.unwrap().msg;
    let two = bob.send(room, "c1", "two").await.unwrap().msg;
    assert_eq!(code(bob.pin(room, "c2", two, true).await), ErrorCode::Forbidden);
    ada.pin(room, "c2", two, true).await.unwrap();
    assert!(ada.pin(room, "c2", two, true).await.unwrap().dup);
    assert_eq!(code(ada.pin(room, "c3", two, true).await), ErrorCode::Conflict);
    assert_eq!(code(ada.pin(room, "c4", one, false).await), ErrorCode::NotFound);
    ada.pin(room, "c5", one, true).await.unwrap();
    let pinned: Vec<_> = bob.pins(room).await.unwrap().into_iter().map(|one| one.draft.body).collect();
    assert_eq!(pinned, ["two", "one"], "the first pin first");
    bob.edit(room, "c6", two, "two!").await.unwrap();
    assert_eq!(bob.pins(room).await.unwrap()[0].draft.body, "two!");
    ada.pin(room, "c7", two, false).await.unwrap();
    ada.delete(room, "c8", one).await.unwrap();
    assert_eq!(bob.pins(room).await.unwrap(), [], "what is deleted is pinned no more");
    let kinds = [Text, Text, Pin, Pin, MessageKind::Edit, Unpin, Delete];
    for (nth, kind) in kinds.into_iter().enumerate() {
        let message = bob.next_message(SOON).await.unwrap();
        assert_eq!((message.seq, message.draft.kind), (nth as u64 + 1, kind));
    }
    let mut texts = Vec::new();
    for nth in 0..=PINS_MAX {
        texts.push(ada.send(room, &format!("t{nth}"), "x").await.unwrap().msg);
    }
    for (nth, text) in texts[..PINS_MAX].iter().enumerate() {
        ada.pin(room, &format!("p{nth}"), *text, true).await.unwrap();
    }
    assert_eq!(code(ada.pin(room, "more", texts[PINS_MAX], true).await), ErrorCode::Conflict);
    assert_eq!(bob.pins(room).await.unwrap().len(), PINS_MAX);
}

fn asks(room: RoomId) -> MarkRoom {
    MarkRoom { room, read: None, delivered: None }
}

/// The next receipt of a room: who, read, delivered.
async fn receipt(client: &mut WsClient) -> (UserId, u64, u64) {
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let ServerFrame::Receipt { user, read, delivered, .. } = client.next_event(left).await.unwrap() {
            return (user, read, delivered);
        }
    }
}

async fn marks_move_forward_and_count_what_is_unread(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    let nothing = RoomMarks { room, head: 0, read: 0, delivered: 0, unread: 0 };
    assert_eq!(bob.mark(&[MarkRoom { room, read: Some(9), delivered: None }]).await.unwrap(), [nothing]);
    let text = ada.send(room, "c1", "1").await.unwrap().msg;
    ada.send(room, "c2", "2").await.unwrap();
    ada.edit(room, "c3", text, "1!").await.unwrap();
    ada.react(room, "c4", text, ("👍", true)).await.unwrap();
    ada.send(room, "c5", "3").await.unwrap();
    let marked = |read, delivered, unread| [RoomMarks { room, head: 5, read, delivered, unread }];
    assert_eq!(bob.mark(&[asks(room)]).await.unwrap(), marked(0, 0, 3), "three texts");
    let come = MarkRoom { room, read: None, delivered: Some(5) };
    assert_eq!(bob.mark(&[come]).await.unwrap(), marked(0, 5, 3));
    assert_eq!(receipt(ada).await, (user(bob), 0, 5));
    let read = |seq| MarkRoom { room, read: Some(seq), delivered: None };
    assert_eq!(bob.mark(&[read(2)]).await.unwrap(), marked(2, 5, 1));
    assert_eq!(bob.mark(&[read(1)]).await.unwrap(), marked(2, 5, 1), "never back");
    assert_eq!(bob.mark(&[read(3)]).await.unwrap(), marked(3, 5, 1));
    assert_eq!(bob.mark(&[read(1 << 60)]).await.unwrap(), marked(5, 5, 0), "not past the end");
    // The first was told at once, the newest of the rest a second later, to the others and to one's own.
    assert_eq!(receipt(ada).await, (user(bob), 5, 5));
    assert_eq!(receipt(bob).await, (user(bob), 0, 5));
    assert_eq!(receipt(bob).await, (user(bob), 5, 5));
    // On any process, on any connection; many rooms at once.
    let other = bob.create("Other").await.unwrap();
    bob.send(other, "c", "x").await.unwrap();
    let mut phone = WsClient::connect(&stack.ws_url(0), &tokens[1]).await.unwrap();
    let rooms = phone.mark(&[asks(other), asks(room)]).await.unwrap();
    assert_eq!(
        rooms,
        [RoomMarks { room: other, head: 1, read: 0, delivered: 0, unread: 1 }, marked(5, 5, 0)[0]]
    );
    ada.send(room, "c6", "4").await.unwrap();
    assert_eq!(phone.mark(&[asks(room)]).await.unwrap()[0].unread, 1);

    assert_eq!(code(ada.mark(&[asks(room), asks(other)]).await), ErrorCode::Forbidden);
    assert_eq!(code(ada.mark(&[asks(RoomId::new())]).await), ErrorCode::NotFound);
    assert_eq!(code(ada.mark(&[]).await), ErrorCode::Invalid);
    assert_eq!(code(ada.mark(&vec![asks(room); MAX_MARKS + 1]).await), ErrorCode::Invalid);
    bob.leave(room).await.unwrap();
    bob.join(room, None).await.unwrap();
    assert_eq!(bob.mark(&[asks(room)]).await.unwrap()[0].read, 0, "who left has read nothing");
}

async fn official_words_for_all_of_it(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    let ada = &mut clients[0];
    ada.join(room, None).await.unwrap();
    let text = ada.send(room, "c1", "hi").await.unwrap().msg;
    let mut raw = Raw::connect(stack, &tokens[1]).await;
    raw.send(&format!(r#"420["chat:join",{}]"#, json!({ "room": room }))).await;
    let react = json!({ "room": room, "cid": "c1", "msg": text, "emoji": "👍", "on": true });
    raw.send(&format!(r#"421["message:react",{react}]"#)).await;
    let told = raw.event("message:react").await;
    assert_eq!((&told["kind"], &told["body"], &told["about"]), (&json!("react"), &json!("👍"), &json!(text)));
    ada.pin(room, "c2", text, true).await.unwrap();
    assert_eq!(raw.event("message:pin").await["kind"], "pin");
    let read: Value = json!({ "rooms": [{ "room": room, "read": 1 }] });
    raw.send(&format!(r#"422["message:read",{read}]"#)).await;
    let told = raw.event("message:read").await;
    assert_eq!((&told["read"], &told["delivered"]), (&json!(1), &json!(1)));
    assert_eq!(receipt(ada).await.1, 1);
}

crate::on_each!(
    reactions_are_told_in_order_and_shown_with_their_message,
    a_message_bears_so_many_reactions_and_no_more,
    what_only_the_archive_has_bears_reactions_and_pins,
    pins_are_the_owners_and_told_in_order,
    marks_move_forward_and_count_what_is_unread,
    official_words_for_all_of_it,
);
