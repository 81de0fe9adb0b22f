//! Named checks of a lab's variants.
//!
//! A [`Property`] plans a history of operations at random, runs it on a variant through the lab's port, and judges what came
//! back against an invariant. The [`Check`] around it repeats that from a seed, drops steps from a history that breaks the
//! invariant for as long as it still does, and keeps the commands that the shortest one sent.
//!
//! The labs write no [`Property`] themselves: each has a [`World`] that runs the steps and writes down facts, each about a
//! topic, and a list of [`Invariant`]s that plan histories and judge them by the topics that they are about.
//!
//! No judgement rests on the time that a call should have taken: what a history proves is derived from the server's own
//! clock, read before and after each step. A history that proves nothing is *inconclusive*, never a pass.

mod explore;
mod fault;
mod invariant;
mod property;
mod render;
mod report;
mod runner;
mod stored;
mod world;

pub use explore::{ORDER_STEPS_MAX, RACERS_MAX, Racers, STEP_TIMEOUT_MS, explore};
pub use fault::{After, Crash, Held, race};
pub use invariant::{Invariant, Opened, Setup};
pub use property::{Factory, Finding, Pace, Property, Rng, Run, Subject, Target, server_ms};
pub use render::{REPORT_COLUMNS, wrap};
pub use report::{CheckReport, Outcome, Verdict};
pub use runner::{Check, RUN_TIMEOUT_MS, SHRINK_RUNS_MAX, run_checks};
pub use stored::stored_keys;
pub use world::{Fact, Record, Stop, World, answered};
