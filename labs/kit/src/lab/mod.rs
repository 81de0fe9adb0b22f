//! What a lab is: a lesson, a manifest, variants behind one port, checks, experiments.

use std::sync::Arc;

use async_trait::async_trait;

use crate::check::CheckReport;
use crate::lua::{Call, Script};
use crate::prereq::ServerBinary;
use crate::redis::Redis;
use crate::{LabError, LabResult};

mod audit;
mod exercise;
mod expect;
mod findings;
mod hints;
mod manifest;
pub mod proving;
mod race;
mod variant;
mod workload;

pub use audit::audit;
pub use exercise::exercise_main;
pub use expect::{Drive, Expect};
pub use findings::{Axis, Chart, Experiment, Findings, Point, Row, Series};
pub use hints::fitting;
pub use manifest::{Choice, Hint, Manifest, Mistake, Prediction, Step};
pub use race::{BrokenOrder, Orders, Race, RaceReport, RaceStep};
pub use variant::{Needs, Variant, VariantKind, check_variant};
pub use workload::{Cost, Operation, REHEARSALS, Scale, Workload, rehearse};

/// A lab, as the command line and the author's gate see it. Its port stays inside.
#[async_trait]
pub trait Lab: Send + Sync {
    /// A stable name, as typed: `sessions`.
    fn id(&self) -> &'static str;

    /// A short title.
    fn title(&self) -> &'static str;

    /// What the lab is about, in one sentence.
    fn summary(&self) -> &'static str;

    /// The lesson, in Markdown.
    fn lesson(&self) -> &'static str;

    /// The text of `lab.toml`; [`Manifest::parse`] reads it.
    fn manifest_text(&self) -> &'static str;

    /// All variants, the reference first.
    fn variants(&self) -> &'static [Variant];

    /// The names of the checks and what each states, in the order of reports.
    fn predicates(&self) -> Vec<(&'static str, &'static str)>;

    /// All scripts of all variants.
    fn scripts(&self) -> Vec<&'static Script>;

    /// A call of each script, with keys as a variant makes them.
    fn sample_calls(&self) -> Vec<Call>;

    /// Runs all checks on one variant. `None` for a name that is no variant, or the exercise in a build without it.
    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport>;

    /// What can be measured here.
    fn experiments(&self) -> &'static [Experiment];

    /// Runs one experiment. `None` for a name that is none.
    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>>;

    /// The source of the reference variant, as `solution` shows it.
    fn reference_source(&self) -> &'static str;

    /// The same operations for every variant: for benches, load and the comparison of costs. `None` for a name that is no
    /// variant, or the exercise in a build without it.
    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>>;

    /// What the live server asks of this lab's variants, in a sentence; none when it runs none of them.
    fn seat(&self) -> Option<&'static str> {
        None
    }

    /// The races that can be driven step by step.
    fn races(&self) -> &'static [Race] {
        &[]
    }

    /// Runs one race in many orders. `None` for a name that is none, or no variant.
    async fn race(
        &self,
        _name: &str,
        _variant: &str,
        _env: &Env,
        _orders: &Orders,
    ) -> Option<LabResult<RaceReport>> {
        None
    }

    /// The variant of that name.
    fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants().iter().find(|variant| variant.name == name)
    }

    /// The manifest.
    ///
    /// # Errors
    /// What is wrong with `lab.toml`, with its line.
    fn manifest(&self) -> Result<Manifest, String> {
        Manifest::parse(self.manifest_text())
    }
}

/// Where a check or an experiment runs.
#[derive(Debug, Clone)]
pub struct Env {
    /// A private server or cluster.
    pub redis: Redis,
    /// Gives the same plans again.
    pub seed: u64,
    /// What to start a further private server with, for experiments that break one.
    pub server: Option<ServerBinary>,
}

impl Env {
    /// What to start a further private server with.
    ///
    /// # Errors
    /// [`LabError::Other`] where only a connection was given.
    pub fn server(&self) -> LabResult<&ServerBinary> {
        self.server
            .as_ref()
            .ok_or_else(|| LabError::Other("this needs a private server to start and break".into()))
    }
}
