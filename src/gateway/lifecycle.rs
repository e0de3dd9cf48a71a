//! The state of the gateway between start and exit, and the counts of what is in flight.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::activity::Activity;
use crate::listener::connection_limits::Connections;

/// The state of the gateway between start and exit.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// Whether senders should be sent here.
    pub(crate) ready: AtomicBool,
    /// Whether responses close their connections.
    pub(crate) draining: AtomicBool,
    /// The time from which webhooks are refused.
    pub(crate) closed_at: OnceLock<SystemTime>,
    /// The requests and attempts in flight, and whether anything new may begin.
    pub(crate) activity: Arc<Activity>,
    /// The number of streams of pass routes among the requests in flight.
    streams: Arc<AtomicUsize>,
    /// The open connections of all listeners.
    pub(crate) connections: Arc<Connections>,
}

/// A stream of a pass route in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct StreamInFlight(Arc<AtomicUsize>);

impl StreamInFlight {
    /// Counts a stream from now on.
    pub(super) fn begin(lifecycle: &Lifecycle) -> Self {
        let streams = Arc::clone(&lifecycle.streams);
        streams.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }
}

impl Drop for StreamInFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lifecycle {
    /// Returns the number of requests and attempts in flight that can lead to a delivery: all but streams. Rather too many than too few.
    pub(super) fn deliveries_in_flight(&self) -> usize {
        let streams = || self.streams.load(Ordering::SeqCst);
        let before = streams();
        let all = self.activity.in_flight();
        all.saturating_sub(before.min(streams()))
    }

    /// Returns whether the gateway exits, so that responses close their connections.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
