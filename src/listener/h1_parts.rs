//! The parts of an HTTP/1 connection that one server hands over to the other.
use std::sync::Arc;

use pingora::protocols::Stream;

use crate::clock::Clock;
use crate::listener::connection_state::ConnectionState;
use crate::listener::framing::Scanner;
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
