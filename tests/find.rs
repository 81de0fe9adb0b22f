//! Finding messages: by words and by what they answer; replies and forwards.

use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::Message,
    servers::Topology,
    wire::{AckLevel, ErrorCode},
};
use chatlab_load::client::WsClient;

use crate::common::{SOON, code, party, shared, user};

async fn say(client: &mut WsClient, room: RoomId, cid: &str, body: &str) -> MessageId {
    let ack = client.send_at(room, cid, body, AckLevel::Archived).await.unwrap();
    assert_eq!(ack.level, AckLevel::Archived);
    ack.msg
}

fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.draft.id).collect()
}

async fn texts_are_found_by_their_words_as_they_are_now(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    ada.join(room, None).await.unwrap();
    let other = ada.create("Other").await.unwrap();
    let tea = say(ada, room, "c1", "Two cups of TEA, please").await;
    let the = say(ada, room, "c2", "le thé est là").await;
    let code_ = say(ada, room, "c3", "fn tea_cups() -> \"two\"").await;
    let elsewhere = say(ada, other, "c1", "tea elsewhere").await;
    let found = |page: chatlab_load::client::Page| ids(&page.messages);
    for (query, expected) in [
        ("tea", vec![code_, tea]),
        ("tea cups", vec![code_, tea]),
        ("please tea", vec![tea]),
        ("the", vec![the]),
        ("TH", vec![the]),
        ("cup", vec![code_, tea]),
        ("cup tea", vec![]),
        ("NOT tea OR", vec![]),
        ("\"two\" -> tea", vec![code_, tea]),
        ("body : tea", vec![]),
        ("tea) OR (room : x*", vec![]),
        ("\0tea\u{1}cups", vec![code_, tea]),
        ("coffee", vec![]),
    ] {
        assert_eq!(found(ada.search(room, query, (None, None)).await.unwrap()), expected, "{query}");
    }
    assert_eq!(found(ada.search(other, "tea", (None, None)).await.unwrap()), [elsewhere]);
    for bad in ["", "-", &"x".repeat(201), "1 2 3 4 5 6 7 8 9"] {
        assert_eq!(code(ada.search(room, bad, (None, None)).await), ErrorCode::Invalid, "{bad}");
    }
    assert_eq!(code(ada.search(room, "tea", (None, Some(201))).await), ErrorCode::Invalid);
    assert_eq!(code(bob.search(room, "tea", (None, None)).await), ErrorCode::Forbidden);
    assert_eq!(code(bob.search(RoomId::new(), "tea", (None, None)).await), ErrorCode::NotFound);

    // An edit is found by its new text, a deletion by none. What is archived after them was said after them.
    ada.edit(room, "e1", tea, "two cups of coffee").await.unwrap();
    ada.delete(room, "d1", code_).await.unwrap();
    say(ada, room, "c4", "done").await;
    assert_eq!(found(ada.search(room, "tea", (None, None)).await.unwrap()), []);
    let page = ada.search(room, "coffee", (None, None)).await.unwrap();
    assert_eq!((page.messages[0].draft.body.as_str(), page.messages.len()), ("two cups of coffee", 1));
    assert!(page.messages[0].changed.is_some());
}

async fn what_is_found_comes_in_pages(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 1).await;
    let ada = &mut clients[0];
    ada.join(room, None).await.unwrap();
    let mut said = Vec::new();
    let first = say(ada, room, "c", "which?").await;
    for n in 0..7 {
        said.push(ada.reply(room, &format!("c{n}"), first, &format!("number {n}")).await.unwrap().msg);
    }
    ada.react(room, "r1", said[0], ("👍", true)).await.unwrap();
    say(ada, room, "last", "the end").await;
    let (mut newest, mut cursor) = (Vec::new(), None);
    for _ in 0..4 {
        let page = ada.search(room, "number", (cursor, Some(2))).await.unwrap();
        newest.extend(ids(&page.messages));
        cursor = page.next;
    }
    newest.reverse();
    assert_eq!((&newest, cursor), (&said, None));
    let (mut oldest, mut cursor) = (Vec::new(), None);
    for _ in 0..3 {
        let page = ada.thread(room, first, (cursor, Some(3))).await.unwrap();
        assert!(page.messages.iter().all(|message| message.draft.reply_to == Some(first)));
        oldest.extend(page.messages);
        cursor = page.next;
    }
    assert_eq!((ids(&oldest), cursor), (said, None));
    assert_eq!(oldest[0].reactions.len(), 1);
    // What is large is cut, and goes on.
    let long = format!("long {}", "\u{1}".repeat(2_400));
    for n in 0..20 {
        ada.send(room, &format!("l{n}"), &long).await.unwrap();
    }
    say(ada, room, "l", "the end").await;
    let page = ada.search(room, "long", (None, None)).await.unwrap();
    let rest = ada.search(room, "long", (page.next, None)).await.unwrap();
    assert_eq!((page.messages.len() + rest.messages.len(), rest.next), (20, None));
    assert!(rest.messages.len() > 1, "{}", rest.messages.len());
}

async fn a_forward_says_who_wrote_it(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 3).await;
    let [ada, bob, eve] = &mut clients[..] else { unreachable!() };
    for client in [&mut *ada, &mut *bob] {
        client.join(room, None).await.unwrap();
    }
    let said = ada.send(room, "c1", "the news").await.unwrap().msg;
    ada.edit(room, "e1", said, "the newest news").await.unwrap();
    let to = bob.create("Other").await.unwrap();
    let forwarded = bob.forward(to, "f1", (room, said)).await.unwrap();
    assert!(bob.forward(to, "f1", (room, said)).await.unwrap().dup);
    let page = bob.history(to, None, None).await.unwrap();
    let told = &page.messages[0].draft;
    assert_eq!((told.id, told.body.as_str(), told.from), (forwarded.msg, "the newest news", user(bob)));
    assert_eq!((told.forwarded_from, page.messages[0].changed), (Some(user(ada)), None));
    // Once more: still by the one who wrote it. From the archive as well, which has what Redis no longer has.
    bob.forward(room, "f2", (to, forwarded.msg)).await.unwrap();
    let heard = loop {
        let message = ada.next_message(SOON).await.unwrap();
        if message.draft.from == user(bob) {
            break message.draft;
        }
    };
    assert_eq!((heard.forwarded_from, heard.id != forwarded.msg), (Some(user(ada)), true));
    assert_eq!(code(eve.forward(room, "f3", (to, forwarded.msg)).await), ErrorCode::Forbidden);
    let own = eve.create("Mine").await.unwrap();
    assert_eq!(code(eve.forward(own, "f4", (room, said)).await), ErrorCode::Forbidden, "of a room of others");
    assert_eq!(code(eve.forward(own, "f5", (own, said)).await), ErrorCode::NotFound);
    ada.delete(room, "d1", said).await.unwrap();
    assert_eq!(code(bob.forward(to, "f6", (room, said)).await), ErrorCode::NotFound);
}

crate::on_each!(
    texts_are_found_by_their_words_as_they_are_now,
    what_is_found_comes_in_pages,
    a_forward_says_who_wrote_it,
);
