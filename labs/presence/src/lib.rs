//! Lab: presence.
