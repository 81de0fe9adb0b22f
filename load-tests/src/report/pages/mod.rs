//! The pages, one a kind of result.

pub(super) mod compared;
pub(super) mod knee;
pub(super) mod matrix;
mod reconciled;
pub(super) mod run;
