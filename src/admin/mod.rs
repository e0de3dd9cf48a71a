//! What operators and their machines ask: is it alive, is it ready, what did it see, take the new config.
mod answer;
pub mod api;
pub mod deliveries;
mod endpoint;
mod guard;
pub mod health;
pub mod live;
mod openapi;
mod serve;
mod token;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use crate::api::report::Report;
pub use crate::api::status::Status;
use crate::telemetry::{RecentRefusal, Tailed};
pub use deliveries::{DeliveryName, Desk, Keyed, Policy};
pub use guard::{Guard, TokenMatcher};
pub use serve::{serve_tcp, serve_unix};
pub use token::{Caller, Offered, TOKEN_FILE, token_beside};

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

    /// Where deliveries lie; none without a store on disk.
    fn desk(&self) -> Option<Arc<dyn Desk>> {
        None
    }

    /// Takes the config anew. The new generation's number, or every mistake with its line.
    fn reload(&self) -> Reloading<'_>;

    /// Requests and tries after the one of that number, at most so many; without a number, from now on.
    fn tail(&self, after: Option<u64>, most: usize) -> Tailed;

    /// Which gate it is: the numbers of [`Self::tail`] begin anew with each.
    fn run(&self) -> u64;

    /// Takes no more deliveries, for good.
    fn stop_accepting(&self);

    /// What is left to do, as the store says it now; else why it does not.
    fn drain(&self) -> Draining<'_>;
}

/// A reload under way.
pub type Reloading<'a> = Pin<Box<dyn Future<Output = Result<u64, String>> + Send + 'a>>;

/// A look at what is left, under way.
pub type Draining<'a> = Pin<Box<dyn Future<Output = Result<live::Drain, String>> + Send + 'a>>;
