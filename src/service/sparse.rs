//! Few lines about what happens often: in an outage each request fails, and all for the same reason.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::lock;

/// As many lines are written in each [`WINDOW`]; the others are counted, and the next line says how many they were.
const LINES: u32 = 10;
/// See [`LINES`].
const WINDOW: Duration = Duration::from_secs(1);

/// Which lines are written.
#[derive(Debug, Default)]
pub struct Sparse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Sparse {
    /// Whether a line may be written now: then how many were left out before it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.0);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            (state.since, state.written) = (Some(now), 0);
        }
        if state.written == LINES {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_a_second_and_none_is_uncounted() {
        let (sparse, begun) = (Sparse::default(), Instant::now());
        let admitted: Vec<_> = (0..1_000).filter_map(|_| sparse.admit(begun)).collect();
        assert_eq!(admitted, [0; LINES as usize]);
        assert_eq!(sparse.admit(begun + WINDOW), Some(1_000 - u64::from(LINES)));
        assert_eq!(sparse.admit(begun + WINDOW), Some(0));
    }
}
