//! The ledger: which delivery IDs are claimed, and which were forwarded.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Answer;

/// What identifies a delivery in a ledger: a keyed hash over framed parts. Its hash key is the store's, not the process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

/// Who holds a claim: random, drawn by the caller before its first try, unique over replicas and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u128);

/// What a ledger says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the caller's now.
    Fresh,
    /// Another holds it, until then at the latest.
    InFlight {
        /// When its lease lapses.
        lapses_in: Duration,
    },
    /// It was handed on.
    Committed,
}

/// Whether a claim was still the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It was.
    Yes,
    /// The lease lapsed and another took over, or nobody held it any more.
    Lost,
}

/// Resolves when a key may have changed: early, late or never. A hint, not a promise.
pub type Changed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who has this delivery ID. A false "fresh" lets a duplicate pass; a false "committed" swallows a delivery: that must never happen.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// The key that ledger keys of this store are hashed with.
    fn hash_key(&self) -> [u8; 16];
    /// Takes `key` in flight until `lease` has passed, if nobody else has it.
    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Claimed>;
    /// It was handed on: remembered for `window`.
    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Held>;
    /// Holds it longer: `lease` from now.
    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Held>;
    /// Gives it back, soon. Never blocks, never fails; what is missed, the lease ends.
    fn release_soon(&self, key: Key, token: Token);
    /// Notes `key` for `window`, soon, and claims nothing. Never blocks, never fails.
    fn note_soon(&self, key: Key, window: Duration);
    /// Keeps exactly these routes without a gap from now on, each as long as its policy stays the same. Called at start and after each reload.
    fn keep(&self, routes: &[(Arc<str>, Key)]);
    /// Says whether `key` was noted, and how long the ledger of `route` has been kept without a gap. Changes nothing.
    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered>;
    /// A hint that `key` may have changed. Waiting is: take the hint, claim again, then await the hint or the clock.
    fn changed(&self, key: Key) -> Changed;
    /// How many IDs are remembered, and what was forgotten early.
    fn counts(&self) -> LedgerCounts;
}

/// What a ledger knows about a request that it may have seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Its key was noted, and the window has not passed.
    pub noted: bool,
    /// How long the ledger of its route has been kept without a gap; none if it has not.
    pub kept_for: Option<Duration>,
}

/// Numbers for metrics and status, kept, not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    /// IDs remembered now.
    pub committed: usize,
    /// Claims in flight now.
    pub in_flight: usize,
    /// IDs forgotten before their window ended, since the start, because the ledger was full.
    pub forgotten_early: u64,
    /// Bytes of memory held for remembered IDs.
    pub bytes: usize,
    /// Commits that should be on disk and are not.
    pub unsaved: usize,
    /// Wall and monotonic time drifted apart by more than 60 s within the last ten minutes: purging stands still.
    pub clock_jump: bool,
}
