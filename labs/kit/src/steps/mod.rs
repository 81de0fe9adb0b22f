//! Console steps: typing commands, what happens around the learner, and judging what came of it.
//!
//! ```text
//! let step = instance(&manifest, "one-session", seed)?;
//! let attempt = Attempt::begin(step, &redis, proxy.clone()).await?;   // an empty private server, set up
//! let mut typist = Typist::new(proxy.topology(), proxy.addrs());       // or any client at proxy.addrs()
//! let typed = typist.line("HSET session:s1 device Firefox").await;
//! let judgement = attempt.judge().await?;
//! ```

mod attempt;
mod drive;
mod instance;
mod judge;
mod line;
mod pattern;
mod prove;
mod typist;
mod words;

pub use attempt::{Attempt, Judgement};
pub use instance::instance;
pub(crate) use instance::unknown_name;
pub use pattern::matches;
pub use prove::prove;
pub use typist::{Typed, Typist};
pub use words::words;
pub(crate) use words::words_bytes;
