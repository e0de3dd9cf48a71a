//! An HTTP/1 connection of the gateway's own server: heads, bodies and responses, without pingora.
//!
//! The scanner of [`framing`] judges each byte that arrives and notes where the parts of a head are. Nothing else parses a head: what was
//! judged is what the gateway uses. A request that pingora has to serve is handed over with its connection, and pingora then reads the very
//! bytes that were judged ([`H1Connection::into_stream`]); after its response the connection comes back.
//!
//! A connection that waits for its next request holds no buffer.
//!
//! [`framing`]: crate::listener::framing
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

use crate::clock::{Clock, within};
use crate::listener::connection_state::ConnectionState;
use crate::listener::framing::{Cut, HeadSpans, Scanner, Span, Violation};
use crate::listener::h1_parts::H1Parts;
use crate::listener::peer::{ConnectionInfo, JudgedRequest};
use crate::listener::scanned_stream::{DRAIN_TIMEOUT, MAX_DRAINED, ScannedStream};

/// The most bytes of one read, but for bodies of declared size.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    /// The buffer that bytes arrive in. What is read is copied to a buffer of its size, so that a connection that waits holds none.
    static ARRIVING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// An HTTP/1 connection.
pub(crate) struct H1Connection {
    io: Stream,
    info: ConnectionInfo,
    state: Arc<ConnectionState>,
    scanner: Scanner,
    clock: Arc<dyn Clock>,
    /// The bytes that have arrived and were not taken yet.
    arrived: BytesMut,
    /// Whether a message was cut off: nothing is read after it.
    is_cut: bool,
}

/// A head that has arrived.
#[derive(Debug)]
pub(crate) struct ArrivedHead {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// The parts of it. Those of a head with a violation end where it was cut.
    pub(crate) spans: HeadSpans,
    /// The violation for which it was cut.
    pub(crate) violation: Option<Violation>,
}

impl ArrivedHead {
    /// Returns the method; `-` if the head was cut before it.
    pub(crate) fn method(&self) -> Option<Method> {
        Method::from_bytes(self.spans.method.of(&self.bytes))
            .or_else(|_| Method::from_bytes(b"-"))
            .ok()
    }

    /// Returns the target, byte for byte; `/` if the head was cut before it.
    pub(crate) fn target(&self) -> Bytes {
        if self.spans.target.of(&self.bytes).is_empty() {
            Bytes::from_static(b"/")
        } else {
            self.spans.target.share(&self.bytes)
        }
    }

    /// Returns the header lines that have ended. Their values share the bytes of the head. `None` for bytes that are no header lines, which
    /// the scanner lets through nowhere.
    pub(crate) fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(self.spans.lines.len());
        for (name, value) in &self.spans.lines {
            let name = HeaderName::from_bytes(name.of(&self.bytes)).ok()?;
            let value = HeadSpans::value(*value, &self.bytes);
            let value = HeaderValue::from_maybe_shared(value.share(&self.bytes)).ok()?;
            headers.append(name, value);
        }
        Some(headers)
    }
}

/// The body broke off: its framing is malformed, or the sender has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl fmt::Debug for H1Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Connection")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl H1Connection {
    /// Takes a connection whose heads may have `max_head` bytes.
    pub(crate) fn new(
        io: Stream,
        info: ConnectionInfo,
        state: Arc<ConnectionState>,
        max_head: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::of(H1Parts {
            io,
            info,
            state,
            scanner: Scanner::new(max_head),
            clock,
        })
    }

    /// Takes a connection back from pingora; nothing if it cannot serve another request.
    pub(crate) fn take_back(stream: ScannedStream) -> Option<Self> {
        stream.into_parts().map(Self::of)
    }

    fn of(parts: H1Parts) -> Self {
        let H1Parts {
            io,
            info,
            state,
            scanner,
            clock,
        } = parts;
        Self {
            io,
            info,
            state,
            scanner,
            clock,
            arrived: BytesMut::new(),
            is_cut: false,
        }
    }

    /// Returns the facts about the connection.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Returns the state of the connection.
    pub(crate) fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// Returns whether the connection is TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.io.get_ssl_digest().is_some()
    }

    /// Waits for the next head. Returns nothing if the sender has left before its end.
    pub(crate) async fn head(&mut self) -> Option<ArrivedHead> {
        let mut scanned = 0;
        loop {
            let bytes = self.arrived.get(scanned..).unwrap_or_default();
            if !bytes.is_empty() {
                self.state.arrive(|| self.clock.mono());
                match self.scanner.advance(bytes, &mut |_| {}) {
                    Ok(step) => {
                        scanned += step.used;
                        if let Some(spans) = step.head {
                            return Some(self.take_head(scanned, spans, None));
                        }
                    }
                    Err(Cut { valid, why, .. }) => {
                        self.cut(why);
                        let end = scanned.saturating_add(valid);
                        let spans = self.scanner.spans_so_far().map(|spans| ended(spans, end));
                        return Some(self.take_head(end, spans.unwrap_or_default(), Some(why)));
                    }
                }
            }
            if self.read().await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn take_head(
        &mut self,
        end: usize,
        spans: HeadSpans,
        violation: Option<Violation>,
    ) -> ArrivedHead {
        self.state
            .messages
            .store(self.scanner.messages(), Ordering::Relaxed);
        ArrivedHead {
            bytes: self.arrived.split_to(end).freeze(),
            spans,
            violation,
        }
    }

    /// Returns the next bytes of the body, never an empty chunk; nothing after the last.
    ///
    /// # Errors
    /// The body broke off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if self.is_cut {
                return Err(Broken);
            }
            if self.scanner.is_between() {
                return Ok(None);
            }
            if self.arrived.is_empty() && self.read().await.unwrap_or(0) == 0 {
                self.is_cut = true;
                return Err(Broken);
            }
            let is_sized = self.scanner.sized_left().is_some();
            let mut data = BytesMut::new();
            let scanned = self
                .scanner
                .advance(&self.arrived, &mut |piece| data.extend_from_slice(piece));
            match scanned {
                Ok(step) => {
                    let taken = self.arrived.split_to(step.used);
                    let chunk = if is_sized { taken } else { data };
                    if !chunk.is_empty() {
                        return Ok(Some(chunk.freeze()));
                    }
                }
                Err(Cut { why, .. }) => self.cut(why),
            }
        }
    }

    /// Returns whether bytes of the body can be read into a buffer: its size is declared, and nothing of it has arrived and was not taken.
    pub(crate) fn can_read_into(&self) -> bool {
        self.arrived.is_empty() && !self.is_cut && self.scanner.sized_left().is_some()
    }

    /// Reads bytes of a body of declared size into `room`, which must not be larger than what is left of it. Returns how many.
    ///
    /// # Errors
    /// The sender has left.
    pub(crate) async fn read_into(
        &mut self,
        room: &mut (impl BufMut + Send),
    ) -> Result<usize, Broken> {
        let left = self
            .scanner
            .sized_left()
            .and_then(|left| usize::try_from(left).ok());
        let mut room = room.limit(left.unwrap_or(usize::MAX));
        let read = self.io.read_buf(&mut room).await.unwrap_or(0);
        if read == 0 {
            self.is_cut = true;
            return Err(Broken);
        }
        self.scanner.skip_body(read);
        Ok(read)
    }

    /// Returns whether the message was read to its end, and nothing that follows it has arrived together with it.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.scanner.is_between() && self.arrived.is_empty() && !self.is_cut
    }

    /// Writes bytes, and sends them.
    ///
    /// # Errors
    /// The sender has left.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Lets the connection wait for its next request.
    pub(crate) fn wait(&mut self) {
        self.arrived = BytesMut::new();
        self.state.end_request(self.clock.mono());
    }

    /// Closes the connection in good order: ends our side, then discards what the sender still sends of a message that was not read to its
    /// end. Closing at once would reset the connection, and the reset could arrive before the response.
    pub(crate) async fn close(mut self) {
        let deadline = self.clock.mono() + DRAIN_TIMEOUT;
        let closed = async {
            // an error means that the other side has left. TLS writes here, and waits for a sender that does not read
            if self.io.shutdown().await.is_err() || self.is_at_boundary() {
                return;
            }
            let mut left = MAX_DRAINED;
            while left > 0 {
                self.arrived.clear();
                match self.read().await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        };
        // the connection ends either way
        within(deadline, closed).await.unwrap_or_default();
    }

    /// Hands the connection over to pingora, which reads these bytes of a head first. They were judged as `request`.
    pub(crate) fn into_stream(self, head: Bytes, request: JudgedRequest) -> ScannedStream {
        let info = ConnectionInfo {
            judged: Some(Arc::new(request)),
            ..self.info
        };
        let parts = H1Parts {
            io: self.io,
            info,
            state: self.state,
            scanner: self.scanner,
            clock: self.clock,
        };
        ScannedStream::resume(parts, head, self.arrived.freeze())
    }

    /// Notes a violation in the message being read.
    fn cut(&mut self, why: Violation) {
        self.is_cut = true;
        let message = self.scanner.messages();
        self.state.violation.get_or_init(|| (message, why));
    }

    /// Reads what has arrived, at least one byte; zero once the sender sends no more.
    async fn read(&mut self) -> io::Result<usize> {
        let Self { io, arrived, .. } = self;
        poll_fn(|context| {
            ARRIVING.with_borrow_mut(|buffer| {
                let mut buf = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *io).poll_read(context, &mut buf))?;
                arrived.extend_from_slice(buf.filled());
                Poll::Ready(Ok(buf.filled().len()))
            })
        })
        .await
    }
}

/// Returns the parts of a head that was cut at `end`. A part that had begun ends there.
fn ended(spans: &HeadSpans, end: usize) -> HeadSpans {
    let close = |span: Span| {
        if span.end < span.start || span.end == 0 {
            Span {
                start: span.start,
                end,
            }
        } else {
            span
        }
    };
    let method = close(spans.method);
    // a target that has not begun has the position of the method
    let target = if spans.target.start == 0 {
        Span::default()
    } else {
        close(spans.target)
    };
    HeadSpans {
        method,
        target,
        ..spans.clone()
    }
}

#[cfg(test)]
mod tests;
