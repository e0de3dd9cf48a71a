//! A connection under watch: how long it has been idle, and how large the head is that is arriving.
//!
//! pingora bounds neither the time nor, in time, the size of a head, and parses it from its start at every read;
//! so this stream counts bytes until the head is complete, and the accept loop watches the clock.
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use crate::clock::Clock;

/// The length of the HTTP/2 connection preface.
const H2_PREFACE: usize = 24;
/// What is held back of an HTTP/1 answer until it is flushed: its head and a short body leave in one piece.
const GATHER: usize = 2048;
/// In [`Conn::phase`]: a request is being served.
const BUSY: u64 = 0;

/// What the accept loop and the request filters know of a connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// [`BUSY`], or since when a head arrives, or since when nothing does: see [`mark`].
    phase: AtomicU64,
    /// Bytes read since the last request began, or since accept.
    head: AtomicUsize,
    accepted: Instant,
}

/// How long a connection may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From accept, or the first byte of a next head, to the end of the head.
    pub(super) head: Duration,
    /// From the end of an answer to the first byte of a next head.
    pub(super) idle: Duration,
}

impl Conn {
    /// A connection accepted at `now`, whose head is awaited.
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: AtomicU64::new(mark(Duration::ZERO, true)), head: AtomicUsize::new(0), accepted: now }
    }

    /// A head is complete: the watch ends, and the next bytes are a body's or the next head's.
    pub(super) fn begin_request(&self) {
        self.head.store(0, Ordering::Relaxed);
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// The answer is written: a next head may come.
    pub(super) fn end_request(&self, now: Instant) {
        self.phase.store(mark(now.saturating_duration_since(self.accepted), false), Ordering::Relaxed);
    }

    /// When to look at the connection again; `None` if its time is up. Never later than the shorter of both times: a head may begin right
    /// after the look.
    pub(super) fn look_again(&self, patience: Patience, now: Instant) -> Option<Duration> {
        let phase = self.phase.load(Ordering::Relaxed);
        let most = patience.head.min(patience.idle);
        if phase == BUSY {
            return Some(most);
        }
        let allowed = if is_in_head(phase) { patience.head } else { patience.idle };
        let since = Duration::from_millis((phase >> 1).saturating_sub(1));
        let waited = now.saturating_duration_since(self.accepted).saturating_sub(since);
        allowed.checked_sub(waited).filter(|left| !left.is_zero()).map(|left| left.min(most))
    }

    /// Bytes have arrived; the size of the head so far, unless a request is being served.
    fn arrive(&self, bytes: usize, now: impl FnOnce() -> Instant) -> Option<usize> {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == BUSY || bytes == 0 {
            return None;
        }
        if !is_in_head(phase) {
            self.phase.store(mark(now().saturating_duration_since(self.accepted), true), Ordering::Relaxed);
        }
        Some(self.head.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes))
    }
}

/// A phase that began at `age`: its milliseconds, plus one so that it is not [`BUSY`]; and in the lowest bit whether a head arrives.
fn mark(age: Duration, in_head: bool) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX >> 2).saturating_add(1) << 1 | u64::from(in_head)
}

fn is_in_head(phase: u64) -> bool {
    phase & 1 == 1
}

/// The stream that pingora is given.
pub(super) struct Guarded {
    /// The connection itself, TLS or plain.
    io: BufWriter<Stream>,
    /// What is known of it.
    conn: Arc<Conn>,
    /// Bytes a head may have.
    max_head: usize,
    clock: Arc<dyn Clock>,
    /// Whether it speaks HTTP/2, where the head is bounded by h2 itself and the watch ends with the preface.
    h2: bool,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl Guarded {
    /// A connection under the watch of `conn`, whose heads may have `max_head` bytes.
    pub(super) fn new(io: Stream, conn: Arc<Conn>, max_head: usize, clock: Arc<dyn Clock>) -> Self {
        let h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        // h2 gathers its frames itself
        Self { io: BufWriter::with_capacity(if h2 { 0 } else { GATHER }, io), conn, max_head, clock, h2 }
    }

    /// Counts `arrived` bytes; an error closes the connection without an answer.
    fn count(&self, arrived: usize) -> io::Result<()> {
        let Some(head) = self.conn.arrive(arrived, || self.clock.mono()) else { return Ok(()) };
        if self.h2 {
            if head >= H2_PREFACE {
                self.conn.begin_request();
            }
            return Ok(());
        }
        if head > self.max_head { Err(io::Error::other("the head is too large")) } else { Ok(()) }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        Poll::Ready(self.count(buf.filled().len().saturating_sub(before)))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // flushes; what the other side no longer takes is lost to it alone
        self.io.flush().await.unwrap_or_default();
        self.io.get_mut().as_mut().shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.io.get_ref().id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.io.get_ref().get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.io.get_ref().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.io.get_ref().selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.io.get_ref().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.io.get_ref().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.io.get_ref().get_write_pending_time()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.io.get_ref().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.io.get_mut().set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.io.get_mut().set_socket_digest(digest);
    }
}

impl Peek for Guarded {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(5), idle: Duration::from_secs(60) };

    #[test]
    fn a_head_has_its_time_from_accept_or_from_its_first_byte() {
        let accepted = SystemClock.mono();
        let at = |second: u64| accepted + Duration::from_secs(second);
        let conn = Conn::new(accepted);
        let look = |second: u64| conn.look_again(PATIENCE, at(second)).map(|left| left.as_secs());
        assert_eq!((look(0), look(4)), (Some(5), Some(1)));
        conn.arrive(1, || at(4));
        assert_eq!(look(5), None, "its first byte gives the first head no new time");
        conn.begin_request();
        assert_eq!(look(1000), Some(5), "a request takes what it takes");
        conn.end_request(at(1000));
        assert_eq!((look(1050), look(1057), look(1059)), (Some(5), Some(3), Some(1)));
        conn.arrive(1, || at(1059));
        assert_eq!((look(1059), look(1063)), (Some(5), Some(1)));
        conn.arrive(1, || at(1063));
        assert_eq!(look(1064), None);
        conn.begin_request();
        conn.end_request(at(2000));
        assert_eq!(look(2060), None, "nothing came");
    }
}
