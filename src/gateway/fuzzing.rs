//! Doors for the fuzz targets to readers that nothing else outside calls.
use std::net::SocketAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::config::snapshot::TrustedProxies;
use crate::listener::client_address::{self, Peer};
use crate::listener::framing::Scanner;
use crate::listener::proxy_protocol::{self, Progress};
use crate::request::Client;

/// The client of a request from `peer`, as the edge finds it.
pub fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let peer = peer.map_or(Peer::UNKNOWN, |peer| Peer::Direct(peer.ip()));
    client_address::client(
        peer,
        headers,
        &TrustedProxies {
            networks: trusted.to_vec(),
            unix: false,
        },
    )
}

/// What the parser gets to see of a connection that comes in these pieces: the bytes, whether they were cut there, and how many messages began.
pub fn scan<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
    max_head: usize,
) -> (Vec<u8>, bool, u64) {
    let mut scanner = Scanner::new(max_head);
    let mut seen = Vec::new();
    for piece in pieces {
        match scanner.scan(piece) {
            Ok(()) => seen.extend_from_slice(piece),
            Err(cut) => {
                seen.extend_from_slice(piece.get(..cut.kept).unwrap_or_default());
                seen.extend_from_slice(cut.instead);
                return (seen, true, scanner.messages());
            }
        }
    }
    (seen, false, scanner.messages())
}

/// What the beginning of a connection says by the PROXY protocol: how many bytes are missing for certain, or the address; `None` if it is no header.
pub fn proxy(bytes: &[u8]) -> Option<Result<Option<SocketAddr>, usize>> {
    match proxy_protocol::read(bytes).ok()? {
        Progress::More(count) => Some(Err(count)),
        Progress::Done(told) => Some(Ok(told)),
    }
}
