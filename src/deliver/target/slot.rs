//! The right to make one attempt, and the memory of its delivery.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Target;
use crate::deliver::places::Place;
use crate::queue::pause::{Probe, Signal};
use crate::store::queue::Subject;

/// The right to make one attempt of a target, and the memory of its delivery. Dropping it frees both.
#[derive(Debug)]
pub(crate) struct AttemptSlot {
    target: Arc<Target>,
    used: bool,
    held: Option<HeldMemory>,
    probe: Option<Probe>,
    /// The place of an endpoint's attempt among those of all endpoints.
    place: Option<Place>,
}

impl AttemptSlot {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            used: false,
            held: None,
            probe: None,
            place: None,
        }
    }

    /// Marks the slot as used for a delivery of `bytes`, so that freeing it wakes the worker. A slot that was only reserved must not: the worker
    /// would wake itself in a loop.
    pub(in crate::deliver) fn hold(mut self, bytes: usize) -> Self {
        self.used = true;
        self.held = Some(HeldMemory::new(&self.target, bytes));
        self
    }

    /// Gives it a place, which is freed with it.
    pub(in crate::deliver) fn in_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Records that the attempt waits for an answer of an endpoint.
    pub(in crate::deliver) fn suspect(&self) {
        self.target.suspect();
        if let Some(place) = &self.place {
            place.suspect();
        }
    }

    /// Makes the attempt the probe that may end the target's pause. Returns whether it is: not if another probe is under way.
    pub(in crate::deliver) fn make_probe(&mut self, now: Instant) -> bool {
        self.probe = self.target.pause().begin_probe(now);
        self.probe.is_some()
    }

    /// Records the conclusion from the attempt. `first_pause` is the length of a new pause. Returns how the pause has changed.
    pub(in crate::deliver) fn record(
        &self,
        signal: Signal,
        subject: Subject,
        first_pause: Duration,
        now: Instant,
    ) -> Option<PauseChange> {
        let mut pause = self.target.pause();
        let was_paused = pause.remaining(now).is_some();
        pause.record(signal, subject, self.probe, first_pause, now);
        match (was_paused, pause.remaining(now)) {
            (false, Some(left)) => Some(PauseChange::Paused(left)),
            (true, None) => {
                self.target.note_freed();
                Some(PauseChange::Resumed)
            }
            (false, None) | (true, Some(_)) => None,
        }
    }

    /// Lets the next attempt begin, because this one has its answer. The delivery stays in memory until its result is saved.
    pub(in crate::deliver) fn end(mut self) -> Option<HeldMemory> {
        self.held.take()
    }
}

impl Drop for AttemptSlot {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.place.take());
        let Target { memory, busy, .. } = &*self.target;
        busy.fetch_sub(1, Ordering::Relaxed);
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
pub(in crate::deliver) struct HeldMemory {
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

/// A change of a target's pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::deliver) enum PauseChange {
    /// The target pauses now, for this time.
    Paused(Duration),
    /// The pause has ended.
    Resumed,
}
