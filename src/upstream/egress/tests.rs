use std::cell::Cell;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::address::tests::spelled;
use crate::clock::{Clock as _, SystemClock};

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

#[test]
fn own_addresses_are_read_again_after_a_while() {
    thread_local! {
        static READS: Cell<u8> = const { Cell::new(0) };
    }
    let own = OwnAddresses::with(|| {
        READS.set(READS.get() + 1);
        match READS.get() {
            2 => Err(Refused::OwnUnknown),
            reads => Ok(vec![IpAddr::from([192, 0, 2, reads])]),
        }
    });
    let start = SystemClock.mono();
    let at = |seconds: u64| {
        own.at(start + Duration::from_secs(seconds))
            .map(|own| own[0])
    };
    assert_eq!(at(0), Ok(ip("192.0.2.1")));
    assert_eq!(at(9), Ok(ip("192.0.2.1")));
    assert_eq!(at(10), Err(Refused::OwnUnknown), "nothing old is used then");
    assert_eq!(at(10), Ok(ip("192.0.2.3")), "a failure is not remembered");
    assert_eq!((at(19), READS.get()), (Ok(ip("192.0.2.3")), 3));
}
