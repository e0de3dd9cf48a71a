//! The schemes, by table and by property.
mod hostile;
mod secrets;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::clock::{Clock, Dates, FrozenClock, Now};
use crate::request::{Client, Params, Received, RequestHead, RequestId};

const NOW: u64 = 1_767_225_600;
const KEY: &str = "a-long-enough-secret";

fn now() -> Now {
    FrozenClock::at_unix(NOW).now()
}

fn head(target: &str, headers: &[(&str, &[u8])]) -> RequestHead {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).unwrap();
        (name.parse::<HeaderName>().unwrap(), value)
    });
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(7),
        method: Method::POST,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: "hooks.example.com".to_owned(),
        tls: true,
        headers: headers.collect(),
        declared_size: None,
        client: Client {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            own: true,
            behind_trusted_proxy: false,
        },
        received: now(),
    }
}

fn secret(name: &str, text: &str) -> SecretText {
    SecretText {
        name: name.into(),
        text: Zeroizing::new(text.as_bytes().to_vec()),
        encodings: None,
        not_before: None,
        expires: None,
    }
}

fn headers(names: &[&str]) -> SourcePlace {
    SourcePlace::Headers(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn source(prefix: &str, layout: Layout) -> Source {
    Source {
        prefix: prefix.into(),
        layout,
        ..at(headers(&["x-sig"]))
    }
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

fn named(name: &str) -> HeaderNames {
    name.parse::<HeaderName>().unwrap().into()
}

fn keyed(content: &str, source: Source, time: Option<SignedTime>) -> Scheme {
    let content = Template::parse(content).unwrap();
    Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: TagEncoding::Hex,
        source,
        content,
        time,
    })
}

fn unix(at: TimeAt) -> Option<SignedTime> {
    Some(SignedTime {
        at,
        format: Format::Unix,
        tolerance: Duration::from_secs(300),
    })
}

fn verifier(scheme: Scheme, id: Option<Locator>, secrets: &[SecretText]) -> Verifier {
    let shape = Shape::new(scheme, id, None, Vec::new(), None);
    let set = SecretSet::list(shape.secret_kind(), &[], None, secrets).unwrap();
    shape.with_secrets(set, None)
}

fn mac(content: &[u8]) -> String {
    mac_with(KEY, content)
}

fn mac_with(key: &str, content: &[u8]) -> String {
    let mut mac = hmac::Mac::new(Algorithm::Sha256, key.as_bytes()).unwrap();
    mac.update(content);
    TagEncoding::Hex.encode(&mac.finish())
}

/// Returns the verdict, which is the same in one call, in chunks, and with nothing streamed.
fn judge(verifier: &Verifier, head: &RequestHead, body: &[u8]) -> Result<Authentic, NotAuthentic> {
    let received = || Received {
        head: head.clone(),
        body: Bytes::copy_from_slice(body).into(),
    };
    let params = Params(vec![("account".into(), "acme".into())]);
    let whole = verifier.verify(received(), &params, now());
    let mut chunked = verifier.begin(head, &params);
    body.chunks(3).for_each(|chunk| chunked.update(chunk));
    let chunked = chunked.finish(received(), now(), &Dates::at(now().wall));
    let mut misfed = verifier.begin(head, &params);
    misfed.update(b"bytes of some other request");
    let misfed = misfed.finish(received(), now(), &Dates::at(now().wall));
    let why =
        |verdict: &Result<Authentic, Refused>| verdict.as_ref().err().map(|refused| refused.why);
    assert_eq!(why(&whole), why(&chunked));
    assert_eq!(why(&whole), why(&misfed));
    whole.map_err(|refused| refused.why)
}

fn why(verifier: &Verifier, head: &RequestHead, body: &[u8]) -> Option<NotAuthentic> {
    judge(verifier, head, body).err()
}

#[test]
fn hmac_of_the_body_is_verified() {
    let gate = verifier(
        keyed("{body}", source("sha256=", Layout::Whole), None),
        None,
        &[secret("old", "other"), secret("new", KEY)],
    );
    let good = format!("sha256={}", mac(b"body"));
    let authentic = judge(&gate, &head("/", &[("x-sig", good.as_bytes())]), b"body").unwrap();
    assert_eq!(&**authentic.secret(), "new");
    assert_eq!(authentic.covers().to_string(), "body");
    use NotAuthentic::{SignatureMalformed, SignatureMismatch, SignatureMissing};
    let bare = mac(b"body");
    let short = good.get(..good.len() - 2).unwrap();
    for (headers, want) in [
        (vec![], SignatureMissing),
        (vec![("x-sig", "")], SignatureMalformed),
        (vec![("x-sig", "sha256=")], SignatureMalformed),
        (vec![("x-sig", bare.as_str())], SignatureMalformed),
        (vec![("x-sig", "sha256=zz")], SignatureMalformed),
        (vec![("x-sig", short)], SignatureMismatch),
        (
            vec![("x-sig", good.as_str()), ("x-sig", short)],
            SignatureMalformed,
        ),
    ] {
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        assert_eq!(
            why(&gate, &head("/", &headers), b"body"),
            Some(want),
            "{headers:?}"
        );
    }
    assert_eq!(
        why(&gate, &head("/", &[("x-sig", good.as_bytes()); 2]), b"body"),
        None,
        "equal values are one"
    );
    assert_eq!(
        why(&gate, &head("/", &[("x-sig", good.as_bytes())]), b"bodz"),
        Some(SignatureMismatch)
    );
}

#[test]
fn time_is_enforced_where_it_is_covered() {
    let pairs = || {
        source(
            "",
            Layout::Pairs {
                separator: ",".into(),
                key: "v1".into(),
            },
        )
    };
    let gate = verifier(
        keyed(
            "{timestamp}.{body}",
            pairs(),
            unix(TimeAt::Pair("t".into())),
        ),
        None,
        &[secret("s", KEY)],
    );
    let at = |seconds: u64| format!("t={seconds},v1={}", mac(format!("{seconds}.x").as_bytes()));
    let verdict = |text: &str| why(&gate, &head("/", &[("x-sig", text.as_bytes())]), b"x");
    use NotAuthentic::*;
    assert_eq!(verdict(&at(NOW)), None);
    assert_eq!(verdict(&at(NOW - 300)), None);
    assert_eq!(verdict(&at(NOW + 300)), None);
    assert_eq!(verdict(&at(NOW - 301)), Some(TimestampStale));
    assert_eq!(verdict(&at(NOW + 301)), Some(TimestampFuture));
    let forged = mac(b"forged");
    let good = mac(format!("{NOW}.x").as_bytes());
    for (text, want) in [
        (format!("t={},v1={forged}", NOW - 301), SignatureMismatch),
        (format!("v1={good}"), TimestampMissing),
        (format!("t={NOW},t={NOW},v1={good}"), TimestampMalformed),
        (format!("t={NOW}0,v1={good}"), TimestampMalformed),
        (format!("t={NOW}"), SignatureMalformed),
        (format!("t={NOW}, v1={good}"), SignatureMalformed),
        (format!("t={NOW},v0={good}"), SignatureMalformed),
    ] {
        assert_eq!(verdict(&text), Some(want), "{text}");
    }
    for text in [
        format!("t={NOW},v1={forged},v1={good}"),
        format!("v1=zz,v1={good},t={NOW},v0=1"),
    ] {
        assert_eq!(verdict(&text), None, "{text}");
    }
    let many = format!("t={NOW}{}", format!(",v1={good}").repeat(33));
    assert_eq!(verdict(&many), Some(SignatureMalformed));
    let uncovered = verifier(
        keyed(
            "{body}",
            source("", Layout::Whole),
            unix(TimeAt::Header(named("x-time"))),
        ),
        None,
        &[secret("s", KEY)],
    );
    assert_eq!(
        why(
            &uncovered,
            &head("/", &[("x-sig", mac(b"x").as_bytes())]),
            b"x"
        ),
        None
    );
    assert_eq!(uncovered.shape().tolerance(), None);
}

#[test]
fn time_in_the_body_is_enforced() {
    let gate = verifier(
        keyed(
            "{body}",
            source("", Layout::Whole),
            unix(TimeAt::Json("/at".into())),
        ),
        None,
        &[secret("s", KEY)],
    );
    let verdict = |body: &str| {
        why(
            &gate,
            &head("/", &[("x-sig", mac(body.as_bytes()).as_bytes())]),
            body.as_bytes(),
        )
    };
    assert_eq!(verdict(&format!("{{\"at\":{NOW}}}")), None);
    assert_eq!(verdict(&format!("{{\"at\":\"{NOW}\"}}")), None);
    assert_eq!(
        verdict(&format!("{{\"at\":{}}}", NOW - 301)),
        Some(NotAuthentic::TimestampStale)
    );
    assert_eq!(verdict("{}"), Some(NotAuthentic::TimestampMissing));
    assert_eq!(
        verdict(&format!("{{\"at\":{NOW},\"at\":{NOW}}}")),
        Some(NotAuthentic::TimestampMalformed)
    );
    assert_eq!(
        verdict(&format!("{{\"at\":{NOW}.0}}")),
        Some(NotAuthentic::TimestampMalformed)
    );
}

#[test]
fn signature_lists_headers_and_times_are_parsed() {
    let list = |separator: &str, prefix: &str, time| {
        source(
            prefix,
            Layout::List {
                separator: separator.into(),
                time,
            },
        )
    };
    let good = mac(b"x");
    let standard = verifier(
        keyed("{body}", list(" ", "v1,", None), None),
        None,
        &[secret("s", KEY)],
    );
    for (text, want) in [
        (format!("v1,{good}"), None),
        (format!("v1a,{good} v1,{good}"), None),
        (format!("v1,00 v1,{good}"), None),
        (format!("v2,{good}"), Some(NotAuthentic::SignatureMalformed)),
        (good.clone(), Some(NotAuthentic::SignatureMalformed)),
        (
            format!("v1,{good},v1,{good}"),
            Some(NotAuthentic::SignatureMalformed),
        ),
    ] {
        assert_eq!(
            why(&standard, &head("/", &[("x-sig", text.as_bytes())]), b"x"),
            want,
            "{text}"
        );
    }
    let recurly = verifier(
        keyed(
            "{timestamp}.{body}",
            list(",", "", Some(0)),
            unix(TimeAt::Item),
        ),
        None,
        &[secret("s", KEY)],
    );
    let stamped = mac(format!("{NOW}.x").as_bytes());
    for (text, want) in [
        (format!("{NOW},{stamped}"), None),
        (format!("{NOW},{good},{stamped}"), None),
        (
            format!("{stamped},{NOW}"),
            Some(NotAuthentic::TimestampMalformed),
        ),
        (format!("{NOW}"), Some(NotAuthentic::SignatureMalformed)),
    ] {
        assert_eq!(
            why(&recurly, &head("/", &[("x-sig", text.as_bytes())]), b"x"),
            want,
            "{text}"
        );
    }
    let either = at(headers(&["x-1", "x-2"]));
    let either = verifier(keyed("{body}", either, None), None, &[secret("s", KEY)]);
    let pair = |first: &str, second: &str| {
        why(
            &either,
            &head(
                "/",
                &[("x-1", first.as_bytes()), ("x-2", second.as_bytes())],
            ),
            b"x",
        )
    };
    assert_eq!(pair("zz", &good), None);
    assert_eq!(pair(&good, &mac(b"y")), None);
    assert_eq!(
        why(&either, &head("/", &[("x-2", good.as_bytes())]), b"x"),
        None
    );
    assert_eq!(
        why(&either, &head("/", &[]), b"x"),
        Some(NotAuthentic::SignatureMissing)
    );
}

#[test]
fn template_content_concatenates_its_parts() {
    let content = "v0:{timestamp}:{{{id}}}\\n{method} {path}?{query} {url} {header:x-h}\\\\{json:/n}:{body};{json:/s}";
    let id = Locator::Header(named("x-id"));
    let scheme = keyed(
        content,
        source("", Layout::Whole),
        unix(TimeAt::Header(named("x-time"))),
    );
    let gate = verifier(scheme, Some(id), &[secret("s", KEY)]);
    let body = r#"{"n":1.0,"s":"a\/b"}"#;
    let url = "/in/x%20y?a=1&b=%2F";
    let want = format!(
        "v0:{NOW}:{{id-1}}\nPOST /in/x%20y?a=1&b=%2F https://hooks.example.com{url} two words\\1.0:{body};a/b"
    );
    let time = NOW.to_string();
    let base: [(&str, &[u8]); 3] = [
        ("x-time", time.as_bytes()),
        ("x-id", b"id-1"),
        ("x-h", b"two words"),
    ];
    let signature = mac(want.as_bytes());
    let with = |change: Option<(&'static str, &'static [u8])>| {
        let mut all: Vec<(&str, &[u8])> = base.to_vec();
        all.push(("x-sig", signature.as_bytes()));
        if let Some((name, value)) = change {
            all.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                all.push((name, value));
            }
        }
        head(url, &all)
    };
    let authentic = judge(&gate, &with(None), body.as_bytes()).unwrap();
    assert_eq!(authentic.delivery_id(), Some("id-1"));
    assert!(authentic.id_covered());
    assert_eq!(
        authentic.covers().header_value(),
        "body,timestamp,id,method,url,path,query,headers,fields"
    );
    for (change, want) in [
        (("x-id", &b""[..]), NotAuthentic::SignatureMissing),
        (("x-id", b"two words"), NotAuthentic::SignatureMalformed),
        (("x-id", &[b'a'; 257]), NotAuthentic::SignatureMalformed),
        (("x-id", b"id-2"), NotAuthentic::SignatureMismatch),
        (("x-h", b""), NotAuthentic::SignatureMissing),
        (("x-h", b"\xc3\xa9"), NotAuthentic::SignatureMalformed),
        (("x-time", b""), NotAuthentic::TimestampMissing),
        (("x-time", b"1767225600 "), NotAuthentic::TimestampMalformed),
    ] {
        assert_eq!(
            why(&gate, &with(Some(change)), body.as_bytes()),
            Some(want),
            "{change:?}"
        );
    }
    assert_eq!(
        why(&gate, &with(None), br#"{"n":1.0}"#),
        Some(NotAuthentic::SignatureMissing)
    );
}

#[test]
fn signed_url_is_the_one_of_the_sender() {
    let shape = || {
        Shape::new(
            keyed("{url}", source("", Layout::Whole), None),
            None,
            None,
            Vec::new(),
            None,
        )
    };
    let set = || SecretSet::list(shape().secret_kind(), &[], None, &[secret("s", KEY)]).unwrap();
    let own = shape().with_secrets(set(), None);
    let public = shape().with_secrets(set(), Some("https://pub.example.com/in".to_owned()));
    assert!(own.covers_path() && !public.covers_path());
    let ask = |gate: &Verifier, url: &str, trusted: bool, forwarded: &[(&str, &[u8])]| {
        let signature = mac(url.as_bytes());
        let mut headers = forwarded.to_vec();
        headers.push(("x-sig", signature.as_bytes()));
        let mut head = head("/in?q=1", &headers);
        head.client.behind_trusted_proxy = trusted;
        why(gate, &head, b"")
    };
    let through: [(&str, &[u8]); 2] = [
        ("x-forwarded-proto", b"http"),
        ("x-forwarded-host", b"other.example.com:8443"),
    ];
    assert_eq!(
        ask(&own, "https://hooks.example.com/in?q=1", false, &through),
        None
    );
    assert_eq!(
        ask(&own, "http://other.example.com:8443/in?q=1", true, &through),
        None
    );
    assert_eq!(
        ask(
            &own,
            "http://other.example.com:8443/in?q=1",
            false,
            &through
        ),
        Some(NotAuthentic::SignatureMismatch)
    );
    assert_eq!(
        ask(
            &own,
            "https://a/in?q=1",
            true,
            &[("x-forwarded-host", b"a, b")]
        ),
        Some(NotAuthentic::SignatureMalformed)
    );
    assert_eq!(
        ask(&public, "https://pub.example.com/in?q=1", true, &through),
        None
    );
}

#[test]
fn bad_template_names_its_fault() {
    assert_eq!(
        Template::parse("{boddy}").unwrap_err(),
        BadTemplate::Unknown("boddy".into())
    );
    for text in [
        "",
        "abc",
        "{body",
        "body}",
        "\\t{body}",
        "{header:}",
        "{json:a}",
    ] {
        assert!(
            matches!(Template::parse(text), Err(BadTemplate::Wrong { .. })),
            "{text}"
        );
    }
    for (text, is_ambiguous) in [
        ("{body}", false),
        ("v0:{timestamp}:{body}", false),
        ("{timestamp}{body}", true),
        ("{timestamp}0{body}", true),
        ("{id}.{timestamp}.{body}", true),
        ("{id}\\n{timestamp}.{body}", false),
        ("{body}.{timestamp}", false),
        ("{body}.{id}", true),
        ("{url}\\n{body}", false),
        ("{method}\\n{url}\\n{timestamp}\\n{body}", false),
        ("{url} {body}", false),
        ("{path}?{body}", false),
        ("{query}. \\n{body}", false),
        ("{header:a} \\n{body}", false),
        ("{json:/a}\\n{body}", true),
        ("{timestamp}.{body}\\n{url}", false),
        ("{id}\\n{body}.{id}", true),
        ("{url}.{body}", true),
        ("{method}:{path} {timestamp}:{body}", false),
        ("{path}?{query}\\n{body}", false),
        ("{query}&{body}", true),
        ("{header:a} {body}", true),
        ("{url}{body}", true),
        ("a{body}b", false),
    ] {
        assert_eq!(
            Template::parse(text)
                .unwrap()
                .ambiguous_border(Format::Unix)
                .is_some(),
            is_ambiguous,
            "{text}"
        );
    }
}

#[test]
fn signed_request_is_accepted() {
    let list = |time| Layout::List {
        separator: ",".into(),
        time,
    };
    let pairs = Layout::Pairs {
        separator: ", ".into(),
        key: "v1".into(),
    };
    let id = || Some(Locator::Header(named("x-id")));
    let header = || unix(TimeAt::Header(named("x-time")));
    let query = at(SourcePlace::Query("sig".into()));
    for (scheme, text) in [
        (keyed("{body}", source("sha256=", Layout::Whole), None), KEY),
        (
            keyed(
                "{id}.{timestamp}.{body}",
                source("v1:", list(None)),
                header(),
            ),
            KEY,
        ),
        (
            keyed(
                "{body}{timestamp}",
                source("", list(Some(0))),
                unix(TimeAt::Item),
            ),
            KEY,
        ),
        (
            keyed(
                "{body}{timestamp}",
                source("", list(Some(2))),
                unix(TimeAt::Item),
            ),
            KEY,
        ),
        (
            keyed(
                "{timestamp}.{body}",
                source("", pairs),
                unix(TimeAt::Pair("t".into())),
            ),
            KEY,
        ),
        (keyed("{body}", query, None), KEY),
        (
            keyed(
                "{body}",
                Source {
                    expect: [("x-version".parse().unwrap(), "1".into())].into(),
                    ..source("", Layout::Whole)
                },
                None,
            ),
            KEY,
        ),
        (Scheme::Token(source("Bearer ", Layout::Whole)), KEY),
        (Scheme::Basic, "user:password"),
    ] {
        let label = format!("{scheme:?}");
        let gate = verifier(scheme, id(), &[secret("s", text)]);
        let mut signed = head("/in", &[]);
        let made = gate
            .sign(&signed, &Params::default(), b"body", 0, now().wall)
            .unwrap();
        assert!(!format!("{made:?}").contains(text), "{made:?}");
        for (name, value) in made.headers {
            signed.headers.insert(&name, &value);
        }
        if let Some((name, value)) = made.query.first() {
            signed.target = format!("/in?{name}={value}").into();
        }
        assert_eq!(why(&gate, &signed, b"body"), None, "{label}");
        assert_eq!(
            gate.sign(&signed, &Params::default(), b"body", 1, now().wall)
                .unwrap_err(),
            CannotSign::NoSecret
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Body,
    Time,
    Id,
    Signature,
    Secret,
}

proptest! {
    #[test]
    fn one_changed_byte_is_not_authentic(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        part in prop_oneof![Just(Part::Body), Just(Part::Time), Just(Part::Id), Just(Part::Signature), Just(Part::Secret)],
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let id = Some(Locator::Header(named("x-id")));
        let scheme = || keyed("{id}.{timestamp}.{body}", source("v1=", Layout::Whole), unix(TimeAt::Header(named("x-time"))));
        let mut parts = [body, NOW.to_string().into_bytes(), b"msg_1".to_vec(), Vec::new(), KEY.as_bytes().to_vec()];
        parts[3] = format!("v1={}", mac(&[b"msg_1.", NOW.to_string().as_bytes(), b".", &parts[0]].concat())).into_bytes();
        let original = parts[part as usize].clone();
        let index = at.index(original.len());
        parts[part as usize][index] ^= flip;
        // The same tag in the other case of hex is the same tag.
        prop_assume!(!matches!(part, Part::Signature) || !original.eq_ignore_ascii_case(&parts[3]));
        let [body, time, id_text, signature, key] = parts;
        prop_assume!([&time, &id_text, &signature].iter().all(|value| HeaderValue::from_bytes(value).is_ok()));
        let mut text = secret("s", "");
        text.text = Zeroizing::new(key);
        let gate = verifier(scheme(), id, &[text]);
        let head = head("/", &[("x-time", &time), ("x-id", &id_text), ("x-sig", &signature)]);
        prop_assert!(judge(&gate, &head, &body).is_err());
    }

    #[test]
    fn any_chunking_gives_the_same_verdict(
        body in proptest::collection::vec(any::<u8>(), 0..2_000),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        honest in any::<bool>(),
        content in prop_oneof![Just("{body}"), Just("a{timestamp}:{body}:{timestamp}"), Just("{body}{body}{timestamp}")],
    ) {
        let gate = verifier(keyed(content, source("", Layout::Whole), unix(TimeAt::Header(named("x-time")))), None, &[secret("s", KEY)]);
        let mut signed = head("/", &[]);
        for (name, value) in gate.sign(&signed, &Params::default(), &body, 0, now().wall).unwrap().headers {
            signed.headers.insert(&name, &value);
        }
        let mut sent = body;
        if !honest {
            sent.push(0);
        }
        let mut check = gate.begin(&signed, &Params::default());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for to in cuts.into_iter().chain([sent.len()]) {
            check.update(&sent[from..to]);
            from = to;
        }
        let verdict = check.finish(Received { head: signed, body: Bytes::from(sent).into() }, now(), &Dates::at(now().wall));
        prop_assert_eq!(verdict.is_ok(), honest);
    }
}
