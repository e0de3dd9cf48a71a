//! State that outlives a request: the traits that every store implements, and their types.
//!
//! A store keeps its own time: callers pass durations, never instants, so that clocks of replicas need not agree.
//! Every call may be repeated with the same token: after [`StoreError::Unknown`] the caller repeats it and gets the answer of the first
//! call.
pub mod address_book;
pub mod agenda;
mod answer;
pub mod archive;
pub mod embedded;
mod ids;
pub mod ledger;
pub mod names;
pub mod queue;
pub mod record;
pub mod turns;

pub(crate) use answer::repeated;
pub use answer::{Answer, StoreError};
pub use ledger::{
    Changed, ClaimResult, Key, KeyMap, Ledger, LedgerCounts, Ownership, Remembered, Token,
};

pub(crate) use crate::store::embedded::batch::{WriteOptions, WriteQueue};

/// A whole store: ledger, queue, what looks into them, and the address book of sending.
pub trait Store: queue::Queue + archive::Archive + address_book::AddressBook {}

impl<T: queue::Queue + archive::Archive + address_book::AddressBook> Store for T {}

#[cfg(test)]
pub(crate) mod contract;
