//! The classes of IP addresses: public, private, loopback and so on, also of IPv4 addresses inside IPv6 ones.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The class of an IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A public address of the internet.
    Public,
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// An address shared by the customers of an internet provider (RFC 6598).
    Shared,
    /// `169.254.0.0/16`, `fe80::/10`; the metadata service of a cloud is among them.
    LinkLocal,
    /// `fc00::/7`.
    UniqueLocal,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// An address for documentation, measurements or protocols, or one that is not assigned.
    Reserved,
    /// An address of this machine.
    Own,
}

impl Class {
    /// Returns the class in words, for messages.
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

/// Returns the class of an address.
///
/// An IPv4 address has the same class in every notation that IPv6 has for it. Of several IPv4 addresses inside one, the first that is
/// not public counts.
pub fn class(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => inside(v6).map_or_else(|| class_v6(v6), |all| all.worst()),
    }
}

/// Returns the address itself, as IPv4 if it is a mapped one, and the IPv4 addresses that it contains.
pub(crate) fn spellings(ip: IpAddr) -> Vec<IpAddr> {
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

/// Returns the IPv4 addresses that an IPv6 address contains, if it is of a form that does.
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

/// Returns the class of an IPv4 address: <https://www.iana.org/assignments/iana-ipv4-special-registry>
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

/// Returns the class of an IPv6 address that contains no IPv4 address: <https://www.iana.org/assignments/iana-ipv6-special-registry>
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
pub(crate) mod tests;
