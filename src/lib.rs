//! chatlab: Redis data structures, learned and measured behind one live chat server.
//!
//! | module | for |
//! | --- | --- |
//! | [`app`] | puts the server together: the only place that names concrete variants and adapters |
//! | [`service`] | the rules: accounts, rooms, messages, live fan-out |
//! | [`gateway`] | HTTP, WebSocket and Socket.IO in front of the services |
//! | [`archive`] | what outlives Redis, in SQL |
//! | [`config`], [`telemetry`] | settings; logs and metrics |
//! | [`cli`] | the command line, a file a verb |
//! | [`console`] | the console track: a learner's commands on a private server, judged |
//! | [`learner`] | a learner's progress, hints, predictions, comparison with the reference |
//! | [`plot`] | pictures of what experiments measured |
//! | [`benches`] | what the benches measured, as tables |
//! | [`gate`] | what every lab must pass before it ships |
//! | [`labs`], [`seats`] | the labs that the command line knows, and those whose variants the server runs |
//! | [`clients`] | official Socket.IO clients for the tests |
//! | [`provision`] | users and rooms for load and tests, without a running server |
//! | [`harness`] | a whole system of its own, for demo, load runs and tests |
//!
//! The labs, whose variants the server runs on, are crates of their own under `labs/`.

pub mod app;
pub mod archive;
pub mod benches;
pub mod cli;
pub mod clients;
pub mod config;
pub mod console;
pub mod gate;
pub mod gateway;
pub mod harness;
pub mod labs;
pub mod learner;
pub mod mail;
pub mod plot;
pub mod provision;
pub mod seats;
pub mod service;
pub mod telemetry;
