//! Lab: audit.
