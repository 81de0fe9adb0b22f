//! Users as others see them: their status in the rooms they share, friends, badges, and who writes most.

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::{RoomId, UserId},
    servers::Topology,
    wire::{AckLevel, Badge, ErrorCode, FriendAct, FriendState, Leader, ServerFrame, Status, StatusEntry},
};
use chatlab_load::client::{ClientError, NewProfile, WsClient};

use crate::common::{party, shared, until_event, user};

/// Two in a room, at two processes, the room, and the second one's token.
async fn two(stack: &Stack) -> (WsClient, WsClient, RoomId, String) {
    let (mut clients, tokens, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let (bob, ada) = (clients.pop().unwrap(), clients.pop().unwrap());
    (ada, bob, room, tokens[1].clone())
}

fn status(status: Status, text: &str) -> NewProfile {
    NewProfile { status: Some(status), status_text: Some(text.into()), about: None }
}

/// What somebody is told next about a user's status.
async fn told(client: &mut WsClient, of: UserId) -> (bool, Option<Status>, String) {
    let is_it = |frame: &ServerFrame| matches!(frame, ServerFrame::Presence { user, .. } if *user == of);
    match until_event(client, is_it).await {
        ServerFrame::Presence { online, status, status_text, .. } => (online, status, status_text),
        other => panic!("{other:?}"),
    }
}

/// The same, until it is as wanted: that somebody came may be told late.
async fn until_told(client: &mut WsClient, of: UserId, wanted: (bool, Option<Status>, &str)) {
    let wanted = (wanted.0, wanted.1, wanted.2.to_owned());
    while told(client, of).await != wanted {}
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

async fn a_status_is_told_to_the_rooms_and_shown_where_it_is_asked_for(topology: Topology) {
    let stack = shared(topology).await;
    let (mut ada, mut bob, room, _) = two(stack).await;
    let bobs = user(&bob);
    let own = bob.set_profile(status(Status::Busy, "in a meeting")).await.unwrap();
    assert_eq!((own.status, own.status_text.as_str()), (Some(Status::Busy), "in a meeting"));
    until_told(&mut ada, bobs, (true, Some(Status::Busy), "in a meeting")).await;
    let who = ada.who(room, None, None).await.unwrap();
    let entry = StatusEntry { user: bobs, status: Status::Busy, status_text: "in a meeting".into() };
    assert_eq!((who.online.len(), who.statuses), (2, vec![entry]));
    assert_eq!(ada.profile(Some(bobs)).await.unwrap().status, Some(Status::Busy));
    // What is said again is no news: the next thing that is told is another one.
    bob.set_profile(status(Status::Busy, "in a meeting")).await.unwrap();
    bob.set_profile(NewProfile { about: Some("tea".into()), ..NewProfile::default() }).await.unwrap();
    bob.set_profile(status(Status::Available, "")).await.unwrap();
    assert_eq!(told(&mut ada, bobs).await, (true, Some(Status::Available), String::new()));
    assert_eq!(ada.who(room, None, None).await.unwrap().statuses, []);
    assert_eq!(ada.profile(Some(bobs)).await.unwrap().about, "tea");
}

async fn who_is_invisible_is_offline_for_all_others_whatever_they_do(topology: Topology) {
    let stack = shared(topology).await;
    let (mut ada, mut bob, room, token) = two(stack).await;
    let (adas, bobs) = (user(&ada), user(&bob));
    ada.friend(bobs, FriendAct::Request).await.unwrap();
    bob.friend(adas, FriendAct::Accept).await.unwrap();
    assert_eq!(bob.set_profile(status(Status::Invisible, "")).await.unwrap().status, Some(Status::Invisible));
    until_told(&mut ada, bobs, (false, None, "")).await;
    assert_eq!(ada.who(room, None, None).await.unwrap().online, [adas]);
    assert_eq!(bob.who(room, None, None).await.unwrap().online.len(), 2, "one sees oneself");
    let shown = ada.profile(Some(bobs)).await.unwrap();
    assert_eq!((shown.status, shown.friend), (None, Some(FriendState::Friend)));
    assert_eq!(ada.friends().await.unwrap()[0].status, None);
    // They say something, go and come again: nothing is told of that, and then that they are there.
    bob.set_profile(status(Status::Invisible, "under the table")).await.unwrap();
    bob.close().await.unwrap();
    let mut bob = WsClient::connect(&stack.ws_url(1), &token).await.unwrap();
    bob.join(room, None).await.unwrap();
    bob.set_profile(status(Status::Away, "")).await.unwrap();
    assert_eq!(told(&mut ada, bobs).await, (true, Some(Status::Away), String::new()));
    assert_eq!(ada.friends().await.unwrap()[0].status, Some(Status::Away));
}

async fn friends_are_asked_and_answer_and_are_told(topology: Topology) {
    let stack = shared(topology).await;
    let (mut ada, mut bob, ..) = two(stack).await;
    let (adas, bobs) = (user(&ada), user(&bob));
    let is_friend = |frame: &ServerFrame| matches!(frame, ServerFrame::Friend(_));
    let state = |frame: ServerFrame| match frame {
        ServerFrame::Friend(entry) => (entry.user, entry.state),
        other => panic!("{other:?}"),
    };
    let asked = ada.friend(bobs, FriendAct::Request).await.unwrap();
    assert_eq!((asked.len(), asked[0].user, asked[0].state), (1, bobs, Some(FriendState::Asked)));
    assert_eq!(state(until_event(&mut bob, is_friend).await), (adas, Some(FriendState::Asks)));
    assert_eq!(code(ada.friend(bobs, FriendAct::Accept).await), ErrorCode::NotFound);
    assert_eq!(bob.friend(adas, FriendAct::Decline).await.unwrap(), []);
    assert_eq!(state(until_event(&mut ada, is_friend).await), (bobs, None));
    assert_eq!(code(bob.friend(adas, FriendAct::Decline).await), ErrorCode::NotFound);

    // Who asks the one who has asked says yes; and says it again without anything to be told.
    ada.friend(bobs, FriendAct::Request).await.unwrap();
    assert_eq!(state(until_event(&mut bob, is_friend).await), (adas, Some(FriendState::Asks)));
    for _ in 0..2 {
        let friends = bob.friend(adas, FriendAct::Request).await.unwrap();
        assert_eq!(
            (friends[0].state, friends[0].status),
            (Some(FriendState::Friend), Some(Status::Available))
        );
    }
    assert_eq!(state(until_event(&mut ada, is_friend).await), (bobs, Some(FriendState::Friend)));
    assert_eq!(ada.friends().await.unwrap()[0].state, Some(FriendState::Friend));
    bob.friend(adas, FriendAct::Remove).await.unwrap();
    assert_eq!(state(until_event(&mut ada, is_friend).await), (bobs, None));
    assert_eq!(ada.friends().await.unwrap(), []);

    // Who is blocked is no friend any more, cannot ask, and sees nothing of the other.
    ada.friend(bobs, FriendAct::Request).await.unwrap();
    bob.friend(adas, FriendAct::Accept).await.unwrap();
    bob.block(adas, true).await.unwrap();
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.friends().await.unwrap(), []);
    }
    assert_eq!(code(ada.friend(bobs, FriendAct::Request).await), ErrorCode::Forbidden);
    assert_eq!(code(bob.friend(adas, FriendAct::Request).await), ErrorCode::Forbidden);
    assert_eq!(code(ada.profile(Some(bobs)).await), ErrorCode::NotFound);
    assert_eq!(bob.profile(Some(adas)).await.unwrap().user, adas);
}

async fn what_was_written_is_counted_once_and_gives_badges(topology: Topology) {
    let stack = shared(topology).await;
    let (mut ada, mut bob, room, _) = two(stack).await;
    let (adas, bobs) = (user(&ada), user(&bob));
    assert_eq!(ada.profile(None).await.unwrap().badges, []);
    for nth in 0..100 {
        ada.send(room, &format!("a{nth}"), "hi").await.unwrap();
    }
    for cid in ["b0", "b0", "b1"] {
        bob.send(room, cid, "hello").await.unwrap();
    }
    // Neither a change of a text nor a reaction is a text.
    let last = ada.send_at(room, "a0", "hi", AckLevel::Archived).await.unwrap();
    bob.react(room, "r", last.msg, ("👍", true)).await.unwrap();
    ada.edit(room, "e", last.msg, "ho").await.unwrap();
    for client in [&mut ada, &mut bob] {
        client.send_at(room, "end", "bye", AckLevel::Archived).await.unwrap();
    }
    let leaders = ada.leaders(room, Some(2)).await.unwrap();
    let placed: Vec<_> =
        leaders.iter().map(|Leader { place, user, texts, .. }| (*place, *user, *texts)).collect();
    assert_eq!(placed, [(1, adas, 101), (2, bobs, 3)]);
    assert_eq!(bob.profile(Some(adas)).await.unwrap().badges, [Badge::FirstText, Badge::Texts100]);
    assert_eq!(bob.profile(None).await.unwrap().badges, [Badge::FirstText]);
    for days in [0, 31] {
        assert_eq!(code(ada.leaders(room, Some(days)).await), ErrorCode::Invalid);
    }
}

async fn everybody_has_a_picture_and_says_of_themselves_what_fits(topology: Topology) {
    let stack = shared(topology).await;
    let (mut ada, mut bob, room, _) = two(stack).await;
    let shown = bob.profile(Some(user(&ada))).await.unwrap();
    assert_eq!(shown.avatar.initials.chars().next(), shown.name.to_uppercase().chars().next());
    assert_eq!(shown.avatar, ada.profile(None).await.unwrap().avatar, "the same for everybody");
    let (rooms, _) = ada.rooms(None, None).await.unwrap();
    let info = rooms.iter().find(|info| info.room == room).unwrap();
    assert!(info.avatar.as_ref().is_some_and(|avatar| !avatar.initials.is_empty()), "{info:?}");
    let direct = ada.direct(user(&bob), None).await.unwrap();
    let (rooms, _) = ada.rooms(None, None).await.unwrap();
    assert_eq!(rooms.iter().find(|info| info.room == direct).unwrap().avatar, None);
    let about = |text: &str| NewProfile { about: Some(text.into()), ..NewProfile::default() };
    let longest = "✓".repeat(280);
    assert_eq!(ada.set_profile(about(&longest)).await.unwrap().about, longest);
    for wrong in ["✓".repeat(281), "bell\u{7}".into()] {
        assert_eq!(code(ada.set_profile(about(&wrong)).await), ErrorCode::Invalid);
    }
    for wrong in ["x".repeat(81), "two\nlines".into()] {
        assert_eq!(code(ada.set_profile(status(Status::Busy, &wrong)).await), ErrorCode::Invalid);
    }
    let after = ada.profile(None).await.unwrap();
    assert_eq!((after.about, after.status), (longest, Some(Status::Available)), "as it was");
    assert_eq!(code(ada.profile(Some(UserId::new())).await), ErrorCode::NotFound);
}

crate::on_both!(
    a_status_is_told_to_the_rooms_and_shown_where_it_is_asked_for,
    who_is_invisible_is_offline_for_all_others_whatever_they_do,
    friends_are_asked_and_answer_and_are_told,
    what_was_written_is_counted_once_and_gives_badges,
    everybody_has_a_picture_and_says_of_themselves_what_fits,
);
