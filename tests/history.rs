//! The history lab's reference behind its port.

use chatlab_history::{
    Alter, Altered, Announce, Appended, EDITS_MAX, History, Marks, Since, Unaltered, ZsetHash,
};
use chatlab_kit::{
    LabError,
    ids::{MessageId, RoomId, UserId},
    keys::RoomKeys,
    message::{Draft, Envelope, Epoch, MAX_BODY_BYTES, MAX_PAGE, MessageKind, Position},
    redis::{ClientKind, Redis},
    servers::Topology,
    subscribe::{ChannelKind, FeedItem, Subscriptions},
};

use crate::common::shared;

async fn history(topology: Topology, client: ClientKind) -> (ZsetHash, Redis) {
    let config = shared(topology).await.redis_config().with_client(client);
    let redis = Redis::connect(&config).await.unwrap();
    (ZsetHash::new(redis.clone(), Announce::Sharded), redis)
}

fn draft(room: RoomId, cid: &str) -> Draft {
    Draft {
        room,
        id: MessageId::new(),
        from: UserId::new(),
        cid: cid.parse().unwrap(),
        kind: MessageKind::Text,
        about: None,
        reply_to: None,
        forwarded_from: None,
        body: "text".into(),
    }
}

async fn a_send_is_one_round_trip(topology: Topology) {
    for client in [ClientKind::RedisRs, ClientKind::Fred] {
        let (_, redis) = history(topology, client).await;
        let (traced, trace) = redis.traced();
        let history = ZsetHash::new(traced, Announce::Sharded);
        let room = RoomId::new();
        // The first one may have to teach the node the script.
        history.append(&draft(room, "a")).await.unwrap();
        trace.clear();
        history.append(&draft(room, "b")).await.unwrap();
        assert_eq!(trace.round_trips(), 1, "{client}: {:?}", trace.entries());
    }
}

async fn pages_by_cursor_do_not_drift(topology: Topology) {
    let (history, _) = history(topology, ClientKind::RedisRs).await;
    let room = RoomId::new();
    for i in 0..25 {
        history.append(&draft(room, &format!("m{i}"))).await.unwrap();
    }
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = history.page(&room, before, 10).await.unwrap();
        let Some(oldest) = page.first() else { break };
        before = Some(oldest.seq);
        seen.splice(0..0, page.iter().map(|m| m.seq));
        // Someone writes while the reader pages.
        history.append(&draft(room, &format!("late{}", seen.len()))).await.unwrap();
    }
    assert!(seen.iter().copied().eq(1..=25), "{seen:?}");
}

async fn a_position_is_continued_only_when_nothing_after_it_is_missing(topology: Topology) {
    let (history, _) = history(topology, ClientKind::RedisRs).await;
    let history = history.keeping(10);
    let room = RoomId::new();
    let empty = history.head(&room).await.unwrap();
    assert_eq!(empty, Position { epoch: Epoch(String::new()), seq: 0, id: None });

    let mut positions = vec![empty];
    for i in 1..=30u64 {
        let stored = history.append(&draft(room, &format!("m{i}"))).await.unwrap();
        assert_eq!(stored.seq, i);
        positions.push(Position { epoch: stored.epoch, seq: i, id: Some(stored.id) });
    }
    assert_eq!(history.head(&room).await.unwrap(), positions[30]);
    for (seq, position) in positions.iter().enumerate() {
        match history.since(&room, position).await.unwrap() {
            Since::Continued { messages, more } => {
                assert!(seq >= 20 && !more, "{seq} was trimmed away");
                assert!(messages.iter().map(|m| m.seq).eq(seq as u64 + 1..=30), "after {seq}");
            }
            Since::Resync { head } => {
                assert!(seq <= 20, "{seq} is still here");
                assert_eq!(head, positions[30]);
            }
        }
    }
    assert!(matches!(history.since(&room, &positions[21]).await.unwrap(), Since::Continued { .. }));
}

/// What a failover leaves that lost the last messages: the numbers are there to be given again.
async fn lose_the_end(redis: &mut Redis, room: RoomId, of: &[Position], keep: usize) {
    let keys = RoomKeys::new(&room);
    for lost in &of[keep + 1..] {
        let id = lost.id.unwrap().to_string();
        redis::cmd("ZREM").arg(keys.log()).arg(&id).query_async::<()>(redis).await.unwrap();
        redis::cmd("HDEL").arg(keys.msg()).arg(&id).query_async::<()>(redis).await.unwrap();
    }
    redis::cmd("HSET").arg(keys.meta()).arg("seq").arg(keep).query_async::<()>(redis).await.unwrap();
}

async fn after_a_fence_no_number_comes_twice(topology: Topology) {
    let (history, mut redis) = history(topology, ClientKind::RedisRs).await;
    let room = RoomId::new();
    let mut positions = vec![history.head(&room).await.unwrap()];
    for i in 1..=10u64 {
        let stored = history.append(&draft(room, &format!("m{i}"))).await.unwrap();
        positions.push(Position { epoch: stored.epoch, seq: i, id: Some(stored.id) });
    }
    // Nothing is lost: nothing changes, wherever one stands.
    for position in &positions {
        assert_eq!(history.fence(&room, position).await.unwrap(), positions[10]);
    }
    lose_the_end(&mut redis, room, &positions, 7).await;
    assert_eq!(history.fence(&room, &positions[7]).await.unwrap(), positions[7], "seven are there");
    // Two messages take the numbers 8 and 9 again before anybody notices.
    for i in 8..=9 {
        assert_eq!(history.append(&draft(room, &format!("again{i}"))).await.unwrap().seq, i);
    }
    let fenced = history.fence(&room, &positions[10]).await.unwrap();
    assert_eq!((fenced.seq, fenced.id), (10, None));
    assert_ne!(fenced.epoch, positions[10].epoch);
    // Others who saw the same find that it is done.
    assert_eq!(history.fence(&room, &positions[9]).await.unwrap(), fenced);
    assert_eq!(history.fence(&room, &positions[10]).await.unwrap(), fenced);
    let nothing = Since::Continued { messages: Vec::new(), more: false };
    assert_eq!(history.since(&room, &fenced).await.unwrap(), nothing, "one may wait at a fence");
    let next = history.append(&draft(room, "after")).await.unwrap();
    assert_eq!((next.seq, &next.epoch), (11, &fenced.epoch));
    let Since::Continued { messages, .. } = history.since(&room, &fenced).await.unwrap() else { panic!() };
    assert_eq!(messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [11]);
    for old in &positions[1..] {
        assert!(matches!(history.since(&room, old).await.unwrap(), Since::Resync { .. }), "{old:?}");
    }
    // Another message in a place that was seen is a loss as well, though the numbers go further.
    let second = Position { epoch: next.epoch.clone(), seq: 11, id: Some(MessageId::new()) };
    let again = history.fence(&room, &second).await.unwrap();
    assert_eq!((again.seq, again.id), (11, Some(next.id)));
    assert_ne!(again.epoch, next.epoch);
    // A room that is gone as a whole goes on above what is known of it.
    redis::cmd("DEL").arg(RoomKeys::new(&room).meta()).query_async::<()>(&mut redis).await.unwrap();
    redis::cmd("DEL").arg(RoomKeys::new(&room).log()).query_async::<()>(&mut redis).await.unwrap();
    let known = Position { epoch: Epoch(String::new()), seq: 11, id: None };
    let gone = history.fence(&room, &known).await.unwrap();
    assert_eq!((gone.seq, gone.id), (11, None));
    assert_eq!(history.append(&draft(room, "anew")).await.unwrap().seq, 12);
}

async fn stored_sizes_stay_within_their_bounds(topology: Topology) {
    let (history, redis) = history(topology, ClientKind::RedisRs).await;
    let history = history.keeping(5);
    let room = RoomId::new();
    for i in 0..40 {
        history.append(&draft(room, &format!("m{i}"))).await.unwrap();
    }
    let keys = RoomKeys::new(&room);
    let mut redis = redis;
    let log: u64 = redis::cmd("ZCARD").arg(keys.log()).query_async(&mut redis).await.unwrap();
    let msg: u64 = redis::cmd("HLEN").arg(keys.msg()).query_async(&mut redis).await.unwrap();
    assert_eq!((log, msg), (5, 5));

    let mut long = draft(room, "long");
    long.body = "x".repeat(MAX_BODY_BYTES + 1);
    assert!(matches!(history.append(&long).await, Err(LabError::Bound { .. })));
    assert!(matches!(history.page(&room, None, 10_000).await, Err(LabError::Bound { .. })));
}

async fn a_node_that_forgot_the_scripts_is_taught_again(topology: Topology) {
    let (history, redis) = history(topology, ClientKind::RedisRs).await;
    let room = RoomId::new();
    history.append(&draft(room, "a")).await.unwrap();
    for (_, mut node) in redis.each_node().await.unwrap() {
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut node).await.unwrap();
    }
    assert_eq!(history.append(&draft(room, "b")).await.unwrap().seq, 2);
}

async fn an_append_is_announced_the_way_it_was_asked_for(topology: Topology) {
    let (_, redis) = history(topology, ClientKind::RedisRs).await;
    let subscriptions = Subscriptions::start(redis.config()).await.unwrap();
    for (announce, kind) in
        [(Announce::Sharded, ChannelKind::Sharded), (Announce::Classic, ChannelKind::Classic)]
    {
        let room = RoomId::new();
        let mut feed = subscriptions.subscribe(kind, &RoomKeys::new(&room).live()).await.unwrap();
        let stored = ZsetHash::new(redis.clone(), announce).append(&draft(room, "a")).await.unwrap();
        let Some(FeedItem::Payload(payload)) = feed.recv().await else { panic!("{kind:?}: no announcement") };
        let message = Envelope::parse(&payload).unwrap().message().unwrap();
        assert_eq!((message.seq, message.draft.id), (1, stored.id), "{kind:?}");
    }
}

async fn a_script_refuses_wrong_numbers_before_it_writes(topology: Topology) {
    let (history, _) = history(topology, ClientKind::RedisRs).await;
    let room = RoomId::new();
    let refused = history.clone().keeping(0).append(&draft(room, "a")).await.unwrap_err();
    assert!(refused.to_string().contains("hot_max"), "{refused}");
    assert!(history.page(&room, None, 0).await.unwrap_err().to_string().contains("limit"));
    assert_eq!(history.head(&room).await.unwrap().seq, 0);
    assert_eq!(history.append(&draft(room, "a")).await.unwrap().seq, 1, "nothing was left of the first try");
}

/// A change of `about` by `from`.
fn change(about: &Draft, from: UserId, cid: &str, kind: MessageKind, body: &str) -> Draft {
    let (room, cid, about) = (about.room, cid.parse().unwrap(), Some(about.id));
    Draft {
        room,
        id: MessageId::new(),
        from,
        cid,
        kind,
        about,
        reply_to: None,
        forwarded_from: None,
        body: body.into(),
    }
}

async fn a_change_is_one_round_trip_and_one_place_in_the_order(topology: Topology) {
    for client in [ClientKind::RedisRs, ClientKind::Fred] {
        let (_, redis) = history(topology, client).await;
        let (traced, trace) = redis.traced();
        let history = ZsetHash::new(traced, Announce::Sharded);
        let subscriptions = Subscriptions::start(redis.config()).await.unwrap();
        let text = draft(RoomId::new(), "a");
        let live = RoomKeys::new(&text.room).live();
        history.append(&text).await.unwrap();
        let alter =
            async |change: &Draft| history.alter(Alter { change, others: false, older: None }).await.unwrap();
        // The first one may have to teach the node the script.
        alter(&change(&text, text.from, "b", MessageKind::Edit, "second")).await;
        let mut feed = subscriptions.subscribe(ChannelKind::Sharded, &live).await.unwrap();
        trace.clear();
        let edit = change(&text, text.from, "c", MessageKind::Edit, "third");
        let Altered::Stored(first) = alter(&edit).await else { panic!("refused") };
        assert_eq!(trace.round_trips(), 1, "{client}: {:?}", trace.entries());
        assert_eq!((first.seq, first.id, first.duplicate), (3, edit.id, false));
        let Some(FeedItem::Payload(payload)) = feed.recv().await else { panic!("no announcement") };
        assert_eq!(Envelope::parse(&payload).unwrap().message().unwrap().draft, edit);
        let retry = Draft { id: MessageId::new(), ..edit.clone() };
        assert_eq!(alter(&retry).await, Altered::Stored(Appended { duplicate: true, ..first }), "{client}");
        let now = history.page(&text.room, None, 9).await.unwrap();
        assert!(now.iter().map(|m| m.draft.body.as_str()).eq(["third", "second", "third"]), "{now:?}");
    }
}

async fn a_message_is_edited_so_often_and_its_text_goes_with_it(topology: Topology) {
    let (history, _) = history(topology, ClientKind::RedisRs).await;
    let text = draft(RoomId::new(), "a");
    history.append(&text).await.unwrap();
    let alter = async |change: &Draft, others: bool| {
        history.alter(Alter { change, others, older: None }).await.unwrap()
    };
    for i in 1..=EDITS_MAX {
        let edit = change(&text, text.from, &format!("e{i}"), MessageKind::Edit, "secret");
        assert!(matches!(alter(&edit, false).await, Altered::Stored(_)), "edit {i}");
    }
    let once_more = change(&text, text.from, "more", MessageKind::Edit, "secret");
    assert_eq!(alter(&once_more, false).await, Altered::Refused(Unaltered::TooOften));
    let delete = change(&text, UserId::new(), "d", MessageKind::Delete, "");
    assert_eq!(alter(&delete, false).await, Altered::Refused(Unaltered::Foreign));
    assert!(matches!(alter(&delete, true).await, Altered::Stored(_)));
    let now = history.page(&text.room, None, MAX_PAGE).await.unwrap();
    assert_eq!(now.len(), EDITS_MAX + 2);
    assert!(now.iter().all(|message| message.draft.body.is_empty()));
    let late = change(&text, text.from, "late", MessageKind::Edit, "secret");
    assert_eq!(alter(&late, false).await, Altered::Refused(Unaltered::Gone));
    let nothing = draft(text.room, "x");
    let absent = change(&nothing, nothing.from, "y", MessageKind::Edit, "secret");
    assert_eq!(alter(&absent, false).await, Altered::Refused(Unaltered::Absent));
    assert_eq!(alter(&nothing, false).await, Altered::Refused(Unaltered::Absent), "it is no change");
    assert_eq!(
        history.head(&text.room).await.unwrap().seq,
        EDITS_MAX as u64 + 2,
        "the refused took no number"
    );
}

/// A reaction to a message.
fn reaction(to: &Draft, cid: &str) -> Draft {
    Draft { kind: MessageKind::React, about: Some(to.id), body: "👍".into(), ..draft(to.room, cid) }
}

async fn what_is_unread_is_counted_among_what_is_kept(topology: Topology) {
    let (history, _) = history(topology, ClientKind::RedisRs).await;
    let history = history.keeping(10);
    let (room, reader) = (RoomId::new(), UserId::new());
    let text = draft(room, "first");
    history.append(&text).await.unwrap();
    for nth in 0..4 {
        let change = reaction(&text, &format!("r{nth}"));
        let alter = Alter { change: &change, others: false, older: None };
        assert!(matches!(history.alter(alter).await.unwrap(), Altered::Stored(_)));
    }
    let marks = |read| Marks { read, delivered: 0 };
    assert_eq!(history.mark(&room, &reader, marks(0)).await.unwrap().unwrap().unread, 1);
    // The reactions go with the other old ones, and are told by nobody then.
    for nth in 0..25 {
        history.append(&draft(room, &format!("t{nth}"))).await.unwrap();
    }
    for (read, unread) in [(0, 10), (3, 10), (25, 5), (30, 0)] {
        let marked = history.mark(&room, &reader, marks(read)).await.unwrap().unwrap();
        assert_eq!((marked.head, marked.at.read, marked.unread), (30, read, unread));
    }
    history.unmark(&room, &reader).await.unwrap();
    assert_eq!(history.mark(&room, &reader, marks(0)).await.unwrap().unwrap().at, Marks::default());
}

crate::on_both!(
    what_is_unread_is_counted_among_what_is_kept,
    a_change_is_one_round_trip_and_one_place_in_the_order,
    a_message_is_edited_so_often_and_its_text_goes_with_it,
    an_append_is_announced_the_way_it_was_asked_for,
    a_script_refuses_wrong_numbers_before_it_writes,
    a_send_is_one_round_trip,
    pages_by_cursor_do_not_drift,
    a_position_is_continued_only_when_nothing_after_it_is_missing,
    after_a_fence_no_number_comes_twice,
    stored_sizes_stay_within_their_bounds,
    a_node_that_forgot_the_scripts_is_taught_again,
);
