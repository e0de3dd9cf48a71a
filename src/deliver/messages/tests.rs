use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::*;
use crate::delivery::{Fault, Outcome, TlsFault};
use crate::queue::attempt::stored_error;
use crate::store::queue::Cause as AttemptCause;
use crate::store::record;

fn attempt(status: Option<u16>, error: Option<&str>) -> Attempt {
    let pair = |name: &'static str, value: &'static str| {
        (
            Bytes::from_static(name.as_bytes()),
            Bytes::from_static(value.as_bytes()),
        )
    };
    Attempt {
        cause: AttemptCause::Schedule,
        started: UNIX_EPOCH,
        took: Duration::from_millis(15_004),
        connect: None,
        first_byte: None,
        status,
        error: error.map(Arc::from),
        peer: None,
        head: record::headers(&vec![pair("location", "https://hooks.acme.example/new")]),
        body: Bytes::new(),
        facts: record::headers(&vec![pair("url", "https://hooks.acme.example/in")]),
    }
}

#[test]
fn attempts_are_described_for_customers() {
    let date = UNIX_EPOCH + Duration::from_secs(1_793_664_000);
    let expired = Fault::Tls(TlsFault::Expired(Some(date)));
    let expired = stored_error(Outcome::Unreached(expired)).unwrap();
    for (status, error, message) in [
        (Some(200), None, None),
        (Some(204), None, None),
        (
            Some(301),
            None,
            Some(
                "hooks.acme.example answered 301: redirects are not followed; set the URL to https://hooks.acme.example/new",
            ),
        ),
        (Some(500), None, Some("hooks.acme.example failed (500)")),
        (
            None,
            Some(&*expired),
            Some("hooks.acme.example's certificate expired on 3 Nov 2026"),
        ),
        (
            None,
            Some("ambiguous_timeout"),
            Some("hooks.acme.example did not answer within 15 s"),
        ),
        (
            None,
            Some(CUT_OFF),
            Some("the sender was stopped during the attempt, so its outcome is not known"),
        ),
        (
            None,
            Some("an error of another version"),
            Some("the attempt to send to hooks.acme.example failed"),
        ),
    ] {
        let found = attempt_message(&attempt(status, error));
        assert_eq!(found.as_deref(), message, "{status:?} {error:?}");
    }
    let [blocked, unresolved] = [Fault::Blocked, Fault::Resolve]
        .map(|fault| stored_error(Outcome::Unreached(fault)).unwrap())
        .map(|error| attempt_message(&attempt(None, Some(&error))));
    assert!(blocked.is_some() && blocked == unresolved, "no oracle");
}
