//! The ledger of a store that may be away: what this gateway remembers by itself meanwhile, and what it owes the store.
//!
//! While the store answers, it alone decides. Each commit is remembered in memory too, so that duplicates at this gateway are found while the
//! store is away. A commit that the store did not take is owed, and paid when the store is back: the delivery was forwarded, whether or not the
//! store knows of it.
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::store::{
    Answer, Changed, ClaimResult, Key, Ledger, LedgerCounts, Ownership, Remembered, Token, repeated,
};

/// The most commits that are owed. Past that the oldest are forgotten: their duplicates pass.
const MOST_OWED: usize = 1_000_000;
/// The commits that are paid in one step.
const STEP: usize = 256;
/// The pause between two attempts to pay.
const PAUSE: Duration = Duration::from_secs(1);

/// A commit that the store has not taken yet.
#[derive(Clone, Copy, Debug)]
struct Owed {
    key: Key,
    token: Token,
    /// The time at which its window ends.
    ends: Instant,
}

/// The ledger of a store that may be away.
#[derive(Debug)]
pub struct Fallback {
    far: Arc<dyn Ledger>,
    near: Arc<Near>,
}

impl Fallback {
    /// Puts the memory `near` behind the ledger `far` of a store that other gateways use too.
    pub fn new(far: Arc<dyn Ledger>, near: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        let near = Arc::new(Near {
            memory: near,
            owed: Mutex::default(),
            added: Notify::new(),
            clock,
        });
        Self { far, near }
    }

    /// Returns the ledger of this gateway alone, for claims that the store cannot decide now. What it commits is owed to the store.
    pub fn near(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.near) as Arc<dyn Ledger>
    }

    /// Pays what is owed, whenever there is some, as long as the gateway runs.
    pub async fn pay(self: Arc<Self>) {
        loop {
            self.near.added.notified().await;
            while !self.pay_once().await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Pays what is owed. Returns whether nothing is left: not if the store does not answer.
    pub async fn pay_once(&self) -> bool {
        loop {
            let step = self.near.take_owed();
            if step.is_empty() {
                return true;
            }
            // all at the same time, so that the store writes them together
            let mut paying = JoinSet::new();
            for owed in step {
                let far = Arc::clone(&self.far);
                let window = owed.ends.saturating_duration_since(self.near.clock.mono());
                paying.spawn(async move {
                    // another gateway's commit of the same ID is as good
                    let taken = far.commit(owed.key, owed.token, window).await;
                    taken.err().map(|_| owed)
                });
            }
            let left: Vec<Owed> = paying.join_all().await.into_iter().flatten().collect();
            if !left.is_empty() {
                self.near.owe_again(left);
                return false;
            }
        }
    }
}

impl Ledger for Fallback {
    fn hash_key(&self) -> [u8; 16] {
        self.far.hash_key()
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        self.far.claim(key, token, lease)
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        Box::pin(async move {
            let taken = repeated(|| self.far.commit(key, token, window)).await;
            match taken {
                Ok(ownership) => {
                    self.near.memory.commit(key, token, window).await.ok();
                    Ok(ownership)
                }
                Err(_) => self.near.commit(key, token, window).await,
            }
        })
    }

    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership> {
        self.far.extend(key, token, lease)
    }

    fn release_soon(&self, key: Key, token: Token) {
        self.far.release_soon(key, token);
    }

    fn note_soon(&self, key: Key, window: Duration) {
        self.far.note_soon(key, window);
    }

    fn keep(&self, routes: &[(Arc<str>, Key)]) {
        self.far.keep(routes);
    }

    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered> {
        self.far.recall(route, key)
    }

    fn changed(&self, key: Key) -> Changed {
        self.far.changed(key)
    }

    fn counts(&self) -> LedgerCounts {
        LedgerCounts {
            unsaved: self.near.owed.lock().len(),
            ..self.far.counts()
        }
    }
}

/// The memory of this gateway alone.
#[derive(Debug)]
struct Near {
    memory: Arc<dyn Ledger>,
    owed: Mutex<VecDeque<Owed>>,
    added: Notify,
    clock: Arc<dyn Clock>,
}

impl Near {
    /// Takes the oldest commits that are owed and whose windows have not ended.
    fn take_owed(&self) -> Vec<Owed> {
        let now = self.clock.mono();
        let mut owed = self.owed.lock();
        let mut taken = Vec::new();
        while taken.len() < STEP
            && let Some(first) = owed.pop_front()
        {
            if first.ends > now {
                taken.push(first);
            }
        }
        taken
    }

    /// Puts commits back that were not taken.
    fn owe_again(&self, left: Vec<Owed>) {
        let mut owed = self.owed.lock();
        for one in left.into_iter().rev() {
            if owed.len() < MOST_OWED {
                owed.push_front(one);
            }
        }
    }

    fn owe(&self, key: Key, token: Token, window: Duration) {
        let ends = self.clock.mono() + window;
        let mut owed = self.owed.lock();
        if owed.len() >= MOST_OWED {
            owed.pop_front();
        }
        owed.push_back(Owed { key, token, ends });
        drop(owed);
        self.added.notify_one();
    }
}

impl Ledger for Near {
    fn hash_key(&self) -> [u8; 16] {
        self.memory.hash_key()
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        self.memory.claim(key, token, lease)
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        Box::pin(async move {
            let ownership = self.memory.commit(key, token, window).await?;
            if ownership == Ownership::Owned {
                self.owe(key, token, window);
            }
            Ok(ownership)
        })
    }

    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership> {
        self.memory.extend(key, token, lease)
    }

    fn release_soon(&self, key: Key, token: Token) {
        self.memory.release_soon(key, token);
    }

    fn note_soon(&self, key: Key, window: Duration) {
        self.memory.note_soon(key, window);
    }

    fn keep(&self, routes: &[(Arc<str>, Key)]) {
        self.memory.keep(routes);
    }

    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered> {
        self.memory.recall(route, key)
    }

    fn changed(&self, key: Key) -> Changed {
        self.memory.changed(key)
    }

    fn counts(&self) -> LedgerCounts {
        self.memory.counts()
    }
}

#[cfg(test)]
mod tests;
