//! What is known of a target between two looks: attempts under way and their memory, its rate, its pause, whether somebody waits. Outlives reloads.
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::config::snapshot::{Deliver, UpstreamAddress};
use crate::limit::Buckets;
use crate::queue::choose::Room;
use crate::queue::pause::{Pause, Probe, Sign};
use crate::store::queue::{Subject, TargetId};
use crate::store::turns::{Share, Turn};

/// One bucket for the whole target.
const KEY: u64 = 0;

/// The memory of deliveries that are attempted, of all targets together.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: AtomicUsize,
    /// A target waits for memory: whoever gives some back says so.
    short: AtomicBool,
    /// Told when a target has a free place, or memory is free, and deliveries wait for it.
    freed: Notify,
}

impl Memory {
    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A target waits for memory, or none does any more.
    pub(crate) fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::SeqCst);
    }

    /// Resolves when something is free that deliveries wait for.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// A target of deliveries.
#[derive(Debug)]
pub(crate) struct Target {
    id: TargetId,
    /// Attempts under way.
    busy: AtomicU32,
    concurrency: AtomicU32,
    /// Bytes of their deliveries.
    held: AtomicUsize,
    memory: Arc<Memory>,
    /// Whether there is a rate at all.
    paced: AtomicBool,
    /// Made with the first rate: it takes some 50 KiB.
    buckets: OnceLock<Buckets>,
    pause: Mutex<Pause>,
    /// Where its deliveries go.
    address: Mutex<Option<UpstreamAddress>>,
    /// Deliveries wait: those that come in now come after them.
    backlog: AtomicBool,
    /// A retry comes next, not a first attempt.
    retry_next: AtomicBool,
}

impl Target {
    pub(crate) fn new(id: TargetId, memory: Arc<Memory>) -> Self {
        Self {
            id,
            busy: AtomicU32::new(0),
            concurrency: AtomicU32::new(1),
            held: AtomicUsize::new(0),
            memory,
            paced: AtomicBool::new(false),
            buckets: OnceLock::new(),
            pause: Mutex::default(),
            address: Mutex::default(),
            // nobody has looked yet
            backlog: AtomicBool::new(true),
            retry_next: AtomicBool::new(false),
        }
    }

    /// Follows a policy from now on; tries under way go on.
    pub(crate) fn follow(&self, deliver: &Deliver) {
        self.concurrency
            .store(deliver.concurrency, Ordering::Relaxed);
        if let Some(quota) = deliver.rate {
            self.buckets
                .get_or_init(|| Buckets::new(quota))
                .set_quota(quota);
        }
        self.paced.store(deliver.rate.is_some(), Ordering::Relaxed);
    }

    /// Records where its deliveries go from now on. A pause is about the app that is there: it ends with a new address.
    pub(crate) fn reach(&self, address: &UpstreamAddress) {
        let mut known = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(address) {
            *known = Some(address.clone());
            self.pause().end();
            self.memory.freed.notify_one();
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> TargetId {
        self.id
    }

    /// As many free places as there are, `most` at most: those that are not used are given back by dropping them.
    pub(crate) fn reserve(self: &Arc<Self>, most: u32) -> Vec<Place> {
        (0..most).map_while(|_| self.place()).collect()
    }

    /// A free place.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let most = self.concurrency.load(Ordering::Relaxed);
        let entered = self
            .busy
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
                (busy < most).then_some(busy + 1)
            });
        entered.ok().map(|_| Place {
            target: Arc::clone(self),
            used: false,
            bytes: 0,
            probe: None,
        })
    }

    /// Bytes of its deliveries that are attempted now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns the kind of deliveries whose turn it is.
    pub(crate) fn turn(&self) -> Turn {
        if self.retry_next.load(Ordering::Relaxed) {
            Turn::Retry
        } else {
            Turn::First
        }
    }

    /// Records the kind of the delivery that begins.
    pub(crate) fn took(&self, turn: Turn) {
        self.retry_next
            .store(turn == Turn::First, Ordering::Relaxed);
    }

    /// Returns its pause.
    pub(crate) fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries that the rate lets begin, as many as `most`; they are taken.
    pub(crate) fn take(&self, most: u32, now: Instant) -> u32 {
        let Some(buckets) = self.buckets() else {
            return most;
        };
        let taken = (0..most)
            .take_while(|_| buckets.take(KEY, now).is_ok())
            .count();
        u32::try_from(taken).unwrap_or(most)
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&self, tokens: u32, now: Instant) {
        if let Some(buckets) = self.buckets() {
            (0..tokens).for_each(|_| buckets.refund(KEY, now));
        }
    }

    /// How long until the rate lets the next one begin; zero if it does.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.buckets().map_or(Duration::ZERO, |buckets| {
            buckets.peek(KEY, now).err().unwrap_or_default()
        })
    }

    /// The rate, if there is one now.
    fn buckets(&self) -> Option<&Buckets> {
        self.buckets
            .get()
            .filter(|_| self.paced.load(Ordering::Relaxed))
    }

    /// Whether deliveries wait, as far as is known.
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Deliveries wait, or none does any more.
    pub(crate) fn set_backlog(&self, waits: bool) {
        self.backlog.store(waits, Ordering::Relaxed);
    }

    /// Takes a place for a delivery of `bytes` that has just come in, if it may be attempted at once: none waits before it, the target does not
    /// pause, and there is room.
    pub(crate) fn begin(self: &Arc<Self>, bytes: usize, now: Instant) -> Option<Place> {
        if self.has_backlog() {
            return None;
        }
        let is_running = self.pause().room(now) == Room::All;
        let place = self
            .place()
            .filter(|_| is_running && self.has_room_for(bytes) && self.take(1, now) == 1);
        let place = place.map(|place| place.used(bytes));
        if place.is_none() {
            self.set_backlog(true);
        }
        place
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        Share {
            target: self.held(),
            total: self.memory.held(),
        }
        .has_room_for(bytes)
    }
}

/// A place for an attempt, and the memory of its delivery; free again on drop.
#[derive(Debug)]
pub(crate) struct Place {
    target: Arc<Target>,
    used: bool,
    bytes: usize,
    probe: Option<Probe>,
}

impl Place {
    /// Begins an attempt with a delivery of `bytes`: when that ends, those that wait hear of it. One that was only reserved tells nobody, or who
    /// looks would wake itself for ever.
    pub(crate) fn used(self, bytes: usize) -> Self {
        self.target.held.fetch_add(bytes, Ordering::Relaxed);
        self.target.memory.held.fetch_add(bytes, Ordering::Relaxed);
        let mut place = self;
        (place.used, place.bytes) = (true, bytes);
        place
    }

    /// Makes it the place of the probe that ends the target's pause, unless another one is out.
    pub(crate) fn make_probe(&mut self, now: Instant) -> bool {
        self.probe = self.target.pause().probe(now);
        self.probe.is_some()
    }

    /// Tells the target's pause what the attempt says. `open` is the length of a first pause.
    pub(crate) fn heard(
        &self,
        sign: Sign,
        subject: Subject,
        open: Duration,
        now: Instant,
    ) -> Option<Turned> {
        let mut pause = self.target.pause();
        let was_paused = pause.left(now).is_some();
        pause.heard(sign, subject, self.probe, open, now);
        match (was_paused, pause.left(now)) {
            (false, Some(left)) => Some(Turned::Paused(left)),
            (true, None) => {
                self.target.memory.freed.notify_one();
                Some(Turned::GoesOn)
            }
            (false, None) | (true, Some(_)) => None,
        }
    }
}

/// How an attempt has changed the pause of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It pauses now, for this time.
    Paused(Duration),
    /// It does not pause any more.
    GoesOn,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Target {
            held, memory, busy, ..
        } = &*self.target;
        held.fetch_sub(self.bytes, Ordering::Relaxed);
        memory.held.fetch_sub(self.bytes, Ordering::SeqCst);
        busy.fetch_sub(1, Ordering::Relaxed);
        if let Some(probe) = self.probe {
            self.target.pause().let_go(probe);
        }
        if self.used && (self.target.has_backlog() || memory.short.load(Ordering::SeqCst)) {
            memory.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::store::turns::MEMORY;

    #[tokio::test]
    async fn a_place_that_was_not_used_wakes_nobody() {
        let memory = Arc::<Memory>::default();
        let target = Arc::new(Target::new(TargetId(1), Arc::clone(&memory)));
        let mut places = target.reserve(9);
        assert_eq!((places.len(), target.reserve(9).len()), (1, 0));
        let used = places.pop().map(|place| place.used(7));
        drop(places);
        drop(target.reserve(9));
        assert!(timeout(Duration::ZERO, memory.freed()).await.is_err());
        assert_eq!((memory.held(), target.held()), (7, 7));
        drop(used);
        assert_eq!((memory.held(), target.held()), (0, 0));
        assert!(
            timeout(Duration::from_secs(9), memory.freed())
                .await
                .is_ok()
        );
        drop(target.reserve(9));
        assert!(timeout(Duration::ZERO, memory.freed()).await.is_err());
    }

    /// Whoever waits for memory hears of it when another target gives it back.
    #[tokio::test]
    async fn memory_that_is_given_back_wakes_other_targets() {
        let memory = Arc::<Memory>::default();
        let target = Arc::new(Target::new(TargetId(1), Arc::clone(&memory)));
        target.set_backlog(false);
        let place = target.begin(7, SystemClock.mono());
        assert!(place.is_some());
        drop(place);
        assert!(
            timeout(Duration::ZERO, memory.freed()).await.is_err(),
            "nobody waits"
        );
        let place = target.begin(7, SystemClock.mono());
        memory.set_short(true);
        drop(place);
        assert!(
            timeout(Duration::from_secs(9), memory.freed())
                .await
                .is_ok()
        );
    }

    #[test]
    fn what_memory_has_no_room_for_does_not_begin_at_once() {
        let memory = Arc::<Memory>::default();
        let [one, other] =
            [1, 2].map(|id| Arc::new(Target::new(TargetId(id), Arc::clone(&memory))));
        let begin = |target: &Arc<Target>, bytes| {
            target.set_backlog(false);
            target.begin(bytes, SystemClock.mono())
        };
        let held = begin(&one, MEMORY - 10).unwrap();
        assert!(begin(&other, 11).is_none() && other.has_backlog());
        assert!(begin(&other, 10).is_some());
        drop(held);
        assert!(begin(&other, 11).is_some());
    }
}
