//! The spool: takes deliveries on a local disk while the store that gateways share is away, and hands them over when it is back.
//!
//! What is in the spool was acknowledged. It is delivered after it was handed over, by whichever gateway gets it then; nothing is delivered from
//! here, so no delivery is sent by two stores. It keeps its ID and its ledger key, so that handing it over twice stores it once, and a duplicate of
//! what another gateway has accepted meanwhile is dropped.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::store::archive::{AttemptShown, Retention, Scope, Shown, UnitsShown, Whose};
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
        for unit in &mut kept.to {
            // nothing is attempted from here
            if matches!(unit.start, Start::Mine(_)) {
                unit.start = Start::Anyone;
            }
        }
        let meant = Meant {
            store: self.far.hash_key(),
            window,
        };
        let fact = (Bytes::from_static(MEANT), meant.encode());
        kept.record.facts.push(fact);
        let kept = Arc::new(kept);
        let accepted = repeated(|| self.near.accept(Arc::clone(&kept), dedupe)).await?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.kept.notify_one();
        Ok(accepted)
    }

    /// Returns the number of deliveries that were not handed over at the last look.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Hands over what is in the spool, as long as the gateway runs.
    pub async fn hand_over(self: Arc<Self>) {
        loop {
            let handed = self.step().await;
            self.count().await;
            match handed {
                Ok(true) => {}
                Ok(false) => tokio::select! {
                    () = self.kept.notified() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                },
                Err(error) => {
                    tracing::debug!(%error, "the spool is not handed over yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn count(&self) {
        if let Ok(counts) = self.near.totals().await {
            let waiting = counts.targets.iter().map(|target| target.waiting).sum();
            self.waiting.store(waiting, Ordering::Relaxed);
        }
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
            tracing::error!(delivery = %id, "a delivery in the spool is for another store; it stays there");
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

/// Returns the same without a claim, which the local store does not know, and the time for which the ID is remembered.
fn unclaimed(dedupe: Dedupe) -> (Dedupe, Option<Duration>) {
    match dedupe {
        Dedupe::Key { window, .. } => (dedupe, Some(window)),
        Dedupe::Claimed {
            key, window, dead, ..
        } => (Dedupe::Key { key, window, dead }, Some(window)),
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
        start: Start::Anyone,
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

/// What the spool must know to hand a delivery over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meant {
    /// The hash key of the store that it is for.
    store: [u8; 16],
    /// The time for which its ID is remembered, if it has one.
    window: Option<Duration>,
}

impl Meant {
    fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(24);
        bytes.put_slice(&self.store);
        if let Some(window) = self.window {
            bytes.put_u64(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
        }
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        if !matches!(bytes.len(), 16 | 24) {
            return None;
        }
        let mut store = [0; 16];
        bytes.copy_to_slice(&mut store);
        let window = bytes.has_remaining().then(|| bytes.get_u64());
        Some(Self {
            store,
            window: window.map(Duration::from_millis),
        })
    }
}

#[cfg(test)]
mod tests;
