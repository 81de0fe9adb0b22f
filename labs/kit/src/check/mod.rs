//! Named checks of a lab's variants.
//!
//! A [`Property`] plans a history of operations at random, runs it on a variant through the lab's port, and judges what came
//! back against an invariant. The [`Check`] around it repeats that from a seed, drops steps from a history that breaks the
//! invariant for as long as it still does, and keeps the commands that the shortest one sent.
//!
//! No judgement rests on the time that a call should have taken: what a history proves is derived from the server's own
//! clock, read before and after each step. A history that proves nothing is *inconclusive*, never a pass.

mod explore;
mod fault;
mod property;
mod render;
mod report;
mod runner;

pub use explore::{ORDER_STEPS_MAX, RACERS_MAX, Racers, STEP_TIMEOUT_MS, explore};
pub use fault::{Crash, Held, race};
pub use property::{Factory, Finding, Pace, Property, Rng, Run, Subject, Target, server_ms};
pub use render::{REPORT_COLUMNS, wrap};
pub use report::{CheckReport, Outcome, Verdict};
pub use runner::{Check, RUN_TIMEOUT_MS, SHRINK_RUNS_MAX, run_checks};
