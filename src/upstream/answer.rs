//! Reads the answer of an exchange, and says when its connection may be used again.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorType, RetryType};

use super::pool::Pool;
use crate::clock::within;
use crate::delivery::{AnswerBody, Fault, Pending};

/// The reason for which there is no response head.
pub(super) enum Early {
    /// The connection was closed or reset before any byte.
    Dead,
    /// Anything else.
    Fault(Fault),
}

/// The head of a final answer.
pub(super) struct Final {
    pub(super) status: StatusCode,
    /// Whether the end of the answer is certain. It is not where a head that has no content announces some: a body may follow, and it
    /// would be read as the next answer.
    pub(super) is_certain: bool,
}

/// Returns whether answers with this status have no content, whatever they announce.
pub fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Returns whether a head announces content: a length above 0, or a transfer coding.
pub fn announces_content(headers: &HeaderMap) -> bool {
    let is_zero = |length: &HeaderValue| {
        length
            .as_bytes()
            .trim_ascii()
            .iter()
            .all(|digit| *digit == b'0')
    };
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| !is_zero(length))
}

/// Reads heads up to the first that is not interim.
pub(super) async fn final_head(session: &mut HttpSession) -> Result<Final, Early> {
    let (mut interim, mut is_certain) = (false, true);
    loop {
        if let Err(error) = session.read_response().await {
            // pingora tells this from a connection that broke within the head by its words alone.
            let nothing = error
                .context
                .as_ref()
                .is_some_and(|context| context.as_str().ends_with("bytes already read: 0"));
            let dead = matches!(error.retry, RetryType::ReusedOnly) && nothing && !interim;
            return Err(if dead {
                Early::Dead
            } else {
                Early::Fault(fault(&error.etype))
            });
        }
        let announces = session
            .resp_header()
            .is_some_and(|head| announces_content(&head.headers));
        is_certain &= !(announces && session.get_status().is_some_and(has_no_content));
        match session.get_status() {
            Some(StatusCode::SWITCHING_PROTOCOLS) | None => {
                return Err(Early::Fault(Fault::Malformed));
            }
            Some(status) if status.is_informational() => interim = true,
            Some(status) if status.as_u16() > 599 => return Err(Early::Fault(Fault::Malformed)),
            Some(status) => return Ok(Final { status, is_certain }),
        }
    }
}

fn fault(error: &ErrorType) -> Fault {
    if matches!(
        error,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    ) {
        return Fault::Reset;
    }
    if matches!(error, ErrorType::ReadTimedout | ErrorType::WriteTimedout) {
        Fault::Timeout
    } else {
        Fault::Malformed
    }
}

/// The rest of a response. Its connection returns to the pool after a complete exchange, and is closed otherwise.
pub(super) struct Rest {
    pub(super) open: Option<Open>,
    pub(super) deadline: Instant,
}

pub(super) struct Open {
    pub(super) session: HttpSession,
    pub(super) peer: Arc<HttpPeer>,
    pub(super) pool: Arc<Pool>,
    pub(super) idle: Duration,
    /// Whether all of the request was sent, and the end of the answer is certain.
    pub(super) whole: bool,
}

impl Rest {
    pub(super) async fn release_if_done(&mut self) {
        let Some(mut open) = self.open.take_if(|open| open.session.is_body_done()) else {
            return;
        };
        open.session.respect_keepalive();
        if !open.whole || !open.session.will_keepalive() {
            return;
        }
        if let Some(stream) = open.session.reuse().await {
            open.pool.put(stream, open.peer, open.idle);
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        while let Some(open) = &mut self.open {
            let read = within(self.deadline, open.session.read_body_bytes()).await;
            match read {
                Ok(Ok(piece)) => {
                    self.release_if_done().await;
                    match piece {
                        Some(piece) if piece.is_empty() => {}
                        Some(piece) => return Ok(Some(piece)),
                        None => self.open = None,
                    }
                }
                Ok(Err(error)) => {
                    self.open = None;
                    return Err(fault(&error.etype));
                }
                Err(_) => {
                    self.open = None;
                    return Err(Fault::Timeout);
                }
            }
        }
        Ok(None)
    }
}

impl AnswerBody for Rest {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        Box::pin(self.piece())
    }

    fn is_over(&self) -> bool {
        self.open.is_none()
    }
}
