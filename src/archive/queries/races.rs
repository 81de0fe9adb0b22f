//! Rules that hold also when several processes are at it at the same time: each of them once, in many ways to come together.

use std::{net::IpAddr, sync::Arc};

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Change, MessageKind::Edit, MessageKind::Text},
};
use futures_util::future::join_all;

use super::{
    Place, SqlArchive,
    tests::{said, seed},
};
use crate::service::ports::{
    AddressBook, AddressRange, Archive, Confirmed, Directory, Mailboxes, Proposal, RangeVerdict, Role,
    RoomKind, RoomRecord, Standing,
};

/// How often each race is run.
const ROUNDS: usize = 20;

/// Two archives of one database, as two processes have them.
async fn two() -> (Place, Arc<SqlArchive>, Arc<SqlArchive>) {
    let place = Place::fresh().await;
    let (one, other) = (place.open().await, place.open().await);
    (place, Arc::new(one), Arc::new(other))
}

async fn room_of(archive: &SqlArchive, owner: UserId) -> RoomId {
    let (id, kind) = (RoomId::new(), RoomKind::Group);
    let room = RoomRecord { id, name: "r".into(), kind, created_by: owner, created_ms: 1 };
    archive.add_room(&room).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_and_its_change_find_each_other() {
    let (_place, one, other) = two().await;
    let (room, ada) = (RoomId::new(), UserId::new());
    for seq in (1..).step_by(2).take(ROUNDS) {
        let text = said(room, seq, ada, (Text, None, "first"));
        let id = text.draft.id;
        let edit = said(room, seq + 1, ada, (Edit, Some(id), "second"));
        let (one, other) = (one.clone(), other.clone());
        let by_one = tokio::spawn(async move { one.add_messages(&[text]).await });
        let by_other = tokio::spawn(async move { (other.add_messages(&[edit]).await, other) });
        by_one.await.unwrap().unwrap();
        let (added, other) = by_other.await.unwrap();
        added.unwrap();
        let (now, _) = other.message(&room, &id).await.unwrap().unwrap();
        assert_eq!((now.draft.body.as_str(), now.changed.map(|c| c.what)), ("second", Some(Change::Edited)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_banned_is_no_member() {
    let (_place, one, other) = two().await;
    let users = seed(&one, "User", 2).await;
    let by = users[0];
    for _ in 0..ROUNDS {
        let (room, user) = (room_of(&one, by).await, users[1]);
        let (joins, bans) = (one.clone(), other.clone());
        let joined = tokio::spawn(async move { joins.add_member(&room, &user, Role::Member, 2).await });
        let banned = tokio::spawn(async move { bans.ban(&room, &user, None, (Some(&by), 3)).await });
        let (joined, banned) = (joined.await.unwrap().unwrap(), banned.await.unwrap().unwrap());
        assert!(joined != banned, "joined: {joined}, banned: {banned}");
        let expected = if banned { Standing::Banned } else { Standing::Member(Role::Member) };
        assert_eq!(one.standing(&room, &user).await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_open_a_chat_with_each_other_one_does() {
    let (_place, one, other) = two().await;
    let users = seed(&one, "User", 2 * ROUNDS).await;
    for pair in users.chunks(2) {
        let open = |archive: &Arc<SqlArchive>, by: UserId, with: UserId| {
            let archive = archive.clone();
            tokio::spawn(async move { archive.direct(&by, &with, RoomId::new(), None).await })
        };
        let both = [open(&one, pair[0], pair[1]), open(&other, pair[1], pair[0])];
        let both: Vec<_> = join_all(both).await.into_iter().map(|opened| opened.unwrap().unwrap()).collect();
        assert_eq!(both[0].0, both[1].0);
        assert!(both[0].1 != both[1].1, "{both:?}");
        assert_eq!(one.members(&both[0].0, None, 9).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_are_blocked_and_no_more_ranges_are_put_down_than_may_be() {
    let (_place, one, other) = two().await;
    let users = seed(&one, "User", 9).await;
    let acts = users[1..].iter().enumerate().map(|(i, whom)| {
        let archive = if i % 2 == 0 { one.clone() } else { other.clone() };
        let (user, whom) = (users[0], *whom);
        let net = format!("10.0.0.{i}").parse::<IpAddr>().unwrap().into();
        let range = AddressRange { net, verdict: RangeVerdict::Deny, note: String::new() };
        tokio::spawn(async move {
            (archive.block(&user, &whom, 3).await.unwrap(), archive.put_range(&range, 3).await.unwrap())
        })
    });
    let acts = join_all(acts.collect::<Vec<_>>()).await;
    let done: Vec<_> = acts.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().filter(|(blocked, _)| *blocked).count(), 3);
    assert_eq!(done.iter().filter(|(_, put)| *put).count(), 3);
    assert_eq!(one.blocks(&users[0], 99).await.unwrap().len(), 3);
    assert_eq!(one.ranges(99).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_address_becomes_one_users() {
    let (_place, one, other) = two().await;
    let users = seed(&one, "User", 2 * ROUNDS).await;
    for (nr, pair) in users.chunks(2).enumerate() {
        let address = format!("a{nr}@example.org");
        let confirm = |archive: &Arc<SqlArchive>, user: UserId| {
            let (archive, address) = (archive.clone(), address.clone());
            tokio::spawn(async move {
                let proposal = Proposal { address, code_hash: "h".into(), sent_ms: 1, expires_ms: 9 };
                archive.propose(&user, &proposal, 0).await.unwrap();
                archive.confirm(&user, "h", 2, 3).await.unwrap()
            })
        };
        let both = join_all([confirm(&one, pair[0]), confirm(&other, pair[1])]).await;
        let mut both: Vec<_> = both.into_iter().map(Result::unwrap).collect();
        both.sort_by_key(|confirmed| *confirmed == Confirmed::Taken);
        assert_eq!(both, [Confirmed::Yes(address.clone()), Confirmed::Taken]);
    }
}
