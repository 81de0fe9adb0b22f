//! The bare loop: the least that a fan-out can cost on this machine.
//!
//! One process does nothing but write frames of a fixed length to many loopback sockets, one system call each, in the bursts
//! that a fan-out makes: what is a message to a room for a chat server is here a write to each socket of that room, at the
//! instants of the same schedule. Another process reads them all and counts. No protocol, no JSON, no locks, no runtime: what a
//! server costs beyond this is its own, what it costs below this it saves by writing less often.
//!
//! A run is a [`crate::result::RunResult`] like any other, so that it can be compared with a chat server's: there the `server` is the
//! process that writes and the `generator` the one that reads. A message is a burst, acknowledged when all of it was read.
//!
//! | module | for |
//! | --- | --- |
//! | [`plan`] | what is written, when, and what the two processes say to each other |
//! | `frame` | what a frame carries |
//! | [`writer`] | the process that writes |
//! | `reader` | the process that reads |
//! | `run` | the reader's run, from the first connection to the result |

mod frame;
pub mod plan;
mod reader;
mod run;
pub mod writer;

pub use self::{
    frame::MIN_BYTES,
    plan::{Bare, BarePlan, MAX_BYTES, MAX_SOCKETS},
    run::generate,
};
