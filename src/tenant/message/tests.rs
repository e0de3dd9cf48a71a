use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::delivery::Shortage;
use crate::tenant::health::{Failure, Notified};
use crate::tenant::secret::{Signers, first, rotate};
use crate::tenant::url::UrlRules;

const HOUR: Duration = Duration::from_secs(3600);

fn url(text: &str) -> EndpointUrl {
    let rules = UrlRules {
        http: true,
        ports: &[80, 443, 8443],
        ..UrlRules::default()
    };
    EndpointUrl::parse(text, &rules).unwrap()
}

fn words(cause: Cause) -> String {
    let url = url("https://hooks.acme.example/in");
    let timeout = Duration::from_secs(15);
    About { url: &url, timeout }.failure(cause, None)
}

/// 24 November 2026, 13:02.
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_525_320)
}

#[test]
fn every_fault_has_words() {
    let expired = TlsFault::Expired(Some(UNIX_EPOCH + Duration::from_secs(1_793_664_000)));
    for (fault, due) in [
        (
            Fault::Tls(expired),
            "hooks.acme.example's certificate expired on 3 Nov 2026",
        ),
        (
            Fault::Tls(TlsFault::Expired(None)),
            "hooks.acme.example's certificate has expired",
        ),
        (
            Fault::Tls(TlsFault::Early),
            "hooks.acme.example's certificate is not valid yet",
        ),
        (
            Fault::Tls(TlsFault::Name),
            "hooks.acme.example's certificate is for other names",
        ),
        (
            Fault::Tls(TlsFault::Issuer),
            "hooks.acme.example's certificate is not signed by a known authority: is its chain complete?",
        ),
        (
            Fault::Tls(TlsFault::Plain),
            "hooks.acme.example speaks no TLS on port 443",
        ),
        (
            Fault::Tls(TlsFault::Other),
            "no TLS connection to hooks.acme.example could be made",
        ),
        (
            Fault::Resolve,
            "hooks.acme.example cannot be reached from here",
        ),
        (
            Fault::Blocked,
            "hooks.acme.example cannot be reached from here",
        ),
        (
            Fault::Refused,
            "nothing listens at port 443 of hooks.acme.example",
        ),
        (Fault::Unreachable, "no network leads to hooks.acme.example"),
        (
            Fault::ConnectTimeout,
            "hooks.acme.example took no connection within 15 s",
        ),
        (
            Fault::Reset,
            "hooks.acme.example closed the connection without an answer",
        ),
        (
            Fault::Stale,
            "hooks.acme.example closed the connection without an answer",
        ),
        (
            Fault::Timeout,
            "hooks.acme.example did not answer within 15 s",
        ),
        (
            Fault::Malformed,
            "hooks.acme.example answered something that is not HTTP",
        ),
        (
            Fault::TooLarge,
            "hooks.acme.example answered with a head that is too large",
        ),
        (
            Fault::BreakerOpen(HOUR),
            "hooks.acme.example failed several times in a row, so the next attempt waits",
        ),
        (
            Fault::Local(Shortage::Ports),
            "the sender was short of resources; the endpoint is not the cause",
        ),
    ] {
        assert_eq!(words(Cause::Unreached(fault)), due);
    }
    assert_eq!(
        words(Cause::Unknown),
        "the attempt to send to hooks.acme.example failed"
    );
}

#[test]
fn every_status_has_words() {
    for (status, due) in [
        (301, "answered 301: redirects are not followed"),
        (400, "refused the event (400)"),
        (401, "refused the signature or the sender (401)"),
        (403, "refused the signature or the sender (403)"),
        (404, "has no such path (404): is the URL right?"),
        (405, "takes no POST there (405): is the URL right?"),
        (
            410,
            "answered that the endpoint is gone (410), so it is paused",
        ),
        (413, "takes no event of this size (413)"),
        (415, "takes no JSON there (415): is the URL right?"),
        (422, "refused the event (422)"),
        (429, "answered that it gets too many requests (429)"),
        (500, "failed (500)"),
        (503, "failed (503)"),
        (101, "answered 101, which is neither success nor failure"),
    ] {
        assert_eq!(
            words(Cause::Status(status)),
            format!("hooks.acme.example {due}")
        );
    }
}

/// An endpoint that is blocked says nothing of what is behind the gateway.
#[test]
fn words_are_no_oracle() {
    let blocked: BTreeSet<String> = [Fault::Resolve, Fault::Blocked]
        .map(Cause::Unreached)
        .map(words)
        .into();
    assert_eq!(blocked.len(), 1);
}

#[test]
fn redirects_are_shown_within_the_site() {
    let answer = |text: &str, location: &str| {
        let url = url(text);
        let timeout = Duration::from_secs(15);
        let words = About { url: &url, timeout }.failure(Cause::Status(301), Some(location));
        words
            .split_once("; set the URL to ")
            .map(|(_, target)| target.to_owned())
    };
    let from = "https://acme.example/in?a=1";
    for (location, due) in [
        ("/new?a=1", Some("https://acme.example/new?a=1")),
        (
            "https://www.acme.example/in?a=1",
            Some("https://www.acme.example/in?a=1"),
        ),
        (
            "//www.acme.example/in?a=1#x",
            Some("https://www.acme.example/in?a=1"),
        ),
        ("/in?a=1", None),
        ("/new", None),
        ("/new?a=1&session=2", None),
        ("https://evil.example/in?a=1", None),
        ("https://notacme.example/in?a=1", None),
        ("http://acme.example/in?a=1", None),
        ("https://acme.example:8443/in?a=1", None),
        ("https://user@acme.example/in?a=1", None),
        ("https://169.254.169.254/in?a=1", None),
        ("javascript:alert(1)", None),
        ("https://acme.example:x/", None),
        ("", None),
    ] {
        assert_eq!(answer(from, location).as_deref(), due, "{location}");
    }
    assert_eq!(
        answer("http://acme.example/in", "https://acme.example/in").as_deref(),
        Some("https://acme.example/in")
    );
    assert_eq!(
        answer("https://www.acme.example/", "https://acme.example/").as_deref(),
        Some("https://acme.example/")
    );
    assert_eq!(
        answer("https://8.8.8.8/", "/x").as_deref(),
        Some("https://8.8.8.8/x")
    );
    assert_eq!(answer("https://8.8.8.8/", "https://1.8.8.8.8/"), None);
    assert_eq!(
        answer("https://a.example/", &format!("/{}", "x".repeat(200))),
        None
    );
}

#[test]
fn streak_tells_what_waits_and_what_changed() {
    let url = url("https://hooks.acme.example/in");
    let about = About {
        url: &url,
        timeout: Duration::from_secs(15),
    };
    let old = first(None, moment() - 100 * HOUR).unwrap();
    let secrets = rotate(&[old], None, Signers::All, moment(), 24 * HOUR)
        .unwrap()
        .entries;
    let alone = &secrets[1..];
    let streak = |status, since| {
        let failure = Failure {
            at: since,
            cause: Cause::Status(status),
            event: Uuid::from_u128(0x0193_5c00_0000_7000_8000_0000_0000_0001),
        };
        let streak = Streak::after_failure(None, &failure);
        assert_eq!(streak.notified, Notified::No);
        streak
    };
    let soon = moment() + HOUR / 2;
    assert_eq!(
        about.streak(&streak(401, soon), &secrets, 1_212),
        "hooks.acme.example refused the signature or the sender (401) since a secret was rotated on 24 Nov 13:02 UTC; 1,212 events wait; \
         the first that failed was msg_01935c00000070008000000000000001 on 24 Nov 13:32 UTC"
    );
    for (streak, secrets, waiting, has, lacks) in [
        (
            streak(500, soon),
            &*secrets,
            1,
            "; 1 event waits;",
            "rotated",
        ),
        (
            streak(403, moment() + 2 * HOUR),
            &secrets,
            0,
            "(403); the first",
            "wait",
        ),
        (
            streak(403, moment() - HOUR),
            &secrets,
            0,
            "(403); the first",
            "rotated",
        ),
        (
            streak(403, moment() + 25 * HOUR),
            &secrets,
            0,
            "rotated on 25 Nov 13:02 UTC",
            "wait",
        ),
        (streak(403, soon), &[], 0, "(403); the first", "rotated"),
        (
            streak(401, soon),
            alone,
            0,
            "rotated on 24 Nov 13:02 UTC",
            "wait",
        ),
    ] {
        let words = about.streak(&streak, secrets, waiting);
        assert!(words.contains(has) && !words.contains(lacks), "{words}");
    }
}

#[test]
fn numbers_are_grouped() {
    for (number, due) in [
        (0, "0"),
        (999, "999"),
        (1_000, "1,000"),
        (u64::MAX, "18,446,744,073,709,551,615"),
    ] {
        assert_eq!(grouped(number), due);
    }
}

proptest! {
    #[test]
    fn no_location_adds_a_line_or_another_site(location in ".{0,100}") {
        let url = url("https://hooks.acme.example/in");
        if let Some(target) = redirect(&url, &location) {
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
            let host = EndpointUrl::restore(&target).unwrap().host().to_owned();
            prop_assert!(host.ends_with("acme.example") || host == "example");
        }
    }
}
