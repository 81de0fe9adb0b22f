//! The generator and the clients against a scripted server.
// Helpers of tests are not `#[test]` functions themselves, which is where these are allowed by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accuracy;
mod bare;
mod client;
mod crew;
mod driver;
mod faults;
mod http;
mod lab;
mod others;
mod peers;
mod postgres;
mod recording;
mod resp;
mod scripted;
mod scripted_resp;
mod sql;
mod stall;
