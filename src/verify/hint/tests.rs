//! Reasons that golden requests of presets do not lead to: tables of secrets, dates of secrets, `token`, `basic`, query and body.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::clock::{Clock as _, Dates, FrozenClock, Now};
use crate::request::{Params, Received};
use crate::verify::{
    Algorithm, HmacScheme, KeyedBy, Layout, Locator, NotAuthentic, Scheme, SecretSet, SecretTable,
    SecretText, Shape, Source, SourcePlace, TagEncoding, Template, Verifier,
};

const NOW: u64 = 1_767_225_600;

fn now() -> Now {
    FrozenClock::at_unix(NOW).now()
}

fn at(place: SourcePlace) -> Source {
    Source {
        place,
        prefix: "".into(),
        layout: Layout::Whole,
        repeated: false,
        expect: Box::default(),
    }
}

fn header(name: &'static str) -> SourcePlace {
    SourcePlace::Headers(Box::new([HeaderName::from_static(name)]))
}

fn keyed(content: &str, source: Source) -> Scheme {
    Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: TagEncoding::Base64,
        source,
        content: Template::parse(content).unwrap(),
        time: None,
    })
}

fn secret(name: &str, text: &str, days: [Option<i64>; 2]) -> SecretText {
    let date = |days: i64| -> SystemTime {
        let seconds = u64::try_from(i64::try_from(NOW).unwrap() + 86_400 * days).unwrap();
        UNIX_EPOCH + Duration::from_secs(seconds)
    };
    SecretText {
        name: name.into(),
        text: Zeroizing::new(text.as_bytes().to_vec()),
        encodings: None,
        not_before: days[0].map(date),
        expires: days[1].map(date),
    }
}

fn verifier(scheme: Scheme, id: Option<Locator>, secrets: &[SecretText]) -> Verifier {
    let shape = Shape::new(scheme, id, None, Vec::new(), None);
    let set = SecretSet::list(shape.secret_kind(), &[], None, secrets).unwrap();
    shape.with_secrets(set, None)
}

fn request(target: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Received {
    let mut request = http::Request::post(format!("https://hooks.example.com{target}"));
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request = request.header(HeaderName::from_static(name), value);
    }
    let request = request.body(Bytes::copy_from_slice(body)).unwrap();
    Received::from_http(request, now())
}

#[track_caller]
fn check(verifier: &Verifier, received: Received, why: NotAuthentic, words: &str) {
    let params = Params(vec![("account".into(), "nobody".into())]);
    let refused = verifier.verify(received, &params, now()).unwrap_err();
    let dates = Dates::at(now().wall);
    let hint = verifier.hint(&refused, &params, now().wall, &dates);
    assert_eq!((refused.why, &*hint), (why, words));
}

#[test]
fn inactive_secrets_are_named_with_their_dates() {
    use NotAuthentic::SignatureMismatch;
    let scheme = || keyed("{body}", at(header("x-sig")));
    let tag = TagEncoding::Base64.encode(&crate::verify::hmac::Tag::new(&[7; 32]));
    let sent = || request("/", &[("x-sig", &tag)], b"{}");
    let old = secret("2025-05", "the-old-secret", [None, Some(-1)]);
    let next = secret("2026-11", "the-next-secret", [Some(1), None]);
    let both = verifier(scheme(), None, &[old.clone(), next]);
    check(
        &both,
        sent(),
        SignatureMismatch,
        "no secret of the route is active: 2025-05 expired at 2025-12-31T00:00:00.000Z, 2026-11 is active from 2026-01-02T00:00:00.000Z",
    );
    let one = verifier(
        scheme(),
        None,
        &[old, secret("now", "the-secret", [None, None])],
    );
    check(
        &one,
        sent(),
        SignatureMismatch,
        "no secret of the route matches: 1 tried, and 2025-05 expired at 2025-12-31T00:00:00.000Z",
    );
}

#[test]
fn unknown_account_is_named_by_its_place() {
    use NotAuthentic::{SignatureMalformed, SignatureMismatch};
    let tag = TagEncoding::Base64.encode(&crate::verify::hmac::Tag::new(&[7; 32]));
    let of = |by: KeyedBy| {
        let shape = Shape::new(
            keyed("{body}", at(header("x-sig"))),
            None,
            None,
            Vec::new(),
            None,
        );
        let set = SecretSet::table(shape.secret_kind(), &[], by, SecretTable::default());
        shape.with_secrets(set, None)
    };
    let by_header = of(KeyedBy::Header(HeaderName::from_static("x-key")));
    let sent = request("/", &[("x-sig", &tag), ("x-key", "an-account")], b"{}");
    check(
        &by_header,
        sent,
        SignatureMismatch,
        "there is no secret for the account in the header X-Key",
    );
    let twice = request("/", &[("x-sig", &tag), ("x-key", "a"), ("x-key", "b")], b"");
    check(
        &by_header,
        twice,
        SignatureMalformed,
        "the header X-Key occurs with different values",
    );
    check(
        &of(KeyedBy::Param("account".into())),
        request("/", &[("x-sig", &tag)], b"{}"),
        SignatureMismatch,
        "there is no secret for the account in the path parameter `account`",
    );
}

#[test]
fn places_beside_headers_are_named() {
    use NotAuthentic::{SignatureMalformed, SignatureMismatch, SignatureMissing};
    let secrets = [secret("one", "the-secret-of-it", [None, None])];
    let query = verifier(
        keyed("{body}", at(SourcePlace::Query("sig".into()))),
        None,
        &secrets,
    );
    for (target, why, words) in [
        ("/?a=1", SignatureMissing, "the query has no `sig`"),
        ("/?sig=", SignatureMalformed, "the signature is empty"),
        (
            "/?sig=AA==&sig=AB==",
            SignatureMalformed,
            "the query parameter `sig` occurs several times, or is not UTF-8",
        ),
        (
            "/?sig=!!",
            SignatureMalformed,
            "the signature is not base64",
        ),
        (
            "/?sig=AAAA",
            SignatureMismatch,
            "the signature has 3 bytes, this scheme has 32",
        ),
    ] {
        check(&query, request(target, &[], b"{}"), why, words);
    }
    let field = verifier(
        keyed("{json:/id}", at(SourcePlace::Json("/sig".into()))),
        None,
        &secrets,
    );
    let large = [b"{\"id\":\"".to_vec(), vec![b'a'; 20_000], b"\"}".to_vec()].concat();
    for (body, why, words) in [
        (
            &b"{\"id\":\"1\"}"[..],
            SignatureMissing,
            "the body has no field `/sig`",
        ),
        (
            b"{\"sig\":\"AAAA\"}",
            SignatureMissing,
            "the body has no field `/id`",
        ),
        (
            b"sig=1",
            SignatureMalformed,
            "the body is not JSON, this preset expects JSON",
        ),
        (
            b"{\"sig\":\"AAAA\"",
            SignatureMalformed,
            "the body is not valid JSON, or has the field `/sig` of the body twice",
        ),
        (
            &large,
            SignatureMissing,
            "the body lacks a field of the signature",
        ),
    ] {
        check(&field, request("/", &[], body), why, words);
    }
    let id = Locator::Header(HeaderName::from_static("x-id").into());
    let with_id = verifier(
        keyed("{id}.{body}", at(header("x-sig"))),
        Some(id),
        &secrets,
    );
    let tag = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    check(
        &with_id,
        request("/", &[("x-sig", tag)], b""),
        SignatureMissing,
        "the header X-Id is missing",
    );
    check(
        &with_id,
        request("/", &[("x-sig", tag), ("x-id", "a b")], b""),
        SignatureMalformed,
        "the ID in the header X-Id occurs twice, is too long, or has other than visible ASCII",
    );
}

#[test]
fn tokens_and_passwords_have_reasons() {
    use NotAuthentic::{SignatureMalformed, SignatureMismatch, SignatureMissing};
    let basic = verifier(
        Scheme::Basic,
        None,
        &[secret("one", "user:password", [None, None])],
    );
    for (headers, why, words) in [
        (
            vec![],
            SignatureMissing,
            "the header Authorization is missing",
        ),
        (
            vec![("authorization", "Bearer x")],
            SignatureMalformed,
            "the header Authorization does not begin with `Basic`",
        ),
        (
            vec![("authorization", "Basic !")],
            SignatureMalformed,
            "the header Authorization does not hold the base64 of `user:password`",
        ),
        (
            vec![("authorization", "Basic dXNlcjp3cm9uZw==")],
            SignatureMismatch,
            "no secret of the route matches: 1 tried",
        ),
    ] {
        check(&basic, request("/", &headers, b""), why, words);
    }
    let mut source = at(header("authorization"));
    source.prefix = "Bearer ".into();
    source.expect = Box::new([(HeaderName::from_static("x-version"), "2".into())]);
    let token = verifier(
        Scheme::Token(source),
        None,
        &[secret("one", "the-token", [None, None])],
    );
    for (headers, why, words) in [
        (
            vec![("authorization", "Bearer x")],
            SignatureMissing,
            "the header X-Version is missing",
        ),
        (
            vec![("authorization", "Bearer x"), ("x-version", "1")],
            SignatureMalformed,
            "the header X-Version is not `2`",
        ),
        (
            vec![("authorization", "Basic x"), ("x-version", "2")],
            SignatureMalformed,
            "the header Authorization has no prefix `Bearer `, but `Basic`",
        ),
        (
            vec![("authorization", "Bearer x"), ("x-version", "2")],
            SignatureMismatch,
            "no secret of the route matches: 1 tried",
        ),
    ] {
        check(&token, request("/", &headers, b""), why, words);
    }
}
