//! Rooms, who is a member of them as what, and who must not be.

use chatlab_kit::ids::{RoomId, UserId};
use sqlx::{Executor, query::Query};

use super::{Db, DbArguments, DbConnection, DbPool, begin, failed, room_id, user_id};
use crate::service::{
    now_ms,
    ports::{ArchiveError, MemberEntry, Role, RoomKind, RoomRecord, Standing},
};

/// Whether a statement changed something.
pub(super) async fn changed<'e>(
    statement: Query<'_, Db, DbArguments>,
    write: impl Executor<'e, Database = Db>,
) -> Result<bool, ArchiveError> {
    Ok(statement.execute(write).await.map_err(failed)?.rows_affected() > 0)
}

/// A room, and its maker as its owner.
pub(super) async fn add(write: &DbPool, room: &RoomRecord) -> Result<(), ArchiveError> {
    let mut transaction = begin(write, &[]).await?;
    sqlx::query("INSERT INTO rooms (id, name, kind, created_by, created_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(room.id.to_string())
        .bind(&room.name)
        .bind(room.kind.as_str())
        .bind(room.created_by.to_string())
        .bind(room.created_ms)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::query("INSERT INTO members (room_id, user_id, role, joined_ms) VALUES ($1, $2, $3, $4)")
        .bind(room.id.to_string())
        .bind(room.created_by.to_string())
        .bind(Role::Owner.as_str())
        .bind(room.created_ms)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

pub(super) async fn standing(read: &DbPool, room: &RoomId, user: &UserId) -> Result<Standing, ArchiveError> {
    // Role, ban, kind, by invitation, whether one of the two of a direct chat blocks the other.
    type Row = (Option<String>, Option<i64>, String, i64, bool);
    let row: Option<Row> = sqlx::query_as(
        "SELECT members.role, bans.banned_ms, rooms.kind, rooms.invited, \
         rooms.pair IS NOT NULL AND EXISTS (SELECT 1 FROM blocks WHERE \
         (user_id = substr(rooms.pair, 1, 36) AND blocked_id = substr(rooms.pair, 38)) \
         OR (user_id = substr(rooms.pair, 38) AND blocked_id = substr(rooms.pair, 1, 36))) \
         FROM rooms LEFT JOIN members ON members.room_id = rooms.id AND members.user_id = $2 \
         LEFT JOIN bans ON bans.room_id = rooms.id AND bans.user_id = $2 \
         WHERE rooms.id = $1 AND (rooms.ends_ms IS NULL OR rooms.ends_ms > $3)",
    )
    .bind(room.to_string())
    .bind(user.to_string())
    .bind(now_ms())
    .fetch_optional(read)
    .await
    .map_err(failed)?;
    Ok(match row {
        None => Standing::NoRoom,
        Some((_, Some(_), ..)) => Standing::Banned,
        Some((None, None, kind, invited, _)) if invited != 0 || kind == RoomKind::Direct.as_str() => {
            Standing::Uninvited
        }
        Some((None, None, ..)) => Standing::Outside,
        Some((Some(_), None, _, _, true)) => Standing::Shut,
        Some((Some(role), None, ..)) => Standing::Member(parsed(&role)?),
    })
}

pub(super) fn parsed(role: &str) -> Result<Role, ArchiveError> {
    role.parse().map_err(|error: chatlab_kit::wire::NoRole| ArchiveError::Corrupt(error.to_string()))
}

/// Who comes into a room and who is banned from it at the same time must see each other.
fn place(room: &RoomId, user: &UserId) -> String {
    format!("the place of {user} in {room}")
}

/// A member, unless they are one or are banned; whether they were added.
pub(super) async fn add_member(
    write: &DbPool,
    room: &RoomId,
    user: &UserId,
    role: Role,
    joined_ms: i64,
) -> Result<bool, ArchiveError> {
    let mut transaction = begin(write, &[place(room, user)]).await?;
    let query = sqlx::query(
        "INSERT INTO members (room_id, user_id, role, joined_ms) SELECT $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM bans WHERE room_id = $1 AND user_id = $2) \
         ON CONFLICT (room_id, user_id) DO NOTHING",
    )
    .bind(room.to_string())
    .bind(user.to_string())
    .bind(role.as_str())
    .bind(joined_ms);
    let added = changed(query, &mut *transaction).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(added)
}

pub(super) async fn remove_member(
    write: &DbPool,
    room: &RoomId,
    user: &UserId,
) -> Result<bool, ArchiveError> {
    let query = sqlx::query(
        "DELETE FROM members WHERE room_id = $1 AND user_id = $2 \
         AND EXISTS (SELECT 1 FROM rooms WHERE id = $1 AND kind = 'group')",
    )
    .bind(room.to_string())
    .bind(user.to_string());
    changed(query, write).await
}

/// Another role for who has the role `now`.
pub(super) async fn set_role(
    write: &DbPool,
    room: &RoomId,
    user: &UserId,
    (now, role): (Role, Role),
) -> Result<bool, ArchiveError> {
    let query = sqlx::query("UPDATE members SET role = $4 WHERE room_id = $1 AND user_id = $2 AND role = $3")
        .bind(room.to_string())
        .bind(user.to_string())
        .bind(now.as_str())
        .bind(role.as_str());
    changed(query, write).await
}

/// Ends the membership of who has the role `now`.
pub(super) async fn expel(
    write: &mut DbConnection,
    room: &RoomId,
    user: &UserId,
    now: Role,
) -> Result<bool, ArchiveError> {
    let query = sqlx::query("DELETE FROM members WHERE room_id = $1 AND user_id = $2 AND role = $3")
        .bind(room.to_string())
        .bind(user.to_string())
        .bind(now.as_str());
    changed(query, write).await
}

/// Who stands in a ban's row as the one who banned. The operator is no user, and nobody bans themselves: so the banned user's own id is
/// for the operator.
fn banner<'a>(user: &'a UserId, by: Option<&'a UserId>) -> &'a UserId {
    by.unwrap_or(user)
}

/// What [`banner`] put down, read again.
pub(super) fn banned_by(user: UserId, banner: UserId) -> Option<UserId> {
    Some(banner).filter(|banner| *banner != user)
}

/// A ban, and the end of the membership of who has the role `now`; nothing when they have another one.
pub(super) async fn ban(
    write: &DbPool,
    room: &RoomId,
    user: &UserId,
    now: Option<Role>,
    (by, at_ms): (Option<&UserId>, i64),
) -> Result<bool, ArchiveError> {
    let mut transaction = begin(write, &[place(room, user)]).await?;
    if let Some(now) = now
        && !expel(&mut transaction, room, user, now).await?
    {
        return Ok(false);
    }
    // Whoever became a member meanwhile, or got another role, is looked at again.
    let query = sqlx::query(
        "INSERT INTO bans (room_id, user_id, banned_by, banned_ms) SELECT $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM members WHERE room_id = $1 AND user_id = $2) \
         ON CONFLICT (room_id, user_id) DO NOTHING",
    )
    .bind(room.to_string())
    .bind(user.to_string())
    .bind(banner(user, by).to_string())
    .bind(at_ms);
    let banned = changed(query, &mut *transaction).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(banned)
}

pub(super) async fn unban(write: &DbPool, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError> {
    let query = sqlx::query("DELETE FROM bans WHERE room_id = $1 AND user_id = $2")
        .bind(room.to_string())
        .bind(user.to_string());
    changed(query, write).await
}

pub(super) async fn rooms_of(read: &DbPool, user: &UserId, limit: u32) -> Result<Vec<RoomId>, ArchiveError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT room_id FROM members WHERE user_id = $1 LIMIT $2")
        .bind(user.to_string())
        .bind(i64::from(limit))
        .fetch_all(read)
        .await
        .map_err(failed)?;
    rows.iter().map(|(id,)| room_id(id)).collect()
}

pub(super) async fn members(
    read: &DbPool,
    room: &RoomId,
    start_after: Option<&UserId>,
    limit: u32,
) -> Result<Vec<UserId>, ArchiveError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT user_id FROM members WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
    )
    .bind(room.to_string())
    // Every id is more than nothing.
    .bind(start_after.map(ToString::to_string).unwrap_or_default())
    .bind(i64::from(limit))
    .fetch_all(read)
    .await
    .map_err(failed)?;
    rows.iter().map(|(id,)| user_id(id)).collect()
}

pub(super) async fn roster(
    read: &DbPool,
    room: &RoomId,
    start_after: Option<&UserId>,
    limit: u32,
) -> Result<Vec<MemberEntry>, ArchiveError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT members.user_id, users.name, members.role FROM members JOIN users ON users.id = members.user_id \
         WHERE members.room_id = $1 AND members.user_id > $2 ORDER BY members.user_id LIMIT $3",
    )
    .bind(room.to_string())
    .bind(start_after.map(ToString::to_string).unwrap_or_default())
    .bind(i64::from(limit))
    .fetch_all(read)
    .await
    .map_err(failed)?;
    let entry = |(user, name, role): (String, String, String)| {
        Ok(MemberEntry { user: user_id(&user)?, name, role: parsed(&role)? })
    };
    rows.into_iter().map(entry).collect()
}
