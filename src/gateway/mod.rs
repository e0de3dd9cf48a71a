//! The edge towards the senders.
pub mod headers;
