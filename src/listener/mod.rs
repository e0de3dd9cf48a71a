//! Connections from accept to the bytes of a request: limits, TLS, the PROXY protocol, and the scan of each byte before pingora reads it.
pub(crate) mod accept;
pub mod client_address;
pub(crate) mod connection_limits;
pub(crate) mod connection_state;
mod discard;
pub mod framing;
pub(crate) mod h1_connection;
mod h1_parts;
mod h2_frame_limit;
pub(crate) mod peer;
pub mod proxy_protocol;
pub(crate) mod scanned_stream;
pub(crate) mod unix;
