//! Console steps: typing commands, and judging what they did.

mod attempt;
mod typist;
mod words;

pub use attempt::{Attempt, Judgement, prove};
pub use typist::{Typed, Typist};
pub use words::words;

use crate::lab::{Manifest, Step};

/// The step as this seed draws it: `${name}` is replaced everywhere. The same seed draws the same for all steps.
pub fn instance(manifest: &Manifest, step: &str, _seed: u64) -> Option<Step> {
    manifest.steps.iter().find(|known| known.id == step).cloned()
}
