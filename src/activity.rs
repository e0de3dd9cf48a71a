//! The count of requests and attempts in flight, and whether the process is stopping. Shared by the gateway and the worker.
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;

/// The activity of a process.
#[derive(Debug, Default)]
pub struct Activity {
    in_flight: AtomicUsize,
    closed: AtomicBool,
    leaving: watch::Sender<bool>,
}

impl Activity {
    /// Returns how many requests and attempts are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Lets nothing new be accepted, so that what is stored can be delivered. Only a restart undoes it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Returns whether nothing new is accepted.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Lets nothing new begin: the process is about to stop.
    pub fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Returns whether nothing new may begin.
    pub fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    /// Returns a receiver that turns to `true` when nothing new may begin.
    pub fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }
}

/// A request or an attempt in flight; ends on drop. It borrows the activity where it ends within a function, and shares it where it goes on
/// as a task or a stream.
#[derive(Debug)]
pub struct InFlight<A: Deref<Target = Activity>>(A);

impl<A: Deref<Target = Activity>> InFlight<A> {
    /// Counts one more.
    pub fn begin(activity: A) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(activity)
    }
}

impl<A: Deref<Target = Activity>> Drop for InFlight<A> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
