//! Lab: cluster.
