//! Slow mode: how often a member may write in a room.

use std::sync::Arc;

use chatlab_kit::ids::{RoomId, UserId};
use chatlab_ratelimit::RateLimiter;

use super::{ServiceError, ServiceResult};

/// A limiter for each pause that a room can have.
pub struct Pace {
    limiters: Vec<(u32, Arc<dyn RateLimiter>)>,
}

impl Pace {
    /// With limiters that let one through in so many seconds each.
    pub fn new(limiters: Vec<(u32, Arc<dyn RateLimiter>)>) -> Self {
        Self { limiters }
    }

    /// Takes a member's permit to write in a room of this pause.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait; `unavailable`.
    pub async fn admit(&self, room: &RoomId, user: &UserId, slow_s: u32) -> ServiceResult<()> {
        let Some((_, limiter)) = self.limiters.iter().find(|(pause, _)| *pause == slow_s) else {
            return Err(ServiceError::internal(format!("there is no limiter for {slow_s} s")));
        };
        let decision = limiter.take(&format!("slow:{room}:{user}")).await?;
        if decision.allowed {
            return Ok(());
        }
        let message = format!("slow mode: one message in {slow_s} s");
        Err(ServiceError::rate_limited(message, decision.retry_after_ms))
    }
}
