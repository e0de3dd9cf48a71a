//! Drives the library and the gate over loopback. One file per capability.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "a test may panic")]

mod support;
mod upstream;
