//! Open-loop load generators that judge their own runs.
//!
//! | module | for |
//! | --- | --- |
//! | [`scenario`] | load described in a file |
//! | [`schedule`] | when each message is due: absolute, seeded, hashed |
//! | [`plan`] | what a generator process is told, and the progress it reports (put together in `eye`) |
//! | [`process`] | the generator as a process of its own |
//! | [`crew`] | one run by several generators, on this machine or several |
//! | [`ws`] | the WebSocket driver: connects, joins, sends on time, receives |
//! | [`resp`] | the driver `redis`: commands straight to Redis, on time, and the most that a client can do |
//! | [`reconcile`] | what was sent beside what the servers counted |
//! | [`lab`] | the lab driver: calls a variant's operations on time, without the server |
//! | [`sql`] | the driver `sql`: statements to SQLite or PostgreSQL |
//! | [`bare`] | the driver `bare`: nothing but writes to sockets, and what they cost |
//! | [`http_load`] | the driver `http`: requests over connections that stay open |
//! | [`payload`], [`ledger`], [`recorder`] | bodies that can be checked, who received what, histograms |
//! | [`recording`] | a run written to a folder, second by second, and read back |
//! | [`steady`] | where latency has settled, so that the warm-up can end |
//! | [`procstat`], [`preflight`] | CPU and memory of processes; limits before a run |
//! | [`faults`] | what is broken on purpose under load, and the fate of each message |
//! | [`fuzz`] | inputs that no honest client sends, and what the server must do all the same |
//! | [`null`] | responders that do nothing: what the generator can do by itself |
//! | [`verdict`] | whether the numbers can be believed |
//! | [`result`], [`report`] | a run's result as JSON, and for people |
//! | [`compare`], [`knee`], [`matrix`] | many runs: whether A and B differ, how much load is kept, a table |
//! | [`dialect`], [`peers`] | how to talk to WebSocket servers that are not ours; those that ours is compared with |
//! | [`template`] | texts with places that are filled in |
//! | [`client`], [`http`] | small WebSocket and HTTP clients, for the demo and for tests |
//! | [`schema`] | whether JSON is as a published schema says, for tests |
//!
//! A run: [`scenario::Scenario`] and its flags become a [`plan::Plan`], a process of its own calls
//! [`process::serve_plan`] with it, and its [`result::RunResult`] carries a [`verdict::Verdict`].
pub mod bare;
pub mod client;
pub mod compare;
mod config;
pub mod crew;
pub mod dialect;
mod eye;
pub mod faults;
pub mod fuzz;
mod gather;
pub mod http;
pub mod http_load;
pub mod knee;
pub mod lab;
pub mod ledger;
pub mod matrix;
pub mod null;
pub mod payload;
pub mod peers;
pub mod plan;
pub mod preflight;
pub mod process;
pub mod procstat;
mod ranges;
mod receivers;
pub mod reconcile;
pub mod recorder;
pub mod recording;
pub mod report;
pub mod resp;
pub mod result;
pub mod scenario;
pub mod schedule;
pub mod schema;
pub mod sockets;
pub mod sql;
pub mod steady;
pub mod template;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod ws;
