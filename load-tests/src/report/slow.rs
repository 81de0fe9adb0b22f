//! Connections that stopped reading, told in sentences.

use super::terminal::{NONE, mib};
use crate::result::SlowReader;

/// What became of one.
pub(super) fn lines(reader: &SlowReader) -> [String; 4] {
    let s = |ms: Option<u64>| ms.map_or_else(|| NONE.into(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
    let held = |bytes: Option<u64>| bytes.map_or_else(|| NONE.into(), mib);
    [
        format!(
            "closed {} after it stopped, {}",
            s(reader.closed_after_ms),
            reader.code.as_deref().unwrap_or("without a `bye`")
        ),
        format!(
            "read {} messages more; token of {} rooms of {}, {}",
            reader.read_late,
            reader.token_rooms,
            reader.rooms,
            if reader.token_exact { "exact" } else { "not what it had read" }
        ),
        format!(
            "all rooms joined again after {}, everything there after {}",
            s(reader.resumed_after_ms),
            s(reader.caught_up_after_ms)
        ),
        format!(
            "server RSS MiB: {} when it stopped, highest {}, {} afterwards; kernel {}",
            held(reader.server_rss_before),
            held(reader.server_rss_highest),
            held(reader.server_rss_after),
            held(reader.kernel_bytes)
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_not_told_as_if_it_had() {
        let lines = lines(&SlowReader { rooms: 3, ..SlowReader::default() });
        assert!(lines.iter().all(|line| line.chars().count() <= 78));
        assert_eq!(lines[0], "closed – after it stopped, without a `bye`");
        assert!(lines[1].ends_with("0 rooms of 3, not what it had read"));
    }
}
