//! Lab: pipelining.
