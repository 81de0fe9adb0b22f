//! Which statements are sent, and what a generator process is told about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::params::Param;
use crate::{
    lab::{LabPlan, Place},
    plan::PlanError,
    scenario::Scenario,
};

/// The most connections of one generator.
const CONNS_MAX: usize = 1_000;
/// The most rows that one `fill` makes.
const ROWS_MAX: u64 = 10_000_000;
/// The most operations, and the most statements of each.
const OPERATIONS_MAX: usize = 64;

/// One statement with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Its text, with `$1`, `$2`, … for the parameters: both databases read that.
    pub sql: String,
    /// What is bound.
    #[serde(default)]
    pub params: Vec<Param>,
}

/// Rows that are there before the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// How often the statement is carried out.
    pub rows: u64,
    /// Its text.
    pub sql: String,
    /// What is bound.
    #[serde(default)]
    pub params: Vec<Param>,
}

/// Something that is done under load: one statement by itself, or several in a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// For people.
    pub name: String,
    /// How often it comes, relative to the others.
    pub weight: u32,
    /// Whether it changes something. SQLite has one writer: what writes waits for its turn on one connection.
    #[serde(default)]
    pub writes: bool,
    /// Whether an answer without a row is wrong.
    #[serde(default)]
    pub must_find: bool,
    /// The statement, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// What is bound to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// The statements of a transaction, where they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transaction: Vec<Statement>,
}

impl Operation {
    /// What it does, in order.
    pub fn steps(&self) -> Vec<Statement> {
        match &self.sql {
            Some(sql) => vec![Statement { sql: sql.clone(), params: self.params.clone() }],
            None => self.transaction.clone(),
        }
    }
}

/// The part of a scenario that only the driver `sql` has; see `scenarios/sql-5k.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statements {
    /// Carried out once, in order, before anything else: tables.
    #[serde(default)]
    pub prepare: Vec<String>,
    /// Rows, after that.
    #[serde(default)]
    pub fill: Vec<Fill>,
    /// What is done under load.
    pub operations: Vec<Operation>,
    /// Carried out once, in order, after the run.
    #[serde(default)]
    pub cleanup: Vec<String>,
}

impl Statements {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self, conns: usize) -> Result<(), String> {
        if !(1..=CONNS_MAX).contains(&conns) {
            return Err(format!("conns must be 1 to {CONNS_MAX}"));
        }
        if self.operations.len() > OPERATIONS_MAX || self.operations.iter().all(|one| one.weight == 0) {
            return Err(format!("[[sql.operations]]: 1 to {OPERATIONS_MAX}, at least one with a weight"));
        }
        for fill in &self.fill {
            if fill.rows > ROWS_MAX {
                return Err(format!("sql.fill.rows must be at most {ROWS_MAX}"));
            }
            check_params("fill", &fill.params)?;
        }
        for (nth, operation) in self.operations.iter().enumerate() {
            let name = &operation.name;
            let steps = operation.steps();
            if operation.sql.is_some() != operation.transaction.is_empty() || steps.len() > OPERATIONS_MAX {
                return Err(format!("sql.operations.{name}: give sql, or the statements of a transaction"));
            }
            if steps.len() > 1 && operation.must_find {
                return Err(format!("sql.operations.{name}: must_find is for one statement by itself"));
            }
            if self.operations[..nth].iter().any(|earlier| earlier.name == *name) {
                return Err(format!("sql.operations: there are two of the name {name}"));
            }
            steps.iter().try_for_each(|step| check_params(name, &step.params))?;
        }
        Ok(())
    }
}

fn check_params(name: &str, params: &[Param]) -> Result<(), String> {
    params.iter().try_for_each(|param| param.check().map_err(|why| format!("sql, {name}: {why}")))
}

/// One run of the driver `sql`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlPlan {
    /// When operations are due, how long, how judged. Its Redis is nobody's.
    pub run: LabPlan,
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Connections that read; PostgreSQL: connections.
    pub conns: usize,
    /// What is sent.
    pub statements: Statements,
}

impl SqlPlan {
    /// The plan of a scenario of the driver `sql` against a database.
    ///
    /// # Errors
    /// [`PlanError`] when the two do not fit.
    pub fn new(
        scenario: &Scenario,
        url: &str,
        server_pids: Vec<u32>,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        let statements = scenario.sql.clone();
        let statements = statements.ok_or_else(|| PlanError("the scenario has no [sql] part".into()))?;
        let database = url.split(':').next().unwrap_or_default();
        let run = LabPlan::of("sql", scenario, database, Place::default(), labels)?;
        let run = LabPlan { server_pids, ..run };
        let plan = Self { run, url: url.to_owned(), conns: scenario.conns, statements };
        plan.check()?;
        Ok(plan)
    }

    /// Checks what [`SqlPlan`]'s types can't say.
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn check(&self) -> Result<(), PlanError> {
        self.statements.check(self.conns).map_err(PlanError)?;
        self.run.check()
    }

    /// The longest that a run can take, in milliseconds, beside filling the tables.
    pub fn longest_ms(&self) -> u64 {
        self.run.longest_ms()
    }
}
