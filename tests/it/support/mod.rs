//! Starts the real gate, speaks to it, signs requests.
pub mod abuse_corpus;
pub mod app;
pub mod config;
pub mod dice;
pub mod fault;
pub mod flood;
pub mod gate;
pub mod http;
pub mod in_process;
pub mod queue;
pub mod raw_app;
pub mod set_clock;
pub mod sign;
pub mod source;
pub mod tls_gate;
pub mod upstream;
pub mod vectors;
