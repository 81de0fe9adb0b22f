//! Edits and deletions: messages of their own in the room's order, over two server processes.

use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Change, MAX_BODY_BYTES, Message, MessageKind, Position},
    redis::Redis,
    servers::Topology,
    wire::{AckLevel, ErrorCode},
};
use chatlab_load::client::WsClient;
use serde_json::json;

use crate::{
    common::{SOON, code, party, shared, trim, until_history},
    socketio::raw::Raw,
};

/// What the next messages are: sequence, kind, what they are about and their text.
async fn heard(client: &mut WsClient, n: usize) -> Vec<(u64, MessageKind, Option<MessageId>, String)> {
    let mut heard = Vec::new();
    for _ in 0..n {
        let Message { seq, draft, .. } = client.next_message(SOON).await.unwrap();
        heard.push((seq, draft.kind, draft.about, draft.body));
    }
    heard
}

async fn changes_are_told_in_order_and_survive_a_resume(topology: Topology) {
    use MessageKind::{Delete, Edit, Text};
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 3).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let first = clients[0].send(room, "c1", "frist").await.unwrap();
    let second = clients[1].send(room, "c1", "second").await.unwrap();
    heard(&mut clients[2], 2).await;
    // The third is away from here on.
    let (position, user) = (clients[2].position(room), clients.pop().unwrap());
    drop(user);

    let edited = clients[0].edit(room, "c2", first.msg, "first").await.unwrap();
    let again = clients[0].edit(room, "c2", first.msg, "first").await.unwrap();
    assert_eq!((edited.seq, edited.dup, again.seq, again.dup), (3, false, 3, true));
    let deleted = clients[1].delete(room, "c2", second.msg).await.unwrap();
    assert_eq!(deleted.seq, 4);
    let live = [
        (1, Text, None, "frist".to_owned()),
        (2, Text, None, "second".to_owned()),
        (3, Edit, Some(first.msg), "first".to_owned()),
        (4, Delete, Some(second.msg), String::new()),
    ];
    for client in &mut clients {
        assert_eq!(heard(client, 4).await, live);
    }

    let mut back = WsClient::connect(&stack.ws_url(0), &tokens[2]).await.unwrap();
    back.join(room, position).await.unwrap();
    assert_eq!(heard(&mut back, 2).await, live[2..]);
    let page = back.history(room, None, None).await.unwrap().messages;
    let now: Vec<_> = page.iter().map(|m| (m.draft.body.as_str(), m.changed.map(|c| c.what))).collect();
    let expected =
        [("first", Some(Change::Edited)), ("", Some(Change::Deleted)), ("first", None), ("", None)];
    assert_eq!(now, expected);
    // With its message an edit loses its text, for those too who resume.
    clients[0].delete(room, "c3", first.msg).await.unwrap();
    let mut late = WsClient::connect(&stack.ws_url(1), &tokens[2]).await.unwrap();
    late.join(room, Some(Position { epoch: first.epoch.clone(), seq: 1, id: Some(first.msg) }))
        .await
        .unwrap();
    assert!(heard(&mut late, 4).await.iter().all(|(_, _, _, body)| body.is_empty()));
}

async fn who_may_change_what(topology: Topology) {
    let stack = shared(topology).await;
    // The first of them made the room.
    let (mut clients, _, room) = party(stack, 3).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let message = clients[1].send(room, "c1", "mine").await.unwrap().msg;
    let (owner, rest) = clients.split_first_mut().unwrap();
    let [author, other] = rest else { unreachable!() };

    assert_eq!(code(other.edit(room, "e", message, "yours").await), ErrorCode::Forbidden);
    assert_eq!(code(other.delete(room, "d", message).await), ErrorCode::Forbidden);
    assert_eq!(
        code(owner.edit(room, "e", message, "ours").await),
        ErrorCode::Forbidden,
        "nobody edits for another"
    );
    assert_eq!(code(author.edit(room, "e1", message, "").await), ErrorCode::Invalid);
    let long = "x".repeat(MAX_BODY_BYTES + 1);
    assert_eq!(code(author.edit(room, "e2", message, &long).await), ErrorCode::TooLarge);
    assert_eq!(code(author.edit(room, "e3", MessageId::new(), "x").await), ErrorCode::NotFound);
    assert_eq!(code(author.edit(RoomId::new(), "e4", message, "x").await), ErrorCode::Forbidden);
    let edit = author.edit(room, "e5", message, "mine still").await.unwrap().msg;
    assert_eq!(code(author.edit(room, "e6", edit, "x").await), ErrorCode::Invalid, "an edit is no text");

    owner.delete(room, "d", message).await.unwrap();
    assert_eq!(code(author.edit(room, "e7", message, "back").await), ErrorCode::NotFound);
    assert_eq!(code(author.delete(room, "d", message).await), ErrorCode::NotFound);
    let page = other.history(room, None, None).await.unwrap().messages;
    let by = page[0].changed.and_then(|changed| changed.by);
    assert_eq!(by, Some(owner.welcome().unwrap().user));
    assert!(page.iter().all(|message| message.draft.body.is_empty()), "{page:?}");
    // The refused left no trace: one text, one edit, one deletion.
    assert_eq!(page.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

async fn what_only_the_archive_has_can_be_changed(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    let mut redis = Redis::connect(&stack.redis_config()).await.unwrap();
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let [owner, author] = &mut clients[..] else { unreachable!() };
    let message = author.send_at(room, "c1", "old", AckLevel::Archived).await.unwrap().msg;
    trim(&mut redis, room, &[message]).await;
    // The second edit finds the message in the archive too: it is not in Redis again.
    for body in ["older", "oldest"] {
        author.edit(room, body, message, body).await.unwrap();
    }
    assert_eq!(code(owner.edit(room, "no", message, "x").await), ErrorCode::Forbidden);
    let page = until_history(owner, room, |page| page[0].draft.body == "oldest").await;
    assert_eq!(page[0].changed.map(|changed| changed.what), Some(Change::Edited));
    assert!(page.iter().map(|m| m.draft.kind).eq([MessageKind::Text, MessageKind::Edit, MessageKind::Edit]));

    owner.delete(room, "d", message).await.unwrap();
    // Redis lost it at once; the archive when it hears of it.
    let page =
        until_history(owner, room, |page| page[0].changed.is_some_and(|c| c.what == Change::Deleted)).await;
    assert!(page.iter().all(|message| message.draft.body.is_empty()), "{page:#?}");
    let page: Vec<MessageId> = page.iter().map(|message| message.draft.id).collect();
    trim(&mut redis, room, &page).await;
    let page = until_history(owner, room, |page| page.len() == 4).await;
    assert!(page.iter().all(|message| message.draft.body.is_empty()), "{page:#?}");
}

async fn the_other_protocol_has_events_for_it(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    clients[1].join(room, None).await.unwrap();
    let mut raw = Raw::connect(stack, &tokens[0]).await;
    raw.send(&format!(r#"420["chat:join",{}]"#, json!({ "room": room }))).await;
    raw.send(&format!(r#"421["message",{}]"#, json!({ "room": room, "cid": "c1", "body": "one" }))).await;
    let message = raw.event("message").await;
    let about = message["id"].clone();
    let update = json!({ "room": room, "cid": "c2", "msg": about, "body": "two" });
    raw.send(&format!(r#"422["message:update",{update}]"#)).await;
    let event = raw.event("message:update").await;
    assert_eq!((&event["about"], &event["body"], &event["seq"]), (&about, &json!("two"), &json!(2)));
    raw.send(&format!(r#"423["message:delete",{}]"#, json!({ "room": room, "cid": "c3", "msg": about })))
        .await;
    let event = raw.event("message:delete").await;
    assert_eq!((&event["about"], &event["seq"]), (&about, &json!(3)));
    let kinds: Vec<_> = heard(&mut clients[1], 3).await.into_iter().map(|(_, kind, ..)| kind).collect();
    assert_eq!(kinds, [MessageKind::Text, MessageKind::Edit, MessageKind::Delete]);
}

crate::on_each!(
    changes_are_told_in_order_and_survive_a_resume,
    who_may_change_what,
    what_only_the_archive_has_can_be_changed,
    the_other_protocol_has_events_for_it,
);
