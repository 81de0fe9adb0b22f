use chatlab_kit::{
    ids::{MessageId, RoomId, SessionId},
    message::Epoch,
};

use super::*;
use crate::service::hub::{
    frame::Mark,
    outbox::{Batch, Outbox, Step},
};

fn at(epoch: &str, seq: u64) -> Position {
    Position { epoch: Epoch(epoch.into()), seq, id: (seq > 0).then(MessageId::new) }
}

fn frame(epoch: &str, seq: u64) -> Arc<Frame> {
    Arc::new(Frame::of(seq.to_string(), Mark::At(RoomId::default(), at(epoch, seq))))
}

fn connection(user: UserId) -> Arc<Connection> {
    Connection::new(0, SessionId::new(user), Arc::new(Outbox::default()))
}

fn offer(members: &mut Members, number: u64, frame: Arc<Frame>, kind: Kind, from: usize) {
    assert_eq!(members.offer(number, &[(frame, kind)], from, &mut Vec::new()), None);
}

fn dispatch(members: &mut Members, epoch: &str, seq: u64) {
    members.position = at(epoch, seq);
    let number = members.begin();
    offer(members, number, frame(epoch, seq), Kind::Message(seq), 0);
}

async fn queued(connection: &Connection) -> Vec<String> {
    connection.outbox.close(super::super::Closing::new(chatlab_kit::wire::ErrorCode::GoingAway, ""));
    let mut batch = Batch::new();
    while connection.outbox.next(&mut batch).await == Step::Write {}
    batch.iter().map(|frame| String::from_utf8_lossy(&frame.text).into_owned()).collect()
}

#[tokio::test]
async fn a_replay_and_what_came_live_meanwhile_join_without_gap_or_duplicate() {
    let mut members = Members::new(at("e", 3));
    let c = connection(UserId::new());
    let key = members.add(c.clone(), true);
    for seq in 4..=6 {
        dispatch(&mut members, "e", seq);
    }
    // The history gave everything up to 5, the live stream has 4 to 6.
    assert_eq!(members.go_live(key, &at("e", 5)), GoLive::Live);
    dispatch(&mut members, "e", 7);
    assert_eq!(queued(&c).await, ["6", "7"]);
}

#[tokio::test]
async fn a_replay_that_ran_ahead_of_the_live_stream_is_not_repeated() {
    let mut members = Members::new(at("e", 3));
    let c = connection(UserId::new());
    let key = members.add(c.clone(), true);
    assert_eq!(members.go_live(key, &at("e", 5)), GoLive::Live);
    for seq in 4..=6 {
        dispatch(&mut members, "e", seq);
    }
    assert_eq!(queued(&c).await, ["6"]);
}

#[tokio::test]
async fn a_hole_between_replay_and_live_sends_the_replay_back_to_the_history() {
    let mut members = Members::new(at("e", 3));
    let c = connection(UserId::new());
    let key = members.add(c.clone(), true);
    dispatch(&mut members, "e", 4);
    assert_eq!(members.go_live(key, &at("e", 2)), GoLive::Again);
    assert_eq!(members.go_live(key, &at("e", 3)), GoLive::Again);
    assert_eq!(members.go_live(key, &at("e", 4)), GoLive::Live);
    assert!(queued(&c).await.is_empty());
}

#[tokio::test]
async fn a_buffer_over_its_bound_is_not_trusted() {
    let mut members = Members::new(at("e", 0));
    let c = connection(UserId::new());
    let key = members.add(c.clone(), true);
    let big = |seq| {
        let Frame { mark, .. } = Arc::into_inner(frame("e", seq)).unwrap();
        Arc::new(Frame::of(vec![b'x'; MAX_REPLAY_BUFFER_BYTES / 2 + 1], mark))
    };
    for seq in 1..=2 {
        members.position = at("e", seq);
        let number = members.begin();
        offer(&mut members, number, big(seq), Kind::Message(seq), 0);
    }
    assert_eq!(members.go_live(key, &at("e", 0)), GoLive::Again);
    assert_eq!(members.go_live(key, &at("e", 2)), GoLive::Live);
    assert!(queued(&c).await.is_empty());
}

#[tokio::test]
async fn a_resync_during_a_replay_ends_it() {
    let mut members = Members::new(at("e", 3));
    let c = connection(UserId::new());
    let key = members.add(c.clone(), true);
    dispatch(&mut members, "e", 4);
    members.position = at("f", 0);
    let number = members.begin();
    offer(&mut members, number, frame("f", 0), Kind::Resync, 0);
    dispatch(&mut members, "f", 1);
    assert_eq!(members.go_live(key, &at("e", 3)), GoLive::Live);
    assert_eq!(queued(&c).await, ["0", "1"]);
}

#[tokio::test]
async fn nothing_comes_behind_left_also_to_who_was_reading_what_it_missed() {
    let mut members = Members::new(at("e", 3));
    let user = UserId::new();
    let c = connection(user);
    let key = members.add(c.clone(), true);
    assert!(members.pass(key, frame("e", 2)));
    let left = Arc::new(Frame::of("left", Mark::None));
    assert_eq!(members.dismiss_user(&user, &left).1.len(), 1);
    assert!(!members.pass(key, frame("e", 3)));
    assert_eq!(members.go_live(key, &at("e", 3)), GoLive::Gone);
    assert_eq!(queued(&c).await, ["2", "left"]);
}

#[tokio::test]
async fn who_joins_between_two_slices_is_not_offered_what_its_ok_includes() {
    let mut members = Members::new(at("e", 0));
    let (a, b) = (connection(UserId::new()), connection(UserId::new()));
    members.add(a.clone(), false);
    members.position = at("e", 1);
    let number = members.begin();
    offer(&mut members, number, frame("e", 1), Kind::Message(1), 0);
    members.add(b.clone(), false);
    offer(&mut members, number, frame("e", 1), Kind::Message(1), 1);
    dispatch(&mut members, "e", 2);
    assert_eq!(queued(&a).await, ["1", "2"]);
    assert_eq!(queued(&b).await, ["2"]);
}

#[test]
fn a_slot_that_was_given_on_is_not_taken_from_its_new_member() {
    let mut members = Members::new(at("e", 0));
    let user = UserId::new();
    let old = members.add(connection(user), false);
    members.add(connection(UserId::new()), false);
    assert_eq!(members.take_user(&user).len(), 1);
    let new = members.add(connection(user), false);
    assert!(!members.remove(old));
    assert_eq!(members.count(), 2);
    assert!(members.remove(new));
    assert_eq!((members.count(), members.users().len()), (1, 1));
}

#[tokio::test]
async fn who_comes_back_while_the_others_are_told_is_not_told_to_have_left() {
    let mut members = Members::new(at("e", 0));
    let (user, other) = (UserId::new(), connection(UserId::new()));
    let (former, back) = (connection(user), connection(user));
    members.add(former.clone(), false);
    members.add(other.clone(), false);
    let left = Arc::new(Frame::of("left", Mark::Left(RoomId::default(), user)));
    let (number, taken) = members.dismiss_user(&user, &left);
    assert_eq!(taken.len(), 1);
    members.add(back.clone(), false);
    offer(&mut members, number, left, Kind::Notice, 0);
    dispatch(&mut members, "e", 1);
    assert_eq!(queued(&former).await, ["left"]);
    assert_eq!(queued(&other).await, ["left", "1"]);
    assert_eq!(queued(&back).await, ["1"]);
}
