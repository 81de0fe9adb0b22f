//! Races of a lab: operations of several clients whose commands are run in every order, to a bound.

use serde::{Deserialize, Serialize};

/// A race that a lab can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    /// A stable name: `last_permit`.
    pub name: &'static str,
    /// Who does what, and what must hold in the end, in one sentence.
    pub about: &'static str,
}

/// What to explore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orders {
    /// Every order of the clients' commands, depth first, until one breaks the invariant or this many were tried.
    All {
        /// The most orders.
        max: u32,
    },
    /// This order only: one letter a command, `A` for the first client, then whatever remains in order.
    Only(String),
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaceReport {
    /// The race.
    pub race: String,
    /// The variant.
    pub variant: String,
    /// The orders that were run as planned and judged.
    pub explored: u32,
    /// The orders that could not be driven as planned or proved nothing: these did not pass.
    #[serde(default)]
    pub undriven: u32,
    /// Whether the explored orders were all there are.
    pub exhausted: bool,
    /// The first order that broke the invariant.
    pub broken: Option<BrokenOrder>,
    /// The order that was run last, for a report of what held.
    pub last: Vec<RaceStep>,
}

impl RaceReport {
    /// The same report, of this race and variant.
    #[must_use]
    pub fn named(self, race: &str, variant: &str) -> Self {
        Self { race: race.to_owned(), variant: variant.to_owned(), ..self }
    }
}

/// An order of commands that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenOrder {
    /// One letter a command: `ABAB`; [`Orders::Only`] runs it again.
    pub order: String,
    /// What was seen that must not be.
    pub reason: String,
    /// Each command in that order.
    pub steps: Vec<RaceStep>,
}

/// One command of a race.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaceStep {
    /// Which client, `A` first.
    pub client: char,
    /// The command, printable.
    pub command: String,
    /// Its reply, printable.
    pub reply: String,
}
