//! State that outlives a request: the traits that every store implements, and their types. Only the code that opens a store names its engine.
//!
//! A store keeps its own time: callers pass durations, never instants, so that clocks of replicas need not agree.
//! Every call may be repeated with the same token: after [`StoreError::Unknown`] the caller repeats it and gets the answer of the first
//! call.
pub mod address_book;
pub mod agenda;
mod answer;
pub mod archive;
pub(crate) mod codes;
pub mod drift;
pub mod embedded;
mod ids;
pub mod ledger;
pub mod names;
pub mod postgres;
pub mod queue;
pub mod quota;
pub mod record;
pub mod secret_use;
pub mod text;
pub mod turns;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use answer::repeated;
pub use answer::{Answer, StoreError};
pub use ledger::{
    Changed, ClaimResult, Key, KeyMap, Ledger, LedgerCounts, Ownership, Remembered, Token,
};
pub use postgres::{Distribution, Figures, Fleet, Standby};

/// A whole store: ledger, queue, what looks into them, and the address book of sending.
pub trait Store: queue::Queue + archive::Archive + address_book::AddressBook {
    /// Returns the properties that it has as long as it is open.
    fn nature(&self) -> Nature;
    /// Returns its condition now. It is maintained, not examined at each call.
    fn health(&self) -> Health;
    /// Returns the counts and times of its calls; `None` if it has no server.
    fn figures(&self) -> Option<Figures> {
        None
    }
    /// Returns the memory that decides about delivery IDs while the store does not answer; none if its ledger always answers.
    fn memory(&self) -> Option<Arc<dyn Ledger>> {
        None
    }
    /// Returns the tokens of limits that gateways share; none if the store is not shared.
    fn tokens(&self) -> Option<&dyn quota::SharedTokens> {
        None
    }
    /// Adds matches of secrets of which each has another key, and returns what is known of each, in their order. A repeated call counts them again.
    fn count_matches(
        &self,
        matches: Vec<secret_use::SecretMatches>,
    ) -> Answer<'_, Vec<secret_use::SecretTotals>>;
    /// Writes what is not on the disk yet, and stops writing. A repeated call does nothing.
    fn close(&self) -> Answer<'_, ()>;
    /// Notes the config of this gateway. Gateways that share the store see whether all have the same.
    fn configured(&self, _hash: &str, _generation: u64) {}
}

/// The properties that a store has as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Whether its state outlives the process. Without that there is no queue, no archive and no address book.
    pub durable: bool,
    /// Whether other gateways use it at the same time.
    pub shared: bool,
}

/// The condition of a store.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The reason why writes do not reach the disk, if they do not. IDs stay in memory and are written later.
    pub trouble: Option<StoreError>,
    /// Whether wall and monotonic time drifted apart by more than 60 s within the last ten minutes: purging is suspended.
    pub clock_jump: bool,
    /// The gateways that share it, and its server, as of the last heartbeat. `None` before the first, and if the store is not shared.
    pub fleet: Option<Fleet>,
    /// The time for which no server could be reached; `None` if one can be, and if the store has none.
    pub away: Option<Duration>,
}

#[cfg(test)]
pub(crate) mod contract;
