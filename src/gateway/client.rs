//! Who sent a request: the peer, or the address that a trusted proxy tells.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::request::Client;

/// The client of a request from `peer`: the rightmost `X-Forwarded-For` address that is not a trusted proxy, if `peer` is one.
/// What is no address ends the walk, and the last good one counts. A peer without an address (a unix socket) is 0.0.0.0 and nobody's own.
pub(super) fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let Some(peer) = peer.map(|peer| peer.ip().to_canonical()) else {
        return Client { ip: Ipv4Addr::UNSPECIFIED.into(), own: false, behind_trusted_proxy: false };
    };
    if !is_in(trusted, peer) {
        return Client { ip: peer, own: is_public(peer), behind_trusted_proxy: false };
    }
    let mut last_good = None;
    for told in forwarded_for(headers) {
        let Some(told) = told else { break };
        last_good = Some(told);
        if !is_in(trusted, told) {
            break;
        }
    }
    Client { ip: last_good.unwrap_or(peer), own: last_good.is_some(), behind_trusted_proxy: true }
}

/// Whether one of the networks holds the address.
pub(super) fn is_in(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

/// The addresses of all `X-Forwarded-For` lines, joined in order, from the right; `None` for what is no address.
fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    lines.into_iter().rev().flat_map(|line| match line.to_str() {
        Ok(line) => line.rsplit(',').map(address).collect::<Vec<_>>(),
        Err(_) => vec![None],
    })
}

/// An address with or without port, brackets or blanks; an IPv4 address mapped into IPv6 counts as IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip: Option<IpAddr> = text.parse().ok().or_else(bare).or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    ip.map(|ip| ip.to_canonical())
}

/// Whether the address is nobody else's: not loopback, private, shared (RFC 6598), link-local or unique local.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], ip: &str, own: bool) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let found = client(Some(peer.parse().unwrap()), &headers, &trusted);
        assert_eq!((found.ip, found.own), (ip.parse().unwrap(), own));
    }

    #[test]
    fn who_sent_it() {
        check("198.51.100.7:1", &["203.0.113.9"], "198.51.100.7", true);
        check("127.0.0.1:1", &[], "127.0.0.1", false);
        check("100.64.0.1:1", &[], "100.64.0.1", false);
        check("10.0.0.1:1", &[], "10.0.0.1", false);
        check("10.0.0.1:1", &["203.0.113.9"], "203.0.113.9", true);
        check("10.0.0.1:1", &["1.1.1.1, 203.0.113.9, 10.2.2.2"], "203.0.113.9", true);
        check("10.0.0.1:1", &["1.1.1.1", "203.0.113.9:443", "10.2.2.2"], "203.0.113.9", true);
        check("10.0.0.1:1", &["1.1.1.1, nonsense, 10.2.2.2"], "10.2.2.2", true);
        check("10.0.0.1:1", &["1.1.1.1, unknown"], "10.0.0.1", false);
        check("10.0.0.1:1", &["::ffff:203.0.113.9"], "203.0.113.9", true);
        check("10.0.0.1:1", &["[2001:db8::1]:99"], "2001:db8::1", true);
        check("[::ffff:10.0.0.1]:1", &["[2001:db8::1]"], "2001:db8::1", true);
    }
}
