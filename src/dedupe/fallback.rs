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
use tokio::time::timeout;

use crate::clock::Clock;
use crate::store::{
    Answer, Changed, ClaimResult, Key, KeyMap, Ledger, LedgerCounts, Ownership, Remembered,
    StoreError, Token, repeated,
};

/// The most commits that are owed. Past that the oldest are forgotten: their duplicates pass.
const MOST_OWED: usize = 1_000_000;
/// The commits that are paid in one step.
const STEP: usize = 256;
/// The pause between two attempts to pay.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for the store's answer to a claim. After it, the store counts as away.
const CLAIM_WAIT: Duration = Duration::from_millis(500);
/// The longest wait for the store to take a commit of what was forwarded. After it, the commit is owed.
const COMMIT_WAIT: Duration = Duration::from_secs(2);
/// The lease of a claim that is paid with its commit.
const PAID_LEASE: Duration = Duration::from_secs(60);

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
            far: Arc::clone(&far),
            debts: Mutex::default(),
            added: Notify::new(),
            clock,
        });
        Self { far, near }
    }

    /// Returns the ledger of this gateway alone, for claims that the store cannot decide now. What it commits is owed to the store.
    pub fn near(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.near) as Arc<dyn Ledger>
    }

    /// Returns whether the store is owed the commit of `key`: this gateway forwarded it, and the store does not know yet.
    pub fn owes(&self, key: Key) -> bool {
        self.near.debts.lock().keys.contains_key(&key)
    }

    /// Remembers a delivery here that is on its way to the store otherwise.
    pub async fn remember(&self, key: Key, token: Token, window: Duration) {
        self.near.memory.commit(key, token, window).await.ok();
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
            let step = self.near.first();
            if step.is_empty() {
                return true;
            }
            // all at the same time, so that the store writes them together
            let mut paying = JoinSet::new();
            for owed in step {
                let (far, now) = (Arc::clone(&self.far), self.near.clock.mono());
                paying.spawn(async move { pay(&*far, owed, now).await.then_some(owed) });
            }
            let all = paying.join_all().await;
            let is_paid = all.iter().all(Option::is_some);
            self.near.paid(all.into_iter().flatten());
            if !is_paid {
                return false;
            }
        }
    }
}

/// Commits what was forwarded. Returns whether the store knows of it now. While another has a claim, the outcome is not known: a commit past it
/// would be lost, and with it the knowledge that the delivery was forwarded.
async fn pay(far: &dyn Ledger, owed: Owed, now: Instant) -> bool {
    let window = owed.ends.saturating_duration_since(now);
    match far.claim(owed.key, owed.token, PAID_LEASE).await {
        Ok(ClaimResult::Committed) => true,
        Ok(ClaimResult::Fresh) => {
            let taken = far.commit(owed.key, owed.token, window).await;
            matches!(taken, Ok(Ownership::Owned))
        }
        Ok(ClaimResult::InFlight { .. }) | Err(_) => false,
    }
}

impl Ledger for Fallback {
    fn hash_key(&self) -> [u8; 16] {
        self.far.hash_key()
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        Box::pin(async move {
            let claim = repeated(|| self.far.claim(key, token, lease));
            match timeout(CLAIM_WAIT, claim).await {
                Ok(answer @ (Ok(_) | Err(StoreError::Full | StoreError::Corrupted(_)))) => answer,
                // the caller gives the claim back; one that is unknown it would make again, and wait as long for each call
                Ok(Err(StoreError::Unknown(why) | StoreError::Unavailable(why))) => {
                    Err(StoreError::Unavailable(why))
                }
                Err(_) => Err(away()),
            }
        })
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        Box::pin(async move {
            let commit = repeated(|| self.far.commit(key, token, window));
            match timeout(COMMIT_WAIT, commit).await {
                Ok(Ok(ownership)) => {
                    self.remember(key, token, window).await;
                    Ok(ownership)
                }
                Ok(Err(_)) | Err(_) => self.near.commit(key, token, window).await,
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

    fn note_gap_soon(&self) {
        self.far.note_gap_soon();
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

    fn forget_here(&self, keys: &[Key]) {
        self.near.forget_here(keys);
    }

    fn counts(&self) -> LedgerCounts {
        LedgerCounts {
            unsaved: self.near.debts.lock().order.len(),
            ..self.far.counts()
        }
    }
}

/// The error of a store that does not answer in time.
fn away() -> StoreError {
    StoreError::Unavailable("no answer in time".into())
}

/// The memory of this gateway alone.
#[derive(Debug)]
struct Near {
    memory: Arc<dyn Ledger>,
    far: Arc<dyn Ledger>,
    debts: Mutex<Debts>,
    added: Notify,
    clock: Arc<dyn Clock>,
}

/// The commits that the store has not taken yet.
#[derive(Debug, Default)]
struct Debts {
    /// The oldest first.
    order: VecDeque<Owed>,
    keys: KeyMap<Token>,
}

impl Near {
    /// Returns the oldest commits that are owed and whose windows have not ended. They are owed until [`Self::paid`].
    fn first(&self) -> Vec<Owed> {
        let now = self.clock.mono();
        let debts = &mut *self.debts.lock();
        while let Some(first) = debts.order.front()
            && first.ends <= now
        {
            debts.keys.remove(&first.key);
            debts.order.pop_front();
        }
        debts.order.iter().take(STEP).copied().collect()
    }

    /// Forgets what was paid.
    fn paid(&self, paid: impl Iterator<Item = Owed>) {
        let debts = &mut *self.debts.lock();
        for owed in paid {
            debts.keys.remove(&owed.key);
        }
        let Debts { order, keys } = debts;
        // all that was paid is among the first, and the others stay
        let step = order.len().min(STEP);
        let left: Vec<Owed> = order
            .drain(..step)
            .filter(|owed| keys.contains_key(&owed.key))
            .collect();
        for owed in left.into_iter().rev() {
            order.push_front(owed);
        }
    }

    fn owe(&self, key: Key, token: Token, window: Duration) {
        // until it is paid, no gateway can say that it saw everything
        self.far.note_gap_soon();
        let ends = self.clock.mono() + window;
        let debts = &mut *self.debts.lock();
        if debts.keys.insert(key, token).is_some() {
            return;
        }
        if debts.order.len() >= MOST_OWED
            && let Some(oldest) = debts.order.pop_front()
        {
            debts.keys.remove(&oldest.key);
        }
        debts.order.push_back(Owed { key, token, ends });
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
            // it was forwarded, whoever else has the key here
            self.owe(key, token, window);
            self.memory.commit(key, token, window).await
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

    fn forget_here(&self, keys: &[Key]) {
        {
            let debts = &mut *self.debts.lock();
            for key in keys {
                debts.keys.remove(key);
            }
            let Debts { order, keys } = debts;
            order.retain(|owed| keys.contains_key(&owed.key));
        }
        self.memory.forget_here(keys);
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
