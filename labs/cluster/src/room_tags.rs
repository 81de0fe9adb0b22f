//! Alternative: each room is its own tag, so each room has a slot of its own.
//!
//! As even as the hash function, and nothing to compute beforehand. But two rooms never share a slot: what the server keeps
//! for several rooms together (an event stream, a set of rooms) can never be in one script with any of them, and there are
//! as many such streams as rooms.

use chatlab_kit::{ids::RoomId, keys, redis::Redis};

use crate::Partitions;

fn by_room(room: &RoomId, name: &str) -> String {
    keys::lab(&room.to_string(), "room_tags", name)
}

/// Rooms under a tag each.
pub(crate) fn rooms(redis: Redis) -> Partitions {
    Partitions::placed(redis, by_room)
}
