//! What is known of a target between two looks: tries under way, its rate, whether somebody waits. Outlives reloads.
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::config::snapshot::Deliver;
use crate::limit::Buckets;
use crate::store::queue::TargetId;

/// One bucket for the whole target.
const KEY: u64 = 0;

/// A target of deliveries.
#[derive(Debug)]
pub(in crate::gateway) struct Target {
    id: TargetId,
    /// Tries under way.
    busy: AtomicU32,
    concurrency: AtomicU32,
    /// Whether there is a rate at all.
    paced: AtomicBool,
    /// Made with the first rate: it takes some 50 KiB.
    buckets: OnceLock<Buckets>,
    /// Deliveries wait: those that come in now come after them.
    backlog: AtomicBool,
    /// Told when a place is free.
    freed: Arc<Notify>,
}

impl Target {
    pub(super) fn new(id: TargetId, freed: Arc<Notify>) -> Self {
        Self {
            id,
            busy: AtomicU32::new(0),
            concurrency: AtomicU32::new(1),
            paced: AtomicBool::new(false),
            buckets: OnceLock::new(),
            // nobody has looked yet
            backlog: AtomicBool::new(true),
            freed,
        }
    }

    /// Follows a policy from now on; tries under way go on.
    pub(super) fn follow(&self, deliver: &Deliver) {
        self.concurrency.store(deliver.concurrency, Ordering::Relaxed);
        if let Some(quota) = deliver.rate {
            self.buckets.get_or_init(|| Buckets::new(quota)).set_quota(quota);
        }
        self.paced.store(deliver.rate.is_some(), Ordering::Relaxed);
    }

    /// Its number.
    pub(in crate::gateway) fn id(&self) -> TargetId {
        self.id
    }

    /// As many free places as there are, `most` at most: those that are not used are given back by dropping them.
    pub(super) fn reserve(self: &Arc<Self>, most: u32) -> Vec<Place> {
        (0..most).map_while(|_| self.place()).collect()
    }

    /// A free place.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let most = self.concurrency.load(Ordering::Relaxed);
        let entered = self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| (busy < most).then_some(busy + 1));
        entered.ok().map(|_| Place { target: Arc::clone(self), used: false })
    }

    /// Tries that the rate lets begin, as many as `most`; they are taken.
    pub(super) fn take(&self, most: u32, now: Instant) -> u32 {
        let Some(buckets) = self.buckets() else { return most };
        let taken = (0..most).take_while(|_| buckets.take(KEY, now).is_ok()).count();
        u32::try_from(taken).unwrap_or(most)
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&self, tokens: u32, now: Instant) {
        if let Some(buckets) = self.buckets() {
            (0..tokens).for_each(|_| buckets.refund(KEY, now));
        }
    }

    /// How long until the rate lets the next one begin; zero if it does.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.buckets().map_or(Duration::ZERO, |buckets| buckets.peek(KEY, now).err().unwrap_or_default())
    }

    /// The rate, if there is one now.
    fn buckets(&self) -> Option<&Buckets> {
        self.buckets.get().filter(|_| self.paced.load(Ordering::Relaxed))
    }

    /// Whether deliveries wait, as far as is known.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Deliveries wait, or none does any more.
    pub(in crate::gateway) fn set_backlog(&self, waits: bool) {
        self.backlog.store(waits, Ordering::Relaxed);
    }

    /// A place for a delivery that has just come in, if it may be tried at once: none waits before it, and there is room.
    pub(in crate::gateway) fn begin(self: &Arc<Self>, now: Instant) -> Option<Place> {
        if self.has_backlog() {
            return None;
        }
        let place = self.place().filter(|_| self.take(1, now) == 1).map(Place::used);
        if place.is_none() {
            self.set_backlog(true);
        }
        place
    }
}

/// A place for a try; free again on drop.
#[derive(Debug)]
pub(in crate::gateway) struct Place {
    target: Arc<Target>,
    used: bool,
}

impl Place {
    /// Has a try in it: when that ends, those that wait hear of it. One that was only reserved tells nobody, or who looks would wake itself for ever.
    pub(super) fn used(self) -> Self {
        let mut place = self;
        place.used = true;
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.target.busy.fetch_sub(1, Ordering::Relaxed);
        if self.used && self.target.has_backlog() {
            self.target.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_place_that_was_not_used_wakes_nobody() {
        let freed = Arc::<Notify>::default();
        let target = Arc::new(Target::new(TargetId(1), Arc::clone(&freed)));
        let mut places = target.reserve(9);
        assert_eq!((places.len(), target.reserve(9).len()), (1, 0));
        let used = places.pop().map(Place::used);
        drop(places);
        drop(target.reserve(9));
        assert!(timeout(Duration::ZERO, freed.notified()).await.is_err());
        drop(used);
        assert!(timeout(Duration::from_secs(9), freed.notified()).await.is_ok());
        drop(target.reserve(9));
        assert!(timeout(Duration::ZERO, freed.notified()).await.is_err());
    }
}
