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

/// The length of the HTTP/2 connection preface.
const H2_PREFACE: usize = 24;
/// What is held back of an HTTP/1 answer until it is flushed: its head and a short body leave in one piece.
const GATHER: usize = 2048;
/// In [`Conn::idle_since`]: a request is being served.
const BUSY: u64 = 0;

/// What the accept loop and the request filters know of a connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// Milliseconds after `accepted`, plus one, since when no request is served; [`BUSY`] while one is.
    idle_since: AtomicU64,
    /// Bytes read since the last request began, or since accept.
    head: AtomicUsize,
    accepted: Instant,
}

impl Conn {
    /// A connection accepted at `now`, idle.
    pub(super) fn new(now: Instant) -> Self {
        Self { idle_since: AtomicU64::new(1), head: AtomicUsize::new(0), accepted: now }
    }

    /// A head is complete: the watch ends, and the next bytes are a body's or the next head's.
    pub(super) fn begin_request(&self) {
        self.head.store(0, Ordering::Relaxed);
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// The answer is written: the next head is awaited.
    pub(super) fn end_request(&self, now: Instant) {
        self.idle_since.store(self.millis(now), Ordering::Relaxed);
    }

    /// How long the connection may go on waiting for a head, if it may `allowed`; `None` if its time is up.
    /// While a request is served it is always the whole time.
    pub(super) fn time_left(&self, allowed: Duration, now: Instant) -> Option<Duration> {
        let idle_since = self.idle_since.load(Ordering::Relaxed);
        if idle_since == BUSY {
            return Some(allowed);
        }
        let idle = Duration::from_millis(self.millis(now).saturating_sub(idle_since));
        allowed.checked_sub(idle).filter(|left| !left.is_zero())
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.accepted).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// The stream that pingora is given.
pub(super) struct Guarded {
    /// The connection itself, TLS or plain.
    io: BufWriter<Stream>,
    /// What is known of it.
    conn: Arc<Conn>,
    /// Bytes a head may have.
    max_head: usize,
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
    pub(super) fn new(io: Stream, conn: Arc<Conn>, max_head: usize) -> Self {
        let h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        // h2 gathers its frames itself
        Self { io: BufWriter::with_capacity(if h2 { 0 } else { GATHER }, io), conn, max_head, h2 }
    }

    /// Counts `arrived` bytes; an error closes the connection without an answer.
    fn count(&self, arrived: usize) -> io::Result<()> {
        if self.conn.idle_since.load(Ordering::Relaxed) == BUSY {
            return Ok(());
        }
        let head = self.conn.head.fetch_add(arrived, Ordering::Relaxed).saturating_add(arrived);
        if self.h2 {
            if head >= H2_PREFACE {
                self.conn.idle_since.store(BUSY, Ordering::Relaxed);
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
