//! The generator and the clients against a scripted server.

mod client;
mod driver;
mod scripted;
