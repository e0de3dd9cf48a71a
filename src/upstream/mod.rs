//! The upstreams. Every caller sends a delivery by the same client: a request, the queue, a replay, a command.
//!
//! [`render`] builds the request (pure), [`client`] sends it, [`breaker`] decides when not to send (pure, takes `now`), [`resolve`] finds
//! the address off the request path, [`switch`] cuts connections that pingora itself streams on. [`outside`] calls URLs that are no upstream
//! of the config, at addresses that [`egress`] has checked.
mod answer;
mod answer_body;
mod answer_head;
pub mod breaker;
pub mod client;
mod connect_fault;
mod dial;
pub mod egress;
mod exchange;
pub mod fetch;
pub mod outside;
mod pool;
pub mod render;
mod request_bytes;
pub mod resolve;
pub mod switch;
mod trust;
mod wire;

use bytes::Bytes;
use http::Method;

pub use crate::headers::Lines;

/// A request as an upstream gets it.
#[derive(Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query, raw; begins with `/`.
    pub target: Bytes,
    /// The header lines in the order they are sent, `Host` and `Content-Length` among them.
    pub headers: Lines,
    /// The body, as long as `Content-Length` says.
    pub body: Bytes,
}

impl std::fmt::Debug for Outgoing {
    /// Shows neither query nor header values: either may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self
            .target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("path", &String::from_utf8_lossy(path))
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}
