//! The ledger: which delivery IDs are claimed, and which were forwarded.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Answer;

/// The identity of a delivery in a ledger: a keyed hash over framed parts. Its hash key belongs to the store, not to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // all bytes are as good as random; the first ones choose the part of a ledger, and are alike within it
        let [.., a, b, c, d, e, f, g, h] = self.0;
        hasher.write_u64(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// A map by keys. A key is a hash that no sender can choose, so it is not hashed again.
pub type KeyMap<V> = HashMap<Key, V, BuildHasherDefault<KeyHasher>>;

/// The hasher of a [`KeyMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The holder of a claim: random, drawn by the caller before its first call, unique over replicas and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u128);

/// The answer of a ledger to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// It is the caller's now.
    Fresh,
    /// Another holds it, until then at the latest.
    InFlight {
        /// The time until its lease ends.
        lapses_in: Duration,
    },
    /// The ID is committed.
    Committed,
}

/// Whether a claim or lease still belonged to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It did.
    Owned,
    /// It did not: another token took over, or no token has it any more.
    Lost,
}

/// Resolves when a key may have changed: early, late or never. A hint, not a promise.
pub type Changed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The ledger of delivery IDs. A false "fresh" lets a duplicate pass; a false "committed" swallows a delivery, which must never happen.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Returns the key with which ledger keys of this store are hashed.
    fn hash_key(&self) -> [u8; 16];
    /// Claims `key` until `lease` has passed, if no other token has it.
    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult>;
    /// Commits a key, which is then remembered for `window`. That is also done if nobody holds it: the delivery was forwarded, whether or not
    /// the ledger still knows of the claim. [`Ownership::Lost`]: another token holds the key, or committed it; nothing is changed.
    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership>;
    /// Extends a claim to `lease` from now, never shortens it. Reserved for a store of several processes: nothing calls it yet.
    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership>;
    /// Releases a claim soon. Never blocks, never fails. If the release is lost, the lease ends the claim.
    fn release_soon(&self, key: Key, token: Token);
    /// Notes `key` for `window` soon, and claims nothing. Never blocks, never fails.
    fn note_soon(&self, key: Key, window: Duration);
    /// Notes soon that deliveries were forwarded of which this ledger may not know: no route's is complete any more, each begins again. Never
    /// blocks. A ledger that is asked before each delivery is forwarded has no gaps.
    fn note_gap_soon(&self) {}
    /// Sets the routes whose ledgers are complete from now on, each as long as its policy stays the same. Called at start and after each
    /// reload.
    fn keep(&self, routes: &[(Arc<str>, Key)]);
    /// Returns whether `key` was noted, and the time for which the ledger of `route` has been complete. Changes nothing.
    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered>;
    /// Returns a hint that `key` may have changed. To wait: take the hint, claim again, then await the hint or the clock.
    fn changed(&self, key: Key) -> Changed;
    /// Forgets keys in a memory that only this process has. A ledger without one has nothing to do.
    fn forget_here(&self, _keys: &[Key]) {}
    /// Returns the number of IDs remembered, and of those forgotten early.
    fn counts(&self) -> LedgerCounts;
}

/// The ledger's knowledge about a request that it may have seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Its key was noted, and the window has not passed.
    pub noted: bool,
    /// The time for which the ledger of its route has been complete; none if it is not.
    pub complete_for: Option<Duration>,
}

/// Numbers for metrics and status. They are maintained, not counted at each call.
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
}
