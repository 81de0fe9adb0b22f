//! Integration tests: real Redis servers, real server processes, real sockets.
//!
//! One binary, so that it is linked once. What does not break its servers shares one [`common::shared`]
//! stack a topology; what does starts its own.
// Helpers of tests are not `#[test]` functions themselves, which is where these are allowed by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod addresses;
mod architecture;
mod attacks;
mod authorization;
mod backup;
mod bare;
mod changes;
mod cli;
mod common;
mod conversation;
mod crash;
mod crew;
mod email;
mod events;
mod expiry;
mod failover;
mod faults;
mod find;
mod fuzz;
mod governed;
mod groups;
mod history;
mod interfaces;
mod learner;
mod levels;
mod limits;
mod malformed;
mod marks;
mod operator;
mod order;
mod origins;
mod peer;
mod people;
mod play;
mod presence;
mod protocol;
mod random;
mod rest;
mod rooms;
mod sessions;
mod slow;
mod socketio;
mod telemetry;
mod terminal;
mod tls;
mod typing;
mod vault;
