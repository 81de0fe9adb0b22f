//! What every lab stands on. No feature lives here.
//!
//! | module | for |
//! | --- | --- |
//! | [`ids`], [`message`], [`wire`] | the vocabulary: ids, messages, the frames of the WebSocket protocol |
//! | [`keys`], [`slots`] | the one key table, partitions, hash slots |
//! | [`acl`] | what the chat server may do at Redis |
//! | [`redis`] | the `Redis` handle: redis-rs or fred, single node or cluster, traced or not |
//! | [`subscribe`] | subscriptions that survive failover, on connections of their own |
//! | [`lua`] | the script registry |
//! | [`servers`], [`prereq`] | managed Redis servers, and finding or getting the binary |
//! | [`proxy`], [`budget`] | a tracing RESP proxy, and what a trace may cost |
//! | [`steps`] | console steps: typing, judging |
//! | [`check`], [`lab`] | named checks, verdicts, and what a lab is |
//! | [`growth`] | measured growth against a documented Big-O |
pub mod acl;
pub mod budget;
pub mod check;
pub mod error;
pub mod growth;
pub mod ids;
pub mod keys;
pub mod lab;
pub mod lua;
pub mod message;
pub mod prereq;
pub mod proxy;
pub mod redis;
mod resp;
pub mod servers;
pub mod slots;
pub mod steps;
pub mod subscribe;
pub mod wire;

pub use error::{LabError, LabResult};
