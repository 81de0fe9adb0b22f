//! A table of runs: variants × client × topology, each cell several times.
//!
//! Cells take turns, in a new seeded order each time round, so that no cell has the machine's good hour to itself. A cell's
//! percentiles are those of its merged histograms; percentiles are never averaged. A cell with a run that is not valid shows
//! no figures.

mod show;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use show::terminal;

use crate::{
    recorder::{Latency, Summary},
    result::RunResult,
    verdict::Kind,
};

/// The version of [`Table`]'s JSON.
pub const SCHEMA: u32 = 1;
/// The most cells.
pub const MAX_CELLS: usize = 200;
/// The most runs of a cell.
pub const MAX_REPEATS: usize = 50;

/// One cell: what is run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The variant, as `LAB=NAME` or `reference`.
    pub variant: String,
    /// The client, as `--client` names it.
    pub client: String,
    /// The topology, as `--topology` names it.
    pub topology: String,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axes {
    /// Variants.
    pub variants: Vec<String>,
    /// Clients.
    pub clients: Vec<String>,
    /// Topologies.
    pub topologies: Vec<String>,
    /// Runs of each cell.
    pub repeats: usize,
    /// Decides the order.
    pub seed: u64,
}

impl Axes {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the axis.
    pub fn check(&self) -> Result<(), String> {
        for (name, axis) in
            [("variants", &self.variants), ("clients", &self.clients), ("topologies", &self.topologies)]
        {
            if axis.is_empty() {
                return Err(format!("{name}: at least one is needed"));
            }
            if let Some(twice) = axis.iter().enumerate().find(|(at, one)| axis[..*at].contains(one)) {
                return Err(format!("{name}: {} is there twice", twice.1));
            }
        }
        let cells = self.variants.len() * self.clients.len() * self.topologies.len();
        if cells > MAX_CELLS {
            return Err(format!("{cells} cells are more than {MAX_CELLS}"));
        }
        if !(1..=MAX_REPEATS).contains(&self.repeats) {
            return Err(format!("repeats must be 1 to {MAX_REPEATS}"));
        }
        Ok(())
    }

    /// All cells, as a table reads: topology by topology, client by client.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for topology in &self.topologies {
            for client in &self.clients {
                cells.extend(self.variants.iter().map(|variant| Cell {
                    variant: variant.clone(),
                    client: client.clone(),
                    topology: topology.clone(),
                }));
            }
        }
        cells
    }
}

/// One run of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Whose.
    pub cell: Cell,
    /// What it gave; none when it could not be done.
    pub result: Option<RunResult>,
    /// Why it could not be done.
    pub skipped: Option<String>,
}

/// A cell's figures over all its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which cell.
    pub cell: Cell,
    /// Runs that gave a result.
    pub runs: usize,
    /// The first verdict that is not `VALID`, else `VALID`; none without a run.
    pub kind: Option<Kind>,
    /// Why it was not run to the end.
    pub skipped: Option<String>,
    /// None unless all runs are valid; the others likewise. Answers a second, the mean of the runs.
    pub per_s: Option<f64>,
    /// Response time of all runs together: deliveries of a chat run, all operations of a lab's.
    pub response: Option<Summary>,
    /// The lowest and the highest 99th percentile of a single run, in microseconds.
    pub p99_range_us: Option<[u64; 2]>,
    /// CPU of server and Redis together, in microseconds a delivery (operation), the mean of the runs.
    pub us_each: Option<f64>,
}

/// The whole table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// [`SCHEMA`].
    pub matrix_schema: u32,
    /// For people.
    pub title: String,
    /// What was asked for.
    pub axes: Axes,
    /// A row a cell.
    pub rows: Vec<Row>,
    /// Every run, in the order in which they were taken.
    pub runs: Vec<Run>,
}

impl Table {
    /// Whether every cell was run and is valid.
    pub fn is_valid(&self) -> bool {
        self.rows.iter().all(|row| row.kind == Some(Kind::Valid) && row.skipped.is_none())
    }
}

/// Takes a table step by step: [`Matrix::next`] says whose run is due, [`Matrix::put`] or [`Matrix::skip`] answers.
#[derive(Clone, Debug)]
pub struct Matrix {
    title: String,
    axes: Axes,
    order: Vec<Cell>,
    runs: Vec<Run>,
}

impl Matrix {
    /// A table that has not begun. `title` is for people.
    pub fn new(title: &str, axes: Axes) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(axes.seed);
        let mut order = Vec::new();
        for _ in 0..axes.repeats {
            let mut round = axes.cells();
            round.shuffle(&mut rng);
            order.extend(round);
        }
        Self { title: title.to_owned(), axes, order, runs: Vec::new() }
    }

    /// How many runs there are to be.
    pub fn runs(&self) -> usize {
        self.order.len()
    }

    /// How many there were.
    pub fn done(&self) -> usize {
        self.runs.len()
    }

    /// Whose run is next; none at the end.
    pub fn next(&self) -> Option<Cell> {
        self.order.get(self.runs.len()).cloned()
    }

    /// The run that [`Matrix::next`] asked for; ignored when it asked for none.
    pub fn put(&mut self, result: RunResult) {
        self.note(Some(result), None);
    }

    /// Says why that run can't be done, and takes the cell's later ones out.
    pub fn skip(&mut self, why: &str) {
        let Some(cell) = self.next() else { return };
        self.note(None, Some(why.to_owned()));
        let mut later = self.order.split_off(self.runs.len());
        later.retain(|other| *other != cell);
        self.order.extend(later);
    }

    fn note(&mut self, result: Option<RunResult>, skipped: Option<String>) {
        if let Some(cell) = self.next() {
            self.runs.push(Run { cell, result, skipped });
        }
    }

    /// Takes the whole table with a callback; its error is a cell that can't be run.
    pub fn take<E: std::fmt::Display>(mut self, mut run: impl FnMut(&Cell) -> Result<RunResult, E>) -> Table {
        while let Some(cell) = self.next() {
            match run(&cell) {
                Ok(result) => self.put(result),
                Err(why) => self.skip(&why.to_string()),
            }
        }
        self.finish()
    }

    /// The table of what was run.
    pub fn finish(self) -> Table {
        let rows = self.axes.cells().into_iter().map(|cell| row(cell, &self.runs)).collect();
        Table { matrix_schema: SCHEMA, title: self.title, axes: self.axes, rows, runs: self.runs }
    }
}

fn row(cell: Cell, runs: &[Run]) -> Row {
    let of: Vec<&Run> = runs.iter().filter(|run| run.cell == cell).collect();
    let results: Vec<&RunResult> = of.iter().filter_map(|run| run.result.as_ref()).collect();
    let broken = results.iter().map(|r| r.verdict.kind).find(|kind| *kind != Kind::Valid);
    let shown = !results.is_empty() && broken.is_none();
    let mean = |figure: &dyn Fn(&RunResult) -> Option<f64>| {
        let values: Option<Vec<f64>> = results.iter().map(|r| figure(r)).collect();
        values.filter(|_| shown).map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    let p99s: Option<Vec<u64>> = results.iter().map(|r| response(r).p99_us).collect();
    let range = p99s.filter(|_| shown).and_then(|all| Some([*all.iter().min()?, *all.iter().max()?]));
    Row {
        runs: results.len(),
        kind: broken.or_else(|| (!results.is_empty()).then_some(Kind::Valid)),
        skipped: of.iter().find_map(|run| run.skipped.clone()),
        per_s: mean(&|r| Some(if r.config.is_operations() { r.delivered_per_s } else { r.acked_per_s })),
        response: if shown { merged(&results) } else { None },
        p99_range_us: range,
        us_each: mean(&|r| {
            let each =
                [r.resources.server, r.resources.redis].map(|used| used.and_then(|u| u.us_per_delivery));
            each.into_iter().flatten().reduce(|a, b| a + b)
        }),
        cell,
    }
}

fn response(result: &RunResult) -> &Summary {
    if result.config.is_operations() { &result.latency.ack } else { &result.latency.delivery }
}

fn merged(results: &[&RunResult]) -> Option<Summary> {
    let mut all: Option<Latency> = None;
    for result in results {
        let one = Latency::from_summary(response(result)).ok()?;
        match &mut all {
            Some(all) => all.merge(&one),
            None => all = Some(one),
        }
    }
    all?.summary().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing;

    fn axes() -> Axes {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Axes {
            variants: names(&["reference", "history=list"]),
            clients: names(&["redis-rs", "fred"]),
            topologies: names(&["single", "cluster"]),
            repeats: 3,
            seed: 7,
        }
    }

    #[test]
    fn cells_take_turns_in_a_seeded_order() {
        let order = |seed| Matrix::new("t", Axes { seed, ..axes() }).order;
        let seven = order(7);
        assert_eq!((seven.len(), seven.clone()), (24, order(7)));
        assert_ne!(seven, order(8));
        for round in seven.chunks(8) {
            let distinct: std::collections::HashSet<_> = round.iter().collect();
            assert_eq!(distinct.len(), 8, "each cell once a round");
        }
        assert_ne!(seven[..8], seven[8..16], "each round has its own order");
    }

    #[test]
    fn rows_merge_runs_and_show_their_range() {
        let mut turn: HashMap<Cell, f64> = HashMap::new();
        let table = Matrix::new("t", axes()).take(|cell| {
            let factor = turn.entry(cell.clone()).or_insert(0.9);
            *factor += 0.1;
            Ok::<_, String>(testing::run(*factor))
        });
        assert!(table.is_valid());
        let row = &table.rows[0];
        let [low, high] = row.p99_range_us.unwrap();
        let p99 = row.response.as_ref().and_then(|r| r.p99_us).unwrap();
        assert!(low < p99 && p99 < high && row.response.as_ref().unwrap().count == 60_000);
        assert_eq!((row.runs, row.per_s), (3, Some(100.0)));
        let text = terminal(&table);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let again: Table = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
        assert_eq!(again.rows, table.rows);
    }

    #[test]
    fn a_cell_that_breaks_or_cannot_be_run_shows_no_figures() {
        let table = Matrix::new("t", axes()).take(|cell| {
            let mut result = testing::run(1.0);
            if cell.client == "fred" {
                result.verdict.kind = Kind::ServerBound;
            }
            if cell.variant == "reference" && cell.topology == "cluster" {
                return Err("needs a single node".to_owned());
            }
            Ok(result)
        });
        assert!(!table.is_valid());
        assert_eq!(table.runs.len(), 18 + 2, "a cell that can't be run is tried once");
        for row in &table.rows {
            let shown = row.cell.client == "redis-rs" && row.skipped.is_none();
            assert_eq!(row.per_s.is_some() && row.response.is_some(), shown, "{row:?}");
        }
        assert!(terminal(&table).contains("needs a single node"));
    }

    #[test]
    fn axes_are_checked() {
        axes().check().unwrap();
        for (bad, named) in [
            (Axes { clients: Vec::new(), ..axes() }, "clients"),
            (Axes { variants: vec!["a".into(), "a".into()], ..axes() }, "twice"),
            (Axes { repeats: 0, ..axes() }, "repeats"),
            (Axes { variants: (0..100).map(|i| i.to_string()).collect(), ..axes() }, "cells"),
        ] {
            assert!(bad.check().unwrap_err().contains(named));
        }
    }
}
