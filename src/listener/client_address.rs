//! The client of a request: the peer, or the address that a trusted proxy reports.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderName;

use crate::address::{self, Class};
use crate::config::snapshot::TrustedProxies;
use crate::request::{Client, HeaderLines};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The address that the connection comes from.
    Direct(IpAddr),
    /// The address that a trusted proxy reports by the PROXY protocol.
    Proxied(IpAddr),
    /// A process of this machine, on a unix socket.
    Unix,
}

impl Peer {
    /// An unknown peer. Its address (0.0.0.0) identifies no single client, and its headers are not trusted.
    pub(crate) const UNKNOWN: Self = Self::Direct(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// Returns whether the peer is a trusted proxy.
    pub(crate) fn is_trusted(self, trusted: &TrustedProxies) -> bool {
        match self {
            Self::Direct(ip) | Self::Proxied(ip) => trusted.has(ip.to_canonical()),
            Self::Unix => trusted.unix,
        }
    }

    /// Returns the network whose connections count as one client: an IPv4 address or an IPv6 /64. `None` for a trusted proxy or a unix
    /// socket, which many clients share.
    pub(crate) fn counted_as(self, trusted: &TrustedProxies) -> Option<IpAddr> {
        match self {
            Self::Direct(ip) | Self::Proxied(ip) if !self.is_trusted(trusted) => {
                Some(network_of(ip))
            }
            Self::Direct(_) | Self::Proxied(_) | Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(ip) | Self::Proxied(ip) => ip.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Returns the client of a request from `peer`: the rightmost `X-Forwarded-For` address that is not a trusted proxy, if `peer` is one.
/// Stops at the first entry that is not an IP address and uses the last valid one. A peer without an address gets 0.0.0.0 and does not
/// count as a client of its own (`own: false`).
pub fn client(peer: Peer, headers: &HeaderLines, trusted: &TrustedProxies) -> Client {
    let (ip, own) = match peer {
        Peer::Direct(ip) => (ip.to_canonical(), is_public(ip.to_canonical())),
        Peer::Proxied(ip) => (ip.to_canonical(), true),
        Peer::Unix => (Ipv4Addr::UNSPECIFIED.into(), false),
    };
    if !peer.is_trusted(trusted) {
        return Client {
            ip,
            own,
            behind_trusted_proxy: false,
        };
    }
    let mut last_valid = None;
    for entry in forwarded_for(headers) {
        let Some(entry) = entry else { break };
        last_valid = Some(entry);
        if !trusted.has(entry) {
            break;
        }
    }
    // a proxy's own address stands for all clients behind it
    let own = last_valid.is_some_and(|entry| !trusted.has(entry));
    Client {
        ip: last_valid.unwrap_or(ip),
        own,
        behind_trusted_proxy: true,
    }
}

/// Returns the network that counts as one client: an IPv4 address or an IPv6 /64. The addresses that a translator makes of IPv4
/// addresses (`64:ff9b::/96`) are all in one /64, so their IPv4 address counts.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                Ipv4Addr::new(a, b, c, d).into()
            }
            [a, b, c, d, ..] => std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into(),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Returns the entries of all `X-Forwarded-For` lines, joined in order, from the right; `None` for an entry that is not an address.
fn forwarded_for(headers: &HeaderLines) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<_> = headers.get_all(&FORWARDED_FOR).collect();
    lines
        .into_iter()
        .rev()
        .flat_map(|line| match std::str::from_utf8(line) {
            Ok(line) if line.is_ascii() => line.rsplit(',').map(address).collect::<Vec<_>>(),
            Ok(_) | Err(_) => vec![None],
        })
}

/// Parses an address with or without port, brackets or blanks. An IPv4 address mapped into IPv6 counts as IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip: Option<IpAddr> = text.parse().ok().or_else(bare).or_else(|| {
        text.parse::<SocketAddr>()
            .ok()
            .map(|with_port| with_port.ip())
    });
    ip.map(|ip| ip.to_canonical())
}

/// Returns whether the address identifies a single client: it is not loopback, private, shared (RFC 6598), link-local or unique local.
fn is_public(ip: IpAddr) -> bool {
    match address::class(ip) {
        Class::Public | Class::Multicast | Class::Broadcast | Class::Reserved | Class::Own => true,
        Class::Unspecified
        | Class::Loopback
        | Class::Private
        | Class::Shared
        | Class::LinkLocal
        | Class::UniqueLocal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies {
            networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            unix: false,
        }
    }

    fn client_of(peer: Peer, lines: &[&str], trusted: &TrustedProxies) -> (String, bool, bool) {
        let headers = lines
            .iter()
            .map(|line| ("x-forwarded-for", line.as_bytes()));
        let headers: HeaderLines = headers.collect();
        let Client {
            ip,
            own,
            behind_trusted_proxy,
        } = client(peer, &headers, trusted);
        (ip.to_string(), own, behind_trusted_proxy)
    }

    #[track_caller]
    fn check(peer: &str, lines: &[&str], ip: &str, own: bool) {
        let peer: IpAddr = peer.parse().unwrap();
        let (found, is_own, behind) = client_of(Peer::Direct(peer), lines, &trusted());
        assert_eq!(
            (found.as_str(), is_own, behind),
            (ip, own, trusted().has(peer.to_canonical()))
        );
    }

    #[test]
    fn client_is_the_rightmost_untrusted_address() {
        check("198.51.100.7", &["203.0.113.9"], "198.51.100.7", true);
        check("127.0.0.1", &[], "127.0.0.1", false);
        check("100.64.0.1", &[], "100.64.0.1", false);
        check("169.254.1.1", &[], "169.254.1.1", false);
        check("fe80::1", &[], "fe80::1", false);
        check("2001:db8::1", &["203.0.113.9"], "2001:db8::1", true);
        check("10.0.0.1", &[], "10.0.0.1", false);
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9", true);
        check("10.0.0.1", &["192.168.1.1"], "192.168.1.1", true);
        check(
            "10.0.0.1",
            &["1.1.1.1, 203.0.113.9, 10.2.2.2"],
            "203.0.113.9",
            true,
        );
        check(
            "10.0.0.1",
            &["1.1.1.1", "203.0.113.9:443", "10.2.2.2"],
            "203.0.113.9",
            true,
        );
        check(
            "10.0.0.1",
            &["1.1.1.1, 203.0.113.9", "10.2.2.2, 10.3.3.3"],
            "203.0.113.9",
            true,
        );
        check(
            "10.0.0.1",
            &["1.1.1.1,203.0.113.9\t,  10.2.2.2 "],
            "203.0.113.9",
            true,
        );
        check("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9", true);
        check(
            "10.0.0.1",
            &["[::ffff:203.0.113.9]:443"],
            "203.0.113.9",
            true,
        );
        check("10.0.0.1", &["1.1.1.1, ::ffff:10.9.9.9"], "1.1.1.1", true);
        check("10.0.0.1", &["[2001:db8::1]:99"], "2001:db8::1", true);
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1", true);
        check("::ffff:10.0.0.1", &["[2001:db8::1]"], "2001:db8::1", true);
        check("fd00::1", &["203.0.113.9"], "203.0.113.9", true);
    }

    #[test]
    fn invalid_entry_ends_the_search() {
        // the last valid one is a proxy's own, which stands for all clients behind it
        check(
            "10.0.0.1",
            &["1.1.1.1, nonsense, 10.2.2.2"],
            "10.2.2.2",
            false,
        );
        check("10.0.0.1", &["10.2.2.2"], "10.2.2.2", false);
        let odd = [
            "1.1.1.1, unknown",
            "1.1.1.1,",
            "",
            "1.1.1.1, 203.0.113.9:65536",
            "1.1.1.1, fe80::1%eth0",
            "1.1.1.1, 203.0.113.009",
        ];
        for line in odd.into_iter().chain(["1.1.1.1 203.0.113.9", "\u{e9}"]) {
            check("10.0.0.1", &[line], "10.0.0.1", false);
        }
    }

    #[test]
    fn address_of_the_proxy_protocol_is_the_clients_own() {
        let proxied = |ip: &str, lines: &[&str]| {
            client_of(Peer::Proxied(ip.parse().unwrap()), lines, &trusted())
        };
        assert_eq!(
            proxied("203.0.113.9", &["1.1.1.1"]),
            ("203.0.113.9".to_owned(), true, false)
        );
        assert_eq!(
            proxied("192.168.1.1", &["1.1.1.1"]),
            ("192.168.1.1".to_owned(), true, false)
        );
        assert_eq!(
            proxied("10.2.2.2", &["1.1.1.1"]),
            ("1.1.1.1".to_owned(), true, true)
        );
        assert_eq!(
            proxied("10.2.2.2", &[]),
            ("10.2.2.2".to_owned(), false, true)
        );
    }

    #[test]
    fn unix_socket_is_trusted_only_where_the_config_says_so() {
        let unix = |unix: bool| {
            client_of(
                Peer::Unix,
                &["1.1.1.1"],
                &TrustedProxies { unix, ..trusted() },
            )
        };
        assert_eq!(unix(false), ("0.0.0.0".to_owned(), false, false));
        assert_eq!(unix(true), ("1.1.1.1".to_owned(), true, true));
    }

    #[test]
    fn connections_are_counted_by_network() {
        let counted = |peer: Peer| peer.counted_as(&trusted()).map(|ip| ip.to_string());
        let direct = |ip: &str| Peer::Direct(ip.parse().unwrap());
        assert_eq!(counted(direct("192.0.2.1")).as_deref(), Some("192.0.2.1"));
        assert_eq!(
            counted(Peer::Proxied("2001:db8:1:2::1".parse().unwrap())).as_deref(),
            Some("2001:db8:1:2::")
        );
        for shared in [
            direct("10.0.0.1"),
            direct("::ffff:10.0.0.1"),
            Peer::Proxied("10.0.0.1".parse().unwrap()),
            Peer::Unix,
        ] {
            assert_eq!(counted(shared), None);
        }
    }

    #[test]
    fn ipv6_network_is_one_client() {
        let network = |ip: &str| network_of(ip.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_eq!(network("192.0.2.1"), network("64:ff9b::c000:201"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
