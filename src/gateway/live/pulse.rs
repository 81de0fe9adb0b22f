//! A connection's clock: heartbeats, silence, the end of its token.

use std::time::Duration;

use chatlab_kit::wire::ErrorCode;
use tokio::time::Instant;

use crate::service::now_ms;

/// The login session is checked again after this many heartbeats.
const HEARTBEATS_PER_CHECK: u32 = 2;

/// The times at which something must have happened.
pub(super) struct Pulse {
    heartbeat: Duration,
    /// Since the last check of the session.
    pub(super) beats: u32,
    next_beat: Instant,
    token_ends: Instant,
    pub(super) last_heard: Instant,
}

impl Pulse {
    pub(super) fn new(heartbeat: Duration, expires_s: u64) -> Self {
        let now = Instant::now();
        let left_ms = i128::from(expires_s) * 1000 - i128::from(now_ms());
        let left = Duration::from_millis(u64::try_from(left_ms.max(0)).unwrap_or(u64::MAX));
        // A far end is out of a timer's range.
        let token_ends = now.checked_add(left.min(Duration::from_secs(86_400 * 365))).unwrap_or(now);
        Self { heartbeat, beats: 0, next_beat: now + heartbeat, token_ends, last_heard: now }
    }

    pub(super) fn alarm(&self) -> Instant {
        self.next_beat.min(self.token_ends)
    }
}

/// What to do when the alarm rings.
pub(super) enum Beat {
    Ping,
    CheckSession,
    End(ErrorCode, &'static str),
}

impl Pulse {
    pub(super) fn ring(&mut self, now: Instant) -> Beat {
        if now >= self.token_ends {
            return Beat::End(ErrorCode::TokenExpired, "the token's time is over, log in again");
        }
        if now.duration_since(self.last_heard) >= self.heartbeat * 2 {
            return Beat::End(ErrorCode::HeartbeatTimeout, "nothing was heard for two heartbeats");
        }
        self.next_beat = now + self.heartbeat;
        self.beats += 1;
        // Until a check is complete: the end of a request may cut one short.
        if self.beats >= HEARTBEATS_PER_CHECK { Beat::CheckSession } else { Beat::Ping }
    }
}
