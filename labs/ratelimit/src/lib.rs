//! Lab: ratelimit.
