//! The idle connections to one or many other sides.
//!
//! pingora's own pool spawns a task for each connection that comes back and wakes it for each that is taken. Here a connection is checked
//! when it is taken, and one task closes all that stay idle for too long.
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncRead, ReadBuf};

use crate::clock::{Clock, Timer};

/// The shortest time between two checks of idle connections.
const MIN_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Pool {
    clock: Arc<dyn Clock>,
    /// The most connections that are kept.
    max_idle: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The last one in is the first one out: so the fewest stay busy, and the rest can end.
    idle: Vec<Idle>,
    sweeping: bool,
}

/// A connection.
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// The timer of its exchanges.
    pub(super) timer: Timer,
}

struct Idle {
    connection: Connection,
    peer: Arc<HttpPeer>,
    until: Instant,
}

impl Pool {
    pub(super) fn new(max_idle: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            max_idle,
            inner: Mutex::default(),
        })
    }

    /// Takes a connection to one of `peers` on which nothing has happened since it came back, and closes those to them that are dead.
    /// Connections to others stay as they are.
    pub(super) fn take(&self, peers: &[Arc<HttpPeer>]) -> Option<(Connection, Arc<HttpPeer>)> {
        loop {
            let Idle {
                mut connection,
                peer,
                until,
            } = self.last_to(peers)?;
            if self.clock.mono() < until && is_quiet(&mut connection.stream) {
                return Some((connection, peer));
            }
        }
    }

    fn last_to(&self, peers: &[Arc<HttpPeer>]) -> Option<Idle> {
        let mut inner = self.lock();
        let found = inner
            .idle
            .iter()
            .rposition(|idle| is_among(&idle.peer, peers))?;
        Some(inner.idle.remove(found))
    }

    /// Keeps a connection after a complete exchange, for at most `idle`.
    pub(super) fn put(
        self: &Arc<Self>,
        connection: Connection,
        peer: Arc<HttpPeer>,
        idle: Duration,
    ) {
        let until = self.clock.mono() + idle;
        let mut inner = self.lock();
        let oldest = (inner.idle.len() >= self.max_idle).then(|| inner.idle.remove(0));
        inner.idle.push(Idle {
            connection,
            peer,
            until,
        });
        let sweeps = std::mem::replace(&mut inner.sweeping, true);
        drop(inner);
        drop(oldest);
        if !sweeps {
            tokio::spawn(sweep(Arc::downgrade(self), idle.max(MIN_PAUSE)));
        }
    }

    /// Closes the connections to all others than `peers`.
    pub(super) fn keep_only(&self, peers: &[Arc<HttpPeer>]) {
        self.close(|idle| !is_among(&idle.peer, peers));
    }

    /// Closes the connections to `peer`.
    pub(super) fn close_all_to(&self, peer: &HttpPeer) {
        self.close(|idle| is_same(&idle.peer, peer));
    }

    fn close(&self, mut closes: impl FnMut(&Idle) -> bool) {
        let closed: Vec<Idle> = self
            .lock()
            .idle
            .extract_if(.., |idle| closes(idle))
            .collect();
        // they are closed without the lock
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

fn is_among(peer: &HttpPeer, peers: &[Arc<HttpPeer>]) -> bool {
    peers.iter().any(|known| is_same(known, peer))
}

/// Returns whether a connection to one peer may be used for the other: group (the tenant), name, TLS, shown certificate and address are the
/// same. Behind one address there may be many other sides, each with a certificate of its own.
fn is_same(one: &HttpPeer, other: &HttpPeer) -> bool {
    let has_same_identity = match (&one.client_cert_key, &other.client_cert_key) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, Some(_)) | (Some(_), None) => false,
    };
    one.group_key == other.group_key
        && has_same_identity
        && one.scheme == other.scheme
        && one.sni == other.sni
        && one._address == other._address
}

/// Closes connections that are idle for too long, until none is left or the pool is gone.
async fn sweep(pool: Weak<Pool>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = pool.clock.mono();
        let mut inner = pool.lock();
        let ended: Vec<Idle> = inner
            .idle
            .extract_if(.., |idle| idle.until <= now)
            .collect();
        inner.sweeping = !inner.idle.is_empty();
        let done = !inner.sweeping;
        drop(inner);
        drop(ended);
        if done {
            return;
        }
    }
}

/// Returns whether the other side has neither closed the connection nor sent anything unasked.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let read = Pin::new(stream).poll_read(
        &mut Context::from_waker(Waker::noop()),
        &mut ReadBuf::new(&mut byte),
    );
    matches!(read, Poll::Pending)
}
