use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::address::tests::spelled;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

proptest! {
    #[test]
    fn allow_and_deny_hold_for_every_notation(bits in any::<u32>()) {
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
        judge(&vec![all[0]; MAX_ADDRESSES + 1], &plain, &[]),
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
async fn unknown_own_addresses_refuse_every_call() {
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
async fn odd_spellings_are_judged_by_their_address() {
    let plain = Egress::default();
    let port = 1;
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
