//! Doors for the fuzz targets to readers that nothing else outside calls.
use std::net::SocketAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::config::snapshot::TrustedProxies;
use crate::gateway::client::{self, Peer};
use crate::request::Client;

/// The client of a request from `peer`, as the edge finds it.
pub fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let peer = peer.map_or(Peer::Unix, |peer| Peer::Direct(peer.ip()));
    client::client(peer, headers, &TrustedProxies { networks: trusted.to_vec(), unix: false })
}
