//! An HTTP/1 connection of the gateway's own server: heads, bodies and responses, without pingora.
//!
//! The scanner of [`framing`] judges each byte that arrives and notes where the parts of a head are. Nothing else parses a head: the
//! gateway uses exactly the bytes that it judged. A request that pingora has to serve is handed over with its connection, and pingora then reads the very
//! bytes that were judged ([`H1Connection::into_stream`]); after its response the connection comes back.
//!
//! A connection that waits for its next request holds no buffer.
//!
//! [`framing`]: crate::listener::framing
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::arriving;
use crate::clock::within;
use crate::listener::connection_state::ConnectionState;
use crate::listener::framing::{Cut, HeadSpans, Violation};
use crate::listener::h1_parts::H1Parts;
use crate::listener::peer::{ConnectionInfo, JudgedRequest};
use crate::listener::scanned_stream::{DRAIN_TIMEOUT, MAX_DRAINED, ScannedStream};
use crate::request::{HeaderLines, Span};

/// An HTTP/1 connection.
pub(crate) struct H1Connection {
    parts: H1Parts,
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
    /// Its parts. In a head with a violation they end where it was cut.
    pub(crate) spans: HeadSpans,
    /// The violation for which it was cut.
    pub(crate) violation: Option<Violation>,
}

impl ArrivedHead {
    /// Returns the method; `-` if the head was cut before it.
    pub(crate) fn method(&self) -> Method {
        Method::from_bytes(self.spans.method.of(&self.bytes))
            .or_else(|_| Method::from_bytes(b"-"))
            .unwrap_or_default()
    }

    /// Returns the target, byte for byte; `/` if the head was cut before it.
    pub(crate) fn target(&self) -> Bytes {
        if self.spans.target.of(&self.bytes).is_empty() {
            Bytes::from_static(b"/")
        } else {
            self.spans.target.share(&self.bytes)
        }
    }

    /// Takes the header lines that have ended. Their values share the bytes of the head. `None` for bytes that could end a
    /// name or a value, which the scanner lets through nowhere.
    pub(crate) fn take_headers(&mut self) -> Option<HeaderLines> {
        HeaderLines::of_head(self.bytes.clone(), std::mem::take(&mut self.spans.lines))
    }
}

/// The body broke off: its framing is malformed, or the sender has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl fmt::Debug for H1Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Connection")
            .field("state", &self.parts.state)
            .finish_non_exhaustive()
    }
}

impl H1Connection {
    /// Takes a connection that waits for a request.
    pub(crate) fn new(parts: H1Parts) -> Self {
        Self {
            parts,
            arrived: BytesMut::new(),
            is_cut: false,
        }
    }

    /// Takes a connection back from pingora; nothing if it cannot serve another request.
    pub(crate) fn take_back(stream: ScannedStream) -> Option<Self> {
        stream.into_parts().map(Self::new)
    }

    /// Takes one end of a pipe, for tests.
    #[cfg(test)]
    pub(crate) fn over(io: tokio::io::DuplexStream) -> Self {
        use crate::clock::{Clock as _, SystemClock};
        use crate::listener::client_address::Peer;
        use crate::listener::framing::Scanner;

        let state = Arc::new(ConnectionState::new(SystemClock.mono()));
        let info = ConnectionInfo {
            peer: Peer::Unix,
            certificate: None,
            state: Some(Arc::clone(&state)),
            streams: None,
            judged: None,
        };
        Self::new(H1Parts {
            io: Box::new(io),
            info,
            state,
            scanner: Scanner::new(8192),
            clock: Arc::new(SystemClock),
        })
    }

    /// Returns the facts about the connection.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.parts.info
    }

    /// Returns the state of the connection.
    pub(crate) fn state(&self) -> &ConnectionState {
        &self.parts.state
    }

    /// Returns whether the connection is TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.parts.io.get_ssl_digest().is_some()
    }

    /// Waits for the next head. Returns nothing if the sender has left before its end.
    pub(crate) async fn head(&mut self) -> Option<ArrivedHead> {
        let mut scanned = 0;
        loop {
            let bytes = self.arrived.get(scanned..).unwrap_or_default();
            if !bytes.is_empty() {
                self.parts.state.arrive(|| self.parts.clock.mono());
                match self.parts.scanner.advance(bytes, &mut |_| {}) {
                    Ok(step) => {
                        scanned += step.used;
                        if let Some(spans) = step.head {
                            return Some(self.take_head(scanned, spans, None));
                        }
                    }
                    Err(Cut { valid, why, .. }) => {
                        self.cut(why);
                        let end = scanned.saturating_add(valid);
                        let spans = self
                            .parts
                            .scanner
                            .spans_so_far()
                            .map(|spans| ended(spans, end));
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
        self.parts
            .state
            .messages
            .store(self.parts.scanner.messages(), Ordering::Relaxed);
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
            if self.parts.scanner.is_between() {
                return Ok(None);
            }
            if self.arrived.is_empty() && self.read().await.unwrap_or(0) == 0 {
                self.is_cut = true;
                return Err(Broken);
            }
            let is_sized = self.parts.scanner.sized_left().is_some();
            let mut data = BytesMut::new();
            let scanned = self.parts.scanner.advance(&self.arrived, &mut |piece| {
                if !is_sized {
                    data.extend_from_slice(piece);
                }
            });
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
        self.arrived.is_empty() && !self.is_cut && self.parts.scanner.sized_left().is_some()
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
            .parts
            .scanner
            .sized_left()
            .and_then(|left| usize::try_from(left).ok());
        let mut room = room.limit(left.unwrap_or(usize::MAX));
        let read = self.parts.io.read_buf(&mut room).await.unwrap_or(0);
        if read == 0 {
            self.is_cut = true;
            return Err(Broken);
        }
        self.parts.scanner.skip_body(read);
        Ok(read)
    }

    /// Returns whether the message was read to its end, and nothing that follows it has arrived together with it.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.parts.scanner.is_between() && self.arrived.is_empty() && !self.is_cut
    }

    /// Writes bytes, and sends them.
    ///
    /// # Errors
    /// The sender has left.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.parts.io.write_all(bytes).await?;
        self.parts.io.flush().await
    }

    /// Lets the connection wait for its next request.
    pub(crate) fn wait(&mut self) {
        self.arrived = BytesMut::new();
        self.parts.state.end_request(self.parts.clock.mono());
    }

    /// Closes the connection in good order: ends our side, then discards what the sender still sends of a message that was not read to its
    /// end. Closing at once would reset the connection, and the reset could arrive before the response.
    pub(crate) async fn close(mut self: Box<Self>) {
        let deadline = self.parts.clock.mono() + DRAIN_TIMEOUT;
        let closed = async {
            // an error means that the other side has left. TLS writes here, and waits for a sender that does not read
            if self.parts.io.shutdown().await.is_err() || self.is_at_boundary() {
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
        let mut parts = self.parts;
        parts.info.judged = Some(Arc::new(request));
        ScannedStream::resume(parts, head, self.arrived.freeze())
    }

    /// Notes a violation in the message being read.
    fn cut(&mut self, why: Violation) {
        self.is_cut = true;
        let message = self.parts.scanner.messages();
        self.parts.state.violation.get_or_init(|| (message, why));
    }

    /// Reads what has arrived, at least one byte; zero once the sender sends no more.
    async fn read(&mut self) -> io::Result<usize> {
        arriving::read(&mut self.parts.io, &mut self.arrived).await
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
