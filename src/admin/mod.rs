//! What operators and their machines ask: is it alive, is it ready, what did it see, take the new config.
mod answer;
pub mod api;
pub mod deliveries;
mod guard;
pub mod health;
pub mod report;
mod serve;
pub mod status;
mod token;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use crate::telemetry::RecentRefusal;
pub use guard::{Guard, TokenMatcher};
pub use report::Report;
pub use serve::{serve_tcp, serve_unix};
pub use status::Status;
pub use token::{TOKEN_FILE, token_beside};

/// Where the answers come from.
pub trait Source: Send + Sync {
    /// Whether senders should be sent here.
    fn ready(&self) -> bool;

    /// All metrics, as text.
    fn metrics(&self) -> String;

    /// The state of everything.
    fn status(&self) -> Status;

    /// The last `limit` refusals, newest first.
    fn refusals(&self, limit: usize) -> Vec<RecentRefusal>;

    /// What routes that observe would have refused.
    fn report(&self) -> Report;

    /// Takes the config anew. The new generation's number, or every mistake with its line.
    fn reload(&self) -> Reloading<'_>;
}

/// A reload under way.
pub type Reloading<'a> = Pin<Box<dyn Future<Output = Result<u64, String>> + Send + 'a>>;
