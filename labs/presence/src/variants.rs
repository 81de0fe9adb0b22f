//! All variants by name.

use std::sync::Arc;

use chatlab_kit::{ids::InstanceId, redis::Redis};

use crate::{Policy, Presence, ZsetLease};

/// The instances of the chat server share this space.
const SPACE: &str = "chat";

/// The variant of that name over `redis`, as `instance` of the chat server uses it; none for an unknown name, or for the
/// exercise in a build without the feature of that name.
pub fn build(name: &str, redis: Redis, instance: InstanceId, policy: Policy) -> Option<Arc<dyn Presence>> {
    build_in(SPACE, name, redis, instance, policy)
}

/// The same in a space of its own: instances of different spaces do not reap each other.
pub fn build_in(
    space: &str,
    name: &str,
    redis: Redis,
    instance: InstanceId,
    policy: Policy,
) -> Option<Arc<dyn Presence>> {
    Some(match name {
        "zset_lease" => Arc::new(ZsetLease::new(redis, instance, policy, space)),
        _ => return None,
    })
}
