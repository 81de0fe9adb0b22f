//! fred's replies as redis-rs's.
