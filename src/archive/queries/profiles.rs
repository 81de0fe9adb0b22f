//! Profiles and friends.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{FriendState, Status},
};
use sqlx::QueryBuilder;

use super::{
    BULK_ROWS, Db, DbConnection, SqlArchive, activity, begin, failed, rooms::changed, text_from, text_to,
    user_id,
};
use crate::service::{
    now_ms,
    ports::{
        ArchiveError, Befriended, FriendBounds, FriendRecord, ProfileChange, ProfileRecord, Profiles, Sent,
        StatusRecord,
    },
};

/// A user's row: name, `about`, status, the text beside it, when they registered, texts, days.
type ProfileRow = (String, String, String, String, i64, i64, i64);

fn standing(status: &str, text: String) -> Result<StatusRecord, ArchiveError> {
    let status = status.parse::<Status>().map_err(|error| ArchiveError::Corrupt(error.to_string()))?;
    Ok(StatusRecord { status, text: text_from(text) })
}

fn friend_state(text: &str) -> Result<FriendState, ArchiveError> {
    text.parse().map_err(|error| ArchiveError::Corrupt(format!("{error}")))
}

#[async_trait]
impl Profiles for SqlArchive {
    async fn profile(&self, user: &UserId) -> Result<Option<ProfileRecord>, ArchiveError> {
        let row: Option<ProfileRow> = sqlx::query_as(
            "SELECT name, about, status, status_text, created_ms, \
             (SELECT CAST(COALESCE(SUM(texts), 0) AS BIGINT) FROM user_activity WHERE user_id = users.id), \
             (SELECT COUNT(*) FROM user_activity WHERE user_id = users.id) FROM users WHERE id = $1",
        )
        .bind(user.to_string())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        let Some((name, about, status, text, created_ms, texts, days)) = row else { return Ok(None) };
        let (texts, days) = (activity::counted(texts)?, activity::counted(days)?);
        let standing = standing(&status, text)?;
        let about = text_from(about);
        Ok(Some(ProfileRecord { id: *user, name, about, standing, created_ms, texts, days }))
    }

    async fn set_profile(
        &self,
        user: &UserId,
        change: &ProfileChange,
    ) -> Result<Option<StatusRecord>, ArchiveError> {
        let mut transaction = begin(&self.write, &[format!("the profile of {user}")]).await?;
        let before: Option<(String, String)> =
            sqlx::query_as("SELECT status, status_text FROM users WHERE id = $1")
                .bind(user.to_string())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
        let Some((status, text)) = before else { return Ok(None) };
        sqlx::query(
            "UPDATE users SET about = COALESCE($2, about), status = COALESCE($3, status), \
             status_text = COALESCE($4, status_text) WHERE id = $1",
        )
        .bind(user.to_string())
        .bind(change.about.as_deref().map(text_to))
        .bind(change.status.map(Status::as_str))
        .bind(change.status_text.as_deref().map(text_to))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        standing(&status, text).map(Some)
    }

    async fn statuses(&self, users: &[UserId]) -> Result<Vec<(UserId, StatusRecord)>, ArchiveError> {
        let mut found = Vec::new();
        for chunk in users.chunks(BULK_ROWS) {
            let mut select = QueryBuilder::<Db>::new(
                "SELECT id, status, status_text FROM users \
                 WHERE (status <> 'available' OR status_text <> '') AND id IN (",
            );
            let mut listed = select.separated(", ");
            for user in chunk {
                listed.push_bind(user.to_string());
            }
            select.push(") ORDER BY id");
            let rows: Vec<(String, String, String)> =
                select.build_query_as().fetch_all(&self.read).await.map_err(failed)?;
            for (id, status, text) in rows {
                found.push((user_id(&id)?, standing(&status, text)?));
            }
        }
        Ok(found)
    }

    async fn befriend(
        &self,
        user: &UserId,
        whom: &UserId,
        answers: bool,
        bounds: FriendBounds,
    ) -> Result<Befriended, ArchiveError> {
        let mut transaction = begin(&self.write, &of_both(user, whom)).await?;
        if let Some(hindered) = hindrance(&mut transaction, user, whom).await? {
            return Ok(hindered);
        }
        let state = match state_of(&mut transaction, user, whom).await? {
            Some(FriendState::Asks) => FriendState::Friend,
            Some(already) => return Ok(Befriended::Already(already)),
            None if answers => return Ok(Befriended::Unasked),
            None => FriendState::Asked,
        };
        let own = [FriendState::Friend, FriendState::Asked];
        if number_of(&mut transaction, user, &own).await? >= bounds.friends {
            return Ok(Befriended::Full);
        }
        if state == FriendState::Asked
            && number_of(&mut transaction, whom, &[FriendState::Asks]).await? >= bounds.requests
        {
            return Ok(Befriended::Beset);
        }
        put(&mut transaction, user, whom, state).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(Befriended::Now(state))
    }

    async fn unfriend(
        &self,
        user: &UserId,
        whom: &UserId,
        states: &[FriendState],
    ) -> Result<bool, ArchiveError> {
        let mut transaction = begin(&self.write, &of_both(user, whom)).await?;
        let state = state_of(&mut transaction, user, whom).await?;
        if !state.is_some_and(|state| states.contains(&state)) {
            return Ok(false);
        }
        part(&mut transaction, user, whom).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn friends(&self, user: &UserId, limit: u32) -> Result<Vec<FriendRecord>, ArchiveError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT friend_id, name, state FROM friends JOIN users ON users.id = friend_id \
             WHERE user_id = $1 ORDER BY friend_id LIMIT $2",
        )
        .bind(user.to_string())
        .bind(i64::from(limit))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let each = rows.into_iter().map(|(id, name, state)| {
            Ok(FriendRecord { user: user_id(&id)?, name, state: friend_state(&state)? })
        });
        each.collect()
    }

    async fn friend_state(&self, user: &UserId, whom: &UserId) -> Result<Option<FriendState>, ArchiveError> {
        let mut connection = self.read.acquire().await.map_err(failed)?;
        state_of(&mut connection, user, whom).await
    }

    async fn leaders(&self, room: &RoomId, since_day: i64, limit: u32) -> Result<Vec<Sent>, ArchiveError> {
        activity::leaders(&self.read, room, since_day, limit).await
    }
}

/// What a transaction is alone with that reads what two are to each other, and how many each has, and writes by that.
pub(super) fn of_both(one: &UserId, other: &UserId) -> Vec<String> {
    [one, other].map(|user| format!("the friends of {user}")).to_vec()
}

/// Why the one can't be asked by the other, if there is a reason.
async fn hindrance(
    transaction: &mut DbConnection,
    user: &UserId,
    whom: &UserId,
) -> Result<Option<Befriended>, ArchiveError> {
    let (known, apart): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM users WHERE id = $2), (SELECT COUNT(*) FROM blocks \
         WHERE (user_id = $1 AND blocked_id = $2) OR (user_id = $2 AND blocked_id = $1))",
    )
    .bind(user.to_string())
    .bind(whom.to_string())
    .fetch_one(transaction)
    .await
    .map_err(failed)?;
    Ok(match (known, apart) {
        (0, _) => Some(Befriended::Nobody),
        (_, 0) => None,
        _ => Some(Befriended::Apart),
    })
}

async fn state_of(
    connection: &mut DbConnection,
    user: &UserId,
    whom: &UserId,
) -> Result<Option<FriendState>, ArchiveError> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT state FROM friends WHERE user_id = $1 AND friend_id = $2")
            .bind(user.to_string())
            .bind(whom.to_string())
            .fetch_optional(connection)
            .await
            .map_err(failed)?;
    row.map(|(state,)| friend_state(&state)).transpose()
}

/// How many are one of these to a user.
async fn number_of(
    transaction: &mut DbConnection,
    user: &UserId,
    states: &[FriendState],
) -> Result<u32, ArchiveError> {
    let mut select = QueryBuilder::<Db>::new("SELECT COUNT(*) FROM friends WHERE user_id = ");
    select.push_bind(user.to_string()).push(" AND state IN (");
    let mut listed = select.separated(", ");
    for state in states {
        listed.push_bind(state.as_str());
    }
    select.push(")");
    let (count,): (i64,) = select.build_query_as().fetch_one(transaction).await.map_err(failed)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Puts down what `whom` is to `user`, and the same from the other side.
async fn put(
    transaction: &mut DbConnection,
    user: &UserId,
    whom: &UserId,
    state: FriendState,
) -> Result<(), ArchiveError> {
    for (one, other, state) in [(user, whom, state), (whom, user, state.mirrored())] {
        sqlx::query(
            "INSERT INTO friends (user_id, friend_id, state, since_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_id, friend_id) DO UPDATE SET state = excluded.state, since_ms = excluded.since_ms",
        )
        .bind(one.to_string())
        .bind(other.to_string())
        .bind(state.as_str())
        .bind(now_ms())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// Two are nothing to each other any more.
pub(super) async fn part(
    transaction: &mut DbConnection,
    one: &UserId,
    other: &UserId,
) -> Result<bool, ArchiveError> {
    let delete = sqlx::query(
        "DELETE FROM friends WHERE (user_id = $1 AND friend_id = $2) OR (user_id = $2 AND friend_id = $1)",
    )
    .bind(one.to_string())
    .bind(other.to_string());
    changed(delete, transaction).await
}

#[cfg(test)]
mod tests {
    use super::{super::Place, *};
    use crate::service::ports::{Archive, Directory, UserRecord};

    const BOUNDS: FriendBounds = FriendBounds { friends: 3, requests: 2 };

    /// An archive and so many users.
    async fn with_users<const N: usize>(place: &Place) -> (SqlArchive, [UserId; N]) {
        let archive = place.open().await;
        let users = std::array::from_fn(|_| UserId::new());
        for (nth, id) in users.iter().enumerate() {
            let (id, name) = (*id, format!("user-{nth}"));
            let user = UserRecord { id, name, password_hash: "h".into(), created_ms: 1 };
            archive.add_user(&user).await.unwrap();
        }
        (archive, users)
    }

    #[tokio::test]
    async fn a_profile_is_changed_where_it_is_said_and_says_what_the_status_was() {
        let place = Place::fresh().await;
        let (archive, [ada]) = with_users(&place).await;
        let new = archive.profile(&ada).await.unwrap().unwrap();
        assert_eq!(
            (new.about.as_str(), new.standing.clone(), new.texts, new.days),
            ("", StatusRecord::default(), 0, 0)
        );
        let busy = ProfileChange { status: Some(Status::Busy), status_text: Some("tea".into()), about: None };
        assert_eq!(archive.set_profile(&ada, &busy).await.unwrap(), Some(new.standing));
        let about = ProfileChange { about: Some("me".into()), ..ProfileChange::default() };
        let was = StatusRecord { status: Status::Busy, text: "tea".into() };
        assert_eq!(archive.set_profile(&ada, &about).await.unwrap(), Some(was.clone()));
        let now = archive.profile(&ada).await.unwrap().unwrap();
        assert_eq!((now.about.as_str(), &now.standing), ("me", &was));
        let nobody = UserId::new();
        assert_eq!(archive.statuses(&[nobody, ada]).await.unwrap(), [(ada, was)]);
        assert_eq!(archive.profile(&nobody).await.unwrap(), None);
        assert_eq!(archive.set_profile(&nobody, &about).await.unwrap(), None);
    }

    #[tokio::test]
    async fn two_who_ask_each_other_are_friends_and_both_lists_say_the_same() {
        let place = Place::fresh().await;
        let (archive, [ada, bob]) = with_users(&place).await;
        let states = async |user: &UserId| {
            let list = archive.friends(user, 10).await.unwrap();
            list.into_iter().map(|one| (one.user, one.state)).collect::<Vec<_>>()
        };
        let befriend = async |answers| archive.befriend(&ada, &bob, answers, BOUNDS).await.unwrap();
        assert_eq!(befriend(true).await, Befriended::Unasked);
        assert_eq!(befriend(false).await, Befriended::Now(FriendState::Asked));
        assert_eq!(befriend(false).await, Befriended::Already(FriendState::Asked));
        assert_eq!(
            (states(&ada).await, states(&bob).await),
            (vec![(bob, FriendState::Asked)], vec![(ada, FriendState::Asks)])
        );
        let back = archive.befriend(&bob, &ada, false, BOUNDS).await.unwrap();
        assert_eq!(back, Befriended::Now(FriendState::Friend));
        assert_eq!(
            (states(&ada).await, states(&bob).await),
            (vec![(bob, FriendState::Friend)], vec![(ada, FriendState::Friend)])
        );
        assert!(!archive.unfriend(&ada, &bob, &[FriendState::Asks]).await.unwrap());
        assert!(archive.unfriend(&ada, &bob, &[FriendState::Friend]).await.unwrap());
        assert_eq!((states(&ada).await, states(&bob).await), (vec![], vec![]));
        assert_eq!(archive.befriend(&ada, &UserId::new(), false, BOUNDS).await.unwrap(), Befriended::Nobody);
    }

    #[tokio::test]
    async fn lists_of_friends_are_bounded_by_what_one_does_and_by_what_others_do() {
        let place = Place::fresh().await;
        let (archive, [ada, bob, cid, dan, eve]) = with_users(&place).await;
        let ask =
            async |user: &UserId, whom: &UserId| archive.befriend(user, whom, false, BOUNDS).await.unwrap();
        for whom in [&bob, &cid, &dan] {
            assert_eq!(ask(&ada, whom).await, Befriended::Now(FriendState::Asked));
        }
        assert_eq!(ask(&ada, &eve).await, Befriended::Full);
        assert_eq!(ask(&eve, &bob).await, Befriended::Now(FriendState::Asked));
        assert_eq!(ask(&cid, &bob).await, Befriended::Beset);
        assert_eq!(ask(&eve, &ada).await, Befriended::Now(FriendState::Asked), "who is full can be asked");
        assert_eq!(
            archive.befriend(&ada, &eve, true, BOUNDS).await.unwrap(),
            Befriended::Full,
            "and not accept"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_processes_at_once_are_both_served() {
        let place = Place::fresh().await;
        let (one, [ada, bob]) = with_users(&place).await;
        let other = place.open().await;
        let work = async |archive: SqlArchive, user: UserId, whom: UserId| {
            for nth in 0..200 {
                let change = ProfileChange { about: Some(format!("{nth}")), ..ProfileChange::default() };
                archive.set_profile(&user, &change).await.unwrap().unwrap();
                archive.befriend(&user, &whom, false, BOUNDS).await.unwrap();
                archive.unfriend(&user, &whom, &FriendState::ALL).await.unwrap();
            }
        };
        let (one, other) = (tokio::spawn(work(one, ada, bob)), tokio::spawn(work(other, bob, ada)));
        one.await.unwrap();
        other.await.unwrap();
    }

    #[tokio::test]
    async fn who_blocks_somebody_ends_what_was_between_them() {
        let place = Place::fresh().await;
        let (archive, [ada, bob]) = with_users(&place).await;
        archive.befriend(&ada, &bob, false, BOUNDS).await.unwrap();
        archive.block(&bob, &ada, 5).await.unwrap();
        assert_eq!(archive.friend_state(&ada, &bob).await.unwrap(), None);
        assert_eq!(archive.friend_state(&bob, &ada).await.unwrap(), None);
        for (one, other) in [(&ada, &bob), (&bob, &ada)] {
            assert_eq!(archive.befriend(one, other, false, BOUNDS).await.unwrap(), Befriended::Apart);
        }
    }
}
