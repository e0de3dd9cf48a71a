//! A connection under watch: how long it has been idle, and what arrives on it.
//!
//! pingora bounds neither the time nor, in time, the size of a head, and parses it from its start at every read;
//! so this stream looks at all bytes of HTTP/1 before pingora does (see [`framing`]), and the accept loop watches the clock.
//!
//! [`framing`]: crate::gateway::framing
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::gateway::framing::{Cut, Scanner, Violation};
use crate::gateway::sender::Other;

/// The length of the HTTP/2 connection preface.
const H2_PREFACE: usize = 24;
/// What is held back of an HTTP/1 answer until it is flushed: its head and a short body leave in one piece.
const GATHER: usize = 2048;
/// In [`Conn::phase`]: a request is being served.
const BUSY: u64 = 0;
/// What is read and thrown away of a message that was not read to its end: closing at once would reset the connection, and the reset could
/// overtake the answer.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);
const DRAIN_PIECE: usize = 16 * 1024;

/// What the accept loop and the request filters know of a connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// [`BUSY`], or since when a head arrives, or since when nothing does: see [`mark`].
    phase: AtomicU64,
    /// Requests of HTTP/1 whose heads have arrived and are, or were, served.
    requests: AtomicU64,
    /// Messages of HTTP/1 of which bytes have arrived.
    messages: AtomicU64,
    /// The message in which something stood in the wrong place, and what. Nothing is read behind it.
    violation: OnceLock<(u64, Violation)>,
    /// The upstream has agreed to another protocol: what follows is no HTTP.
    switched: AtomicBool,
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
        Self {
            phase: AtomicU64::new(mark(Duration::ZERO, true)),
            requests: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            violation: OnceLock::new(),
            switched: AtomicBool::new(false),
            accepted: now,
        }
    }

    /// A head is complete: the watch ends, and the next bytes are a body's or the next head's.
    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// What two readers could read differently in the request being served, as far as it has arrived.
    pub(super) fn violation(&self) -> Option<Violation> {
        let (message, violation) = self.violation.get()?;
        (*message == self.requests.load(Ordering::Relaxed)).then_some(*violation)
    }

    /// Whether bytes behind the request being served came together with it. They are never a request.
    pub(super) fn is_overrun(&self) -> bool {
        self.messages.load(Ordering::Relaxed) > self.requests.load(Ordering::Relaxed)
    }

    /// The upstream has agreed to another protocol, and its sender is about to be told: what comes after that is no HTTP.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
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

    /// Bytes have arrived: those of a head, unless a request is being served.
    fn arrive(&self, now: impl FnOnce() -> Instant) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != BUSY && !is_in_head(phase) {
            self.phase.store(mark(now().saturating_duration_since(self.accepted), true), Ordering::Relaxed);
        }
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
    /// What arrives on it.
    arriving: Arriving,
    clock: Arc<dyn Clock>,
    /// Who is at the other end, for its requests.
    other: Option<Arc<ProxyDigest>>,
}

/// How what arrives is watched.
enum Arriving {
    /// HTTP/2, where the head is bounded by h2 itself: so many bytes of the preface, with which the watch ends.
    H2(usize),
    /// HTTP/1.
    H1(Scanner),
    /// HTTP/1 after a byte in the wrong place: this is read still, then nothing.
    Cut(&'static [u8]),
    /// The sender will send no more, or no more HTTP.
    Over,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl Guarded {
    /// A connection under the watch of `conn`, whose heads may have `max_head` bytes.
    pub(super) fn new(io: Stream, other: Other, conn: Arc<Conn>, max_head: usize, clock: Arc<dyn Clock>) -> Self {
        let h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        // h2 gathers its frames itself
        let io = BufWriter::with_capacity(if h2 { 0 } else { GATHER }, io);
        Self { io, conn, arriving: if h2 { Arriving::H2(0) } else { Arriving::H1(Scanner::new(max_head)) }, clock, other: other.pack() }
    }

    /// Looks at what has arrived behind `before`, and takes off what pingora shall not see.
    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let arrived = buf.filled().get(before..).unwrap_or_default();
        if arrived.is_empty() && buf.remaining() > 0 {
            self.arriving = Arriving::Over;
            return Ok(());
        }
        self.conn.arrive(|| self.clock.mono());
        if self.conn.switched.load(Ordering::Relaxed) {
            self.arriving = Arriving::Over;
        }
        match &mut self.arriving {
            Arriving::H2(preface) => {
                *preface = preface.saturating_add(arrived.len());
                if *preface >= H2_PREFACE {
                    self.conn.phase.store(BUSY, Ordering::Relaxed);
                }
                Ok(())
            }
            Arriving::H1(scanner) => {
                let scanned = scanner.scan(arrived);
                let messages = scanner.messages();
                self.conn.messages.store(messages, Ordering::Relaxed);
                let Err(Cut { kept, instead, why }) = scanned else { return Ok(()) };
                self.conn.violation.get_or_init(|| (messages, why));
                buf.set_filled(before.saturating_add(kept));
                self.arriving = Arriving::Cut(instead);
                if kept == 0 { self.instead(buf) } else { Ok(()) }
            }
            Arriving::Cut(_) | Arriving::Over => Ok(()),
        }
    }

    /// Gives what is read instead of what was cut off; an error if it was given. In a body there is nothing: the error says so at once.
    fn instead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let Arriving::Cut(instead) = &mut self.arriving else { return Ok(()) };
        if instead.is_empty() {
            return Err(io::Error::other("what follows could be read in two ways"));
        }
        let (given, later) = instead.split_at_checked(buf.remaining()).unwrap_or((instead, b""));
        buf.put_slice(given);
        *instead = later;
        Ok(())
    }

    /// Whether the sender may still be sending what nobody will read.
    fn is_unread(&self) -> bool {
        match &self.arriving {
            Arriving::H1(scanner) => !scanner.is_between() || self.conn.is_overrun(),
            Arriving::Cut(_) => true,
            Arriving::H2(_) | Arriving::Over => false,
        }
    }

    /// Reads what the sender still sends, within bounds, until it has seen the end of our side and closes its own.
    async fn drain(&mut self) {
        let reading = async {
            let mut piece = vec![0; DRAIN_PIECE];
            let mut left = DRAIN_BYTES;
            while left > 0 {
                match self.io.get_mut().read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        };
        timeout(DRAIN_TIME, reading).await.unwrap_or_default();
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Arriving::Cut(_) = self.arriving {
            return Poll::Ready(self.instead(buf));
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        Poll::Ready(self.look(buf, before))
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
        if self.is_unread() {
            self.drain().await;
        }
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
        self.other.clone()
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
        conn.arrive(|| at(4));
        assert_eq!(look(5), None, "its first byte gives the first head no new time");
        conn.begin_request();
        assert_eq!(look(1000), Some(5), "a request takes what it takes");
        conn.end_request(at(1000));
        assert_eq!((look(1050), look(1057), look(1059)), (Some(5), Some(3), Some(1)));
        conn.arrive(|| at(1059));
        assert_eq!((look(1059), look(1063)), (Some(5), Some(1)));
        conn.arrive(|| at(1063));
        assert_eq!(look(1064), None);
        conn.begin_request();
        conn.end_request(at(2000));
        assert_eq!(look(2060), None, "nothing came");
    }
}
