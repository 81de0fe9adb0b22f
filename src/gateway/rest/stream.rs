//! What happens in rooms, for who has no WebSocket: a stream of server-sent events, or one poll after the other.
//!
//! Both are one-way connections to the same rooms. A place in them is a token, which stands in each event's `id` and in each poll's
//! answer: shown again, to whichever instance, it brings what came since, with the guarantees that a resume has.

use chatlab_kit::ids::RoomId;

use super::{asked::Me, events, poll, route::Route};
use crate::{gateway::Gateway, service::ServiceResult};

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![events::route(), poll::route()]
}

/// Asking changes nothing, so nobody becomes a member by it.
///
/// # Errors
/// `forbidden` for who is no member of one of them; `not_found`.
pub async fn must_be_member_of(gateway: &Gateway, me: &Me, rooms: &[RoomId]) -> ServiceResult<()> {
    for room in rooms {
        gateway.chat.must_be_member(me.by(), *room).await?;
    }
    Ok(())
}
