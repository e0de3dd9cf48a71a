//! Finds listeners that use the same address, and upstreams that are the gateway itself.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::diagnostic::Place;
use crate::config::snapshot::{Admin, ListenAddress, Listener, Outbound, UpstreamAddress};

/// A listener of the gateway, and the place of its address in the config.
pub(super) struct Own {
    address: ListenAddress,
    place: Place,
}

/// Returns all listeners of the gateway: those of senders, of the app, and those for health and admin. Reports those that cannot be bound at the
/// same time.
pub(super) fn listeners(
    senders: &[(Listener, Place)],
    health: Option<SocketAddr>,
    admin: Option<&Admin>,
    outbound: Option<&Outbound>,
    cx: &mut Context<'_>,
) -> Vec<Own> {
    let root = Place::root(0);
    let of_senders = senders
        .iter()
        .map(|(listener, place)| (listener.address.clone(), place.clone()));
    let health = health.map(|address| (ListenAddress::Tcp(address), root.key("health")));
    let admin = admin.map(|admin| (admin.address.clone(), root.key("admin")));
    let outbound = outbound.map(|outbound| {
        let place = root.key("outbound").key("listen");
        (outbound.listener.address.clone(), place)
    });
    let own: Vec<Own> = of_senders
        .chain(health)
        .chain(admin)
        .chain(outbound)
        .map(|(address, place)| Own {
            address,
            place: place.key("address"),
        })
        .collect();
    apart(&own, cx);
    own
}

/// Reports listeners that cannot be bound at the same time.
fn apart(own: &[Own], cx: &mut Context<'_>) {
    for (index, one) in own.iter().enumerate() {
        let Some(other) = own
            .iter()
            .take(index)
            .find(|other| collide(&other.address, &one.address))
        else {
            continue;
        };
        let is_same = one.address == other.address;
        let help =
            (!is_same).then(|| "keep one: `0.0.0.0` uses the port on all IPv4 addresses, and `[::]` on all addresses".to_owned());
        cx.problems.clash(
            &one.place,
            &other.place,
            "another listener has this address",
            help,
        );
    }
}

/// Reports upstreams that are a listener of the gateway: each request would loop forever.
pub(super) fn loops(
    upstreams: &Upstreams,
    places: &[(String, Place)],
    own: &[Own],
    cx: &mut Context<'_>,
) {
    for (name, place) in places {
        let Some(Some(upstream)) = upstreams.get(name.as_str()) else {
            continue;
        };
        let Some(listener) = own
            .iter()
            .find(|listener| reaches(&upstream.address, &listener.address))
        else {
            continue;
        };
        let help = "write the address of your app".to_owned();
        cx.problems.clash(
            &place.key("url"),
            &listener.place,
            "this is the gateway's own address: one of its listeners uses it",
            help,
        );
    }
}

/// Returns whether two listeners cannot be bound at the same time. Port 0 is a free port each time.
fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    let (one, other) = match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => (one, other),
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => return is_same_file(one, other),
        (ListenAddress::Tcp(_), ListenAddress::Unix(_))
        | (ListenAddress::Unix(_), ListenAddress::Tcp(_)) => return false,
    };
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

/// Returns whether a listener on `ip` gets connections to `other`. By the default of Linux, `[::]` includes IPv4.
fn covers(ip: IpAddr, other: IpAddr) -> bool {
    match ip {
        IpAddr::V6(ip) => ip.is_unspecified(),
        IpAddr::V4(ip) => ip.is_unspecified() && other.is_ipv4(),
    }
}

/// Returns whether a connection to the upstream arrives at the listener, as far as that is known without a DNS query.
fn reaches(upstream: &UpstreamAddress, listener: &ListenAddress) -> bool {
    match (upstream, listener) {
        (UpstreamAddress::Unix(app), ListenAddress::Unix(own)) => is_same_file(app, own),
        (UpstreamAddress::Tcp { host, port, .. }, ListenAddress::Tcp(own)) => {
            let own_ip = own.ip().to_canonical();
            *port == own.port()
                && addresses(host)
                    .into_iter()
                    .any(|ip| ip == own_ip || covers(own_ip, ip) && ip.is_loopback())
        }
        (UpstreamAddress::Unix(_), ListenAddress::Tcp(_))
        | (UpstreamAddress::Tcp { .. }, ListenAddress::Unix(_)) => false,
    }
}

/// Returns the addresses of a host that are the same on every machine; none if that needs a DNS query. An unspecified address means this machine.
fn addresses(host: &str) -> Vec<IpAddr> {
    const BOTH: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let ip = host
        .parse::<IpAddr>()
        .ok()
        .or_else(|| short_ipv4(&host).map(IpAddr::V4));
    if let Some(ip) = ip {
        return match ip.to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => BOTH.to_vec(),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
        };
    }
    let is_loopback = [
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
    ]
    .contains(&&*host)
        || host.ends_with(".localhost");
    if is_loopback {
        BOTH.to_vec()
    } else {
        Vec::new()
    }
}

/// Parses an IPv4 address in an old notation that resolvers accept: `127.1`, `2130706433`, `0x7f.0.0.1`.
fn short_ipv4(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(hex), _) => u32::from_str_radix(hex, 16).ok(),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        (None, _) => text.parse().ok(),
    };
    let parts: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let room = 32_u32
        .checked_sub(u32::try_from(first.len()).ok()? * 8)
        .filter(|room| *room > 0)?;
    let fits = first.iter().all(|part| *part < 256) && u64::from(*last) < 1 << room;
    let high = first
        .iter()
        .fold(0_u64, |high, part| high << 8 | u64::from(*part))
        << room;
    fits.then(|| u32::try_from(high | u64::from(*last)).ok())
        .flatten()
        .map(Ipv4Addr::from)
}

/// Returns whether two paths are the same file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other
        || matches!((std::path::absolute(one), std::path::absolute(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(text: &str) -> ListenAddress {
        match text.strip_prefix("unix:") {
            Some(path) => ListenAddress::Unix(path.into()),
            None => ListenAddress::Tcp(text.parse().unwrap()),
        }
    }

    #[test]
    fn colliding_listeners_are_found_in_any_spelling() {
        for (one, other, collides) in [
            ("[::]:8080", "0.0.0.0:8080", true),
            ("[::]:8080", "127.0.0.1:8080", true),
            ("[::]:8080", "[::1]:8080", true),
            ("0.0.0.0:8080", "10.0.0.1:8080", true),
            ("0.0.0.0:8080", "[::1]:8080", false),
            ("0.0.0.0:8080", "[::ffff:10.0.0.1]:8080", true),
            ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", true),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("[::]:8080", "0.0.0.0:8081", false),
            ("[::]:0", "0.0.0.0:0", false),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]:80", true),
            ("unix:/run/a.sock", "unix:/run/./a.sock", true),
            ("unix:/run/a.sock", "unix:/run//a.sock", true),
            ("unix:/run/a.sock", "unix:/run/b.sock", false),
            ("unix:/run/a.sock", "[::]:80", false),
        ] {
            let (a, b) = (listener(one), listener(other));
            assert_eq!(
                (collide(&a, &b), collide(&b, &a)),
                (collides, collides),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn upstreams_that_are_the_gateway_are_found() {
        for (own, url, is_own) in [
            ("0.0.0.0:8080", "localhost", true),
            ("0.0.0.0:8080", "LocalHost.", true),
            ("127.0.0.1:8080", "app.localhost", true),
            ("127.0.0.1:8080", "0.0.0.0", true),
            ("127.0.0.1:8080", "::", true),
            ("127.0.0.1:8080", "127.1", true),
            ("127.0.0.1:8080", "2130706433", true),
            ("127.0.0.1:8080", "0x7f.0.0.1", true),
            ("127.0.0.1:8080", "0177.0.0.1", true),
            ("127.0.0.1:8080", "::ffff:127.0.0.1", true),
            ("127.0.0.1:8080", "127.0.0.2", false),
            ("0.0.0.0:8080", "127.9.9.9", true),
            ("0.0.0.0:8080", "::1", false),
            ("[::]:8080", "127.0.0.1", true),
            ("[::]:8080", "::1", true),
            ("[::1]:8080", "localhost", true),
            ("[::1]:8080", "127.0.0.1", false),
            ("10.0.0.5:8080", "10.0.0.5", true),
            ("10.0.0.5:8080", "localhost", false),
            ("0.0.0.0:8080", "10.0.0.5", false),
            ("0.0.0.0:8080", "app", false),
            ("0.0.0.0:8080", "localhost.example.com", false),
            ("0.0.0.0:9090", "localhost", false),
        ] {
            let upstream = UpstreamAddress::Tcp {
                host: url.to_owned(),
                port: 8080,
                tls: None,
            };
            assert_eq!(reaches(&upstream, &listener(own)), is_own, "{own} {url}");
        }
        assert!(reaches(
            &UpstreamAddress::Unix("/run/./a.sock".into()),
            &listener("unix:/run/a.sock")
        ));
        for (text, ip) in [
            ("1.2.3.4.5", None),
            ("256.1", None),
            ("1.2.65535", Some([1, 2, 255, 255])),
            ("", None),
            ("a.1", None),
        ] {
            assert_eq!(short_ipv4(text), ip.map(Ipv4Addr::from), "{text}");
        }
    }
}
