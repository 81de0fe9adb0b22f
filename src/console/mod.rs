//! The console track: a learner's commands on a private server, judged step by step.
//!
//! | module | for |
//! | --- | --- |
//! | [`course`] | a lab's steps on private servers behind the tracing proxy: begin, judge, pass, go on |
//! | [`prompt`] | the loop of `chatlab console`: commands, replies, `:hint` and the like |
//! | [`editor`] | the line editor: history, completion, the arguments of the command being typed |
//! | [`docs`] | what the server itself says about its commands |
//! | [`outside`] | the loop of `chatlab proxy`: the learner's own client or program |
//! | [`screen`] | colours where they are wanted, lines that fit |

pub mod course;
pub mod docs;
pub mod editor;
pub mod outside;
pub mod place;
pub mod prompt;
pub mod screen;
mod told;
