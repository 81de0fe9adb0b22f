//! Redis servers that chatlab starts itself: a single node, or three masters and three replicas.

mod topology;

pub use topology::{Topology, UnknownTopology};
