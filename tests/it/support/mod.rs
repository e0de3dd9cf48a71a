//! Starts the real gate, speaks to it, signs requests.
pub mod app;
pub mod fault;
pub mod flood;
pub mod gate;
pub mod http;
pub mod in_process;
pub mod sign;
pub mod upstream;
pub mod vectors;
