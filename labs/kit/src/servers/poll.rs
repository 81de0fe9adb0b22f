//! Waiting for a state, never for a duration.

use std::time::{Duration, Instant};

/// How often a state is looked at. Ten looks cost a server about as much as one chat message.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `look` returns `Ok`, for at most `bound`.
///
/// # Errors
/// What the last look saw, and the time that was waited.
pub fn poll<T>(
    bound: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, (String, Duration)> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            // A poll, bounded by `bound`.
            Err(_) if start.elapsed() < bound => std::thread::sleep(INTERVAL),
            Err(seen) => return Err((seen, start.elapsed())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sight_is_reported_when_the_bound_is_over() {
        let mut looks = 0;
        let outcome: Result<(), _> = poll(Duration::from_millis(30), || {
            looks += 1;
            Err(format!("look {looks}"))
        });
        let (seen, waited) = outcome.unwrap_err();
        assert_eq!(seen, format!("look {looks}"));
        assert!(looks > 1 && waited >= Duration::from_millis(30));
    }
}
