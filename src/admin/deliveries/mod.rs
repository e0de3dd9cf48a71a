//! Deliveries: looked at, replayed, cancelled, purged.
pub mod acts;
pub mod types;
