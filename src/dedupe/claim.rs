//! Holds a claim: takes it, waiting a little for another holder's outcome; then commits it, or releases it on drop.
//!
//! Nothing here relies on a ledger being quick or certain. A claim is held from before the ledger is asked, so that a dropped future
//! releases what the ledger may have granted, and a call whose outcome is unknown is repeated with the same token.
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::random;
use crate::store::queue::{Accept, Accepted, Dedupe, OnDead, Queue};
use crate::store::{ClaimResult, Key, KeyMap, Ledger, Ownership, StoreError, Token, repeated};

/// Waiters for one key at most.
const PER_KEY: usize = 4;
/// The most waiters. A sender that has some gets another only while at least as many slots are free, so that none takes them all.
const MAX_WAITERS: usize = 64;
/// A hint may be lost: a waiter claims again this often.
const POLL: Duration = Duration::from_millis(500);
/// The result of a claim.
#[derive(Debug)]
pub enum ClaimOutcome {
    /// It is the caller's now.
    Fresh(Claim),
    /// The delivery ID is committed already.
    Committed,
    /// Another holds it still.
    StillInFlight {
        /// The time until its lease ends, at the latest.
        lapses_in: Duration,
    },
    /// The ledger does not answer.
    Store(StoreError),
}

/// The guard of a claim in flight. Dropped, it is given back.
#[derive(Debug)]
#[must_use = "a dropped claim is given back"]
pub struct Claim {
    ledger: Arc<dyn Ledger>,
    key: Key,
    token: Token,
    settled: bool,
}

impl Claim {
    /// Commits the delivery ID, which is then remembered for `window`. The claim counts as settled from the first poll on: a dropped
    /// future does not release the ID of a delivery that the upstream has.
    ///
    /// # Errors
    /// The ledger does not answer. The delivery may come again.
    pub async fn commit(mut self, window: Duration) -> Result<Ownership, StoreError> {
        self.settled = true;
        repeated(|| self.ledger.commit(self.key, self.token, window)).await
    }

    /// Puts a delivery on the disk and turns the claim into its commit, in one transaction. Settled from the first poll on, as [`Self::commit`] is.
    ///
    /// # Errors
    /// It is not on the disk, or that is not known; the claim is the caller's still.
    pub async fn accept(
        mut self,
        queue: &dyn Queue,
        delivery: Arc<Accept>,
        window: Duration,
        dead: OnDead,
    ) -> Result<Accepted, (StoreError, Self)> {
        self.settled = true;
        let dedupe = Dedupe::Claimed {
            key: self.key,
            token: self.token,
            window,
            dead,
        };
        match repeated(|| queue.accept(Arc::clone(&delivery), dedupe)).await {
            Ok(accepted) => Ok(accepted),
            Err(error) => {
                self.settled = false;
                Err((error, self))
            }
        }
    }

    /// Holds it longer: `lease` from now.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn extend(&self, lease: Duration) -> Result<Ownership, StoreError> {
        repeated(|| self.ledger.extend(self.key, self.token, lease)).await
    }

    /// Leaves it to lapse: what becomes of its delivery is decided elsewhere.
    pub fn leave(mut self) {
        self.settled = true;
    }

    /// Returns its token.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns the key that it holds.
    pub fn key(&self) -> Key {
        self.key
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.release_soon(self.key, self.token);
        }
    }
}

/// The requests that wait for a claim in flight; bounded, since each is held in memory. Lives in `Gate`.
#[derive(Debug, Default)]
pub struct Waiters {
    used_slots: Mutex<UsedSlots>,
}

/// The slots taken: in all, by key, by sender.
#[derive(Debug, Default)]
struct UsedSlots {
    all: usize,
    by_key: KeyMap<usize>,
    by_sender: KeyMap<usize>,
}

/// The waiters, as one sender sees them.
#[derive(Clone, Copy, Debug)]
pub struct WaitersOf<'a> {
    waiters: &'a Waiters,
    sender: Key,
}

impl Waiters {
    /// Requests waiting now.
    pub fn len(&self) -> usize {
        self.used_slots().all
    }

    /// Returns whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the waiters as seen by a request of this sender.
    pub fn of(&self, sender: Key) -> WaitersOf<'_> {
        WaitersOf {
            waiters: self,
            sender,
        }
    }

    fn used_slots(&self) -> MutexGuard<'_, UsedSlots> {
        self.used_slots.lock()
    }
}

impl<'a> WaitersOf<'a> {
    fn enter(self, key: Key) -> Option<Waiting<'a>> {
        let mut used_slots = self.waiters.used_slots();
        let count = |of: &KeyMap<usize>, key| of.get(&key).copied().unwrap_or(0);
        let (here, mine) = (
            count(&used_slots.by_key, key),
            count(&used_slots.by_sender, self.sender),
        );
        let free = MAX_WAITERS.saturating_sub(used_slots.all);
        if free == 0 || mine > free || here >= PER_KEY {
            return None;
        }
        used_slots.all += 1;
        *used_slots.by_key.entry(key).or_default() += 1;
        *used_slots.by_sender.entry(self.sender).or_default() += 1;
        Some(Waiting { of: self, key })
    }
}

/// A waiter's place; given back on drop.
struct Waiting<'a> {
    of: WaitersOf<'a>,
    key: Key,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut used_slots = self.of.waiters.used_slots();
        used_slots.all = used_slots.all.saturating_sub(1);
        give_back(&mut used_slots.by_key, self.key);
        give_back(&mut used_slots.by_sender, self.of.sender);
    }
}

fn give_back(counts: &mut KeyMap<usize>, key: Key) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Claims `key` until `lease` has passed. While another holds it, waits for its outcome, at most `patience` and only if a slot is free
/// among `waiters`. When the other releases it, exactly one waiter gets it.
pub async fn claim(
    ledger: &Arc<dyn Ledger>,
    key: Key,
    lease: Duration,
    waiters: WaitersOf<'_>,
    patience: Duration,
) -> ClaimOutcome {
    // unlike any other holder's; the generator is this thread's own and costs no system call
    let token = Token(random::wide());
    let guard = Claim {
        ledger: Arc::clone(ledger),
        key,
        token,
        settled: false,
    };
    let holder = |answer: &ClaimResult| match answer {
        ClaimResult::InFlight { lapses_in } => Some(*lapses_in),
        ClaimResult::Fresh | ClaimResult::Committed => None,
    };
    let ask = || repeated(|| ledger.claim(key, token, lease));
    let answer = until_free(&**ledger, key, waiters, patience, ask, holder).await;
    finish(guard, answer)
}

/// Asks, and while the answer is that another holds `key` (until its lease ends), waits for its outcome and asks again: for `patience` at most,
/// and only if a slot is free among `waiters`. Returns the last answer.
///
/// # Errors
/// The store does not answer.
pub async fn until_free<T, Asked>(
    ledger: &dyn Ledger,
    key: Key,
    waiters: WaitersOf<'_>,
    patience: Duration,
    ask: impl Fn() -> Asked,
    holder: impl Fn(&T) -> Option<Duration>,
) -> Result<T, StoreError>
where
    Asked: Future<Output = Result<T, StoreError>>,
{
    let answer = ask().await?;
    if holder(&answer).is_none() {
        return Ok(answer);
    }
    // boxed, since few requests wait
    Box::pin(wait(ledger, key, waiters, patience, answer, &ask, &holder)).await
}

/// Waits for the outcome of the other holder that `answer` tells of, and asks again.
async fn wait<T, Asked>(
    ledger: &dyn Ledger,
    key: Key,
    waiters: WaitersOf<'_>,
    patience: Duration,
    mut answer: T,
    ask: &impl Fn() -> Asked,
    holder: &impl Fn(&T) -> Option<Duration>,
) -> Result<T, StoreError>
where
    Asked: Future<Output = Result<T, StoreError>>,
{
    let Some(_place) = waiters.enter(key) else {
        return Ok(answer);
    };
    let mut patience_ends = pin!(tokio::time::sleep(patience));
    loop {
        let changed = ledger.changed(key);
        answer = ask().await?;
        let Some(lapses_in) = holder(&answer) else {
            return Ok(answer);
        };
        tokio::select! {
            () = &mut patience_ends => return Ok(answer),
            () = changed => {}
            () = tokio::time::sleep(lapses_in.min(POLL).max(Duration::from_millis(1))) => {}
        }
    }
}

/// Turns an answer into an outcome; the guard lives on if the claim is, or may be, held.
fn finish(mut guard: Claim, answer: Result<ClaimResult, StoreError>) -> ClaimOutcome {
    guard.settled = matches!(
        answer,
        Ok(ClaimResult::Committed | ClaimResult::InFlight { .. })
    );
    match answer {
        Ok(ClaimResult::Fresh) => ClaimOutcome::Fresh(guard),
        Ok(ClaimResult::Committed) => ClaimOutcome::Committed,
        Ok(ClaimResult::InFlight { lapses_in }) => ClaimOutcome::StillInFlight { lapses_in },
        Err(error) => ClaimOutcome::Store(error),
    }
}

#[cfg(test)]
mod tests;
