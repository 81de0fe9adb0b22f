//! What the benches measured, read back from Criterion's files and set as tables.
//!
//! A lab's bench has the id `LAB/OPERATION [SIZE]/VARIANT/CLIENT/TOPOLOGY`; Criterion keeps its estimates in nanoseconds. One of
//! the processor alone has the id `cpu/WHAT/CASE`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chatlab_kit::{
    lab::{Lab, VariantKind},
    redis::ClientKind,
    servers::Topology,
};
use serde::Deserialize;

/// The group of the benches that need no server.
pub const CPU: &str = "cpu";
/// Folders and files of one group that are looked at, at most.
const MAX_ENTRIES: usize = 20_000;
/// The deepest that an `estimates.json` lies under its group: function, value, `new`.
const MAX_DEPTH: usize = 4;
/// What stands in a table where nothing was measured.
const NOTHING: &str = "–";

/// One bench's figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The whole id.
    pub id: String,
    /// The median of the samples, each the mean of its calls, in nanoseconds a call.
    pub median_ns: f64,
    /// The interval that holds the median with the confidence of 95 %, by bootstrap, in nanoseconds.
    pub interval_ns: (f64, f64),
    /// When it was written.
    pub at: SystemTime,
}

#[derive(Deserialize)]
struct Named {
    full_id: Option<String>,
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
}

impl Named {
    fn id(self) -> String {
        self.full_id.unwrap_or_else(|| {
            let parts = [Some(self.group_id), self.function_id, self.value_str];
            parts.into_iter().flatten().collect::<Vec<_>>().join("/")
        })
    }
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Where a running bench keeps its figures: as `CRITERION_HOME` says, or beside the build that the program is of.
///
/// # Errors
/// When the program's own place is not known.
pub fn folder() -> io::Result<PathBuf> {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return Ok(PathBuf::from(home));
    }
    // TARGET/release/deps/NAME-HASH, or TARGET/release/chatlab.
    let program = std::env::current_exe()?;
    let profile = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let target =
        profile.and_then(Path::parent).ok_or_else(|| io::Error::other("the program is in no build"))?;
    Ok(target.join("criterion"))
}

/// The newest figures of one group that are not older than `since`.
///
/// # Errors
/// When a folder can't be read. One that is missing holds nothing; a file that is no estimate is passed over.
pub fn read(folder: &Path, group: &str, since: Option<SystemTime>) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut waiting = vec![(folder.join(group), 0)];
    let mut seen = 0;
    while let Some((at, depth)) = waiting.pop() {
        let entries = match std::fs::read_dir(&at) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(io::Error::other(format!("over {MAX_ENTRIES} files under {}", folder.display())));
            }
            if !entry.file_type()?.is_dir() {
                continue;
            }
            if entry.file_name() == "new" {
                figures.extend(one(&entry.path()));
            } else if depth < MAX_DEPTH {
                waiting.push((entry.path(), depth + 1));
            }
        }
    }
    figures.retain(|figure| since.is_none_or(|since| figure.at >= since));
    Ok(figures)
}

fn one(folder: &Path) -> Option<Figure> {
    let parse = |name: &str| std::fs::read(folder.join(name)).ok();
    let named: Named = serde_json::from_slice(&parse("benchmark.json")?).ok()?;
    let estimates: Estimates = serde_json::from_slice(&parse("estimates.json")?).ok()?;
    let at = std::fs::metadata(folder.join("estimates.json")).ok()?.modified().ok()?;
    let Estimate { confidence_interval: interval, point_estimate } = estimates.median;
    let interval_ns = (interval.lower_bound, interval.upper_bound);
    Some(Figure { id: named.id(), median_ns: point_estimate, interval_ns, at })
}

/// The table of a lab: a block for each operation, a line for each variant, a column for each topology and client. Empty when
/// nothing of the lab is among the figures.
pub fn lab_table(lab: &dyn Lab, figures: &[Figure]) -> String {
    let prefix = format!("{}/", lab.id());
    let mut cells: BTreeMap<&str, &Figure> = BTreeMap::new();
    for figure in figures {
        if let Some(rest) = figure.id.strip_prefix(&prefix) {
            cells.insert(rest, figure);
        }
    }
    let mut operations: Vec<&str> = cells.keys().filter_map(|rest| rest.split('/').next()).collect();
    operations.dedup();
    operations.sort_by_key(|operation| by_size(operation));
    let mut rows = vec![
        [vec![String::new()], COLUMNS.iter().map(|(topology, _)| topology.to_string()).collect()].concat(),
        [vec![String::new()], COLUMNS.iter().map(|(_, client)| client.to_string()).collect()].concat(),
    ];
    for operation in operations {
        let lines: Vec<Vec<String>> = lab
            .variants()
            .iter()
            .filter_map(|variant| {
                let found = COLUMNS.map(|(topology, client)| {
                    let rest = format!("{operation}/{}/{client}/{topology}", variant.name);
                    cells.get(rest.as_str()).map(|figure| cell(figure, 1e3))
                });
                found.iter().any(Option::is_some).then(|| {
                    let mark = if variant.kind == VariantKind::Reference { "*" } else { " " };
                    let name = format!(" {mark} {}", variant.name);
                    let shown = found.into_iter().map(|cell| cell.unwrap_or_else(|| NOTHING.to_owned()));
                    std::iter::once(name).chain(shown).collect()
                })
            })
            .collect();
        if !lines.is_empty() {
            rows.push(vec![operation.to_owned()]);
            rows.extend(lines);
        }
    }
    if rows.len() == 2 {
        return String::new();
    }
    let title =
        "µs a call, one at a time: median, and where it lies at 95 %; * the reference, which the server runs";
    format!("{}: {title}\n{}", lab.id(), aligned(&rows))
}

/// The columns of a lab's table.
const COLUMNS: [(Topology, ClientKind); 4] = [
    (Topology::Single, ClientKind::RedisRs),
    (Topology::Single, ClientKind::Fred),
    (Topology::Cluster, ClientKind::RedisRs),
    (Topology::Cluster, ClientKind::Fred),
];

/// The table of the benches that need no server. Empty when there is no figure of them.
pub fn cpu_table(figures: &[Figure]) -> String {
    let prefix = format!("{CPU}/");
    let mut found: Vec<(&str, &Figure)> =
        figures.iter().filter_map(|figure| Some((figure.id.strip_prefix(&prefix)?, figure))).collect();
    found.sort_by_key(|(rest, _)| by_size(rest));
    let rows: Vec<Vec<String>> =
        found.iter().map(|(rest, figure)| vec![format!("   {rest}"), cell(figure, 1.0)]).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("{CPU}: ns a call, no server: median, and where it lies at 95 %\n{}", aligned(&rows))
}

/// The tables of all labs and of the processor, from the files that are there.
///
/// # Errors
/// Those of [`read`].
pub fn all_tables(folder: &Path) -> io::Result<String> {
    let mut tables = Vec::new();
    let mut oldest: Option<SystemTime> = None;
    let mut note = |figures: &[Figure]| {
        oldest = oldest.into_iter().chain(figures.iter().map(|figure| figure.at)).min();
    };
    let cpu = read(folder, CPU, None)?;
    note(&cpu);
    tables.push(cpu_table(&cpu));
    for lab in crate::labs::all() {
        let figures = read(folder, lab.id(), None)?;
        note(&figures);
        tables.push(lab_table(lab, &figures));
    }
    tables.retain(|table| !table.is_empty());
    let age = oldest.and_then(|at| at.elapsed().ok()).map(|age| age.as_secs() / 60);
    tables.push(match age {
        None => "nothing was benched yet: cargo bench, or chatlab bench LAB\n".to_owned(),
        Some(minutes) => format!("the oldest of these figures was written {minutes} min ago\n"),
    });
    Ok(tables.join("\n"))
}

/// Sorts `page 64 B` before `page 1024 B`.
fn by_size(operation: &str) -> (&str, u64, &str) {
    let at = operation.find(|c: char| c.is_ascii_digit()).unwrap_or(operation.len());
    let (name, rest) = operation.split_at(at);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (name, digits.parse().unwrap_or(0), rest)
}

fn cell(figure: &Figure, unit_ns: f64) -> String {
    let (low, high) = figure.interval_ns;
    let shown = |ns: f64| {
        let value = ns / unit_ns;
        let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        format!("{value:.decimals$}")
    };
    format!("{} {}–{}", shown(figure.median_ns), shown(low), shown(high))
}

/// Columns as wide as their widest cell; a row with a single cell is a heading.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let chars = |cell: &String| cell.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|i| rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(i)).map(chars).max())
        .map(|width| width.unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(i, cell)| {
                let width = widths[i];
                if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            })
            .collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(id: &str, median_us: f64) -> Figure {
        let ns = median_us * 1e3;
        Figure {
            id: id.to_owned(),
            median_ns: ns,
            interval_ns: (ns * 0.99, ns * 1.02),
            at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_lab_s_table_has_a_line_a_variant_and_marks_the_reference() {
        let lab = crate::labs::named("history").unwrap();
        let figures = [
            figure("history/page 1024 B/zset_hash/redis-rs/single", 512.3),
            figure("history/page 64 B/zset_hash/redis-rs/single", 151.0),
            figure("history/page 64 B/list/fred/cluster", 7.5),
            figure("presence/online/zset_lease/fred/cluster", 1.0),
            figure("history/page 64 B/of_yesterday/fred/cluster", 1.0),
        ];
        let table = lab_table(lab, &figures);
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 8, "{table}");
        assert_eq!(lines[3], "page 64 B");
        assert!(lines[4].starts_with(" * zset_hash  151 149–154"), "{table}");
        assert!(lines[5].starts_with("   list") && lines[5].ends_with("7.50 7.42–7.65"), "{table}");
        assert_eq!((lines[6], lines[7].contains("512 507–523")), ("page 1024 B", true));
        assert!(lines[1..].iter().all(|line| line.chars().count() <= 80), "{table}");
        assert_eq!(lab_table(lab, &figures[3..4]), "");
    }

    #[test]
    fn figures_are_read_from_the_files_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("cpu/slot/key/new");
        std::fs::create_dir_all(&new).unwrap();
        let named = r#"{"group_id":"cpu","function_id":"slot","value_str":"key","full_id":"cpu/slot/key"}"#;
        std::fs::write(new.join("benchmark.json"), named).unwrap();
        let median = r#"{"median":{"confidence_interval":{"confidence_level":0.95,"lower_bound":9.5,
            "upper_bound":11.0},"point_estimate":10.0,"standard_error":0.1}}"#;
        std::fs::write(new.join("estimates.json"), median).unwrap();
        std::fs::create_dir_all(folder.path().join("cpu/broken/new")).unwrap();
        let read_since = |since| read(folder.path(), CPU, since).unwrap();
        let figures = read_since(None);
        assert_eq!((figures.len(), figures[0].id.as_str()), (1, "cpu/slot/key"));
        assert_eq!((figures[0].median_ns, figures[0].interval_ns), (10.0, (9.5, 11.0)));
        assert!(cpu_table(&figures).contains("slot/key  10.0 9.50–11.0"));
        let later = figures[0].at + std::time::Duration::from_secs(1);
        assert!(read_since(Some(later)).is_empty());
        assert!(read(&folder.path().join("nowhere"), CPU, None).unwrap().is_empty());
    }
}
