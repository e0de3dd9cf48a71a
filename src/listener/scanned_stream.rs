//! The stream that pingora reads: every byte that arrives is scanned first.
//!
//! pingora does not bound the time of a head, bounds its size too late, and parses it from its start at every read. So this stream scans
//! all bytes of HTTP/1 before pingora does (see [`framing`]), and the accept loop checks the timeouts.
//!
//! [`framing`]: crate::listener::framing
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use crate::clock::Clock;
use crate::listener::connection_state::ConnectionState;
use crate::listener::discard::{Drain, poll_discard};
use crate::listener::framing::{Cut, Scanner};
use crate::listener::h1_parts::{Behind, H1Parts};
use crate::listener::h2_frame_limit::{ControlFrameLimit, TooManyFrames};
use crate::listener::peer::ConnectionInfo;

/// The most bytes that one HTTP/2 connection reads before the task yields: small frames cost a hundred times as much as their bytes.
const H2_TURN_BYTES: usize = 64 * 1024;
/// The bytes of an HTTP/1 response that are held until it is flushed, so that its head and a short body are sent together.
const WRITE_BUFFER: usize = 2048;
/// The most bytes that are read and discarded of a message that was not read to its end. Closing the connection at once would reset it,
/// and the reset could arrive before the response.
pub(super) const MAX_DRAINED: usize = 4 * 1024 * 1024;
/// The longest time for which they are read.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The stream that pingora reads and writes.
pub(crate) struct ScannedStream {
    /// The connection itself, TLS or plain.
    io: BufWriter<Stream>,
    /// The state of the connection, which the scan updates.
    state: Arc<ConnectionState>,
    /// The scan of what arrives.
    scan: Scan,
    clock: Arc<dyn Clock>,
    /// The bytes of a head that was read before pingora took the connection.
    head: Bytes,
    /// The bytes behind it that had arrived by then. Both are judged.
    ahead: Bytes,
    /// The facts about the connection.
    info: ConnectionInfo,
    /// The same as its requests get them from pingora.
    digest: Option<Arc<ProxyDigest>>,
    /// The rest of the sender's bytes, once our side has ended.
    drain: Option<Drain>,
}

/// The scan of the bytes that arrive.
enum Scan {
    /// HTTP/2, whose heads h2 bounds, and whose timeout ends with the preface; with the bytes read since the task last yielded.
    H2(ControlFrameLimit, usize),
    /// HTTP/1.
    H1(Scanner),
    /// HTTP/1 after a violation: pingora reads these bytes, then nothing.
    Cut(&'static [u8]),
    /// HTTP/1 with another message behind the one being served. Up to so many bytes of it are discarded, and the connection ends with the
    /// response.
    Overrun(usize),
    /// None any more: the sender sends nothing more, or no more HTTP.
    Over,
}

impl fmt::Debug for ScannedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScannedStream")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl ScannedStream {
    /// Wraps a connection whose heads may have `max_head` bytes.
    pub(crate) fn new(
        io: Stream,
        info: ConnectionInfo,
        state: Arc<ConnectionState>,
        max_head: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        // h2 has a write buffer of its own
        let io = BufWriter::with_capacity(if h2 { 0 } else { WRITE_BUFFER }, io);
        Self {
            io,
            state,
            scan: if h2 {
                Scan::H2(ControlFrameLimit::default(), 0)
            } else {
                Scan::H1(Scanner::new(max_head))
            },
            head: Bytes::new(),
            ahead: Bytes::new(),
            clock,
            digest: info.clone().pack(),
            info,
            drain: None,
        }
    }

    /// Wraps an HTTP/1 connection of which `head` was read and judged already, and `ahead` has arrived behind it. All of `ahead` is judged at
    /// once: pingora may read less of it, and another message in it must be known before the response.
    pub(crate) fn resume(mut parts: H1Parts, head: Bytes, mut ahead: Bytes) -> Self {
        let behind = parts.judge_behind(&mut ahead);
        let stream = Self::new(parts.io, parts.info, parts.state, 0, parts.clock);
        Self {
            scan: match behind {
                Behind::Body => Scan::H1(parts.scanner),
                Behind::Other => Scan::Overrun(MAX_DRAINED),
                Behind::Cut(ending) => Scan::Cut(ending),
            },
            head,
            ahead,
            ..stream
        }
    }

    /// Returns the parts of an HTTP/1 connection after a request was served to its end; nothing if it cannot serve another one.
    pub(crate) fn into_parts(self) -> Option<H1Parts> {
        let Scan::H1(scanner) = self.scan else {
            return None;
        };
        let is_reusable = scanner.is_between()
            && self.head.is_empty()
            && self.ahead.is_empty()
            && self.io.buffer().is_empty()
            && !self.state.is_overrun();
        is_reusable.then(|| H1Parts {
            io: self.io.into_inner(),
            info: self.info,
            state: self.state,
            scanner,
            clock: self.clock,
        })
    }

    /// Gives out what was read already. Returns whether there was something.
    fn give_out(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let before = buf.filled().len();
        for from in [&mut self.head, &mut self.ahead] {
            let taken = from.split_to(from.len().min(buf.remaining()));
            buf.put_slice(&taken);
        }
        buf.filled().len() > before
    }

    /// Scans the bytes that arrived after `before`, and cuts off those that pingora must not read.
    fn scan_arrived(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let arrived = buf.filled().get(before..).unwrap_or_default();
        if arrived.is_empty() && buf.remaining() > 0 {
            self.scan = Scan::Over;
            return Ok(());
        }
        // over HTTP/2, the streams alone decide whether the connection is idle once the preface is there
        if !matches!(&self.scan, Scan::H2(limit, _) if limit.has_preface()) {
            self.state.arrive(|| self.clock.mono());
        }
        if self.state.switched.load(Ordering::Relaxed) {
            self.scan = Scan::Over;
        }
        match &mut self.scan {
            Scan::H2(limit, turn) => {
                *turn = turn.saturating_add(arrived.len());
                let had_preface = limit.has_preface();
                let scanned = limit.scan(arrived, || self.clock.mono());
                if limit.has_preface() && !had_preface {
                    self.state.end_request(self.clock.mono());
                }
                scanned.map_err(|TooManyFrames| io::Error::other("too many control frames"))
            }
            Scan::H1(scanner) => {
                let scanned = scanner.scan(arrived);
                let messages = scanner.messages();
                self.state.messages.store(messages, Ordering::Relaxed);
                if let Err(Cut { valid, ending, why }) = scanned {
                    self.state.violation.get_or_init(|| (messages, why));
                    buf.set_filled(before.saturating_add(valid));
                    self.scan = Scan::Cut(ending);
                }
                Ok(())
            }
            Scan::Cut(_) | Scan::Overrun(_) | Scan::Over => Ok(()),
        }
    }

    /// Returns what pingora reads after a cut. While an earlier request is being served, that is nothing: pingora checks whether the sender
    /// is still there, and must not read more of the request. The connection ends with the response.
    fn read_after_cut(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.state.is_cut_later() {
            Poll::Pending
        } else {
            Poll::Ready(self.replacement(buf))
        }
    }

    /// Returns the bytes that replace what was cut off, then an error. In a body there are none, only the error.
    fn replacement(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let Scan::Cut(ending) = &mut self.scan else {
            return Ok(());
        };
        if ending.is_empty() {
            return Err(io::Error::other("the framing is malformed"));
        }
        let (read, rest) = ending
            .split_at_checked(buf.remaining())
            .unwrap_or((ending, b""));
        buf.put_slice(read);
        *ending = rest;
        Ok(())
    }

    /// Returns whether the sender may still be sending bytes that no request will read.
    fn is_unread(&self) -> bool {
        match &self.scan {
            Scan::H1(scanner) => !scanner.is_between() || self.state.is_overrun(),
            Scan::Cut(_) | Scan::Overrun(_) => true,
            Scan::H2(..) | Scan::Over => false,
        }
    }

    /// Discards what the sender sends behind the request being served, within bounds, so that pingora notices when the sender leaves.
    fn poll_overrun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Scan::Overrun(left) = &mut self.scan else {
            return Poll::Pending;
        };
        ready!(poll_discard(&mut self.io, left, cx))?;
        // a sender that goes on sending is still there
        if *left == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl AsyncRead for ScannedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.give_out(buf) {
            return Poll::Ready(Ok(()));
        }
        match self.scan {
            Scan::Cut(_) => return self.read_after_cut(buf),
            Scan::Overrun(_) => return self.poll_overrun(cx),
            Scan::H2(..) | Scan::H1(_) | Scan::Over => {}
        }
        if let Scan::H2(_, turn) = &mut self.scan
            && *turn > H2_TURN_BYTES
        {
            *turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buf) else {
            if let Scan::H2(_, turn) = &mut self.scan {
                *turn = 0;
            }
            return Poll::Pending;
        };
        read?;
        self.scan_arrived(buf, before)?;
        match self.scan {
            Scan::Cut(_) if buf.filled().len() == before => self.read_after_cut(buf),
            Scan::Cut(_) | Scan::Overrun(_) | Scan::H2(..) | Scan::H1(_) | Scan::Over => {
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for ScannedStream {
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

    /// Flushes and ends our side, then discards what still arrives. pingora closes an HTTP/1 connection by this, not by [`Shutdown`].
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drain.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !self.is_unread() {
                return Poll::Ready(Ok(()));
            }
            self.drain = Some(Drain::new(MAX_DRAINED, DRAIN_TIMEOUT));
        }
        let this = &mut *self;
        let io = this.io.get_mut();
        let drained = this.drain.as_mut().map(|drain| drain.poll(io, cx));
        drained.unwrap_or(Poll::Ready(())).map(Ok)
    }
}

#[async_trait]
impl Shutdown for ScannedStream {
    async fn shutdown(&mut self) {
        // an error means that the other side has left
        AsyncWriteExt::shutdown(self).await.unwrap_or_default();
    }
}

impl UniqueID for ScannedStream {
    fn id(&self) -> UniqueIDType {
        self.io.get_ref().id()
    }
}

impl Ssl for ScannedStream {
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

impl GetTimingDigest for ScannedStream {
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

impl GetProxyDigest for ScannedStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }
}

impl GetSocketDigest for ScannedStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.io.get_mut().set_socket_digest(digest);
    }
}

impl Peek for ScannedStream {}

#[cfg(test)]
mod tests;
