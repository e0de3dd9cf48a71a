use std::net::TcpListener;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[track_caller]
fn check(all: &[&str], due: Class) {
    for text in all {
        assert_eq!(class(ip(text)), due, "{text}");
    }
}

/// The first and the last address of each block, and their neighbours outside.
#[test]
fn every_class_has_its_borders() {
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

/// Every spelling of an IPv4 address in IPv6 that says nothing but that address.
fn spelled(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
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
    fn a_spelling_in_ipv6_is_judged_as_its_ipv4(bits in any::<u32>()) {
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

    #[test]
    fn what_is_allowed_or_denied_is_so_in_every_spelling(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        let own = Egress { allow: vec![IpAddr::V4(v4).into()], deny: vec![] };
        let not = Egress { allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], deny: vec![IpAddr::V4(v4).into()] };
        for v6 in spelled(v4).into_iter().filter(|v6| v6.segments()[0] != 0x2001) {
            prop_assert_eq!(judge(&[v6.into()], &own, &[]), Ok(()), "{}", v6);
        }
        for v6 in spelled(v4) {
            prop_assert_eq!(judge(&[v6.into()], &not, &[]), Err(Refused::Denied(v6.into())));
        }
    }

    /// A reading that only some translators have counts as well.
    #[test]
    fn of_several_readings_the_worst_counts(noise in any::<u64>()) {
        let [n0, n1, n2, _] = [noise, noise >> 16, noise >> 32, noise >> 48].map(|n| u16::try_from(n & 0xffff).unwrap());
        let at_48 = Ipv6Addr::new(0x64, 0xff9b, 1, 0x7f00, 0, 0x0100 | (n0 & 0xff) | 1, n1, n2);
        prop_assert_ne!(class(at_48.into()), Class::Public, "{}", at_48);
        let at_96 = Ipv6Addr::new(0x64, 0xff9b, 1, n0, n1, n2, 0x0a00, 0x0001);
        prop_assert_ne!(class(at_96.into()), Class::Public, "{}", at_96);
    }
}

#[test]
fn one_bad_address_refuses_all() {
    let plain = Egress::default();
    let all = [ip("8.8.8.8"), ip("2606:4700::1111"), ip("10.0.0.1")];
    assert_eq!(judge(&all[..2], &plain, &[]), Ok(()));
    assert_eq!(
        judge(&all, &plain, &[]),
        Err(Refused::NotPublic(all[2], Class::Private))
    );
    let allow = |network: &str| Egress {
        allow: vec![network.parse().unwrap()],
        deny: vec![],
    };
    assert_eq!(judge(&all, &allow("10.0.0.0/24"), &[]), Ok(()));
    assert_eq!(
        judge(&all, &allow("10.0.1.0/24"), &[]),
        Err(Refused::NotPublic(all[2], Class::Private))
    );
    let both = Egress {
        deny: vec!["10.0.0.1/32".parse().unwrap()],
        ..allow("10.0.0.0/24")
    };
    assert_eq!(judge(&all, &both, &[]), Err(Refused::Denied(all[2])));
    assert_eq!(judge(&[], &plain, &[]), Err(Refused::Unresolved));
    assert_eq!(
        judge(&vec![all[0]; MOST + 1], &plain, &[]),
        Err(Refused::Unresolved)
    );
}

#[test]
fn the_machines_own_addresses_are_refused() {
    let plain = Egress::default();
    let own = [ip("8.8.8.8"), ip("2606:4700::1111")];
    for address in [
        "8.8.8.8",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "64:ff9b::808:808",
        "2606:4700::1111",
    ] {
        assert_eq!(
            judge(&[ip(address)], &plain, &own),
            Err(Refused::NotPublic(ip(address), Class::Own)),
            "{address}"
        );
    }
    assert_eq!(judge(&[ip("8.8.4.4")], &plain, &own), Ok(()));
    assert_eq!(
        judge(
            &[ip("8.8.8.8")],
            &Egress {
                allow: vec![own[0].into()],
                deny: vec![]
            },
            &own
        ),
        Ok(())
    );
    assert!(
        own_addresses().unwrap().iter().any(IpAddr::is_loopback),
        "{:?}",
        own_addresses()
    );
}

#[tokio::test]
async fn nothing_is_called_while_own_addresses_are_unknown() {
    let everything = Egress {
        allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        deny: vec![],
    };
    for policy in [Egress::default(), everything] {
        for host in ["8.8.8.8", "127.0.0.1", "2606:4700::1111"] {
            let refused = resolve_with(host, 443, &policy, || Err(Refused::OwnUnknown))
                .await
                .unwrap_err();
            assert_eq!(refused, Refused::OwnUnknown, "{host}");
            assert!(refused.to_string().contains("AF_NETLINK"), "{refused}");
        }
    }
}

#[tokio::test]
async fn names_and_odd_numbers_are_judged_by_what_they_mean() {
    let plain = Egress::default();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "::1",
        "::ffff:127.0.0.1",
        "0",
    ] {
        let refused = resolve(host, port, &plain).await.unwrap_err();
        assert_ne!(refused, Refused::Denied(ip("127.0.0.1")), "{host}");
    }
    assert!(matches!(
        resolve("localhost", port, &plain).await,
        Err(Refused::NotPublic(_, Class::Loopback))
    ));
    let allow = Egress {
        allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        deny: vec![],
    };
    assert!(
        resolve("localhost", port, &allow)
            .await
            .unwrap()
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == port)
    );
    assert_eq!(
        resolve("no-such-name.invalid", port, &allow).await,
        Err(Refused::Unresolved)
    );
}
