//! A lab's console steps on private servers: begin one, judge it, pass it, go on.

use std::time::{Duration, Instant};

use anyhow::Context;
use chatlab_kit::budget::{housekeeping, is_redirect, round_trips};
use chatlab_kit::lab::{Lab, Manifest, Step};
use chatlab_kit::prereq::ServerBinary;
use chatlab_kit::redis::TraceEntry;
use chatlab_kit::servers::Topology;
use chatlab_kit::steps::{Attempt, Judgement, instance};

use super::place::Place;
use crate::learner::hints::{Layer, next_layer};
use crate::learner::path::step_to_do;
use crate::learner::store::{Store, StoreError};

/// How long the commands of a drive get to take effect before a judgement is final.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two looks at what is still changing.
const LOOK: Duration = Duration::from_millis(50);

/// Where to begin.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The step; else the one under way, else the first that was not passed.
    pub step: Option<String>,
    /// The seed of names and numbers; else the one of last time, else a new one.
    pub seed: Option<u64>,
    /// Where steps run that do not need a cluster.
    pub topology: Option<Topology>,
}

/// The way through a lab's steps.
pub struct Course {
    /// The lab.
    pub lab: &'static dyn Lab,
    /// Its manifest.
    pub manifest: Manifest,
    /// Draws the names and numbers.
    pub seed: u64,
    /// The steps that were passed just now.
    pub passed: Vec<String>,
    store: Store,
    server: ServerBinary,
    topology: Topology,
    places: Vec<Place>,
    attempt: Option<Attempt>,
}

/// What a step cost, and what its own solution costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// The learner's commands.
    pub commands: u64,
    /// The learner's round trips.
    pub round_trips: u64,
    /// The solution's commands.
    pub solution_commands: u64,
    /// The solution's round trips, typed line by line.
    pub solution_round_trips: u64,
}

/// A hint at the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepHint {
    /// What the learner did is a known mistake.
    Mistake(String),
    /// A layer of the step's own hints.
    Layer(Layer),
}

impl Course {
    /// Opens a lab at a step, and begins it.
    ///
    /// # Errors
    /// When the lab or the step is not there, progress was written by a newer chatlab, or no server starts.
    pub async fn open(
        lab: &'static dyn Lab,
        server: ServerBinary,
        store: Store,
        start: Start,
    ) -> anyhow::Result<Self> {
        let manifest = lab.manifest().map_err(anyhow::Error::msg)?;
        let done = store.load()?.lab(lab.id());
        let seed = start.seed.or(done.seed).unwrap_or_else(|| u64::from(rand::random::<u16>()));
        let first = match start.step {
            Some(step) => step,
            None => step_to_do(&manifest, &done)
                .or_else(|| manifest.steps.first().map(|step| step.id.clone()))
                .context("this lab has no console steps")?,
        };
        let topology = start.topology.unwrap_or(Topology::Single);
        let (passed, places) = (Vec::new(), Vec::new());
        let mut course = Self { lab, manifest, seed, passed, store, server, topology, places, attempt: None };
        course.begin(&first).await?;
        Ok(course)
    }

    /// Begins a step afresh, on an empty server.
    ///
    /// # Errors
    /// When there is no such step, or a server fails.
    pub async fn begin(&mut self, id: &str) -> anyhow::Result<()> {
        let step = instance(&self.manifest, id, self.seed).with_context(|| {
            let known: Vec<_> = self.manifest.steps.iter().map(|step| step.id.as_str()).collect();
            format!("{} has no step `{id}`; there are: {}", self.lab.id(), known.join(", "))
        })?;
        let topology = if step.cluster { Topology::Cluster } else { self.topology };
        // Dropped first: the drive of the step before must not touch this one.
        self.attempt = None;
        if !self.places.iter().any(|place| place.topology == topology) {
            self.places.push(Place::start(topology, &self.server).await?);
        }
        // The place in use stands last.
        self.places.sort_by_key(|place| place.topology == topology);
        let place = self.place()?;
        let attempt = Attempt::begin(step, &place.redis, place.proxy.clone()).await?;
        self.attempt = Some(attempt);
        let (seed, id) = (self.seed, id.to_owned());
        self.store.update(|progress| {
            let lab = progress.lab_mut(self.lab.id());
            lab.seed = Some(seed);
            lab.at_step = Some(id);
        })?;
        Ok(())
    }

    /// The servers of the step under way.
    ///
    /// # Errors
    /// Before the first step began.
    pub fn place(&self) -> anyhow::Result<&Place> {
        self.places.last().context("no server was started")
    }

    fn attempt(&self) -> anyhow::Result<&Attempt> {
        self.attempt.as_ref().context("no step is under way")
    }

    /// The step under way.
    ///
    /// # Errors
    /// Before the first step began.
    pub fn step(&self) -> anyhow::Result<&Step> {
        Ok(self.attempt()?.step())
    }

    /// The number of the step under way, from 1.
    ///
    /// # Errors
    /// Before the first step began.
    pub fn number(&self) -> anyhow::Result<usize> {
        let id = &self.step()?.id;
        Ok(1 + self.manifest.steps.iter().position(|step| step.id == *id).unwrap_or(0))
    }

    /// Judges the step. What happens around the learner gets a moment to catch up, and with `patience` what was sent does.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn judge(&self, patience: Duration) -> anyhow::Result<Judgement> {
        let attempt = self.attempt()?;
        attempt.settle(SETTLE).await;
        let until = Instant::now() + patience;
        loop {
            let judgement = attempt.judge().await?;
            if judgement.passed() || Instant::now() >= until {
                return Ok(judgement);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The learner's commands in this step, without what client libraries say of themselves when they connect.
    ///
    /// # Errors
    /// Before the first step began.
    pub fn commands(&self) -> anyhow::Result<Vec<TraceEntry>> {
        let entries = self.place()?.proxy.trace().entries();
        Ok(entries.into_iter().filter(|entry| !housekeeping(&entry.command)).collect())
    }

    /// What the step cost so far.
    ///
    /// # Errors
    /// Before the first step began.
    pub fn costs(&self) -> anyhow::Result<Costs> {
        let sent = self.commands()?;
        let solution = &self.step()?.solution;
        let in_line = |line: &String| 1 + line.split_whitespace().filter(|word| *word == ";;").count() as u64;
        Ok(Costs {
            commands: sent.iter().filter(|entry| !entry.push && !is_redirect(entry)).count() as u64,
            round_trips: round_trips(&sent),
            solution_commands: solution.iter().map(in_line).sum(),
            solution_round_trips: solution.len() as u64,
        })
    }

    /// Notes that the step under way was passed; its costs.
    ///
    /// # Errors
    /// When progress cannot be written.
    pub fn pass(&mut self) -> anyhow::Result<Costs> {
        let (costs, id) = (self.costs()?, self.step()?.id.clone());
        self.remember(|lab| lab.passed_step(&id, costs.commands, costs.round_trips))?;
        self.passed.push(id);
        Ok(costs)
    }

    /// The step to go on with: the first open one after this, else the first open one; none when all are passed.
    ///
    /// # Errors
    /// When progress cannot be read.
    pub fn following(&self) -> anyhow::Result<Option<String>> {
        let done = self.store.load()?.lab(self.lab.id());
        let here = self.number()?;
        let open = |step: &&Step| !done.steps.contains_key(&step.id) && !self.passed.contains(&step.id);
        let later = self.manifest.steps.iter().skip(here).find(open);
        Ok(later.or_else(|| self.manifest.steps.iter().find(open)).map(|step| step.id.clone()))
    }

    /// The step that stands `by` places from this one in the list.
    ///
    /// # Errors
    /// Before the first step began.
    pub fn neighbour(&self, by: isize) -> anyhow::Result<Option<String>> {
        let at = (self.number()? - 1).checked_add_signed(by);
        Ok(at.and_then(|at| self.manifest.steps.get(at)).map(|step| step.id.clone()))
    }

    /// A recognised mistake, else the next layer of the step's hints.
    ///
    /// # Errors
    /// When the server does not answer, or progress cannot be written.
    pub async fn hint(&self) -> anyhow::Result<Option<StepHint>> {
        if let Some(mistake) = self.judge(Duration::ZERO).await?.mistake {
            return Ok(Some(StepHint::Mistake(mistake.trim().to_owned())));
        }
        let step = self.step()?;
        let shown = self.remember(|lab| {
            let shown = lab.hints.entry(step.id.clone()).or_default();
            *shown += 1;
            *shown - 1
        })?;
        Ok(next_layer(&step.hints, shown).map(StepHint::Layer))
    }

    /// Notes that the solution was looked at; whether the step was passed before, so that it was no surrender.
    ///
    /// # Errors
    /// When progress cannot be written.
    pub fn surrender(&self) -> anyhow::Result<()> {
        let id = self.step()?.id.clone();
        Ok(self.remember(|lab| {
            if !lab.steps.contains_key(&id) {
                lab.surrender(&id);
            }
        })?)
    }

    /// Whether the step under way was passed, now or earlier.
    ///
    /// # Errors
    /// When progress cannot be read.
    pub fn is_passed(&self) -> anyhow::Result<bool> {
        let id = &self.step()?.id;
        Ok(self.store.load()?.lab(self.lab.id()).steps.contains_key(id))
    }

    fn remember<T>(
        &self,
        change: impl FnOnce(&mut crate::learner::LabProgress) -> T,
    ) -> Result<T, StoreError> {
        self.store.update(|progress| change(progress.lab_mut(self.lab.id())))
    }
}
