//! Open-loop load generators that judge their own runs.
//!
//! | module | for |
//! | --- | --- |
//! | [`client`], [`http`] | small WebSocket and HTTP clients, for the demo and for tests |
pub mod client;
pub mod http;
