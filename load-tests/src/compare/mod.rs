//! Two builds, variants or settings side by side, and whether they differ by more than noise.
//!
//! | | for |
//! | --- | --- |
//! | [`Session`] | many runs in a seeded order, judged: `differs`, `no difference seen`, `underpowered` |
//! | [`Comparison`] | two runs of each, in the order A B B A: a first look, not a judgement |

mod figures;
mod floor;
mod judge;
mod pace;
mod quick;
mod session;
mod show;
mod stats;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod trials;

pub use figures::Question;
pub use floor::floor as terminal_of_floor;
pub use judge::{Answer, Judged, Judgement, MAX_ROUNDS, MIN_PAIRS, Options};
pub use pace::Pace;
pub use quick::{Comparison, Figure, ORDER, Which, terminal};
pub use session::{Compared, SCHEMA, Session, Turn, order};
pub use show::session as terminal_of_session;

pub(crate) use figures::number;
pub(crate) use show::{paced, said, sentences};
#[cfg(test)]
pub(crate) use synthetic::normal;
