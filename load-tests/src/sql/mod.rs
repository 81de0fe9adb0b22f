//! The driver `sql`: statements from a scenario to SQLite or PostgreSQL, on time.
//!
//! It keeps time, counts and judges as the driver `lab` does: an operation is a call, what is answered counts as delivered. What
//! has to wait for a connection waits at its own expense. SQLite runs inside the generator's process, on threads of its own: the
//! generator's CPU is then that of both, its busiest thread its own.

mod database;
pub mod params;
mod plan;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    lab::{Operation as Declared, Workload},
};
use serde::{Deserialize, Serialize};

pub use plan::{Fill, Operation, SqlPlan, Statement, Statements};

use self::{
    database::{Bound, Database},
    params::{At, Param, Values},
};
use crate::{lab, plan::Progress, result::RunResult, ws::LoadError};

/// Rows in one transaction while tables are filled.
const FILL_BATCH: u64 = 1_000;

/// Open files beside the connections: SQLite has three a connection.
const SPARE_FILES: usize = 64;

/// What was asked for, as the result tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The database's name and version.
    pub database: String,
    /// Connections; with SQLite those that read, beside the one that writes.
    pub conns: usize,
}

/// One operation, ready to be called.
struct Ready {
    name: &'static str,
    writes: bool,
    must_find: bool,
    steps: Vec<(Arc<str>, Vec<Param>)>,
}

struct Sql {
    database: Arc<Database>,
    declared: &'static [Declared],
    ready: Vec<Ready>,
    statements: Statements,
    values: Values,
}

impl Sql {
    fn bound(&self, steps: &[(Arc<str>, Vec<Param>)], at: At) -> Vec<Bound> {
        let values = |params: &[Param]| params.iter().map(|param| self.values.of(param, at)).collect();
        steps.iter().map(|(sql, params)| (sql.clone(), values(params))).collect()
    }

    async fn fill(&self, fill: &Fill) -> LabResult<()> {
        let step = [(Arc::from(fill.sql.as_str()), fill.params.clone())];
        for first in (0..fill.rows).step_by(FILL_BATCH as usize) {
            let rows = first..(first + FILL_BATCH).min(fill.rows);
            let steps: Vec<_> = rows.flat_map(|row| self.bound(&step, At::Row(row))).collect();
            let done = self.database.call(true, steps).await;
            done.map_err(|e| LabError::Other(format!("{}: {e}", fill.sql)))?;
        }
        Ok(())
    }
}

fn failed(what: &str, error: &sqlx::Error) -> LabError {
    LabError::Other(match error {
        // Without the statement's values, so that equal causes are one kind.
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no connection was free in time".to_owned(),
        other => format!("{what}: {other}"),
    })
}

#[async_trait]
impl Workload for Sql {
    fn operations(&self) -> &'static [Declared] {
        self.declared
    }

    async fn prepare(&self) -> LabResult<()> {
        for sql in &self.statements.prepare {
            let one = vec![(Arc::from(sql.as_str()), Vec::new())];
            let done = self.database.call(true, one).await;
            done.map_err(|e| LabError::Other(format!("{sql}: {e}")))?;
        }
        for fill in &self.statements.fill {
            self.fill(fill).await?;
        }
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let ready = self.ready.iter().find(|ready| ready.name == operation);
        let ready = ready.ok_or_else(|| LabError::Other(format!("there is no operation {operation}")))?;
        let steps = self.bound(&ready.steps, At::Call(n));
        let rows = self.database.call(ready.writes, steps).await.map_err(|e| failed(operation, &e))?;
        if ready.must_find && rows == 0 {
            return Err(LabError::Other("no row, where there is one".into()));
        }
        Ok(())
    }
}

/// Carries out a plan and judges the run. Blocks for the run's whole time; not to be called on a runtime's own thread.
///
/// # Errors
/// [`LoadError`] when there is nothing to judge: no database, or tables that can't be made.
pub fn generate(plan: SqlPlan, progress: &mut dyn FnMut(Progress)) -> Result<RunResult, LoadError> {
    plan.check()?;
    let opened: Arc<OnceLock<(Arc<Database>, String)>> = Arc::default();
    let SqlPlan { run, url, conns, statements } = plan;
    let cleanup = statements.cleanup.clone();
    let make = {
        let opened = opened.clone();
        let seed = run.seed;
        move || async move {
            // A password stays out of what is said.
            let shown = url.split_once('@').map_or(url.as_str(), |(_, host)| host);
            let database = Database::open(&url, conns).await;
            let database = Arc::new(database.map_err(|e| LabError::Other(format!("opening {shown}: {e}")))?);
            let version = database.version().await.map_err(|e| failed("version", &e))?;
            let _ = opened.set((database.clone(), version));
            Ok::<Arc<dyn Workload>, LabError>(Arc::new(ready(database, statements, seed)))
        }
    };
    let adjust = {
        let opened = opened.clone();
        move |result: &mut RunResult| {
            let database = opened.get().map(|(_, version)| version.clone()).unwrap_or_default();
            result.labels.insert("database".to_owned(), database.clone());
            result.config.lab = None;
            result.config.conns = conns;
            result.config.sql = Some(Asked { database, conns });
        }
    };
    let finish = || async move {
        let Some((database, _)) = opened.get() else { return };
        for sql in &cleanup {
            let one = vec![(Arc::from(sql.as_str()), Vec::new())];
            if let Err(error) = database.call(true, one).await {
                eprintln!("cleanup: {sql}: {error}");
            }
        }
        database.close().await;
    };
    lab::drive((run, conns + SPARE_FILES), make, adjust, finish, progress)
}

fn ready(database: Arc<Database>, statements: Statements, seed: u64) -> Sql {
    let declared: Vec<Declared> = statements
        .operations
        .iter()
        // A generator's process has one run.
        .map(|one| Declared { name: one.name.clone().leak(), weight: one.weight })
        .collect();
    let ready = statements.operations.iter().zip(&declared).map(|(one, declared)| Ready {
        name: declared.name,
        writes: one.writes,
        must_find: one.must_find,
        steps: one.steps().into_iter().map(|step| (Arc::from(step.sql.as_str()), step.params)).collect(),
    });
    Sql { ready: ready.collect(), declared: declared.leak(), database, statements, values: Values::new(seed) }
}
