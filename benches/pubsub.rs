//! `cargo bench --bench pubsub`: every variant of the lab × client × topology.

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::bench("pubsub")
}
