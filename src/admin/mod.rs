//! The health listener and the admin API: everything that operators and their tools ask a running gateway.
mod answer;
pub mod deliveries;
mod drain;
mod gateway;
pub mod health;
mod openapi;
mod routes;
mod serve;
mod source;
mod state;
mod table;
mod tail;
mod token;

#[cfg(test)]
mod tests;

pub use crate::api::report::Report;
pub use crate::api::status::Status;
pub use answer::Denied;
pub use routes::router;
pub use serve::{serve_tcp, serve_unix};
pub use source::{AdminSource, Awaited, Draining, QuarantineError, ReloadError, Reloading};
pub use token::{Caller, Guard, Offered, TOKEN_FILE, TokenMatcher, token_beside};
