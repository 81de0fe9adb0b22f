//! Connections that are not as usual: those that come and go, those that stop reading, and those that only receive.

use chatlab_kit::message::MAX_PAGE;
use serde::{Deserialize, Serialize};

/// Connections that only listen, and close and open again during the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// A connection each: the access token it says hello with, of a user of its own.
    pub tokens: Vec<String>,
    /// How often one of them closes and opens again, a second, all together; not looked at in a storm.
    pub per_s: f64,
    /// All of them break together, and resume.
    #[serde(default)]
    pub storm: Option<Storm>,
}

/// When connections break together: at once, or over a while, which is what a client's random wait makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// The first time, in milliseconds after the window's start.
    pub first_ms: u64,
    /// Then again and again after so long, in milliseconds; 0: never again.
    #[serde(default)]
    pub every_ms: u64,
    /// From the first connection to the last, in milliseconds.
    #[serde(default)]
    pub over_ms: u64,
}

impl Storm {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        if self.every_ms > 0 && self.every_ms <= self.over_ms {
            return Err("storm.every_ms must be over storm.over_ms: one storm ends before the next".into());
        }
        Ok(())
    }
}

impl Churn {
    /// When connection `me` goes for the `nth` time, in nanoseconds after the window's start: equal gaps, in turn; in a storm
    /// all together.
    pub fn due_ns(&self, me: usize, nth: u64) -> u64 {
        if let Some(storm) = self.storm {
            if nth > 0 && storm.every_ms == 0 {
                return u64::MAX;
            }
            let start_ms = storm.first_ms.saturating_add(nth.saturating_mul(storm.every_ms));
            let late_ns =
                storm.over_ms.saturating_mul(1_000_000) / self.tokens.len().max(1) as u64 * me as u64;
            return start_ms.saturating_mul(1_000_000).saturating_add(late_ns);
        }
        let turn = nth as f64 * self.tokens.len() as f64 + me as f64;
        (turn / self.per_s * 1e9) as u64
    }
}

/// Connections, a user each, that listen and at some instant stop reading. What a scenario says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// How many.
    pub conns: usize,
    /// How many rooms each listens to: the more, the sooner it is behind.
    pub rooms: usize,
    /// When they stop, in milliseconds after the window's start.
    pub stop_ms: u64,
    /// Their receive buffers, in bytes as the system is asked for them: what fits in there is not behind yet.
    pub recv_buffer: u32,
}

/// The same with users, for a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowReaders {
    /// A connection each: the access token that it says hello with.
    pub tokens: Vec<String>,
    /// How they are slow.
    pub how: Slow,
}

impl Slow {
    /// Checks bounds, for so many rooms and a window of that length.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self, rooms: usize, window_ms: u64) -> Result<(), String> {
        if self.conns == 0 || self.rooms == 0 || self.rooms > rooms.min(MAX_SLOW_ROOMS) {
            return Err(format!(
                "slow: conns must be at least 1, and rooms 1 to {}",
                rooms.min(MAX_SLOW_ROOMS)
            ));
        }
        if self.stop_ms >= window_ms {
            return Err("slow.stop_ms must lie within the window".into());
        }
        if !(1_024..=16 << 20).contains(&self.recv_buffer) {
            return Err("slow.recv_buffer must be 1024 to 16777216".into());
        }
        Ok(())
    }
}

/// The most rooms of one connection: as many as the server lets one listen to.
const MAX_SLOW_ROOMS: usize = 256;

/// How messages reach those who wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// They listen: the server sends.
    Push,
    /// They ask for the room's history every so often.
    Poll,
    /// One run of each, side by side; for `load run`.
    Both,
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "push" => Ok(Self::Push),
            "poll" => Ok(Self::Poll),
            "both" => Ok(Self::Both),
            _ => Err("give push, poll or both".into()),
        }
    }
}

/// How messages are received, where that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// How.
    pub by: By,
    /// Polling: how often each connection looks, in milliseconds.
    pub every_ms: u64,
    /// Polling: how many messages a page has at most.
    pub page: u32,
}

impl Receive {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        if !(10..=3_600_000).contains(&self.every_ms) {
            return Err("receive.every_ms must be 10 to 3600000".into());
        }
        if !(1..=MAX_PAGE).contains(&(self.page as usize)) {
            return Err(format!("receive.page must be 1 to {MAX_PAGE}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_readers_stop_within_the_window_and_listen_to_rooms_that_there_are() {
        let good = Slow { conns: 1, rooms: 10, stop_ms: 8_000, recv_buffer: 4_096 };
        assert_eq!(good.check(10, 30_000), Ok(()));
        for (wrong, named) in [
            (Slow { conns: 0, ..good }, "conns"),
            (Slow { rooms: 11, ..good }, "rooms 1 to 10"),
            (Slow { stop_ms: 30_000, ..good }, "stop_ms"),
            (Slow { recv_buffer: 0, ..good }, "recv_buffer"),
        ] {
            assert!(wrong.check(10, 30_000).unwrap_err().contains(named));
        }
    }
}
