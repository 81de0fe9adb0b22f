use std::sync::Arc;

use chatlab_kit::message::{Change, Changed, Draft, Epoch, MessageKind};

use super::*;
use crate::service::ports::RoomKind;

fn user(name: &str) -> UserRecord {
    UserRecord { id: UserId::new(), name: name.into(), password_hash: "h".into(), created_ms: 1 }
}

/// So many users with names of that beginning.
pub(super) async fn seed(archive: &SqlArchive, prefix: &str, n: usize) -> Vec<UserId> {
    let users: Vec<UserRecord> = (1..=n).map(|i| user(&format!("{prefix}-{i}"))).collect();
    archive.add_users(&users).await.unwrap();
    users.iter().map(|user| user.id).collect()
}

/// A message of a room, by its number.
pub(super) fn said(
    room: RoomId,
    seq: Seq,
    from: UserId,
    (kind, about, body): (MessageKind, Option<MessageId>, &str),
) -> Message {
    let draft = Draft {
        room,
        id: MessageId::new(),
        from,
        cid: format!("c-{seq}").parse().unwrap(),
        kind,
        about,
        reply_to: None,
        forwarded_from: None,
        body: body.into(),
    };
    Message { epoch: Epoch("e".into()), seq, ts: 100 + seq, changed: None, reactions: Vec::new(), draft }
}

#[tokio::test]
async fn names_are_unique_whatever_the_case() {
    let place = Place::fresh().await;
    let archive = place.open().await;
    let ada = user("Ada");
    archive.add_user(&ada).await.unwrap();
    assert!(matches!(archive.add_user(&user("aDA")).await, Err(ArchiveError::Conflict)));
    assert_eq!(archive.user_by_name("ADA").await.unwrap(), Some(ada));
    assert_eq!(archive.user_by_name("bob").await.unwrap(), None);
}

#[tokio::test]
async fn a_ping_says_when_nothing_can_be_read() {
    let place = Place::fresh().await;
    let archive = place.open().await;
    archive.ping().await.unwrap();
    let away = |from, to| AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
    sqlx::query(away("rooms", "elsewhere")).execute(&archive.write).await.unwrap();
    assert!(matches!(archive.ping().await, Err(ArchiveError::Unavailable(_))));
    sqlx::query(away("elsewhere", "rooms")).execute(&archive.write).await.unwrap();
    archive.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_starts_at_the_same_time_share_one_migration() {
    for _ in 0..5 {
        let place = Arc::new(Place::fresh().await);
        let opens: Vec<_> = (0..8)
            .map(|_| {
                let place = place.clone();
                tokio::spawn(async move { drop(place.open().await) })
            })
            .collect();
        for open in opens {
            open.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_message_is_kept_once_and_comes_back_as_it_was() {
    let place = Place::fresh().await;
    let archive = place.open().await;
    let room = RoomId::new();
    let messages: Vec<Message> = (1..=2_500)
        .map(|seq| {
            let (id, from) = (MessageId::new(), UserId::new());
            let (cid, body) = (format!("c-{seq}").parse().unwrap(), format!("nr {seq} ✓"));
            let draft = Draft {
                room,
                id,
                from,
                cid,
                kind: MessageKind::System,
                about: None,
                reply_to: None,
                forwarded_from: None,
                body,
            };
            Message {
                epoch: Epoch("e".into()),
                seq,
                ts: 7 + seq,
                changed: None,
                reactions: Vec::new(),
                draft,
            }
        })
        .collect();
    archive.add_messages(&messages).await.unwrap();
    archive.add_messages(&messages[1_000..]).await.unwrap();
    archive.add_messages(&[]).await.unwrap();
    assert_eq!(archive.messages_before(&room, None, 9_999).await.unwrap(), messages);
    assert_eq!(archive.messages_before(&room, Some(11), 3).await.unwrap(), messages[7..10]);
    assert_eq!(archive.messages_before(&room, Some(1), 3).await.unwrap(), []);
    assert_eq!(archive.messages_before(&RoomId::new(), None, 3).await.unwrap(), []);
    assert_eq!(archive.last_seq(&room).await.unwrap(), 2_500);
    let mut ids: Vec<MessageId> = messages.iter().map(|message| message.draft.id).collect();
    ids.push(MessageId::new());
    let mut kept = archive.kept(&ids).await.unwrap();
    kept.sort_unstable();
    let stranger = ids.pop().unwrap();
    ids.sort_unstable();
    assert_eq!(kept, ids);
    assert_eq!(archive.kept(&[stranger]).await.unwrap(), []);
    assert_eq!(archive.kept(&[]).await.unwrap(), []);
    assert_eq!(archive.last_seq(&RoomId::new()).await.unwrap(), 0);
    let record = AuditRecord {
        event: "p1/1-0".into(),
        at_ms: 5,
        user: None,
        action: "session.started".into(),
        detail: String::new(),
    };
    archive
        .add_audit(&[record.clone(), AuditRecord { event: "p1/2-0".into(), ..record.clone() }])
        .await
        .unwrap();
    archive.add_audit(&[record]).await.unwrap();
    let (kept,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM audit").fetch_one(&archive.read).await.unwrap();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn two_processes_see_one_membership() {
    let place = Place::fresh().await;
    let (one, two) = (place.open().await, place.open().await);
    let users = seed(&one, "load", 2500).await;
    let room = RoomRecord {
        id: RoomId::new(),
        name: "r".into(),
        kind: RoomKind::Group,
        created_by: users[0],
        created_ms: 1,
    };
    one.add_room(&room).await.unwrap();
    assert_eq!(two.standing(&room.id, &users[0]).await.unwrap(), Standing::Member(Role::Owner));
    assert_eq!(two.standing(&room.id, &users[1]).await.unwrap(), Standing::Outside);
    assert_eq!(two.standing(&RoomId::new(), &users[1]).await.unwrap(), Standing::NoRoom);
    assert!(two.add_member(&room.id, &users[1], Role::Member, 2).await.unwrap());
    assert!(!one.add_member(&room.id, &users[1], Role::Member, 3).await.unwrap());
    assert_eq!(one.standing(&room.id, &users[1]).await.unwrap(), Standing::Member(Role::Member));
    assert_eq!(one.rooms_of(&users[1], 9).await.unwrap(), [room.id]);
    let mut expected = [users[0], users[1]];
    expected.sort_unstable();
    assert_eq!(one.members(&room.id, None, 9).await.unwrap(), expected);
    assert_eq!(one.members(&room.id, None, 1).await.unwrap(), expected[..1]);
    assert_eq!(one.members(&room.id, Some(&expected[0]), 9).await.unwrap(), expected[1..]);
    assert!(one.remove_member(&room.id, &users[1]).await.unwrap());
    assert_eq!(two.standing(&room.id, &users[1]).await.unwrap(), Standing::Outside);
}

/// A message, and two edits and a deletion of it, in any order and in any batches: always the same in the end.
#[tokio::test]
async fn what_changes_a_message_may_come_before_it() {
    let place = Place::fresh().await;
    let archive = place.open().await;
    let (author, owner) = (UserId::new(), UserId::new());
    let conversation = || {
        let room = RoomId::new();
        let message = |seq, from, kind, about, body| said(room, seq, from, (kind, about, body));
        let first = message(1, author, MessageKind::Text, None, "first");
        let about = Some(first.draft.id);
        let all = [
            first,
            message(2, author, MessageKind::Edit, about, "second"),
            message(3, author, MessageKind::Edit, about, "third"),
            message(4, owner, MessageKind::Delete, about, ""),
        ];
        (room, all)
    };
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]];
    for (order, batch) in orders.into_iter().flat_map(|order| [1, 2, 4].map(|batch| (order, batch))) {
        let (room, all) = conversation();
        let id = all[0].draft.id;
        let undeleted: Vec<_> = order.iter().filter(|at| **at < 3).map(|at| all[*at].clone()).collect();
        for some in undeleted.chunks(batch) {
            archive.add_messages(some).await.unwrap();
        }
        let (kept, edits) = archive.message(&room, &id).await.unwrap().unwrap();
        let edited = Changed { what: Change::Edited, ts: 103, by: Some(author) };
        assert_eq!((kept.draft.body.as_str(), kept.changed), ("third", Some(edited)), "{order:?} by {batch}");
        assert_eq!(edits, [all[1].draft.id, all[2].draft.id]);
        assert!(archive.message(&RoomId::new(), &id).await.unwrap().is_none(), "another room's");

        let (room, all) = conversation();
        let ordered: Vec<_> = order.iter().map(|at| all[*at].clone()).collect();
        for some in ordered.chunks(batch) {
            archive.add_messages(some).await.unwrap();
        }
        let now = archive.messages_before(&room, None, 9).await.unwrap();
        let deleted = Changed { what: Change::Deleted, ts: 104, by: Some(owner) };
        assert_eq!(now[0].changed, Some(deleted), "{order:?} by {batch}");
        assert!(now.iter().map(|m| m.draft.kind).eq(all.iter().map(|m| m.draft.kind)));
        assert!(now.iter().all(|m| m.draft.body.is_empty()), "{order:?} by {batch}: {now:?}");
    }
}

/// What is said about a message by the last of each user counts, whatever came first.
#[tokio::test]
async fn reactions_and_pins_are_what_was_said_last() {
    use MessageKind::{Delete, Pin, React, Text, Unpin, Unreact};
    let (ada, bob) = (UserId::new(), UserId::new());
    let place = Place::fresh().await;
    let archive = place.open().await;
    for reversed in [false, true] {
        let room = RoomId::new();
        let message = |seq, from, kind, about, body| said(room, seq, from, (kind, about, body));
        let texts = [1, 2, 3].map(|seq| message(seq, ada, Text, None, "text"));
        let [one, two, three] = texts.each_ref().map(|text| Some(text.draft.id));
        let said = [
            message(4, ada, React, one, "👍"),
            message(5, bob, React, one, "🎉"),
            message(6, bob, React, one, "👍"),
            message(7, ada, Unreact, one, "👍"),
            message(8, bob, React, two, "👍"),
            message(9, bob, Unreact, two, "👍"),
            message(10, bob, React, three, "👍"),
            message(11, ada, Pin, three, ""),
            message(12, ada, Pin, two, ""),
            message(13, ada, Pin, one, ""),
            message(14, ada, Unpin, two, ""),
            message(15, ada, Unpin, one, ""),
            message(16, ada, Pin, one, ""),
            message(17, ada, Delete, three, ""),
        ];
        let all: Vec<Message> = texts.into_iter().chain(said).collect();
        let mut ordered = all.clone();
        if reversed {
            ordered.reverse();
        }
        for some in ordered.chunks(3) {
            archive.add_messages(some).await.unwrap();
        }
        let now = archive.messages_before(&room, Some(4), 9).await.unwrap();
        let reactions: Vec<Vec<_>> = now
            .iter()
            .map(|message| message.reactions.iter().map(|one| (one.emoji.as_str(), &one.users[..])).collect())
            .collect();
        assert_eq!(reactions, [vec![("🎉", &[bob][..]), ("👍", &[bob])], vec![], vec![]]);
        let (kept, edits) = archive.message(&room, &one.unwrap()).await.unwrap().unwrap();
        assert_eq!((kept.reactions.len(), edits), (2, vec![]));
        assert_eq!(archive.pins(&room, 9).await.unwrap(), [(one.unwrap(), 16)]);
        assert_eq!(archive.pins(&RoomId::new(), 9).await.unwrap(), []);
        let about = archive.messages_before(&room, None, 14).await.unwrap();
        assert!(about.iter().all(|message| message.reactions.is_empty() && message.changed.is_none()));
    }
}

#[tokio::test]
async fn a_role_or_a_ban_is_put_down_only_over_what_was_seen() {
    let place = Place::fresh().await;
    let archive = place.open().await;
    let users = seed(&archive, "group", 3).await;
    let id = RoomId::new();
    let room =
        RoomRecord { id, name: "r".into(), kind: RoomKind::Group, created_by: users[0], created_ms: 1 };
    archive.add_room(&room).await.unwrap();
    archive.add_member(&id, &users[1], Role::Member, 2).await.unwrap();
    assert!(!archive.set_role(&id, &users[1], Role::Moderator, Role::Admin).await.unwrap());
    assert!(archive.set_role(&id, &users[1], Role::Member, Role::Admin).await.unwrap());
    let by = (Some(&users[0]), 5);
    assert!(!archive.ban(&id, &users[1], Some(Role::Member), by).await.unwrap(), "is an admin by now");
    assert!(!archive.ban(&id, &users[1], None, by).await.unwrap(), "is a member by now");
    assert_eq!(archive.standing(&id, &users[1]).await.unwrap(), Standing::Member(Role::Admin));
    assert!(!archive.expel(&id, &users[1], Role::Member).await.unwrap());
    assert!(archive.ban(&id, &users[1], Some(Role::Admin), by).await.unwrap());
    assert_eq!(archive.standing(&id, &users[1]).await.unwrap(), Standing::Banned);
    assert!(!archive.add_member(&id, &users[1], Role::Member, 6).await.unwrap());
    assert!(!archive.ban(&id, &users[1], None, by).await.unwrap(), "already");
    assert!(archive.unban(&id, &users[1]).await.unwrap() && !archive.unban(&id, &users[1]).await.unwrap());
    assert_eq!(archive.standing(&id, &users[1]).await.unwrap(), Standing::Outside);
    assert!(matches!(archive.ban(&id, &UserId::new(), None, by).await, Err(ArchiveError::Unknown)));
    let roster = archive.roster(&id, None, 9).await.unwrap();
    let [MemberEntry { user, name, role }] = &roster[..] else { panic!("{roster:?}") };
    assert_eq!((*user, name.as_str(), *role), (users[0], "group-1", Role::Owner));
}
