//! The idle connections of one upstream.
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

/// The most idle connections of one upstream.
const MAX_IDLE: usize = 256;
/// The shortest time between two checks of idle connections.
const MIN_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Pool {
    clock: Arc<dyn Clock>,
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
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            inner: Mutex::default(),
        })
    }

    /// Takes a connection to one of `peers` on which nothing has happened since it came back. Closes all others found on the way.
    pub(super) fn take(&self, peers: &[Arc<HttpPeer>]) -> Option<(Connection, Arc<HttpPeer>)> {
        loop {
            let Idle {
                mut connection,
                peer,
                until,
            } = self.lock().idle.pop()?;
            if is_among(&peer, peers)
                && self.clock.mono() < until
                && is_quiet(&mut connection.stream)
            {
                return Some((connection, peer));
            }
        }
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
        let oldest = (inner.idle.len() >= MAX_IDLE).then(|| inner.idle.remove(0));
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
        let closed: Vec<Idle> = self
            .lock()
            .idle
            .extract_if(.., |idle| !is_among(&idle.peer, peers))
            .collect();
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

fn is_among(peer: &HttpPeer, peers: &[Arc<HttpPeer>]) -> bool {
    peers.iter().any(|known| known._address == peer._address)
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
