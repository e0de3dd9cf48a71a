//! The state of a target between two rounds: attempts under way and their memory, its rate, its pause, its backlog. It outlives reloads.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::memory::Memory;
use super::places::Place;
use crate::config::snapshot::{Deliver, UpstreamAddress};
use crate::limit::{Quota, SharedKey};
use crate::queue::choose::Admission;
use crate::queue::pause::{Pause, PauseChange, Probe, Signal};
use crate::store::queue::{Subject, TargetId};
use crate::store::turns::{Share, Turn};

mod rate;
use rate::RateLimit;

/// The speed of an endpoint at its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speed {
    /// It answered within a second.
    Quick,
    /// It answered that it is overloaded or unavailable.
    Overloaded,
    /// It gave no answer, or a slow one.
    Suspect,
}

/// A target of deliveries.
#[derive(Debug)]
pub(crate) struct Target {
    id: TargetId,
    /// The number of attempts under way.
    busy: AtomicU32,
    concurrency: AtomicU32,
    /// The bytes of their deliveries.
    held: AtomicUsize,
    memory: Arc<Memory>,
    rate: Mutex<RateLimit>,
    pause: Mutex<Pause>,
    /// The address that its deliveries are sent to.
    address: Mutex<Option<UpstreamAddress>>,
    /// Whether deliveries wait. New deliveries come after them.
    backlog: AtomicBool,
    /// Whether a retry comes next, not a first attempt.
    retry_next: AtomicBool,
    /// Whether the last attempt that began was of a delivery that had just arrived.
    new_began: AtomicBool,
    /// Whether its last attempt had no answer, or a slow one. Only endpoints can be suspects.
    suspect: AtomicBool,
    /// The largest `concurrency` of an endpoint, which begins with one attempt at a time.
    most: AtomicU32,
}

impl Target {
    pub(super) fn new(id: TargetId, memory: Arc<Memory>) -> Self {
        Self {
            id,
            busy: AtomicU32::new(0),
            concurrency: AtomicU32::new(1),
            held: AtomicUsize::new(0),
            memory,
            rate: Mutex::default(),
            pause: Mutex::default(),
            address: Mutex::default(),
            // not known before the first round; a new event does not wait for older ones of its endpoint
            backlog: AtomicBool::new(!id.is_endpoint()),
            retry_next: AtomicBool::new(false),
            new_began: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
            most: AtomicU32::new(1),
        }
    }

    /// Follows the settings of an endpoint from now on: the largest number of attempts at the same time, and their rate.
    pub(super) fn follow_endpoint(&self, most: u32, rate: Option<Quota>) {
        self.most.store(most, Ordering::Relaxed);
        self.concurrency.fetch_min(most, Ordering::Relaxed);
        self.rate.lock().quota = rate;
    }

    /// Returns whether its last attempt had no answer, or a slow one.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Records that an attempt waits for an answer.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Learns from an attempt to an endpoint: each quick answer allows one more attempt at the same time, and an endpoint that is overloaded
    /// or gives no answer gets half as many. One that fails always has a rate of its own: see [`RateLimit::learn`].
    pub(super) fn learn(&self, speed: Speed, is_delivered: bool) {
        self.rate.lock().learn(is_delivered);
        self.suspect
            .store(speed == Speed::Suspect, Ordering::Relaxed);
        let most = self.most.load(Ordering::Relaxed);
        let now = self.concurrency.load(Ordering::Relaxed);
        let next = match speed {
            Speed::Quick => (now + 1).min(most),
            Speed::Overloaded => (now / 2).max(1),
            Speed::Suspect => 1,
        };
        // two attempts that end at once may count as one: it is a pace, not a bound
        self.concurrency.store(next, Ordering::Relaxed);
    }

    /// Returns whether its state is worth keeping although nothing is attempted now.
    pub(super) fn is_troubled(&self, now: Instant) -> bool {
        self.is_suspect() || self.rate.lock().is_failing() || self.pause().remaining(now).is_some()
    }

    /// Takes a slot for an event of `bytes` that was just published, if it may be attempted at once. It skips what waits, but while events wait,
    /// it needs that the last attempt was one of theirs: so they have at least every second one.
    pub(super) fn begin_new(self: &Arc<Self>, bytes: usize, now: Instant) -> Option<AttemptSlot> {
        if self.has_backlog() && self.new_began.load(Ordering::Relaxed) {
            return None;
        }
        let is_running = self.pause().admission(now) == Admission::All;
        let slot = self
            .slot()
            .filter(|_| is_running && self.has_room_for(bytes) && self.take(1, now) == 1);
        match &slot {
            Some(_) => self.new_began.store(true, Ordering::Relaxed),
            None => self.set_backlog(true),
        }
        slot.map(|slot| slot.with_token(now).hold(bytes))
    }

    /// Follows a policy from now on. Attempts under way go on. `shared` is the limit of its rate, if gateways share it.
    pub(super) fn follow(&self, deliver: &Deliver, shared: Option<SharedKey>) {
        self.concurrency
            .store(deliver.concurrency, Ordering::Relaxed);
        let mut rate = self.rate.lock();
        rate.quota = deliver.rate.filter(|_| shared.is_none());
        rate.shared = shared;
    }

    /// Records the address that its deliveries are sent to from now on. A pause is about one address: it ends when the address changes.
    pub(super) fn reach(&self, address: &UpstreamAddress) {
        let mut known = self.address.lock();
        if known.as_ref() != Some(address) {
            *known = Some(address.clone());
            self.pause().end();
            self.note_freed();
        }
    }

    /// Returns its number.
    pub(crate) fn id(&self) -> TargetId {
        self.id
    }

    /// Reserves all free slots, but at most `most`. Dropping a slot gives it back.
    pub(super) fn reserve(self: &Arc<Self>, most: u32) -> Vec<AttemptSlot> {
        (0..most).map_while(|_| self.slot()).collect()
    }

    /// Reserves a free slot.
    fn slot(self: &Arc<Self>) -> Option<AttemptSlot> {
        let most = self.concurrency.load(Ordering::Relaxed);
        let entered = self
            .busy
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
                (busy < most).then_some(busy + 1)
            });
        entered.ok().map(|_| AttemptSlot::new(Arc::clone(self)))
    }

    /// Returns the bytes of its deliveries that are being attempted.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns the kind of deliveries whose turn it is.
    pub(super) fn turn(&self) -> Turn {
        if self.retry_next.load(Ordering::Relaxed) {
            Turn::Retry
        } else {
            Turn::First
        }
    }

    /// Records the kind of the waiting delivery that begins.
    pub(super) fn record_turn(&self, turn: Turn) {
        self.new_began.store(false, Ordering::Relaxed);
        self.retry_next
            .store(turn == Turn::First, Ordering::Relaxed);
    }

    /// Returns its pause.
    pub(crate) fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock()
    }

    /// Takes the attempts that the rate lets begin, at most `most`.
    pub(super) fn take(&self, most: u32, now: Instant) -> u32 {
        self.rate.lock().take(most, now)
    }

    /// Gives back attempts that were taken and not used.
    pub(super) fn give_back(&self, tokens: u32, now: Instant) {
        self.rate.lock().give_back(tokens, now);
    }

    /// Returns the time until the rate lets the next attempt begin; zero if it does now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.rate.lock().wait(now)
    }

    /// Returns whether deliveries wait, as of the last round.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Records whether deliveries wait.
    pub(crate) fn set_backlog(&self, waits: bool) {
        self.backlog.store(waits, Ordering::Relaxed);
    }

    /// Takes a slot for a delivery of `bytes` that has just arrived, if it may be attempted at once: none waits before it, the target does not
    /// pause, and there are a slot, memory and a token of the rate.
    pub(super) fn begin(self: &Arc<Self>, bytes: usize, now: Instant) -> Option<AttemptSlot> {
        if self.has_backlog() {
            return None;
        }
        let is_running = self.pause().admission(now) == Admission::All;
        let slot = self
            .slot()
            .filter(|_| is_running && self.has_room_for(bytes) && self.take(1, now) == 1);
        if slot.is_none() {
            self.set_backlog(true);
        }
        slot.map(|slot| slot.with_token(now).hold(bytes))
    }

    /// Wakes the worker, and lets it look at the target.
    fn note_freed(&self) {
        if self.id.is_endpoint() {
            self.memory.free_endpoint(self.id);
        } else {
            self.memory.wake();
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        Share {
            target: self.held(),
            total: self.memory.held(),
        }
        .has_room_for(bytes)
    }
}

/// The right to make one attempt of a target, and the memory of its delivery. Dropping it frees both.
#[derive(Debug)]
pub(crate) struct AttemptSlot {
    target: Arc<Target>,
    used: bool,
    /// The time at which a token of the rate was taken for it, until the attempt begins.
    token: Option<Instant>,
    held: Option<HeldMemory>,
    probe: Option<Probe>,
    /// The place of an endpoint's attempt among those of all endpoints.
    place: Option<Place>,
}

impl AttemptSlot {
    fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            used: false,
            token: None,
            held: None,
            probe: None,
            place: None,
        }
    }

    /// Marks the slot as used for a delivery of `bytes`, so that freeing it wakes the worker. A slot that was only reserved must not: the worker
    /// would wake itself in a loop.
    pub(super) fn hold(mut self, bytes: usize) -> Self {
        self.used = true;
        self.held = Some(HeldMemory::new(&self.target, bytes));
        self
    }

    /// Notes that a token of the rate was taken for it. If it is dropped before its attempt begins, the token is given back.
    fn with_token(mut self, taken: Instant) -> Self {
        self.token = Some(taken);
        self
    }

    /// Spends its token: the attempt begins.
    pub(super) fn spend(mut self) -> Self {
        self.token = None;
        self
    }

    /// Gives it a place, which is freed with it.
    pub(super) fn in_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Records that the attempt waits for an answer of an endpoint.
    pub(super) fn suspect(&self) {
        self.target.suspect();
        if let Some(place) = &self.place {
            place.suspect();
        }
    }

    /// Makes the attempt the probe that may end the target's pause. Returns whether it is: not if another probe is under way.
    pub(super) fn make_probe(&mut self, now: Instant) -> bool {
        self.probe = self.target.pause().begin_probe(now);
        self.probe.is_some()
    }

    /// Records the conclusion from the attempt. `first_pause` is the length of a new pause. Returns how the pause has changed.
    pub(super) fn record(
        &self,
        signal: Signal,
        subject: Subject,
        first_pause: Duration,
        now: Instant,
    ) -> Option<PauseChange> {
        let mut pause = self.target.pause();
        let change = pause.record(signal, subject, self.probe, first_pause, now);
        drop(pause);
        if change == Some(PauseChange::Resumed) {
            self.target.note_freed();
        }
        change
    }

    /// Lets the next attempt begin, because this one has its answer. The delivery stays in memory until its result is saved.
    pub(super) fn end(mut self) -> Option<HeldMemory> {
        self.held.take()
    }
}

impl Drop for AttemptSlot {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.place.take());
        let Target { memory, busy, .. } = &*self.target;
        busy.fetch_sub(1, Ordering::Relaxed);
        if let Some(taken) = self.token {
            self.target.give_back(1, taken);
        }
        if let Some(probe) = self.probe {
            self.target.pause().release(probe);
        }
        if self.used
            && (self.target.id.is_endpoint() || self.target.has_backlog() || memory.is_short())
        {
            self.target.note_freed();
        }
    }
}

/// The memory of a delivery that is being attempted, or whose result is being saved. Dropping it frees the memory.
#[derive(Debug)]
pub(super) struct HeldMemory {
    target: Arc<Target>,
    bytes: usize,
}

impl HeldMemory {
    fn new(target: &Arc<Target>, bytes: usize) -> Self {
        target.held.fetch_add(bytes, Ordering::Relaxed);
        target.memory.hold(bytes);
        Self {
            target: Arc::clone(target),
            bytes,
        }
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.target.held.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.target.memory.release(self.bytes) {
            self.target.note_freed();
        }
    }
}

#[cfg(test)]
mod tests;
