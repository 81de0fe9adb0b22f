//! Who has written how much: counted with what is archived, in the same transaction.

use std::collections::{BTreeMap, HashSet};

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Message, MessageKind},
};
use sqlx::QueryBuilder;

use super::{BULK_ROWS, Db, DbConnection, DbPool, failed, user_id};
use crate::service::ports::{ArchiveError, Sent};

/// A day of UTC.
const DAY_MS: u64 = 24 * 3_600_000;

/// Adds what came to the archive just now to what its senders had sent.
pub(super) async fn count(
    transaction: &mut DbConnection,
    messages: &[Message],
    new: &HashSet<String>,
) -> Result<(), ArchiveError> {
    let mut rooms: BTreeMap<(RoomId, i64, UserId), i64> = BTreeMap::new();
    let mut users: BTreeMap<(UserId, i64), i64> = BTreeMap::new();
    let texts = messages.iter().filter(|message| message.draft.kind == MessageKind::Text);
    for message in texts.filter(|message| new.contains(&message.draft.id.to_string())) {
        let day = i64::try_from(message.ts / DAY_MS).unwrap_or(i64::MAX);
        *rooms.entry((message.draft.room, day, message.draft.from)).or_default() += 1;
        *users.entry((message.draft.from, day)).or_default() += 1;
    }
    // In one order by all, so that no two wait for each other.
    for chunk in rooms.into_iter().collect::<Vec<_>>().chunks(BULK_ROWS) {
        let mut add = QueryBuilder::<Db>::new("INSERT INTO room_activity (room_id, day, user_id, texts) ");
        add.push_values(chunk, |mut row, ((room, day, user), texts)| {
            row.push_bind(room.to_string()).push_bind(*day).push_bind(user.to_string()).push_bind(*texts);
        });
        add.push(
            " ON CONFLICT (room_id, day, user_id) DO UPDATE SET texts = room_activity.texts + excluded.texts",
        );
        add.build().execute(&mut *transaction).await.map_err(failed)?;
    }
    for chunk in users.into_iter().collect::<Vec<_>>().chunks(BULK_ROWS) {
        let mut add = QueryBuilder::<Db>::new("INSERT INTO user_activity (user_id, day, texts) ");
        add.push_values(chunk, |mut row, ((user, day), texts)| {
            row.push_bind(user.to_string()).push_bind(*day).push_bind(*texts);
        });
        add.push(" ON CONFLICT (user_id, day) DO UPDATE SET texts = user_activity.texts + excluded.texts");
        add.build().execute(&mut *transaction).await.map_err(failed)?;
    }
    Ok(())
}

/// Who has sent the most texts to a room since a day.
pub(super) async fn leaders(
    read: &DbPool,
    room: &RoomId,
    since_day: i64,
    limit: u32,
) -> Result<Vec<Sent>, ArchiveError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT users.id, users.name, CAST(SUM(texts) AS BIGINT) AS sent FROM room_activity \
         JOIN users ON users.id = room_activity.user_id WHERE room_id = $1 AND day >= $2 \
         GROUP BY users.id, users.name ORDER BY sent DESC, users.id LIMIT $3",
    )
    .bind(room.to_string())
    .bind(since_day)
    .bind(i64::from(limit))
    .fetch_all(read)
    .await
    .map_err(failed)?;
    let each = rows.into_iter().map(|(id, name, texts)| Ok((user_id(&id)?, name, counted(texts)?)));
    each.collect()
}

/// A count as it was stored.
pub(super) fn counted(count: i64) -> Result<u64, ArchiveError> {
    u64::try_from(count).map_err(|_| ArchiveError::Corrupt(format!("`{count}` is no count")))
}

#[cfg(test)]
mod tests {
    use chatlab_kit::{
        ids::MessageId,
        message::{Draft, Epoch},
    };

    use super::{super::Place, *};
    use crate::service::ports::{Archive, Profiles, UserRecord};

    fn text(room: RoomId, from: UserId, (seq, day): (u64, u64), kind: MessageKind) -> Message {
        let (id, cid, body) = (MessageId::new(), format!("c-{seq}").parse().unwrap(), "hi".into());
        let draft =
            Draft { room, id, from, cid, kind, about: None, reply_to: None, forwarded_from: None, body };
        let (changed, reactions, ts) = (None, Vec::new(), day * DAY_MS + seq);
        Message { epoch: Epoch("e".into()), seq, ts, changed, reactions, draft }
    }

    #[tokio::test]
    async fn texts_are_counted_once_by_room_and_day_however_often_they_come() {
        let place = Place::fresh().await;
        let archive = place.open().await;
        let (ada, bob, tea, other) = (UserId::new(), UserId::new(), RoomId::new(), RoomId::new());
        for (id, name) in [(ada, "ada"), (bob, "bob")] {
            let user = UserRecord { id, name: name.into(), password_hash: "h".into(), created_ms: 1 };
            archive.add_user(&user).await.unwrap();
        }
        let kind = MessageKind::Text;
        let all = [
            text(tea, ada, (1, 10), kind),
            text(tea, bob, (2, 11), kind),
            text(tea, bob, (3, 11), kind),
            text(tea, bob, (4, 11), MessageKind::React),
            text(other, ada, (5, 11), kind),
            text(other, ada, (6, 12), kind),
            // Of somebody of whom there is no row.
            text(tea, UserId::new(), (7, 12), kind),
        ];
        for batch in [&all[..3], &all[1..], &all[..]] {
            archive.add_messages(batch).await.unwrap();
        }
        let sent = |who: UserId, name: &str, texts| (who, name.to_owned(), texts);
        let leaders = async |room, day| archive.leaders(&room, day, 5).await.unwrap();
        assert_eq!(leaders(tea, 10).await, [sent(bob, "bob", 2), sent(ada, "ada", 1)]);
        assert_eq!(leaders(tea, 11).await, [sent(bob, "bob", 2)]);
        assert_eq!(leaders(other, 0).await, [sent(ada, "ada", 2)]);
        assert_eq!(leaders(other, 13).await, []);
        let counts = async |user| {
            let profile = archive.profile(&user).await.unwrap().unwrap();
            (profile.texts, profile.days)
        };
        assert_eq!((counts(ada).await, counts(bob).await), ((3, 3), (2, 1)));
    }
}
