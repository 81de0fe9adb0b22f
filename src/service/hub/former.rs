//! Who is no member of a room any more: out of it on this instance, and told.

use std::sync::Arc;

use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::ServerFrame,
};
use tokio::sync::Semaphore;

use super::{
    Ports,
    follow::backoff,
    frame::{Frame, Mark},
    room::Room,
};
use crate::service::{
    ServiceResult,
    ports::{ArchiveError, Standing},
};

/// How often a membership is asked for before a leave is believed.
const MAX_STANDING_ATTEMPTS: u32 = 5;

/// How many memberships are asked for at once after gaps, by all rooms together: a reconnect of Redis
/// is a gap in every room, and the archive serves logins and joins beside.
const MAX_MEMBER_CHECKS: usize = 4;
static MEMBER_CHECKS: Semaphore = Semaphore::const_new(MAX_MEMBER_CHECKS);

/// The `left` frame of a user in a room.
pub(crate) fn left_frame(room: RoomId, user: UserId) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Left { room, user }, Mark::Left(room, user))
}

pub(super) async fn evict_if_left(room: &Room, ports: &Ports, user: UserId) -> ServiceResult<()> {
    for attempt in 1..=MAX_STANDING_ATTEMPTS {
        match ports.archive.standing(&room.id, &user).await {
            Ok(Standing::Member(_)) => return Ok(()),
            Ok(_) => break,
            // Between two of `MAX_STANDING_ATTEMPTS` tries.
            Err(ArchiveError::Unavailable(_)) => tokio::time::sleep(backoff(attempt)).await,
            Err(other) => return Err(other.into()),
        }
    }
    // An archive that does not answer is no reason to go on telling a room to who left it.
    evict(room, ports, user).await
}

async fn evict(room: &Room, ports: &Ports, user: UserId) -> ServiceResult<()> {
    ports.typing.forget(room.id, user);
    room.evict(&user, &left_frame(room.id, user)?).await;
    Ok(())
}

/// Asks for everybody who is here, each until there is an answer.
pub(super) async fn evict_former_members(room: &Room, ports: &Ports) {
    let here = room.members().users();
    for user in here {
        let mut attempt = 0;
        let standing = loop {
            let permit = MEMBER_CHECKS.acquire().await;
            match ports.archive.standing(&room.id, &user).await {
                Ok(standing) => break standing,
                Err(error) => {
                    drop(permit);
                    attempt += 1;
                    tracing::warn!(room = %room.id, %error, attempt, "hub.members");
                    // Between two tries, without the permit.
                    tokio::time::sleep(backoff(attempt)).await;
                }
            }
        };
        if !matches!(standing, Standing::Member(_))
            && let Err(error) = evict(room, ports, user).await
        {
            tracing::error!(room = %room.id, %error, "hub.evict");
        }
    }
}
