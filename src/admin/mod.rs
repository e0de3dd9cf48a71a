//! The health listener and the admin API: everything that operators and their tools ask a running gateway.
mod answer;
pub mod deliveries;
mod drain;
mod endpoint;
mod gateway;
mod guard;
pub mod health;
mod openapi;
mod routes;
mod serve;
mod source;
mod state;
mod tail;
mod token;

#[cfg(test)]
mod tests;

pub use crate::api::report::Report;
pub use crate::api::status::Status;
pub use guard::{Guard, TokenMatcher};
pub use routes::router;
pub use serve::{serve_tcp, serve_unix};
pub use source::{AdminSource, Draining, ReloadError, Reloading};
pub use token::{Caller, Offered, TOKEN_FILE, token_beside};
