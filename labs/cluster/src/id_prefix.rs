//! Flawed: the first characters of the room's id are the tag. Ids are UUIDv7 and begin with the time: all rooms that were
//! made in the same fifty days share their first four characters, one slot and one node.

use chatlab_kit::{ids::RoomId, keys, redis::Redis};

use crate::Partitions;

fn by_prefix(room: &RoomId, name: &str) -> String {
    let id = room.to_string();
    keys::lab(&id[..4], "id_prefix", &format!("{id}:{name}"))
}

/// Rooms under the beginning of their ids.
pub(crate) fn rooms(redis: Redis) -> Partitions {
    Partitions::placed(redis, by_prefix)
}
