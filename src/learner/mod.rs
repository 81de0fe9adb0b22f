//! What a learner has done, and what helps on: progress, hints, predictions, comparison with the reference.
//!
//! | module | for |
//! | --- | --- |
//! | [`progress`] | what is remembered |
//! | [`store`] | where: one file, written whole or not at all, never lost by an upgrade |
//! | [`path`] | how far a lab is, and what to do next |
//! | [`hints`] | the hint that fits, a layer at a time |
//! | [`compare`] | the learner's costs beside those of the reference |
//! | [`predict`] | a guess before an experiment, shown again after it |
//!
//! No command-line types here: the verbs are in [`crate::cli`].

pub mod compare;
pub mod hints;
mod migrate;
pub mod path;
pub mod predict;
pub mod progress;
pub mod store;

pub use progress::{LabProgress, Progress};
pub use store::{Store, StoreError};

/// The time now, in milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
