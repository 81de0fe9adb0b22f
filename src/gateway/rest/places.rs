//! Where in its rooms a listener is, as a token that the client keeps.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chatlab_kit::{ids::RoomId, message::Position, wire::ResumeRoom};

use crate::service::{
    ServiceError, ServiceResult,
    hub::{
        frame::{Frame, Mark},
        outbox::Outbox,
    },
};

/// The most rooms of one stream: with their places they must fit into a header.
pub const MAX_ROOMS: usize = 8;
/// That many ids.
pub const ROOMS_PATTERN: &str =
    "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){0,7}$";
/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Where in its rooms a listener is. A room that was not come to yet keeps the place that was asked for.
pub struct Places(Vec<ResumeRoom>);

impl Places {
    /// Those of a token.
    ///
    /// # Errors
    /// `invalid` for what is none.
    pub fn read(token: Option<&str>) -> ServiceResult<Self> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(Self(Vec::new())) };
        let places = Some(token)
            .filter(|token| token.len() <= MAX_TOKEN_BYTES)
            .and_then(|token| URL_SAFE_NO_PAD.decode(token).ok())
            .and_then(|json| serde_json::from_slice(&json).ok());
        let wrong = || ServiceError::invalid("after: is no place that this server has named");
        places.map(Self).ok_or_else(wrong)
    }

    /// As a token.
    ///
    /// # Errors
    /// `internal`.
    pub fn token(&self) -> ServiceResult<String> {
        let places = serde_json::to_vec(&self.0).map_err(ServiceError::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(places))
    }

    /// Where it is in a room.
    pub fn of(&self, room: &RoomId) -> Option<Position> {
        self.0.iter().find(|one| one.room == *room).map(|one| one.after.clone())
    }

    /// As the frames of the protocol have them.
    pub fn resume(&self) -> Vec<ResumeRoom> {
        self.0.clone()
    }

    /// A frame goes out to the owner of `outbox`. Whether it moves a place.
    pub fn pass(&mut self, frame: &Frame, outbox: &Outbox) -> bool {
        let (room, after) = match &frame.mark {
            Mark::At(room, after) => (room, Some(after.clone())),
            Mark::Gone(room) => (room, None),
            Mark::Left(room, user) if outbox.owner.get() == Some(user) => (room, None),
            Mark::None | Mark::Left(..) | Mark::Presence(..) | Mark::Typing(..) | Mark::Receipt(..) => {
                return false;
            }
        };
        self.0.retain(|one| one.room != *room);
        self.0.extend(after.map(|after| ResumeRoom { room: *room, after }));
        true
    }
}

/// The rooms that are asked for.
///
/// # Errors
/// `invalid` for what are no ids, and for too many.
pub fn listed(rooms: &str) -> ServiceResult<Vec<RoomId>> {
    let parsed: Result<Vec<RoomId>, _> = rooms.split(',').map(|id| id.trim().parse()).collect();
    let mut rooms = parsed.map_err(|error| ServiceError::invalid(format!("rooms: {error}")))?;
    rooms.sort_unstable();
    rooms.dedup();
    if rooms.len() > MAX_ROOMS {
        return Err(ServiceError::invalid(format!("rooms: at most {MAX_ROOMS}")));
    }
    Ok(rooms)
}

#[cfg(test)]
mod tests {
    use chatlab_kit::{
        ids::MessageId,
        message::{Epoch, MAX_EPOCH_BYTES},
    };

    use super::*;

    #[test]
    fn places_come_back_as_they_were_and_nothing_else_is_one() {
        let room = RoomId::new();
        let after = Position { epoch: Epoch("e".into()), seq: 7, id: None };
        let places = Places(vec![ResumeRoom { room, after: after.clone() }]);
        let again = Places::read(Some(&places.token().unwrap())).unwrap();
        assert_eq!((again.of(&room), again.of(&RoomId::new())), (Some(after), None));
        assert!(Places::read(None).unwrap().0.is_empty());
        for wrong in ["x", "e30", "////", &"A".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(Places::read(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_places_of_as_many_rooms_as_may_be_fit_into_a_token() {
        let epoch = Epoch("e".repeat(MAX_EPOCH_BYTES));
        let one = || ResumeRoom {
            room: RoomId::new(),
            after: Position { epoch: epoch.clone(), seq: u64::MAX, id: Some(MessageId::new()) },
        };
        let places = Places((0..MAX_ROOMS).map(|_| one()).collect());
        assert!(places.token().unwrap().len() <= MAX_TOKEN_BYTES);
    }

    #[test]
    fn rooms_are_a_few_ids() {
        let (one, other) = (RoomId::new(), RoomId::new());
        assert_eq!(listed(&format!("{other}, {one},{other}")).unwrap(), [one, other]);
        let many: Vec<_> = (0..=MAX_ROOMS).map(|_| RoomId::new().to_string()).collect();
        for wrong in ["", "x", ",", &many.join(",")] {
            assert!(listed(wrong).is_err(), "{wrong}");
        }
    }
}
