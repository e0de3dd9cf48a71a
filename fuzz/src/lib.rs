//! The work of each fuzz target with its input. `tests/it/fuzz_seeds.rs` includes this file, so that `make test` runs every committed seed
//! through the same functions. Inputs are text wherever they can be, so that a seed can be read and a finding be pasted into a test.
pub mod config;
pub mod endpoint_url;
pub mod events;
pub mod framing;
pub mod lists;
pub mod proxy;
pub mod publish;
mod request;
pub mod target;
pub mod template;
