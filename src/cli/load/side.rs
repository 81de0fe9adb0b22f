//! What is loaded: which variants, in which program.

use std::path::PathBuf;

use anyhow::{Context, bail};
use chatlab_load::{
    peers::Peer,
    scenario::{Driver, Scenario},
};

use crate::{
    config::{Choice, Variants},
    labs, seats,
};

/// Variants, and the program that has them.
#[derive(Clone)]
pub(super) struct Side {
    /// For people.
    pub title: String,
    /// Which variants; the references elsewhere.
    pub variants: Variants,
    /// Another build of chatlab.
    pub program: Option<PathBuf>,
    /// Somebody else's server instead of ours.
    pub peer: Option<&'static Peer>,
    /// Whether the scenario's slow readers stay away.
    pub no_slow: bool,
}

/// The side of a scenario with slow readers on which there are none.
const NO_SLOW: &str = "no-slow";

impl Side {
    pub(super) fn new(variants: Variants) -> Self {
        let names: Vec<_> = variants.choices().map(|choice| choice.to_string()).collect();
        let title = if names.is_empty() { "reference".to_owned() } else { names.join(", ") };
        Self { title, variants, program: None, peer: None, no_slow: false }
    }

    /// `reference`, `LAB=NAME`, the path of another chatlab, or `no-slow`, on top of `base`; or `peer:NAME`.
    pub(super) fn named(what: &str, base: &Variants) -> anyhow::Result<Self> {
        if what == NO_SLOW {
            let title = "without slow readers".to_owned();
            return Ok(Self { title, no_slow: true, ..Self::new(base.clone()) });
        }
        if what == "reference" {
            return Ok(Self::new(Variants::default()));
        }
        if let Some(name) = what.strip_prefix("peer:") {
            let peer = Peer::find(name).map_err(|why| anyhow::anyhow!(why))?;
            let title = format!("{what} ({})", peer.title);
            return Ok(Self { title, peer: Some(peer), ..Self::new(Variants::default()) });
        }
        if what.contains(std::path::MAIN_SEPARATOR) {
            let program = PathBuf::from(what);
            let program = program.canonicalize().with_context(|| format!("there is no program {what}"))?;
            return Ok(Self { title: what.to_owned(), program: Some(program), ..Self::new(base.clone()) });
        }
        let choice: Choice = what.parse().map_err(|why| {
            anyhow::anyhow!(
                "`{what}`: {why}; give LAB=NAME, `reference`, peer:NAME, `no-slow`, or the path of a chatlab"
            )
        })?;
        Ok(Self::new(Variants::new(base.choices().chain([choice]))))
    }

    /// What it is called in the name of a file.
    pub(super) fn slug(&self) -> String {
        if let Some(peer) = self.peer {
            return format!("peer-{}", peer.name);
        }
        let short = self.title.rsplit(std::path::MAIN_SEPARATOR).next().unwrap_or_default();
        short.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    /// The labs whose exercise is loaded.
    pub(super) fn exercises(&self) -> impl Iterator<Item = String> + '_ {
        self.variants.choices().filter(|choice| choice.variant == "exercise").map(|choice| choice.lab)
    }

    /// The scenario as this side has it.
    pub(super) fn of(&self, scenario: &Scenario) -> Scenario {
        let slow = scenario.slow.filter(|_| !self.no_slow);
        Scenario { slow, ..scenario.clone() }
    }

    /// Whether there is what this side names.
    pub(super) fn check(&self, scenario: &Scenario) -> anyhow::Result<()> {
        if self.no_slow && scenario.slow.is_none() {
            bail!("{} has no slow readers to leave out", scenario.name);
        }
        if let Some(peer) = self.peer {
            // It has neither our tokens' sessions nor our history.
            let plain =
                scenario.driver == Driver::Ws && scenario.churn_conns == 0 && scenario.receive.is_none();
            anyhow::ensure!(
                plain,
                "peer:{}: connections of {} do not all stay and listen",
                peer.name,
                scenario.name
            );
        }
        match scenario.driver {
            Driver::Ws | Driver::Http => seats::all(&self.variants).map(drop),
            Driver::Lab => {
                let lab = scenario.lab.as_deref().unwrap_or_default();
                if let Some(other) = self.variants.choices().find(|choice| choice.lab != lab) {
                    bail!(
                        "{} drives the lab `{lab}` without the chat server: {other} has no part in it; \
                         write --variant {lab}=NAME",
                        scenario.name
                    );
                }
                self.variant_of(scenario).map(drop)
            }
            Driver::Redis | Driver::Sql | Driver::Bare => match self.variants.choices().next() {
                Some(choice) => {
                    bail!("{} loads no chat server and no lab: {choice} has no part in it", scenario.name)
                }
                None => Ok(()),
            },
        }
    }

    /// The variant that the driver `lab` drives.
    pub(super) fn variant_of(&self, scenario: &Scenario) -> anyhow::Result<&'static str> {
        let lab = labs::named(scenario.lab.as_deref().unwrap_or_default())?;
        match self.variants.of(lab.id()).or(scenario.variant.as_deref()) {
            Some(name) => Ok(seats::variant_of(lab, name)?.name),
            None => lab.variants().first().map(|reference| reference.name).context("the lab has no variant"),
        }
    }
}
