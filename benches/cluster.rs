//! `cargo bench --bench cluster`: every variant of the lab × client × topology.

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::bench("cluster")
}
