//! The connections of a listener: which request is being served, whose token was right, and which one is closed when there are too many.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The connections of a listener without a request that was admitted, in the order in which they were accepted.
#[derive(Debug, Default)]
pub(super) struct Unauthenticated {
    next: AtomicU64,
    /// The senders that close them.
    open: Mutex<BTreeMap<u64, oneshot::Sender<()>>>,
}

impl Unauthenticated {
    /// Adds a connection that was just accepted. The receiver gets a message if it is to be closed.
    pub(super) fn add(self: &Arc<Self>) -> (Connection, oneshot::Receiver<()>) {
        let (close, closed) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(number, close);
        let connection = Connection(Arc::new(Shared {
            number,
            unauthenticated: Arc::clone(self),
            is_admitted: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            served: AtomicU32::new(0),
        }));
        (connection, closed)
    }

    /// Closes the oldest one, if there is one.
    pub(super) fn close_oldest(&self) {
        let oldest = self.open.lock().pop_first();
        if let Some((_, close)) = oldest {
            // one that has just ended needs no message
            close.send(()).ok();
        }
    }

    fn remove(&self, number: u64) {
        self.open.lock().remove(&number);
    }
}

/// The state of a connection, shared by its stream and its requests.
#[derive(Clone, Debug)]
pub(super) struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    number: u64,
    unauthenticated: Arc<Unauthenticated>,
    is_admitted: AtomicBool,
    /// The number of requests whose heads have arrived.
    requests: AtomicU64,
    /// The number of requests that are being served.
    served: AtomicU32,
}

impl Connection {
    /// Records that a request was admitted: the connection is not closed for others any more.
    pub(super) fn admit(&self) {
        if !self.0.is_admitted.swap(true, Ordering::Relaxed) {
            self.0.unauthenticated.remove(self.0.number);
        }
    }

    /// Returns the number of requests whose heads have arrived.
    pub(super) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Returns whether a request is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.0.served.load(Ordering::Relaxed) > 0
    }

    /// Records that the head of a request has arrived. The request is served until the guard is dropped.
    pub(super) fn begin_request(&self) -> RequestGuard {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.served.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.is_admitted.load(Ordering::Relaxed) {
            self.unauthenticated.remove(self.number);
        }
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct RequestGuard(Connection);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Connection(shared) = &self.0;
        shared.served.fetch_sub(1, Ordering::Relaxed);
    }
}
