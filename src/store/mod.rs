//! State that outlives a request: the traits that every store implements, and their types.
//!
//! A store keeps its own time: callers pass durations, never instants, so that clocks of replicas need not agree.
//! Every call may be repeated with the same token: after [`StoreError::Unknown`] the caller repeats it and gets the answer of the first
//! call.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub mod archive;
pub mod embedded;
pub mod ledger;
pub mod names;
pub mod queue;
pub mod record;
pub mod turns;

pub use ledger::{Changed, ClaimResult, Held, Key, Ledger, LedgerCounts, Remembered, Token};

pub(crate) use crate::store::embedded::batch::{WriteOptions, WriteQueue};

/// The future answer of a store.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The number of times that a call is made whose outcome stays unknown.
const MAX_CALLS: u32 = 3;
/// The pause between such calls.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes a call again while it is not known whether it was done.
pub(crate) async fn repeated<'a, T>(call: impl Fn() -> Answer<'a, T>) -> Result<T, StoreError> {
    let mut calls = 1;
    loop {
        match call().await {
            Err(StoreError::Unknown(_)) if calls < MAX_CALLS => calls += 1,
            answer => return answer,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The reason for which a store does not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was done.
    #[error("the store is not available: {0}")]
    Unavailable(Arc<str>),
    /// Done or not: repeat the call.
    #[error("it is unknown whether the store did it: {0}")]
    Unknown(Arc<str>),
    /// No room.
    #[error("the store is full")]
    Full,
    /// Stop using it.
    #[error("the store is damaged: {0}")]
    Corrupted(Arc<str>),
}

/// A whole store: ledger, queue, and what looks into them.
pub trait Store: queue::Queue + archive::Archive {}

impl<T: queue::Queue + archive::Archive> Store for T {}

#[cfg(test)]
pub(crate) mod contract;
