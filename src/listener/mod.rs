//! Connections from accept to the bytes of a request: limits, TLS, the PROXY protocol, and the scan of each byte before pingora reads it.
pub mod accept;
pub mod client_address;
pub mod connection_limits;
pub mod connection_state;
pub mod framing;
pub mod h2_frame_limit;
pub mod peer;
pub mod proxy_protocol;
pub mod scanned_stream;
pub mod unix;
