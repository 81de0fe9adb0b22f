//! Rooms with their settings, direct chats, and who blocks whom.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::Avatar,
};
use sqlx::{AssertSqlSafe, FromRow, QueryBuilder, Row};

use super::{
    BULK_ROWS, Db, DbRow, SqlArchive, begin, failed, profiles, profiles::part, room_id, rooms::changed,
    user_id,
};
use crate::service::{
    now_ms,
    ports::{ArchiveError, Directory, Role, RoomChange, RoomInfo, RoomKind},
};

/// What a room's row is selected by.
pub(super) const ROOM: &str = "rooms.id, kind, name, read_only, slow_s, invited, pair, ends_ms";
/// The messages that one transaction removes with their room.
const REMOVED_AT_ONCE: i64 = 1_000;

pub(super) struct RoomRow {
    id: String,
    kind: String,
    name: String,
    read_only: bool,
    slow_s: i64,
    invited: bool,
    pair: Option<String>,
    ends_ms: Option<i64>,
}

impl FromRow<'_, DbRow> for RoomRow {
    fn from_row(row: &DbRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            name: row.try_get("name")?,
            read_only: row.try_get::<i64, _>("read_only")? != 0,
            slow_s: row.try_get("slow_s")?,
            invited: row.try_get::<i64, _>("invited")? != 0,
            pair: row.try_get("pair")?,
            ends_ms: row.try_get("ends_ms")?,
        })
    }
}

impl RoomRow {
    pub(super) fn info(self, viewer: Option<&UserId>) -> Result<RoomInfo, ArchiveError> {
        let wrong = |what: &str, text: &str| ArchiveError::Corrupt(format!("`{text}` is no {what}"));
        let with = match (self.pair.as_deref().map(of_pair).transpose()?, viewer) {
            (Some((one, other)), Some(viewer)) => Some(if one == *viewer { other } else { one }),
            _ => None,
        };
        let RoomRow { id, kind, name, read_only, slow_s, invited, ends_ms, .. } = self;
        let room = room_id(&id)?;
        let kind = kind.parse::<RoomKind>().map_err(|error| ArchiveError::Corrupt(error.to_string()))?;
        Ok(RoomInfo {
            room,
            kind,
            avatar: (kind == RoomKind::Group).then(|| Avatar::of(&name, room.0.as_bytes())),
            name,
            read_only,
            slow_s: u32::try_from(slow_s).map_err(|_| wrong("pause", &slow_s.to_string()))?,
            invited,
            with,
            ends_ms: ends_ms.map(|at| u64::try_from(at).unwrap_or_default()),
        })
    }
}

/// What names the direct chat of two users.
fn pair(one: &UserId, other: &UserId) -> String {
    format!("{} {}", one.min(other), one.max(other))
}

fn of_pair(pair: &str) -> Result<(UserId, UserId), ArchiveError> {
    let (one, other) =
        pair.split_once(' ').ok_or_else(|| ArchiveError::Corrupt(format!("`{pair}` is no pair of users")))?;
    Ok((user_id(one)?, user_id(other)?))
}

#[async_trait]
impl Directory for SqlArchive {
    async fn room(&self, room: &RoomId, viewer: Option<&UserId>) -> Result<Option<RoomInfo>, ArchiveError> {
        let select = format!("SELECT {ROOM} FROM rooms WHERE id = $1 AND (ends_ms IS NULL OR ends_ms > $2)");
        let row: Option<RoomRow> = sqlx::query_as(AssertSqlSafe(select))
            .bind(room.to_string())
            .bind(now_ms())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.map(|row| row.info(viewer)).transpose()
    }

    async fn room_list(
        &self,
        user: &UserId,
        start_after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomInfo>, ArchiveError> {
        let select = format!(
            "SELECT {ROOM} FROM members JOIN rooms ON rooms.id = members.room_id WHERE members.user_id = $1 \
             AND members.room_id > $2 AND (ends_ms IS NULL OR ends_ms > $3) ORDER BY members.room_id LIMIT $4"
        );
        let rows: Vec<RoomRow> = sqlx::query_as(AssertSqlSafe(select))
            .bind(user.to_string())
            // Every id is more than nothing.
            .bind(start_after.map(ToString::to_string).unwrap_or_default())
            .bind(now_ms())
            .bind(i64::from(limit))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.into_iter().map(|row| row.info(Some(user))).collect()
    }

    async fn set_room(&self, room: &RoomId, change: &RoomChange) -> Result<bool, ArchiveError> {
        let query = sqlx::query(
            "UPDATE rooms SET name = COALESCE($2, name), read_only = COALESCE($3, read_only), \
             slow_s = COALESCE($4, slow_s), invited = COALESCE($5, invited) WHERE id = $1 AND kind = 'group'",
        )
        .bind(room.to_string())
        .bind(change.name.as_deref())
        .bind(change.read_only.map(i64::from))
        .bind(change.slow_s.map(i64::from))
        .bind(change.invited.map(i64::from));
        changed(query, &self.write).await
    }

    async fn direct(
        &self,
        by: &UserId,
        with: &UserId,
        new: RoomId,
        ends_ms: Option<i64>,
    ) -> Result<(RoomId, bool), ArchiveError> {
        let now = now_ms();
        let mut transaction = begin(&self.write, &[format!("the chat of {}", pair(by, with))]).await?;
        // One that has ended makes way.
        sqlx::query("UPDATE rooms SET pair = NULL WHERE pair = $1 AND ends_ms <= $2")
            .bind(pair(by, with))
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let insert = sqlx::query(
            "INSERT INTO rooms (id, name, kind, created_by, created_ms, pair, ends_ms) \
             VALUES ($1, '', 'direct', $2, $3, $4, $5) ON CONFLICT (pair) WHERE pair IS NOT NULL DO NOTHING",
        )
        .bind(new.to_string())
        .bind(by.to_string())
        .bind(now)
        .bind(pair(by, with))
        .bind(ends_ms);
        let made = changed(insert, &mut *transaction).await?;
        if made {
            for user in [by, with] {
                sqlx::query(
                    "INSERT INTO members (room_id, user_id, role, joined_ms) VALUES ($1, $2, $3, $4)",
                )
                .bind(new.to_string())
                .bind(user.to_string())
                .bind(Role::Member.as_str())
                .bind(now)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            }
        }
        let (room,): (String,) = sqlx::query_as("SELECT id FROM rooms WHERE pair = $1")
            .bind(pair(by, with))
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok((room_id(&room)?, made))
    }

    async fn direct_of(&self, one: &UserId, other: &UserId) -> Result<Option<RoomId>, ArchiveError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT id FROM rooms WHERE pair = $1")
            .bind(pair(one, other))
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.map(|(id,)| room_id(&id)).transpose()
    }

    async fn end_room(&self, room: &RoomId) -> Result<bool, ArchiveError> {
        let query = sqlx::query(
            "UPDATE rooms SET ends_ms = $2 WHERE id = $1 AND kind = 'direct' AND (ends_ms IS NULL OR ends_ms > $2)",
        )
        .bind(room.to_string())
        .bind(now_ms());
        changed(query, &self.write).await
    }

    async fn ended_rooms(&self, by_ms: i64, limit: u32) -> Result<Vec<(RoomId, Vec<UserId>)>, ArchiveError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM rooms WHERE ends_ms <= $1 ORDER BY ends_ms LIMIT $2")
                .bind(by_ms)
                .bind(i64::from(limit))
                .fetch_all(&self.read)
                .await
                .map_err(failed)?;
        let mut ended = Vec::with_capacity(rows.len());
        for (id,) in rows {
            let members: Vec<(String,)> = sqlx::query_as("SELECT user_id FROM members WHERE room_id = $1")
                .bind(&id)
                .fetch_all(&self.read)
                .await
                .map_err(failed)?;
            let members = members.iter().map(|(user,)| user_id(user)).collect::<Result<_, _>>()?;
            ended.push((room_id(&id)?, members));
        }
        Ok(ended)
    }

    async fn remove_room(&self, room: &RoomId) -> Result<(), ArchiveError> {
        let some = "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE room_id = $1 LIMIT $2)";
        loop {
            let mut transaction = begin(&self.write, &[]).await?;
            let query = sqlx::query(some).bind(room.to_string()).bind(REMOVED_AT_ONCE);
            let removed = changed(query, &mut *transaction).await?;
            transaction.commit().await.map_err(failed)?;
            if !removed {
                break;
            }
        }
        let mut transaction = begin(&self.write, &[]).await?;
        for statement in [
            "DELETE FROM members WHERE room_id = $1",
            "DELETE FROM bans WHERE room_id = $1",
            "DELETE FROM room_activity WHERE room_id = $1",
            "DELETE FROM rooms WHERE id = $1",
        ] {
            let query = sqlx::query(statement).bind(room.to_string());
            query.execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn block(&self, user: &UserId, whom: &UserId, most: u32) -> Result<bool, ArchiveError> {
        let mut alone = profiles::of_both(user, whom);
        alone.push(format!("who is blocked by {user}"));
        let mut transaction = begin(&self.write, &alone).await?;
        part(&mut transaction, user, whom).await?;
        let insert = sqlx::query(
            "INSERT INTO blocks (user_id, blocked_id, since_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (user_id, blocked_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(whom.to_string())
        .bind(now_ms());
        insert.execute(&mut *transaction).await.map_err(failed)?;
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM blocks WHERE user_id = $1")
            .bind(user.to_string())
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        if count > i64::from(most) {
            // Dropped, and so undone.
            return Ok(false);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn unblock(&self, user: &UserId, whom: &UserId) -> Result<bool, ArchiveError> {
        let query = sqlx::query("DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2")
            .bind(user.to_string())
            .bind(whom.to_string());
        changed(query, &self.write).await
    }

    async fn blocks(&self, user: &UserId, limit: u32) -> Result<Vec<UserId>, ArchiveError> {
        let select = "SELECT blocked_id FROM blocks WHERE user_id = $1 ORDER BY blocked_id LIMIT $2";
        let rows: Vec<(String,)> = sqlx::query_as(select)
            .bind(user.to_string())
            .bind(i64::from(limit))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(|(user,)| user_id(user)).collect()
    }

    async fn blockers(&self, of: &UserId, among: &[UserId]) -> Result<Vec<UserId>, ArchiveError> {
        let mut blockers = Vec::new();
        for chunk in among.chunks(BULK_ROWS) {
            let mut select = QueryBuilder::<Db>::new("SELECT user_id FROM blocks WHERE blocked_id = ");
            select.push_bind(of.to_string()).push(" AND user_id IN (");
            let mut listed = select.separated(", ");
            for user in chunk {
                listed.push_bind(user.to_string());
            }
            select.push(") ORDER BY user_id");
            let rows: Vec<(String,)> = select.build_query_as().fetch_all(&self.read).await.map_err(failed)?;
            for (user,) in rows {
                blockers.push(user_id(&user)?);
            }
        }
        Ok(blockers)
    }
}
