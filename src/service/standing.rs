//! Where a room stands, by what Redis and the archive know together.

use chatlab_history::History;
use chatlab_kit::{ids::RoomId, message::Position};

use super::{ServiceResult, ports::Archive};

/// Where a room stands. What the archive has and Redis does not was lost by Redis: its numbers must not come again, so a new run begins
/// above them. Whoever writes into a room that it does not listen to asks this first.
///
/// # Errors
/// When Redis can't be asked. Without the archive a room stands where Redis says: the one is away seldom, and the other forgets seldom.
pub async fn head(history: &dyn History, archive: &dyn Archive, room: &RoomId) -> ServiceResult<Position> {
    let head = history.head(room).await?;
    let archived = match archive.last_seq(room).await {
        Ok(archived) => archived,
        Err(error) => {
            tracing::warn!(%room, %error, "room.archive_not_asked");
            0
        }
    };
    if archived <= head.seq {
        return Ok(head);
    }
    tracing::warn!(%room, archived, head = head.seq, "room.tail_lost");
    metrics::counter!("chatlab_fences_total").increment(1);
    Ok(history.fence(room, &Position { seq: archived, id: None, epoch: head.epoch }).await?)
}
