//! The memory of deliveries that are being attempted, and what wakes the worker when some of it is freed.
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::queue::TargetId;

/// The memory of deliveries that are being attempted, of all targets together.
#[derive(Debug, Default)]
pub(super) struct Memory {
    held: AtomicUsize,
    /// Whether a target waits for memory, so that freeing some wakes the worker.
    short: AtomicBool,
    /// Notified when a slot or memory is freed that deliveries wait for.
    freed: Notify,
    /// The endpoints of which a slot was freed since the last round.
    freed_endpoints: Mutex<HashSet<TargetId>>,
}

impl Memory {
    /// Returns the bytes held now.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Adds the bytes of a delivery.
    pub(super) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes away the bytes of a delivery. Returns whether a target waits for memory.
    pub(super) fn release(&self, bytes: usize) -> bool {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.is_short()
    }

    /// Returns whether a target waits for memory.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::SeqCst)
    }

    /// Records whether a target waits for memory.
    pub(super) fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::SeqCst);
    }

    /// Lets the worker look at an endpoint, although it was put off.
    pub(super) fn free_endpoint(&self, id: TargetId) {
        self.freed_endpoints.lock().insert(id);
        self.freed.notify_one();
    }

    /// Wakes the worker that waits for a slot or memory.
    pub(super) fn wake(&self) {
        self.freed.notify_one();
    }

    /// Takes the endpoints of which a slot was freed since the last call, or whose pause has ended.
    pub(super) fn take_freed_endpoints(&self) -> Vec<TargetId> {
        self.freed_endpoints.lock().drain().collect()
    }

    /// Resolves when a slot or memory is freed that deliveries wait for.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}
