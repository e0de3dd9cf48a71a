//! A connection under watch: how long it has been idle, and what arrives on it.
//!
//! pingora bounds neither the time nor, in time, the size of a head, and parses it from its start at every read;
//! so this stream looks at all bytes of HTTP/1 before pingora does (see [`framing`]), and the accept loop watches the clock.
//!
//! [`framing`]: crate::listener::framing
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::clock::Clock;
use crate::listener::connection_state::{BUSY, Conn};
use crate::listener::framing::{Cut, Scanner};
use crate::listener::h2_frame_limit::{Frames, TooMany};
use crate::listener::peer::Other;

/// What one HTTP/2 connection may read before the others have their turn: small frames cost a hundred times what their bytes do.
const TURN: usize = 64 * 1024;
/// What is held back of an HTTP/1 answer until it is flushed: its head and a short body leave in one piece.
const GATHER: usize = 2048;
/// What is read and thrown away of a message that was not read to its end: closing at once would reset the connection, and the reset could
/// overtake the answer.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);
const DRAIN_PIECE: usize = 16 * 1024;

/// The stream that pingora is given.
pub(crate) struct Guarded {
    /// The connection itself, TLS or plain.
    io: BufWriter<Stream>,
    /// What is known of it.
    conn: Arc<Conn>,
    /// What arrives on it.
    arriving: Arriving,
    clock: Arc<dyn Clock>,
    /// Who is at the other end, for its requests.
    other: Option<Arc<ProxyDigest>>,
    /// Our side has ended, and what the sender still sends is read.
    drain: Option<Drain>,
}

/// What is read and thrown away yet, and until when.
struct Drain {
    left: usize,
    end: Pin<Box<Sleep>>,
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
        f.debug_struct("Guarded")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

impl Guarded {
    /// A connection under the watch of `conn`, whose heads may have `max_head` bytes.
    pub(crate) fn new(
        io: Stream,
        other: Other,
        conn: Arc<Conn>,
        max_head: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        // h2 gathers its frames itself
        let io = BufWriter::with_capacity(if h2 { 0 } else { GATHER }, io);
        Self {
            io,
            conn,
            arriving: if h2 {
                Arriving::H2(Frames::default(), 0)
            } else {
                Arriving::H1(Scanner::new(max_head))
            },
            clock,
            other: other.pack(),
            drain: None,
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
                scanned
                    .map_err(|TooMany| io::Error::other("too many frames that ask for an answer"))
            }
            Arriving::H1(scanner) => {
                let scanned = scanner.scan(arrived);
                let messages = scanner.messages();
                self.conn.messages.store(messages, Ordering::Relaxed);
                let Err(Cut { kept, instead, why }) = scanned else {
                    return Ok(());
                };
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
        if self.conn.is_cut_later() {
            Poll::Pending
        } else {
            Poll::Ready(self.instead(buf))
        }
    }

    /// Gives what is read instead of what was cut off; an error if it was given. In a body there is nothing: the error says so at once.
    fn instead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let Arriving::Cut(instead) = &mut self.arriving else {
            return Ok(());
        };
        if instead.is_empty() {
            return Err(io::Error::other("what follows could be read in two ways"));
        }
        let (given, later) = instead
            .split_at_checked(buf.remaining())
            .unwrap_or((instead, b""));
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
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let io = self.io.get_mut();
        let Some(drain) = &mut self.drain else {
            return Poll::Ready(());
        };
        let mut piece = [0; DRAIN_PIECE];
        while drain.left > 0 && drain.end.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut piece);
            let read = std::task::ready!(Pin::new(&mut *io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            drain.left = drain.left.saturating_sub(buf.filled().len());
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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
            Arriving::Cut(_) | Arriving::H2(..) | Arriving::H1(_) | Arriving::Over => {
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Flushes and ends our side; then reads what nobody will look at. pingora closes a connection of HTTP/1 by this, not by [`Shutdown`].
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drain.is_none() {
            std::task::ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !self.is_unread() {
                return Poll::Ready(Ok(()));
            }
            self.drain = Some(Drain {
                left: DRAIN_BYTES,
                end: Box::pin(sleep(DRAIN_TIME)),
            });
        }
        self.poll_drain(cx).map(Ok)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // what the other side no longer takes is lost to it alone
        AsyncWriteExt::shutdown(self).await.unwrap_or_default();
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
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::clock::SystemClock;
    use crate::listener::client_address::Peer;
    use crate::listener::framing::Violation;

    /// All that is read of what one side of a pipe sends, in reads of `size` bytes; and whether it ended in an error.
    async fn all(sent: &[u8], size: usize) -> (String, bool, Arc<Conn>) {
        let (mut sender, io) = tokio::io::duplex(4096);
        let conn = Arc::new(Conn::new(SystemClock.mono()));
        let other = Other {
            peer: Peer::Unix,
            certificate: None,
        };
        let mut guarded = Guarded::new(
            Box::new(io),
            other,
            Arc::clone(&conn),
            1024,
            Arc::new(SystemClock),
        );
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
            assert_eq!(
                (read.as_str(), broken, conn.violation.get()),
                (good, false, None)
            );
            let (read, broken, conn) =
                all(b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\nmore", size).await;
            assert_eq!(
                (read.as_str(), broken),
                ("GET / HTTP/1.1\r\nHost: a\r\nX-:\r\n\r\n", true)
            );
            assert_eq!(conn.violation(), None, "no request is served yet");
            conn.begin_request();
            assert_eq!(conn.violation(), Some(Violation::Name));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_in_the_next_request_is_not_held_against_this_one() {
        let (read, broken, conn) = all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\nGET", 4096).await;
        assert_eq!(
            (read.as_str(), broken),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n- / HTTP/1.1\r\n\r\n",
                true
            )
        );
        conn.begin_request();
        assert_eq!((conn.violation(), conn.is_overrun()), (None, true));
        conn.begin_request();
        assert_eq!(
            (conn.violation(), conn.is_overrun()),
            (Some(Violation::Method), false)
        );
    }

    #[tokio::test]
    async fn a_body_that_is_cut_ends_in_an_error() {
        for size in [1, 4096] {
            let head = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (read, broken, conn) =
                all(format!("{head}2\r\n{{}}\n0\r\n\r\n").as_bytes(), size).await;
            assert_eq!((read, broken), (format!("{head}2\r\n{{}}"), true));
            conn.begin_request();
            assert_eq!(conn.violation(), Some(Violation::Chunk));
        }
    }
}
