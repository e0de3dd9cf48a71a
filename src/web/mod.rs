//! The parts that the HTTP APIs share: the table of their calls, its OpenAPI document, the server, the guard, errors and inputs.
pub mod call;
mod connection;
pub mod document;
pub mod guard;
pub mod input;
pub mod problem;
pub mod safety;
pub mod serve;
mod tls;
