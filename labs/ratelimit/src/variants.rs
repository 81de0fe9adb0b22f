//! All variants by name.

use std::sync::Arc;

use chatlab_kit::redis::Redis;

use crate::{Gcra, Limit, RateLimiter};

/// The variant of that name over `redis`; none for an unknown name, or for the exercise in a build without the feature
/// of that name.
pub fn build(name: &str, redis: Redis, limit: Limit) -> Option<Arc<dyn RateLimiter>> {
    Some(match name {
        "gcra" => Arc::new(Gcra::new(redis, limit)),
        _ => return None,
    })
}
