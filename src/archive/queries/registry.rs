//! All users, all rooms, and who is banned from them.

use async_trait::async_trait;
use chatlab_kit::ids::{RoomId, UserId};
use sqlx::{AssertSqlSafe, FromRow, Row};

use super::{
    DbRow, SqlArchive,
    directory::{ROOM, RoomRow},
    failed,
    rooms::{banned_by, parsed},
    user_id,
};
use crate::service::{
    now_ms,
    ports::{ArchiveError, BanEntry, Registry, Role, RoomEntry, RoomInfo, UserEntry},
};

/// What is counted of a room, beside its row. A name in an inner select is that select's own.
const COUNTED: &str = "created_ms, (SELECT users.name FROM users WHERE users.id = rooms.created_by) AS maker, \
     (SELECT COUNT(*) FROM members WHERE members.room_id = rooms.id) AS members, \
     (SELECT COUNT(*) FROM bans WHERE bans.room_id = rooms.id) AS bans";
const GOES_ON: &str = "(ends_ms IS NULL OR ends_ms > $2)";

fn count(counted: i64) -> u64 {
    u64::try_from(counted).unwrap_or_default()
}

fn room(row: &DbRow) -> Result<RoomEntry, ArchiveError> {
    let get = |column| row.try_get::<i64, _>(column).map_err(failed);
    Ok(RoomEntry {
        info: RoomRow::from_row(row).map_err(failed)?.info(None)?,
        maker: row.try_get("maker").map_err(failed)?,
        created_ms: get("created_ms")?,
        members: count(get("members")?),
        bans: count(get("bans")?),
    })
}

fn user((id, name, created_ms): (String, String, i64)) -> Result<UserEntry, ArchiveError> {
    Ok(UserEntry { user: user_id(&id)?, name, created_ms })
}

#[async_trait]
impl Registry for SqlArchive {
    async fn users(&self, start_after: Option<&str>, limit: u32) -> Result<Vec<UserEntry>, ArchiveError> {
        let select = "SELECT id, name, created_ms FROM users WHERE name_key > $1 ORDER BY name_key LIMIT $2";
        let rows: Vec<(String, String, i64)> = sqlx::query_as(select)
            // Every name is more than nothing.
            .bind(start_after.map(str::to_lowercase).unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.into_iter().map(user).collect()
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserEntry>, ArchiveError> {
        let row: Option<(String, String, i64)> =
            sqlx::query_as("SELECT id, name, created_ms FROM users WHERE id = $1")
                .bind(id.to_string())
                .fetch_optional(&self.read)
                .await
                .map_err(failed)?;
        row.map(user).transpose()
    }

    async fn all_rooms(
        &self,
        start_after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomEntry>, ArchiveError> {
        let select = format!(
            "SELECT {ROOM}, {COUNTED} FROM rooms WHERE rooms.id > $1 AND {GOES_ON} ORDER BY rooms.id LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(select))
            // Every id is more than nothing.
            .bind(start_after.map(ToString::to_string).unwrap_or_default())
            .bind(now_ms())
            .bind(i64::from(limit))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(room).collect()
    }

    async fn room_entry(&self, id: &RoomId) -> Result<Option<RoomEntry>, ArchiveError> {
        let select = format!("SELECT {ROOM}, {COUNTED} FROM rooms WHERE rooms.id = $1 AND {GOES_ON}");
        let row = sqlx::query(AssertSqlSafe(select))
            .bind(id.to_string())
            .bind(now_ms())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(room).transpose()
    }

    async fn memberships(
        &self,
        user: &UserId,
        start_after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<(RoomInfo, Role)>, ArchiveError> {
        let select = format!(
            "SELECT {ROOM}, role FROM members JOIN rooms ON rooms.id = members.room_id \
             WHERE members.user_id = $3 AND members.room_id > $1 AND {GOES_ON} \
             ORDER BY members.room_id LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(select))
            .bind(start_after.map(ToString::to_string).unwrap_or_default())
            .bind(now_ms())
            .bind(user.to_string())
            .bind(i64::from(limit))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        let membership = |row: &DbRow| {
            let role: String = row.try_get("role").map_err(failed)?;
            Ok((RoomRow::from_row(row).map_err(failed)?.info(Some(user))?, parsed(&role)?))
        };
        rows.iter().map(membership).collect()
    }

    async fn bans(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<BanEntry>, ArchiveError> {
        let rows: Vec<(String, String, String, String, i64)> = sqlx::query_as(
            "SELECT bans.user_id, users.name, bans.banned_by, banners.name, bans.banned_ms FROM bans \
             JOIN users ON users.id = bans.user_id JOIN users AS banners ON banners.id = bans.banned_by \
             WHERE bans.room_id = $1 AND bans.user_id > $2 ORDER BY bans.user_id LIMIT $3",
        )
        .bind(room.to_string())
        .bind(start_after.map(ToString::to_string).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let entry = |(user, name, by, by_name, at_ms): (String, String, String, String, i64)| {
            let user = user_id(&user)?;
            let by = banned_by(user, user_id(&by)?).map(|by| (by, by_name));
            Ok(BanEntry { user, name, by, at_ms })
        };
        rows.into_iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Place, tests::seed},
        *,
    };
    use crate::service::ports::{Archive, Directory, RoomKind, RoomRecord};

    async fn archive_of(users: usize) -> (Place, SqlArchive, Vec<UserId>) {
        let place = Place::fresh().await;
        let archive = place.open().await;
        let users = seed(&archive, "User", users).await;
        (place, archive, users)
    }

    async fn room_of(archive: &SqlArchive, owner: UserId) -> RoomId {
        let (id, kind) = (RoomId::new(), RoomKind::Group);
        let room = RoomRecord { id, name: "r".into(), kind, created_by: owner, created_ms: 1 };
        archive.add_room(&room).await.unwrap();
        id
    }

    #[tokio::test]
    async fn bans_come_by_id_in_pages_and_say_who_banned() {
        let (_place, archive, mut users) = archive_of(6).await;
        let (owner, room) = (users.remove(0), room_of(&archive, users[0]).await);
        let other = room_of(&archive, users[0]).await;
        for (i, user) in users.iter().enumerate().skip(1) {
            let by = (i % 2 == 0).then_some(&owner);
            assert!(archive.ban(&room, user, None, (by, i as i64)).await.unwrap());
        }
        let all = archive.bans(&room, None, 9).await.unwrap();
        assert_eq!(all.iter().map(|ban| ban.user).collect::<Vec<_>>(), users[1..]);
        for (i, ban) in all.iter().enumerate().map(|(i, ban)| (i + 1, ban)) {
            let by = (i % 2 == 0).then(|| (owner, "User-1".to_owned()));
            assert_eq!((&ban.by, ban.at_ms, ban.name.as_str()), (&by, i as i64, &*format!("User-{}", i + 2)));
        }
        let first = archive.bans(&room, None, 3).await.unwrap();
        let rest = archive.bans(&room, Some(&first[2].user), 3).await.unwrap();
        assert_eq!((first.len(), [first, rest].concat()), (3, all));
        assert!(archive.bans(&other, None, 9).await.unwrap().is_empty());
        assert_eq!(archive.room_entry(&room).await.unwrap().unwrap().bans, 4);
    }

    #[tokio::test]
    async fn users_come_by_name_whatever_the_case() {
        let (_place, archive, users) = archive_of(3).await;
        let first = archive.users(None, 2).await.unwrap();
        assert_eq!(first.iter().map(|user| user.user).collect::<Vec<_>>(), users[..2]);
        let rest = archive.users(Some("USER-2"), 2).await.unwrap();
        assert_eq!(rest, [archive.user(&users[2]).await.unwrap().unwrap()]);
        assert_eq!(archive.user(&UserId::new()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn rooms_come_by_id_and_not_once_they_have_ended() {
        let (_place, archive, users) = archive_of(2).await;
        let group = room_of(&archive, users[0]).await;
        archive.add_member(&group, &users[1], Role::Moderator, 2).await.unwrap();
        let (direct, _) = archive.direct(&users[0], &users[1], RoomId::new(), None).await.unwrap();
        let all = archive.all_rooms(None, 9).await.unwrap();
        let seen: Vec<_> = all.iter().map(|room| (room.info.room, room.members, room.bans)).collect();
        assert_eq!(seen, [(group, 2, 0), (direct, 2, 0)]);
        assert!(all.iter().all(|room| room.maker == "User-1"));
        assert_eq!(archive.all_rooms(Some(&group), 9).await.unwrap(), all[1..]);
        let of = archive.memberships(&users[1], None, 9).await.unwrap();
        let roles: Vec<_> = of.iter().map(|(info, role)| (info.room, info.with, *role)).collect();
        assert_eq!(roles, [(group, None, Role::Moderator), (direct, Some(users[0]), Role::Member)]);
        assert_eq!(archive.memberships(&users[1], Some(&group), 9).await.unwrap(), of[1..]);
        assert!(archive.end_room(&direct).await.unwrap());
        assert_eq!(archive.all_rooms(None, 9).await.unwrap(), all[..1]);
        assert_eq!(archive.room_entry(&direct).await.unwrap(), None);
        assert_eq!(archive.memberships(&users[1], None, 9).await.unwrap(), of[..1]);
    }
}
