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
use crate::gateway::frames::{Frames, TooMany};
use crate::gateway::framing::{Cut, Scanner, Violation};
use crate::gateway::sender::Other;

/// What one HTTP/2 connection may read before the others have their turn: small frames cost a hundred times what their bytes do.
const TURN: usize = 64 * 1024;
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

    /// Whether a request is served, and what stood in the wrong place is behind it.
    fn is_cut_later(&self) -> bool {
        let later = self.violation.get().is_some_and(|(message, _)| *message > self.requests.load(Ordering::Relaxed));
        later && self.phase.load(Ordering::Relaxed) == BUSY
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
    /// HTTP/2, where the head is bounded by h2 itself, and the watch of the clock ends with the preface; with the bytes of this turn.
    H2(Frames, usize),
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
        Self {
            io,
            conn,
            arriving: if h2 { Arriving::H2(Frames::default(), 0) } else { Arriving::H1(Scanner::new(max_head)) },
            clock,
            other: other.pack(),
        }
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
            Arriving::H2(frames, turn) => {
                *turn = turn.saturating_add(arrived.len());
                let scanned = frames.scan(arrived, || self.clock.mono());
                if frames.is_open() {
                    self.conn.phase.store(BUSY, Ordering::Relaxed);
                }
                scanned.map_err(|TooMany| io::Error::other("too many frames that ask for an answer"))
            }
            Arriving::H1(scanner) => {
                let scanned = scanner.scan(arrived);
                let messages = scanner.messages();
                self.conn.messages.store(messages, Ordering::Relaxed);
                let Err(Cut { kept, instead, why }) = scanned else { return Ok(()) };
                self.conn.violation.get_or_init(|| (messages, why));
                buf.set_filled(before.saturating_add(kept));
                self.arriving = Arriving::Cut(instead);
                Ok(())
            }
            Arriving::Cut(_) | Arriving::Over => Ok(()),
        }
    }

    /// What is read after a cut. While a request is served before the one that is cut, nothing ever comes: who looks whether the sender is
    /// still there must not take it for more of the request, and the connection ends with the answer.
    fn behind_cut(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.conn.is_cut_later() { Poll::Pending } else { Poll::Ready(self.instead(buf)) }
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
            Arriving::H2(..) | Arriving::Over => false,
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
            return self.behind_cut(buf);
        }
        if let Arriving::H2(_, turn) = &mut self.arriving
            && *turn > TURN
        {
            *turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buf) else {
            if let Arriving::H2(_, turn) = &mut self.arriving {
                *turn = 0;
            }
            return Poll::Pending;
        };
        read?;
        self.look(buf, before)?;
        match self.arriving {
            Arriving::Cut(_) if buf.filled().len() == before => self.behind_cut(buf),
            Arriving::Cut(_) | Arriving::H2(..) | Arriving::H1(_) | Arriving::Over => Poll::Ready(Ok(())),
        }
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
    use crate::gateway::client::Peer;

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

    /// All that is read of what one side of a pipe sends, in reads of `size` bytes; and whether it ended in an error.
    async fn all(sent: &[u8], size: usize) -> (String, bool, Arc<Conn>) {
        let (mut sender, io) = tokio::io::duplex(4096);
        let conn = Arc::new(Conn::new(SystemClock.mono()));
        let other = Other { peer: Peer::Unix, certificate: None };
        let mut guarded = Guarded::new(Box::new(io), other, Arc::clone(&conn), 1024, Arc::new(SystemClock));
        sender.write_all(sent).await.unwrap();
        drop(sender);
        let (mut whole, mut piece) = (Vec::new(), vec![0; size]);
        loop {
            match guarded.read(&mut piece).await {
                Ok(0) => return (String::from_utf8(whole).unwrap(), false, conn),
                Ok(read) => whole.extend_from_slice(&piece[..read]),
                Err(_) => return (String::from_utf8(whole).unwrap(), true, conn),
            }
        }
    }

    #[tokio::test]
    async fn a_head_is_cut_and_ended_however_it_is_read() {
        for size in [1, 3, 4096] {
            let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            let (read, broken, conn) = all(good.as_bytes(), size).await;
            assert_eq!((read.as_str(), broken, conn.violation.get()), (good, false, None));
            let (read, broken, conn) = all(b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\nmore", size).await;
            assert_eq!((read.as_str(), broken), ("GET / HTTP/1.1\r\nHost: a\r\nX-:\r\n\r\n", true));
            assert_eq!(conn.violation(), None, "no request is served yet");
            conn.begin_request();
            assert_eq!(conn.violation(), Some(Violation::Name));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_in_the_next_request_is_not_held_against_this_one() {
        let (read, broken, conn) = all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\nGET", 4096).await;
        assert_eq!((read.as_str(), broken), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n- / HTTP/1.1\r\n\r\n", true));
        conn.begin_request();
        assert_eq!((conn.violation(), conn.is_overrun()), (None, true));
        conn.begin_request();
        assert_eq!((conn.violation(), conn.is_overrun()), (Some(Violation::Method), false));
    }

    #[tokio::test]
    async fn a_body_that_is_cut_ends_in_an_error() {
        for size in [1, 4096] {
            let head = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (read, broken, conn) = all(format!("{head}2\r\n{{}}\n0\r\n\r\n").as_bytes(), size).await;
            assert_eq!((read, broken), (format!("{head}2\r\n{{}}"), true));
            conn.begin_request();
            assert_eq!(conn.violation(), Some(Violation::Chunk));
        }
    }
}
