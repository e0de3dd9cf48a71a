//! Doors for the fuzz targets to readers that nothing else outside calls.
use std::net::SocketAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::request::Client;

/// The client of a request from `peer`, as the edge finds it.
pub fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    super::client::client(peer, headers, trusted)
}
