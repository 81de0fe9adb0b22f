//! `timeline.csv`: a row a second, for people with a spreadsheet, and for the report.

use std::{fmt::Write, path::Path};

use super::{RecordingError, broken};

/// The first line.
pub const HEADER: &str = "second,due,sent,acked,delivered,errors,ack_p50_us,ack_p99_us,delivery_p50_us,\
                          delivery_p99_us,generator_cores,server_cores,redis_cores";

/// One second of the window, or of what came after it. What happened in it: a message that was due in one second and came in
/// the next is in the `due` of the one and in the `delivered` of the other. Empty in the file: not known, or too few samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// Counted from the window's start, from 0.
    pub second: u64,
    /// Arrivals of the schedule; none in a closed loop.
    pub due: Option<u64>,
    /// Sends.
    pub sent: u64,
    /// Answers.
    pub acked: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Errors of all kinds, also those of warm-up messages.
    pub errors: u64,
    /// Median from the intended instant to the ack, in microseconds.
    pub ack_p50_us: Option<u64>,
    /// The 99th percentile of the same.
    pub ack_p99_us: Option<u64>,
    /// Median from the intended instant to the delivery, in microseconds.
    pub delivery_p50_us: Option<u64>,
    /// The 99th percentile of the same.
    pub delivery_p99_us: Option<u64>,
    /// The generator's CPU time, as a share of one core.
    pub generator_cores: Option<f64>,
    /// The same of the servers, together.
    pub server_cores: Option<f64>,
    /// The same of the Redis nodes, together.
    pub redis_cores: Option<f64>,
}

fn cell<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl Row {
    /// The row's line, without its end.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{},{}", self.second, cell(self.due));
        for count in [self.sent, self.acked, self.delivered, self.errors] {
            let _ = write!(line, ",{count}");
        }
        for figure in [self.ack_p50_us, self.ack_p99_us, self.delivery_p50_us, self.delivery_p99_us] {
            let _ = write!(line, ",{}", cell(figure));
        }
        for cores in [self.generator_cores, self.server_cores, self.redis_cores] {
            let _ = write!(line, ",{}", cell(cores.map(|cores| format!("{cores:.3}"))));
        }
        line
    }

    fn parse(line: &str) -> Result<Self, String> {
        let cells: Vec<&str> = line.split(',').collect();
        let [second, due, sent, acked, delivered, errors, a50, a99, d50, d99, generator, server, redis] =
            cells[..]
        else {
            return Err(format!("{} cells instead of {}", cells.len(), HEADER.split(',').count()));
        };
        Ok(Self {
            second: must(second)?,
            due: may(due)?,
            sent: must(sent)?,
            acked: must(acked)?,
            delivered: must(delivered)?,
            errors: must(errors)?,
            ack_p50_us: may(a50)?,
            ack_p99_us: may(a99)?,
            delivery_p50_us: may(d50)?,
            delivery_p99_us: may(d99)?,
            generator_cores: may(generator)?,
            server_cores: may(server)?,
            redis_cores: may(redis)?,
        })
    }
}

fn must<T: std::str::FromStr>(cell: &str) -> Result<T, String> {
    cell.parse().map_err(|_| format!("`{cell}` is no number"))
}

fn may<T: std::str::FromStr>(cell: &str) -> Result<Option<T>, String> {
    if cell.is_empty() { Ok(None) } else { must(cell).map(Some) }
}

/// Reads a timeline's text.
pub(super) fn parse(file: &Path, text: &str) -> Result<Vec<Row>, RecordingError> {
    let mut lines = text.lines().enumerate();
    if lines.next().is_none_or(|(_, header)| header != HEADER) {
        return Err(broken(file, "line 1 is not the header that this version writes"));
    }
    lines
        .map(|(nth, line)| Row::parse(line).map_err(|why| broken(file, &format!("line {}: {why}", nth + 1))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written_and_wrong_ones_are_named() {
        let full = Row {
            second: 3,
            due: Some(100),
            sent: 99,
            acked: 98,
            delivered: 990,
            errors: 1,
            ack_p50_us: Some(800),
            generator_cores: Some(0.125),
            ..Row::default()
        };
        let text = format!("{HEADER}\n{}\n{}\n", Row::default().line(), full.line());
        assert_eq!(parse(Path::new("t"), &text).unwrap(), [Row::default(), full]);
        assert_eq!(full.line().split(',').count(), HEADER.split(',').count());
        for (broken, named) in [
            (text.replace("second,", "sec,"), "line 1"),
            (text.replace("990", "many"), "line 3: `many`"),
            (text.replace("3,100", "100"), "line 3: 12 cells"),
            (String::new(), "line 1"),
        ] {
            let error = parse(Path::new("a/timeline.csv"), &broken).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("a/timeline.csv"), "{error}");
        }
    }
}
