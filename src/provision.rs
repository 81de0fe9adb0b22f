//! Users with live sessions, and rooms, made without a running server: for load and tests.

use chatlab_kit::ids::{RoomId, UserId};
use chatlab_sessions::Sessions;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    app::Base,
    config::ServerConfig,
    service::{
        now_ms,
        passwords::Passwords,
        ports::{RoomKind, RoomRecord, UserRecord},
        tokens::Tokens,
    },
};

/// Sessions that are created at a time.
const IN_FLIGHT: usize = 256;

/// Tokens and rooms to talk with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// An access token a user.
    pub tokens: Vec<String>,
    /// Rooms without members or messages.
    pub rooms: Vec<RoomId>,
}

/// Makes accounts with live sessions, and rooms: only the same database, Redis, secret and variant of sessions as the
/// server's are needed.
///
/// # Errors
/// When Redis or the database can't be reached, or there are to be rooms and no users.
pub async fn provision(config: &ServerConfig, users: usize, rooms: usize) -> anyhow::Result<Provisioned> {
    anyhow::ensure!(users > 0, "rooms need a user who makes them");
    let Base { archive, sessions, tokens, .. } = Base::open(config).await?;
    let hash = Passwords::new(1)?.hash("provisioned-password".to_owned()).await?;
    let prefix = format!("u{}", &uuid::Uuid::new_v4().as_simple().to_string()[..8]);
    let accounts: Vec<UserRecord> = (1..=users)
        .map(|i| UserRecord {
            id: UserId::new(),
            name: format!("{prefix}-{i}"),
            password_hash: hash.clone(),
            created_ms: now_ms(),
        })
        .collect();
    archive.add_users(&accounts).await?;
    let ids: Vec<UserId> = accounts.into_iter().map(|user| user.id).collect();
    let minted = stream::iter(ids.clone())
        .map(|user| start_session(&*sessions, &tokens, user))
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    let records: Vec<RoomRecord> = (0..rooms)
        .map(|i| RoomRecord {
            id: RoomId::new(),
            name: format!("{prefix} room {}", i + 1),
            kind: RoomKind::Group,
            created_by: ids[i % ids.len()],
            created_ms: now_ms(),
        })
        .collect();
    for room in &records {
        archive.add_room(room).await?;
    }
    Ok(Provisioned { tokens: minted, rooms: records.into_iter().map(|room| room.id).collect() })
}

async fn start_session(sessions: &dyn Sessions, tokens: &Tokens, user: UserId) -> anyhow::Result<String> {
    let session = sessions.create(&user, "provisioned").await?;
    Ok(tokens.mint(&session.id)?)
}
