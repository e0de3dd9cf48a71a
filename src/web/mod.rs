//! The parts that the HTTP APIs share: the table of their calls, its OpenAPI document, the server and the guard.
pub mod call;
pub mod document;
pub mod guard;
pub mod safety;
pub mod serve;
mod tls;
