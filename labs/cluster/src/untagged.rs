//! Flawed: keys without a tag. The counter and the log of a room lie in two slots: on a cluster the script is refused
//! with CROSSSLOT. On a single node it works, for years, until the day of the move to a cluster.

use chatlab_kit::{ids::RoomId, keys, redis::Redis};

use crate::Partitions;

fn by_name(room: &RoomId, name: &str) -> String {
    keys::untagged_lab("untagged", &format!("{room}:{name}"))
}

/// Rooms whose keys lie anywhere.
pub(crate) fn rooms(redis: Redis) -> Partitions {
    Partitions::placed(redis, by_name)
}
