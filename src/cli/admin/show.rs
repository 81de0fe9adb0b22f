//! How the answers look: tables within a terminal's width, instants, and where a list goes on.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// Columns of a terminal.
const WIDTH: u16 = 80;
/// The most rows of a page.
const MAX_ROWS: i64 = 1_000;

/// A page of a long list.
#[derive(Debug, clap::Args)]
pub(super) struct PageOf<
    T: std::str::FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>> + Clone + Send + Sync + 'static,
> {
    /// Only what comes after this one
    #[arg(long, value_name = "LAST")]
    pub(super) after: Option<T>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=MAX_ROWS))]
    pub(super) limit: u32,
}

/// How a column takes part in a table that is too wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Goes on in the next line.
    Text,
    /// Stays whole.
    Whole,
    /// Stays whole, at the right.
    Number,
}

/// A table with its heads.
pub(super) fn table(columns: &[(&str, Column)], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(columns.iter().map(|(head, _)| *head)).add_rows(rows);
    for (column, (_, how)) in table.column_iter_mut().zip(columns) {
        if *how != Column::Text {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if *how == Column::Number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The last of a page that is full, after which the next one comes.
pub(super) fn next<T>(rows: &[T], limit: u32) -> Option<&T> {
    rows.last().filter(|_| rows.len() >= limit as usize)
}

/// Says where a list goes on.
pub(super) fn more(next: Option<impl std::fmt::Display>) {
    if let Some(next) = next {
        println!("\nthere may be more: --after {next}");
    }
}

/// An instant to the minute in UTC: `2026-01-31 23:59`.
pub(super) fn instant(ms: i64) -> String {
    let (days, minutes) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 60_000);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// The date so many days after the first of 1970. Years begin in March here, so that the odd day is the last one.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399_999, "2000-02-28 23:59"),
            (951_782_400_000, "2000-02-29 00:00"),
            (951_868_800_000, "2000-03-01 00:00"),
            (1_709_251_199_000, "2024-02-29 23:59"),
            (1_798_761_599_000, "2026-12-31 23:59"),
            (4_107_542_400_000, "2100-03-01 00:00"),
            (-60_000, "1969-12-31 23:59"),
        ] {
            assert_eq!(instant(ms), text);
        }
    }

    #[test]
    fn a_table_is_no_wider_than_a_terminal_and_keeps_ids_whole() {
        let id = uuid::Uuid::nil().to_string();
        let row = vec![id.clone(), "x".repeat(80), "7".to_owned()];
        let text = table(&[("ID", Column::Whole), ("NAME", Column::Text), ("N", Column::Number)], [row]);
        assert!(text.contains(&id), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{text}");
    }

    #[test]
    fn only_a_full_page_goes_on() {
        assert_eq!((next(&[1, 2], 2), next(&[1, 2], 3), next::<u8>(&[], 1)), (Some(&2), None, None));
    }
}
