//! Flawed: never gives up.
//!
//! An event that no consumer can work is delivered again and again. It is pending for ever, so no trim gets past it either.

use chatlab_kit::redis::Redis;

use crate::{Policy, StreamGroups};

/// The reference with a number of deliveries that is never reached.
pub fn retry_forever(redis: Redis, policy: Policy) -> StreamGroups {
    StreamGroups::new(redis, Policy { max_deliveries: u64::from(u32::MAX), ..policy })
}
