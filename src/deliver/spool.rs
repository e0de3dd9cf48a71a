//! The spool: takes deliveries on a local disk while the store that gateways share is away, and hands them over when it is back.
//!
//! A delivery in the spool was acknowledged. After it was handed over, any gateway delivers it; nothing is delivered from here, so no delivery is
//! sent by two stores. It keeps its ID and its ledger key, so that handing it over twice stores it once, and a duplicate of
//! what another gateway has accepted meanwhile is dropped.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::store::archive::{
    AttemptShown, Filter, Order, Retention, Scope, Shown, Statuses, UnitsShown, Whose,
};
use crate::store::queue::{
    Accept, Accepted, Dedupe, LeaseRequest, Leased, NewUnit, Next, OnDead, Start,
};
use crate::store::{Key, Store, StoreError, repeated};

/// The deliveries of a route that are handed over at the same time.
const STEP: u32 = 64;
/// The time after which a delivery is handed over again, if it is not known whether it was.
const LEASE: Duration = Duration::from_secs(60);
/// The time after which a delivery for another store is looked at again.
const FOREIGN: Duration = Duration::from_secs(600);
/// The pause between two attempts to hand over, and between two looks at the spool.
const PAUSE: Duration = Duration::from_secs(1);
/// The fact of a record that says for which store it is, and for how long its ID is remembered there.
const MEANT: &[u8] = b"spool";
/// The time for which an ID is remembered here; longer while its delivery waits.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Deliveries that were handed over are deleted so many at a time.
const SWEPT: u16 = 500;

/// A local store for deliveries that the shared store did not take.
#[derive(Debug)]
pub struct Spool {
    near: Arc<dyn Store>,
    far: Arc<dyn Store>,
    most: u64,
    kept: Notify,
    /// The deliveries that were not handed over at the last look.
    waiting: AtomicU64,
    /// The bytes in use at the last look.
    bytes: AtomicU64,
    /// The time at which the oldest of them was received, at the last look.
    oldest: Mutex<Option<SystemTime>>,
}

impl Spool {
    /// Keeps up to `most` bytes in `near` for `far`.
    pub fn new(near: Arc<dyn Store>, far: Arc<dyn Store>, most: u64) -> Self {
        Self {
            near,
            far,
            most,
            kept: Notify::new(),
            waiting: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            oldest: Mutex::default(),
        }
    }

    /// Keeps a delivery that the shared store did not take, or of which that is not known.
    ///
    /// # Errors
    /// [`StoreError::Full`] if there is no room for it; the errors of the local disk.
    pub async fn keep(&self, delivery: &Accept, dedupe: Dedupe) -> Result<Accepted, StoreError> {
        if self.near.totals().await?.used >= self.most {
            return Err(StoreError::Full);
        }
        let (dedupe, window) = unclaimed(dedupe);
        let mut kept = delivery.clone();
        let mut delay = Duration::ZERO;
        for unit in &mut kept.to {
            if let Start::In(later) = unit.start {
                delay = later;
            }
            // nothing is attempted from here, and it is handed over as soon as it can be
            unit.start = Start::Anyone;
        }
        let meant = Meant {
            store: self.far.hash_key(),
            window,
            delay,
        };
        let fact = (Bytes::from_static(MEANT), meant.encode());
        kept.record.facts.push(fact);
        let kept = Arc::new(kept);
        let accepted = repeated(|| self.near.accept(Arc::clone(&kept), dedupe)).await?;
        if matches!(accepted, Accepted::New(_)) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            self.kept.notify_one();
        }
        Ok(accepted)
    }

    /// Returns the number of deliveries that were not handed over at the last look.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns the bytes that were in use at the last look.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the time at which the oldest delivery was received that was not handed over at the last look.
    pub fn oldest(&self) -> Option<SystemTime> {
        *self.oldest.lock()
    }

    /// Hands over what is in the spool, as long as the gateway runs.
    pub async fn hand_over(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            let handed = self.step().await;
            self.count().await;
            match handed {
                Ok(true) => {}
                Ok(false) => {
                    is_failing = false;
                    tokio::select! {
                        () = self.kept.notified() => {}
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
                Err(error) => {
                    if !is_failing {
                        let waiting = self.waiting();
                        tracing::warn!(%error, waiting, "the deliveries in the spool cannot be handed over yet");
                        is_failing = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn count(&self) {
        if let Ok(counts) = self.near.totals().await {
            let waiting = counts.targets.iter().map(|target| target.waiting).sum();
            self.waiting.store(waiting, Ordering::Relaxed);
            self.bytes.store(counts.used, Ordering::Relaxed);
            let oldest = if waiting > 0 {
                self.find_oldest().await
            } else {
                None
            };
            *self.oldest.lock() = oldest;
        }
    }

    /// Finds the oldest delivery that was not handed over.
    async fn find_oldest(&self) -> Option<SystemTime> {
        let filter = Filter {
            statuses: Statuses::waiting(),
            ..Filter::default()
        };
        let first = self.near.page(
            Scope::All,
            &filter,
            Order::Oldest,
            None,
            1,
            UnitsShown::First(0),
        );
        let page = first.await.ok()?;
        Some(page.rows.first()?.id.drawn_at())
    }

    /// Closes the local store. What is in it is handed over after the next start.
    pub async fn close(&self) {
        if let Err(error) = self.near.close().await {
            tracing::error!(%error, "cannot close the spool");
        }
    }

    /// Hands over some of what is due, and deletes what was handed over. Returns whether there may be more.
    ///
    /// # Errors
    /// The shared store does not take it, or the local disk fails.
    async fn step(self: &Arc<Self>) -> Result<bool, StoreError> {
        let ready = self.near.ready(None, &Arc::new(HashSet::new())).await?;
        let requests: Vec<_> = ready
            .targets
            .iter()
            .map(|target| LeaseRequest::of(*target, STEP))
            .collect();
        if requests.is_empty() {
            self.sweep().await?;
            return Ok(false);
        }
        let mut handing = JoinSet::new();
        for leased in self.near.lease(&requests, LEASE, 0).await? {
            let spool = Arc::clone(self);
            handing.spawn(async move { spool.hand_one(leased).await });
        }
        let mut outcome = Ok(());
        while let Some(handed) = handing.join_next().await {
            // a task that panicked handed nothing over: its lease lapses
            let handed = handed.unwrap_or(Ok(()));
            outcome = outcome.and(handed);
        }
        outcome.map(|()| true)
    }

    /// Hands over one delivery, and settles it here.
    async fn hand_one(&self, leased: Leased) -> Result<(), StoreError> {
        let (lease, id) = (leased.lease, leased.stored.id);
        let given = match self.near.get(Scope::All, id, UnitsShown::All).await {
            Ok(Some(shown)) => self.give(shown, &leased).await,
            // it was deleted meanwhile
            Ok(None) => Ok(Next::Delivered),
            Err(error) => Err(error),
        };
        let next = *given.as_ref().unwrap_or(&Next::Later(PAUSE));
        repeated(|| self.near.settle(lease, None, next)).await?;
        given.map(drop)
    }

    /// Gives a delivery to the shared store. Returns what becomes of it here.
    async fn give(&self, shown: Shown, leased: &Leased) -> Result<Next, StoreError> {
        let id = shown.stored.id;
        let Some((accept, dedupe)) = handed(shown, leased, self.far.hash_key()) else {
            tracing::error!(delivery = %id, "a delivery in the spool was kept for another database, and stays there; restore that database, or move the directory of the spool away");
            return Ok(Next::Later(FOREIGN));
        };
        let accept = Arc::new(accept);
        let accepted = repeated(|| self.far.accept(Arc::clone(&accept), dedupe)).await?;
        Ok(match accepted {
            // another request has its ID: the next attempt learns what became of it
            Accepted::InFlight { .. } => Next::Later(PAUSE),
            Accepted::New(_)
            | Accepted::Duplicate { .. }
            | Accepted::Other { .. }
            | Accepted::Revived { .. } => Next::Delivered,
        })
    }

    /// Deletes what was handed over.
    async fn sweep(&self) -> Result<(), StoreError> {
        let counts = self.near.totals().await?;
        let kept = counts.origins.iter().filter(|(_, rows, _)| *rows > 0);
        let keep: Vec<_> = kept
            .map(|(origin, ..)| Retention {
                whose: Whose::One(*origin),
                age: Duration::ZERO,
                dead: Duration::MAX,
                bytes: None,
            })
            .collect();
        while !keep.is_empty() && self.near.sweep(&keep, SWEPT).await?.more {}
        Ok(())
    }
}

/// Returns how the local store finds duplicates, and the time for which the shared one remembers the ID. Here it is remembered only until it is
/// handed over: then a person may have it forgotten there.
fn unclaimed(dedupe: Dedupe) -> (Dedupe, Option<Duration>) {
    match dedupe {
        Dedupe::Key { key, window, dead }
        | Dedupe::Claimed {
            key, window, dead, ..
        } => {
            let here = Dedupe::Key {
                key,
                window: REMEMBERED,
                dead,
            };
            (here, Some(window))
        }
        Dedupe::None | Dedupe::Own { .. } => (dedupe, None),
    }
}

/// Makes the delivery as the shared store is to accept it; `None` if it was meant for another store.
fn handed(shown: Shown, leased: &Leased, store: [u8; 16]) -> Option<(Accept, Dedupe)> {
    let Shown {
        stored, attempts, ..
    } = shown;
    let mut record = stored.record;
    let meant = record.fact(MEANT).cloned().and_then(Meant::decode)?;
    if meant.store != store {
        return None;
    }
    record.facts.retain(|(name, _)| *name != MEANT);
    let target = leased.lease.unit.target;
    let is_its = |shown: &AttemptShown| shown.target == target;
    let attempts = attempts.into_iter().filter(is_its);
    let unit = NewUnit {
        target,
        lane: leased.lane,
        start: match meant.delay.saturating_sub(leased.age) {
            Duration::ZERO => Start::Anyone,
            left => Start::In(left),
        },
        attempts: attempts.map(|shown| shown.attempt).collect(),
    };
    let dedupe = match (stored.key, meant.window) {
        (Some(key), Some(window)) => Dedupe::Key {
            key,
            window,
            dead: OnDead::Revive,
        },
        (_, _) => Dedupe::None,
    };
    let accept = Accept {
        id: stored.id,
        origin: stored.origin,
        delivery_id: stored.delivery_id,
        key: known_key(stored.key, dedupe),
        event_type: stored.event_type,
        to: vec![unit],
        record,
        body: stored.body,
        versions: Vec::new(),
    };
    Some((accept, dedupe))
}

/// Returns the key of a delivery that does not claim it.
fn known_key(key: Option<Key>, dedupe: Dedupe) -> Option<Key> {
    key.filter(|_| matches!(dedupe, Dedupe::None))
}

/// The facts that the spool needs to hand a delivery over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meant {
    /// The hash key of the store that it is for.
    store: [u8; 16],
    /// The time for which its ID is remembered, if it has one.
    window: Option<Duration>,
    /// The time until its first attempt, since it was kept.
    delay: Duration,
}

impl Meant {
    const LENGTH: usize = 16 + 8 + 8;
    /// Stands for a delivery without an ID.
    const NO_WINDOW: u64 = u64::MAX;

    fn encode(self) -> Bytes {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1);
        let mut bytes = BytesMut::with_capacity(Self::LENGTH);
        bytes.put_slice(&self.store);
        bytes.put_u64(self.window.map_or(Self::NO_WINDOW, millis));
        bytes.put_u64(millis(self.delay));
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() != Self::LENGTH {
            return None;
        }
        let mut store = [0; 16];
        bytes.copy_to_slice(&mut store);
        let window = Some(bytes.get_u64()).filter(|window| *window != Self::NO_WINDOW);
        Some(Self {
            store,
            window: window.map(Duration::from_millis),
            delay: Duration::from_millis(bytes.get_u64()),
        })
    }
}

#[cfg(test)]
mod tests;
