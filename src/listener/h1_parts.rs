//! The parts of an HTTP/1 connection that one server hands over to the other.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pingora::protocols::Stream;

use crate::clock::Clock;
use crate::listener::connection_state::ConnectionState;
use crate::listener::framing::{Cut, Scanner};
use crate::listener::peer::ConnectionInfo;

/// The parts of an HTTP/1 connection that passes from one server to the other.
pub(crate) struct H1Parts {
    /// The connection itself, TLS or plain.
    pub(crate) io: Stream,
    /// The facts about the connection.
    pub(crate) info: ConnectionInfo,
    /// Its state.
    pub(crate) state: Arc<ConnectionState>,
    /// The scan of what arrives.
    pub(crate) scanner: Scanner,
    /// The monotonic clock.
    pub(crate) clock: Arc<dyn Clock>,
}

/// The end of the bytes that had arrived behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// They are bytes of the body, or there are none.
    Body,
    /// Another message began in them.
    Other,
    /// They violate the framing. These bytes complete the message.
    Cut(&'static [u8]),
}

impl H1Parts {
    /// Judges the bytes that have arrived behind a head, and keeps those of its body. Notes in the state another message, or a violation.
    pub(crate) fn judge_behind(&mut self, bytes: &mut Bytes) -> Behind {
        let mut judged = 0;
        let behind = loop {
            let rest = bytes.get(judged..).unwrap_or_default();
            if rest.is_empty() {
                break Behind::Body;
            }
            let messages = self.scanner.messages();
            if self.scanner.is_between() {
                self.state.messages.store(messages + 1, Ordering::Relaxed);
                break Behind::Other;
            }
            match self.scanner.advance(rest, &mut |_| {}) {
                Ok(step) => judged += step.used,
                Err(Cut { valid, ending, why }) => {
                    self.state.violation.get_or_init(|| (messages, why));
                    judged += valid;
                    break Behind::Cut(ending);
                }
            }
        };
        bytes.truncate(judged);
        behind
    }
}
