//! Where the gate may call out to. A name in an alarm's URL, or in what a provider sends, must not become a way into the network that the
//! gate stands in: each address is judged before it is connected to, and the one that was judged is the one that is connected to.
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use tokio::time::timeout;

use crate::config::snapshot::Egress;

/// How long a look-up may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Addresses of a name that are judged; a name with more is refused.
const MOST: usize = 64;

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Anybody's on the internet.
    Public,
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// Shared by the customers of a provider (RFC 6598).
    Shared,
    /// `169.254.0.0/16`, `fe80::/10`: a cloud's metadata among them.
    LinkLocal,
    /// `fc00::/7`.
    UniqueLocal,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// For documentation, measurements, protocols, or nothing yet.
    Reserved,
    /// One of this machine's own.
    Own,
}

impl Class {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared (CGNAT)",
            Self::LinkLocal => "link-local",
            Self::UniqueLocal => "unique local",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::Own => "this machine's own",
        }
    }
}

/// Why nothing is sent there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of the addresses is not public, and `egress.allow` does not have it.
    #[error("{0} is {why}, and `egress.allow` does not have it", why = .1.words())]
    NotPublic(IpAddr, Class),
    /// `egress.deny` has one of the addresses.
    #[error("`egress.deny` has {0}")]
    Denied(IpAddr),
    /// There is no address, or too many of them.
    #[error("the name does not resolve")]
    Unresolved,
    /// The system does not tell this machine's own addresses: nobody knows whether the address is one of them.
    #[error(
        "the system does not tell this machine's own addresses, so the gateway cannot judge where it may call; \
         allow the address family AF_NETLINK (systemd: `RestrictAddressFamilies=`, else a seccomp profile)"
    )]
    OwnUnknown,
}

/// What an address is. An IPv4 address is judged the same in every spelling that IPv6 has for it; of several inside one, the worst counts.
pub fn class(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => inside(v6).map_or_else(|| class_v6(v6), |all| all.worst()),
    }
}

/// Whether the gate may connect to all of `addresses`: one bad one refuses all. `own` are this machine's.
///
/// # Errors
/// The first that it may not connect to.
pub fn judge(addresses: &[IpAddr], policy: &Egress, own: &[IpAddr]) -> Result<(), Refused> {
    if addresses.is_empty() || addresses.len() > MOST {
        return Err(Refused::Unresolved);
    }
    for ip in addresses {
        let spellings = spellings(*ip);
        if spellings
            .iter()
            .any(|ip| policy.deny.iter().any(|network| network.contains(ip)))
        {
            return Err(Refused::Denied(*ip));
        }
        let allowed = |ip: &IpAddr| policy.allow.iter().any(|network| network.contains(ip));
        let (itself, within) = spellings
            .split_first()
            .map_or((false, &[][..]), |(ip, within)| (allowed(ip), within));
        if itself || !within.is_empty() && within.iter().all(allowed) {
            continue;
        }
        let is_own = own
            .iter()
            .any(|own| spellings.contains(&own.to_canonical()));
        let class = Some(class(*ip))
            .filter(|class| *class != Class::Public || !is_own)
            .unwrap_or(Class::Own);
        if class != Class::Public {
            return Err(Refused::NotPublic(*ip, class));
        }
    }
    Ok(())
}

/// The addresses of `host`, each of which may be connected to now.
///
/// # Errors
/// There is none, or one that may not be connected to.
pub async fn resolve(host: &str, port: u16, policy: &Egress) -> Result<Vec<SocketAddr>, Refused> {
    resolve_with(host, port, policy, own_addresses).await
}

async fn resolve_with(
    host: &str,
    port: u16,
    policy: &Egress,
    own: impl FnOnce() -> Result<Vec<IpAddr>, Refused>,
) -> Result<Vec<SocketAddr>, Refused> {
    let found: io::Result<Vec<SocketAddr>> =
        match timeout(DEADLINE, tokio::net::lookup_host((host, port))).await {
            Ok(found) => found.map(Iterator::collect),
            Err(_) => return Err(Refused::Unresolved),
        };
    let found = found.map_err(|_| Refused::Unresolved)?;
    let ips: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    judge(&ips, policy, &own()?)?;
    Ok(found)
}

/// Returns the addresses of this machine's interfaces now. It always has one: a system that tells none does not tell.
fn own_addresses() -> Result<Vec<IpAddr>, Refused> {
    let address = |storage: &SockaddrStorage| {
        let v4 = storage
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| {
            storage
                .as_sockaddr_in6()
                .map(|address| IpAddr::V6(address.ip()))
        })
    };
    let all = getifaddrs().map_err(|_| Refused::OwnUnknown)?;
    let own: Vec<IpAddr> = all
        .filter_map(|interface| address(&interface.address?))
        .collect();
    if own.is_empty() {
        Err(Refused::OwnUnknown)
    } else {
        Ok(own)
    }
}

/// The address itself (an IPv4 address that is mapped as IPv4) and the IPv4 addresses that it spells.
fn spellings(ip: IpAddr) -> Vec<IpAddr> {
    let within = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => inside(v6),
    };
    std::iter::once(ip.to_canonical())
        .chain(
            within
                .into_iter()
                .flat_map(|all| all.iter())
                .map(IpAddr::V4),
        )
        .collect()
}

/// The IPv4 addresses inside an IPv6 address: at most three readings of it.
#[derive(Clone, Copy)]
struct Inside([Option<Ipv4Addr>; 3]);

impl Inside {
    fn iter(self) -> impl Iterator<Item = Ipv4Addr> {
        self.0.into_iter().flatten()
    }

    fn worst(self) -> Class {
        self.iter()
            .map(class_v4)
            .find(|class| *class != Class::Public)
            .unwrap_or(Class::Public)
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The IPv4 addresses that an IPv6 address spells, if it is of a form that does.
fn inside(v6: Ipv6Addr) -> Option<Inside> {
    let [
        _,
        _,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
        b8,
        b9,
        b10,
        b11,
        b12,
        b13,
        b14,
        b15,
    ] = v6.octets();
    let last = Ipv4Addr::new(b12, b13, b14, b15);
    let one = |v4| Some(Inside([Some(v4), None, None]));
    match v6.segments() {
        // `::` and `::1` are no IPv4 addresses
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // mapped, translated (RFC 2765), compatible, and what a translator makes (RFC 6052)
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0, 0, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => one(last),
        // a translator of the site's own (RFC 8215): its prefix has 48 bits or up to 96, and nobody else knows which
        [0x64, 0xff9b, 1, ..] => {
            let at_48 = Ipv4Addr::new(b6, b7, b9, b10);
            let [plain_96, plain_48] = [
                [b6, b7, b8, b9, b10, b11] == [0; 6],
                [b8, b11, b12, b13, b14, b15] == [0; 6],
            ];
            Some(match (plain_96, plain_48) {
                (true, _) => Inside([Some(last), None, None]),
                (false, true) => Inside([Some(at_48), None, None]),
                (false, false) => Inside([
                    Some(last),
                    Some(at_48),
                    Some(Ipv4Addr::new(b9, b10, b11, b12)),
                ]),
            })
        }
        // 6to4 (RFC 3056)
        [0x2002, ..] => one(Ipv4Addr::new(b2, b3, b4, b5)),
        // Teredo (RFC 4380): the server, and the client with its bits turned round
        [0x2001, 0, ..] => Some(Inside([
            Some(Ipv4Addr::new(b4, b5, b6, b7)),
            Some(Ipv4Addr::new(!b12, !b13, !b14, !b15)),
            None,
        ])),
        // ISATAP (RFC 5214) below a public prefix
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] if class_v6(v6) == Class::Public => one(last),
        _ => None,
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
const fn class_v4(v4: Ipv4Addr) -> Class {
    match v4.octets() {
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::Shared,
        [169, 254, ..] => Class::LinkLocal,
        [255, 255, 255, 255] => Class::Broadcast,
        [224..=239, ..] => Class::Multicast,
        // protocols, documentation, 6to4 relays, measurements, the future
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [198, 18..=19, ..]
        | [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

/// An IPv6 address that spells no IPv4 address: <https://www.iana.org/assignments/iana-ipv6-special-registry>
const fn class_v6(v6: Ipv6Addr) -> Class {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0xfc00..=0xfdff, ..] => Class::UniqueLocal,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        // protocols (measurements, ORCHID and their like among them), documentation
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

#[cfg(test)]
mod tests;
