//! Flawed: sixteen tags, `room % 16`. All rooms of the world are in 16 of 16,384 slots. A slot is the least that can be
//! moved to another node, so no node can be relieved of less than a sixteenth of everything; and sixteen tags fall on three
//! nodes as they like, not five, five and six.

use chatlab_kit::{ids::RoomId, keys, redis::Redis};

use crate::Partitions;

fn by_number(room: &RoomId, name: &str) -> String {
    keys::lab(&(room.0.as_u128() % 16).to_string(), "sixteen_tags", &format!("{room}:{name}"))
}

/// Rooms under sixteen tags.
pub(crate) fn rooms(redis: Redis) -> Partitions {
    Partitions::placed(redis, by_number)
}
