//! Who is writing: told to the others of a room on every server process, bounded, and over by itself.

use std::time::{Duration, Instant};

use chatlab_kit::{
    ids::{RoomId, UserId},
    servers::Topology,
    wire::{ErrorCode, ServerFrame, TYPING_TTL_MS},
};
use chatlab_load::client::{ClientError, WsClient};

use crate::common::{SOON, party, shared, user};

/// Longer than anything that is told takes, shorter than anybody would wait for it.
const A_WHILE: Duration = Duration::from_millis(400);

/// The next `typing`; other events are dropped.
async fn next_typing(client: &mut WsClient, within: Duration) -> Option<(RoomId, UserId, bool)> {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.next_event(left).await {
            Ok(ServerFrame::Typing { room, user, on }) => return Some((room, user, on)),
            Ok(_) => {}
            Err(ClientError::Timeout(_)) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn the_others_of_a_room_are_told_who_is_writing_on_every_process(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 3).await;
    let mut device = WsClient::connect(&stack.ws_url(1), &tokens[0]).await.unwrap();
    for client in clients.iter_mut().chain([&mut device]) {
        client.join(room, None).await.unwrap();
    }
    let ada = user(&clients[0]);
    clients[0].typing(room, true).await.unwrap();
    for other in [1, 2] {
        assert_eq!(next_typing(&mut clients[other], SOON).await, Some((room, ada, true)), "client {other}");
    }
    clients[0].typing(room, false).await.unwrap();
    for other in [1, 2] {
        assert_eq!(next_typing(&mut clients[other], SOON).await, Some((room, ada, false)), "client {other}");
    }
    for own in [&mut clients[0], &mut device] {
        assert_eq!(next_typing(own, A_WHILE).await, None, "nobody is told of themselves");
    }
    assert_eq!(clients[1].history(room, None, None).await.unwrap().messages, [], "nothing is stored");
}

async fn a_flood_of_keys_is_at_most_one_notice_a_second(topology: Topology) {
    const FLOOD: Duration = Duration::from_millis(2_500);
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let begun = Instant::now();
    let mut answered = 0;
    while begun.elapsed() < FLOOD {
        clients[0].typing(room, answered % 2 == 0).await.unwrap();
        answered += 1;
    }
    clients[0].typing(room, false).await.unwrap();
    let mut told = Vec::new();
    while let Some((_, _, on)) = next_typing(&mut clients[1], 2 * A_WHILE + Duration::from_secs(1)).await {
        told.push(on);
    }
    let bound = begun.elapsed().as_secs() as usize + 2;
    assert!(answered > 10 && told.len() <= bound, "{} notices for {answered} words", told.len());
    assert_eq!((told.first(), told.last()), (Some(&true), Some(&false)), "{told:?}");
}

async fn who_falls_silent_is_no_longer_writing(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let watcher = &mut clients.pop().unwrap();
    let ada = user(&clients[0]);
    let said = Instant::now();
    clients[0].typing(room, true).await.unwrap();
    assert_eq!(next_typing(watcher, SOON).await, Some((room, ada, true)));
    // Also when the connection is gone.
    drop(clients);
    assert_eq!(next_typing(watcher, SOON).await, Some((room, ada, false)));
    assert!(said.elapsed() >= Duration::from_millis(TYPING_TTL_MS), "too early: {:?}", said.elapsed());
}

async fn only_who_listens_may_say_so(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    clients[1].join(room, None).await.unwrap();
    let refused = clients[0].typing(room, true).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code: ErrorCode::Forbidden, .. }), "{refused}");
    clients[0].join(room, None).await.unwrap();
    clients[0].leave(room).await.unwrap();
    assert!(clients[0].typing(room, true).await.is_err());
    assert_eq!(next_typing(&mut clients[1], A_WHILE).await, None);
}

/// What had to wait for its second is not told any more, on whichever process it waits.
async fn who_left_through_another_process_is_not_told_to_write(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    let mut device = WsClient::connect(&stack.ws_url(1), &tokens[0]).await.unwrap();
    for client in clients.iter_mut().chain([&mut device]) {
        client.join(room, None).await.unwrap();
    }
    let ada = user(&device);
    let [leaves, watcher] = &mut clients[..] else { unreachable!() };
    device.typing(room, true).await.unwrap();
    assert_eq!(next_typing(watcher, SOON).await, Some((room, ada, true)));
    device.typing(room, false).await.unwrap();
    assert_eq!(next_typing(watcher, SOON).await, Some((room, ada, false)));
    // The next word waits for a second.
    device.typing(room, true).await.unwrap();
    leaves.leave(room).await.unwrap();
    loop {
        match watcher.next_event(SOON).await.unwrap() {
            ServerFrame::Left { user, .. } if user == ada => break,
            ServerFrame::Typing { .. } => return println!("too slow to tell: said before the leave"),
            _ => {}
        }
    }
    assert_eq!(next_typing(watcher, Duration::from_secs(2)).await, None, "of who is no member");
}

crate::on_both!(
    who_left_through_another_process_is_not_told_to_write,
    the_others_of_a_room_are_told_who_is_writing_on_every_process,
    a_flood_of_keys_is_at_most_one_notice_a_second,
    who_falls_silent_is_no_longer_writing,
    only_who_listens_may_say_so,
);
