use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(all: &[&str], due: Class) {
    for text in all {
        assert_eq!(class(text.parse().unwrap()), due, "{text}");
    }
}

/// The first and the last address of each block, and their neighbours outside.
#[test]
fn class_boundaries_are_exact() {
    check(&["0.0.0.0", "0.255.255.255", "::"], Class::Unspecified);
    check(
        &["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"],
        Class::Loopback,
    );
    check(
        &[
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
        ],
        Class::Private,
    );
    check(&["100.64.0.0", "100.127.255.255"], Class::Shared);
    check(
        &[
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "fe80::",
            "febf:ffff::1",
        ],
        Class::LinkLocal,
    );
    check(
        &[
            "fc00::",
            "fd00:ec2::254",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ],
        Class::UniqueLocal,
    );
    check(
        &[
            "224.0.0.0",
            "239.255.255.255",
            "ff00::",
            "ff02::1",
            "ffff:ffff::1",
        ],
        Class::Multicast,
    );
    check(&["255.255.255.255"], Class::Broadcast);
    check(
        &[
            "192.0.0.0",
            "192.0.0.255",
            "192.0.2.0",
            "192.0.2.255",
            "198.51.100.7",
            "203.0.113.9",
            "192.88.99.1",
        ],
        Class::Reserved,
    );
    check(
        &[
            "198.18.0.0",
            "198.19.255.255",
            "240.0.0.0",
            "255.255.255.254",
        ],
        Class::Reserved,
    );
    check(
        &[
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:1ff::1",
            "fec0::1",
        ],
        Class::Reserved,
    );
    check(
        &["1::1", "1fff::1", "4000::1", "5f00::1", "e000::1"],
        Class::Reserved,
    );
    check(
        &[
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "8.8.8.8",
        ],
        Class::Public,
    );
    check(
        &[
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
        ],
        Class::Public,
    );
    check(
        &[
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
        ],
        Class::Public,
    );
    check(
        &[
            "2000::",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "3ffe::1",
            "2001:db9::1",
        ],
        Class::Public,
    );
}

/// Returns every notation of an IPv4 address in IPv6 that contains no other address.
pub(crate) fn spelled(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = v4.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    vec![
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, high, c, d << 8, 0, 0),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2002, high, low, 0x1234, 5, 6, 7, 8),
        // Teredo, by a public server
        Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !high, !low),
        // Teredo, as the server of a public client
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x0808, !0x0808),
        Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low),
        Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0x200, 0x5efe, high, low),
    ]
}

proptest! {
    #[test]
    fn mapped_ipv4_address_has_the_class_of_ipv4(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        for v6 in spelled(v4) {
            // a canonical /48 spelling of 0.0.0.0 is a /96 one of it as well
            prop_assert_eq!(class(v6.into()), class(v4.into()), "{} as {}", v4, v6);
        }
        // ::/96 has the two addresses of IPv6 itself
        if bits > 1 {
            prop_assert_eq!(class(Ipv6Addr::from_bits(u128::from(bits)).into()), class(v4.into()));
        }
    }

    /// Readings that only some translators have count as well.
    #[test]
    fn any_reading_that_is_not_public_counts(noise in any::<u64>()) {
        let [n0, n1, n2, _] = [noise, noise >> 16, noise >> 32, noise >> 48].map(|n| u16::try_from(n & 0xffff).unwrap());
        let at_48 = Ipv6Addr::new(0x64, 0xff9b, 1, 0x7f00, 0, 0x0100 | (n0 & 0xff) | 1, n1, n2);
        prop_assert_ne!(class(at_48.into()), Class::Public, "{}", at_48);
        let at_96 = Ipv6Addr::new(0x64, 0xff9b, 1, n0, n1, n2, 0x0a00, 0x0001);
        prop_assert_ne!(class(at_96.into()), Class::Public, "{}", at_96);
    }
}
