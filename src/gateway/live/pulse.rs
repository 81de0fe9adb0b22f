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
        // Ten thousand that came together would be pinged together, again and again: the first is anywhere in the interval.
        let first = heartbeat.mul_f64(rand::random_range(0.0..1.0));
        Self { heartbeat, beats: 0, next_beat: now + first, token_ends, last_heard: now }
    }

    pub(super) fn alarm(&self) -> Instant {
        self.next_beat.min(self.token_ends).min(self.silent_at())
    }

    /// When it has been silent for too long, unless something is heard.
    fn silent_at(&self) -> Instant {
        self.last_heard + self.heartbeat * 2
    }
}

/// What to do when the alarm rings.
pub(super) enum Beat {
    /// Something was heard since the alarm was set: it is set anew.
    Early,
    Ping,
    CheckSession,
    End(ErrorCode, &'static str),
}

impl Pulse {
    pub(super) fn ring(&mut self, now: Instant) -> Beat {
        if now >= self.token_ends {
            return Beat::End(ErrorCode::TokenExpired, "the token's time is over, log in again");
        }
        if now >= self.silent_at() {
            return Beat::End(ErrorCode::HeartbeatTimeout, "nothing was heard for two heartbeats");
        }
        if now < self.next_beat {
            return Beat::Early;
        }
        self.next_beat = now + self.heartbeat;
        self.beats += 1;
        // Until a check is complete: the end of a request may cut one short.
        if self.beats >= HEARTBEATS_PER_CHECK { Beat::CheckSession } else { Beat::Ping }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(25);

    #[test]
    fn connections_that_came_together_are_not_pinged_together() {
        let before = Instant::now();
        let firsts: Vec<_> = (0..1_000)
            .map(|_| Pulse::new(HEARTBEAT, u64::MAX).alarm().duration_since(before).as_secs_f64())
            .collect();
        for fifth in 0..5 {
            let from = 5.0 * f64::from(fifth);
            let there = firsts.iter().filter(|first| (from..from + 5.0).contains(*first)).count();
            assert!(there >= 100, "{there} of 1,000 within 5 s from {from} s on: 200 are to be expected");
        }
    }

    /// When the alarms end it if nothing is heard any more, and after how many beats.
    fn end(pulse: &mut Pulse) -> (Instant, usize) {
        let mut beats = 0;
        loop {
            let now = pulse.alarm();
            match pulse.ring(now) {
                Beat::End(code, _) => {
                    assert_eq!(code, ErrorCode::HeartbeatTimeout);
                    return (now, beats);
                }
                Beat::Early => panic!("nothing was heard"),
                Beat::Ping | Beat::CheckSession => beats += 1,
            }
        }
    }

    #[test]
    fn silence_ends_it_after_exactly_two_heartbeats() {
        let mut pulse = Pulse::new(HEARTBEAT, u64::MAX);
        let start = pulse.last_heard;
        let (ended, beats) = end(&mut pulse);
        assert_eq!((ended - start, beats), (HEARTBEAT * 2, 2));
    }

    #[test]
    fn a_sign_puts_the_end_off_and_an_alarm_that_was_set_before_it_is_no_beat() {
        let mut pulse = Pulse::new(HEARTBEAT, u64::MAX);
        let start = pulse.last_heard;
        for _ in 0..2 {
            assert!(matches!(pulse.ring(pulse.alarm()), Beat::Ping | Beat::CheckSession));
        }
        let set = pulse.alarm();
        assert_eq!(set - start, HEARTBEAT * 2, "before the third beat");
        pulse.last_heard = set;
        assert!(matches!(pulse.ring(set), Beat::Early));
        let (ended, beats) = end(&mut pulse);
        assert_eq!((ended - set, beats), (HEARTBEAT * 2, 2));
    }
}
