//! Reads the answer of an exchange, and says when its connection may be used again.
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::AsyncReadExt as _;

use super::answer_body::{Framing, Malformed};
use super::answer_head::{BadHead, Head, Search, announces_content, has_no_content};
use super::pool::{Connection, Pool};
use crate::arriving;
use crate::delivery::{BodyPieces, Fault, Pending};

/// The most interim answers before the final one.
const MAX_INTERIM: usize = 64;
/// The most bytes that are read at once for a body.
const BODY_READ: usize = 64 * 1024;

/// The reason for which there is no response head.
pub(super) enum Early {
    /// The connection was closed or reset before any byte.
    Dead,
    /// Anything else.
    Fault(Fault),
}

/// The head of a final answer.
pub(super) struct Final {
    pub(super) head: Head,
    /// Whether the end of the answer is certain. It is not where a head that has no content announces some: a body may follow, and it
    /// would be read as the next answer.
    pub(super) is_certain: bool,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<BadHead> for Fault {
    fn from(why: BadHead) -> Self {
        match why {
            BadHead::Malformed => Self::Malformed,
            BadHead::TooLarge => Self::TooLarge,
        }
    }
}

/// Reads heads up to the first that is not interim; all of them have at most `max` bytes together. The bytes behind it stay in `bytes`.
pub(super) async fn final_head(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    max: usize,
) -> Result<Final, Early> {
    let mut is_certain = true;
    let mut search = Search::new(max);
    for interim in 0..=MAX_INTERIM {
        let head = match head(stream, bytes, &mut search).await {
            Err(Early::Dead) if interim > 0 => return Err(Early::Fault(Fault::Reset)),
            head => head?,
        };
        is_certain &= !(has_no_content(head.status) && announces_content(&head.headers));
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS => return Err(Early::Fault(Fault::Malformed)),
            status if status.is_informational() => {}
            status if status.as_u16() > 599 => return Err(Early::Fault(Fault::Malformed)),
            _ => return Ok(Final { head, is_certain }),
        }
    }
    Err(Early::Fault(Fault::Malformed))
}

/// Reads one head.
async fn head(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    search: &mut Search,
) -> Result<Head, Early> {
    let mut has_arrived = !bytes.is_empty();
    loop {
        if !bytes.is_empty() {
            let found = search.take(bytes);
            if let Some(head) = found.map_err(|why| Early::Fault(why.into()))? {
                return Ok(head);
            }
        }
        match arriving::read(stream, bytes).await {
            Ok(1..) => has_arrived = true,
            // the connection ended while it was idle; an error of TLS is no sign of that, and has no number
            Ok(0) if !has_arrived => return Err(Early::Dead),
            Err(error) if !has_arrived && error.raw_os_error().is_some() => {
                return Err(Early::Dead);
            }
            Ok(0) | Err(_) => return Err(Early::Fault(Fault::Reset)),
        }
    }
}

/// The rest of a response. Its connection returns to the pool after a complete exchange, and is closed otherwise.
pub(super) struct Rest {
    /// Nothing once the connection is in the pool or closed.
    pub(super) open: Option<Open>,
    pub(super) deadline: Instant,
}

/// A connection on which the rest of a response arrives.
pub(super) struct Open {
    pub(super) connection: Connection,
    /// The bytes that have arrived.
    pub(super) bytes: BytesMut,
    pub(super) framing: Framing,
    pub(super) peer: Arc<HttpPeer>,
    pub(super) pool: Arc<Pool>,
    pub(super) idle: Duration,
    /// Whether the connection may be used again after the body: all of the request was sent, the end of the answer is certain, and the
    /// upstream keeps the connection open.
    pub(super) is_reusable: bool,
}

impl Rest {
    /// Returns the next piece that has arrived already. Gives the connection back together with the last one.
    ///
    /// # Errors
    /// The rest of the body is malformed; the next call returns the same.
    pub(super) fn arrived(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let piece = open.framing.take(&mut open.bytes)?;
        if open.framing.is_over()
            && let Some(open) = self.open.take()
            // an app that sends more than its answer may go on
            && open.is_reusable
            && open.bytes.is_empty()
        {
            open.pool.put(open.connection, open.peer, open.idle);
        }
        Ok(piece)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(piece) = self.arrived()? {
                return Ok(Some(piece));
            }
            let Some(open) = &mut self.open else {
                return Ok(None);
            };
            let is_until_close = open.framing == Framing::UntilClose;
            let read = open.read(self.deadline).await;
            match read.ok_or(Fault::Timeout)? {
                Ok(1..) => {}
                Ok(0) if is_until_close => {
                    self.open = None;
                    return Ok(None);
                }
                Ok(0) | Err(_) => return Err(Fault::Reset),
            }
        }
    }
}

impl Open {
    /// Reads more bytes; nothing if `deadline` passed.
    async fn read(&mut self, deadline: Instant) -> Option<io::Result<usize>> {
        self.bytes.reserve(self.framing.expected().min(BODY_READ));
        let Connection { stream, timer } = &mut self.connection;
        timer
            .within(deadline, stream.read_buf(&mut self.bytes))
            .await
    }
}

impl BodyPieces for Rest {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        Box::pin(async {
            let piece = self.piece().await;
            if piece.is_err() {
                self.open = None;
            }
            piece
        })
    }

    fn is_over(&self) -> bool {
        self.open.is_none()
    }
}

#[cfg(test)]
mod tests;
