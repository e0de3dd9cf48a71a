use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::request::{Client, RequestId};

fn head(trusted: bool, lines: &[(&str, &str)]) -> RequestHead {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(0),
        method: Method::POST,
        target: Bytes::from_static(b"/hook"),
        authority: "hooks.example".to_owned(),
        tls: true,
        headers,
        declared_size: None,
        client: Client { ip: IpAddr::from([192, 0, 2, 7]), own: true, behind_trusted_proxy: trusted },
        received: SystemClock.now(),
    }
}

const COVERS: Covers =
    Covers { body: true, timestamp: true, id: false, method: false, url: false, path: false, query: false, headers: false, fields: false };

const PROOF: Proof<'_> = Proof {
    route: "github",
    provider: Some("github"),
    delivery_id: Some("72d3162e-cc78"),
    attempt: 2,
    secret: "2026-11",
    received_at: UNIX_EPOCH,
    covers: COVERS,
};

fn sent(head: &RequestHead, proof: Option<&Proof<'_>>) -> Vec<(String, String)> {
    let body = Bytes::from_static(b"{}");
    let lines = upstream(head, HeaderValue::from_static("hooks.example"), &[], &body, proof);
    lines.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

fn values<'a>(lines: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    lines.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn an_authentic_delivery_says_so_in_full() {
    let proof = Proof { received_at: UNIX_EPOCH + Duration::from_millis(1_795_485_660_007), ..PROOF };
    let lines = sent(&head(false, &[("content-type", "application/json"), ("x-github-event", "push")]), Some(&proof));
    let expected = [
        ("host", "hooks.example"),
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("content-length", "2"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "hooks.example"),
        ("x-request-id", "00000000000000000000000000"),
        ("hookgate-verified", "true"),
        ("hookgate-route", "github"),
        ("hookgate-provider", "github"),
        ("hookgate-delivery-id", "72d3162e-cc78"),
        ("hookgate-attempt", "2"),
        ("hookgate-secret", "2026-11"),
        ("hookgate-received-at", "2026-11-24T02:01:00.007Z"),
        ("hookgate-covers", "body,timestamp"),
    ];
    assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn an_unverified_one_says_only_that() {
    let lines = sent(&head(false, &[("Hookgate-Verified", "true"), ("Hookgate-Route", "x"), ("Hookgate_Secret", "x")]), None);
    let ours: Vec<_> = lines.iter().filter(|(name, _)| name.contains("gate")).collect();
    assert_eq!(ours, [&("hookgate-verified".to_owned(), "false".to_owned())]);
}

#[test]
fn what_never_reaches_the_app() {
    let names = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "transfer_encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authorization",
        "http2-settings",
        "proxy",
        "expect",
        "content_length",
        "hookgate-verified",
        "hookgate_verified",
        "hook-gate-verified",
        "h-o-o-k-gate",
        "http-hookgate-route",
        "http_http_hookgate_route",
        "hookgatex",
        "x-original-url",
        "x_original_url",
        "xoriginalurl",
        "x-rewrite-url",
        "x-http-method-override",
        "x_http_method_override",
        "x-forwarded-prefix",
        "x_forwarded_for",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "traceparent",
        "tracestate",
        "baggage",
        "content_type",
        "http-cookie",
        "x.forwarded.for",
        "http_host",
    ];
    for name in names {
        let lines = sent(&head(false, &[(name, "1"), ("x-kept", "1")]), None);
        assert!(values(&lines, name).iter().all(|value| *value != "1"), "{name}");
        assert_eq!(values(&lines, "x-kept"), ["1"], "{name}");
    }
}

#[test]
fn what_connection_names_goes_and_ours_stay() {
    let head = head(false, &[("connection", "close, X-Once , hookgate-verified"), ("connection", "x-forwarded-for,host"), ("x-once", "1")]);
    let lines = sent(&head, Some(&PROOF));
    assert!(values(&lines, "x-once").is_empty());
    assert_eq!(values(&lines, "hookgate-verified"), ["true"]);
    assert_eq!(values(&lines, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&lines, "host"), ["hooks.example"]);
}

#[test]
fn forwarding_headers_count_from_a_trusted_proxy_alone() {
    let told = [
        ("x-forwarded-for", "198.51.100.1, 10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded-proto", "http"),
        ("traceparent", "00-1-2-01"),
        ("x-request-id", "theirs"),
    ];
    let lines = sent(&head(true, &told), None);
    assert_eq!(values(&lines, "x-forwarded-for"), ["198.51.100.1, 10.0.0.1", "10.0.0.2"]);
    assert_eq!(values(&lines, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&lines, "x-forwarded-host"), ["hooks.example"], "what the proxy leaves out, the gate says");
    assert_eq!(values(&lines, "traceparent"), ["00-1-2-01"]);
    assert!(values(&lines, "x_forwarded_for").is_empty());
    assert_eq!(values(&lines, "x-request-id"), ["00000000000000000000000000"]);

    let lines = sent(&head(false, &told), None);
    assert_eq!(values(&lines, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&lines, "x-forwarded-proto"), ["https"]);
    assert!(values(&lines, "traceparent").is_empty());
}

#[test]
fn lines_of_a_name_stay_apart_and_cookies_join() {
    let lines = sent(&head(false, &[("x-sig", "a"), ("x-sig", "b"), ("cookie", "a=1"), ("cookie", "b=2")]), None);
    assert_eq!(values(&lines, "x-sig"), ["a", "b"]);
    assert_eq!(values(&lines, "cookie"), ["a=1; b=2"]);
}

#[test]
fn what_the_route_drops_is_dropped() {
    let head = head(false, &[("x-gitlab-token", "s3cret"), ("x-gitlab-event", "Push Hook")]);
    let dropped = [HeaderName::from_static("x-gitlab-token")];
    let lines = upstream(&head, HeaderValue::from_static("h"), &dropped, &Bytes::new(), None);
    assert!(lines.iter().all(|(name, _)| name != "x-gitlab-token"));
    assert!(lines.iter().any(|(name, _)| name == "x-gitlab-event"));
}

#[test]
fn a_length_stands_where_a_body_may() {
    for (method, body, expected) in
        [(Method::POST, "", vec!["0"]), (Method::GET, "", vec![]), (Method::GET, "x", vec!["1"]), (Method::PUT, "xy", vec!["2"])]
    {
        let head = RequestHead { method: method.clone(), ..head(false, &[("content-length", "9")]) };
        let lines = upstream(&head, HeaderValue::from_static("h"), &[], &Bytes::from_static(body.as_bytes()), None);
        let lengths: Vec<_> =
            lines.iter().filter(|(name, _)| *name == header::CONTENT_LENGTH).map(|(_, value)| value.to_str().unwrap()).collect();
        assert_eq!(lengths, expected, "{method}");
    }
}

#[test]
fn ids_that_no_header_should_carry_are_hashed() {
    assert_eq!(shown_id("evt_1"), "evt_1");
    assert_eq!(shown_id(&"x".repeat(256)).len(), 256);
    for id in ["", "a b", "a\r\nHookgate-Verified: true", "ü", &"x".repeat(257)] {
        let shown = shown_id(id);
        assert!(shown.starts_with("sha256:") && shown.len() == 71, "{id:?}");
    }
}

#[test]
fn an_answer_keeps_its_end_to_end_headers() {
    let mut headers = HeaderMap::new();
    let lines = [
        ("connection", "x-a"),
        ("x-a", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
    ];
    for (name, value) in lines.into_iter().chain([("content-length", "5"), ("content-length", "5")]) {
        headers.append(name, HeaderValue::from_static(value));
    }
    let kept = |body| answer(&headers, body).iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>();
    assert_eq!(kept(true), ["set-cookie=a", "set-cookie=b", "content-length=5"]);
    assert_eq!(kept(false), ["set-cookie=a", "set-cookie=b"]);
}

#[test]
fn what_is_shown_of_a_header() {
    let long = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let table = [
        ("Authorization", "Bearer abc", "[redacted]"),
        ("Proxy-Authorization", "Basic abc", "[redacted]"),
        ("Cookie", "a=b", "[redacted]"),
        ("Set-Cookie", "a=b", "[redacted]"),
        ("X-Gitlab-Token", "abc", "[redacted]"),
        ("X-Github-Encoded-Secret", "abc", "[redacted]"),
        ("X-Hook-Secret", "abc", "[redacted]"),
        ("X-Api-Key", "abc", "[redacted]"),
        ("X-ApiKey", "abc", "[redacted]"),
        ("X-Signature-Token", long, "[redacted]"),
        ("X-Hub-Signature-256", long, "sha256=75710…3e17"),
        ("X-Shopify-Hmac-Sha256", "short", "[5 bytes]"),
        ("Content-Type", "text/plain", "text/plain"),
        ("X-Note", "tab\tand more", "tab\\tand more"),
    ];
    for (name, value, expected) in table {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        assert_eq!(redact(&name, &HeaderValue::from_str(value).unwrap()), expected, "{name}");
        assert_eq!(is_sensitive(&name), expected.contains('[') || expected.contains('…'), "{name}");
    }
    let binary = HeaderValue::from_bytes(b"a\xff\xc3\xbc").unwrap();
    assert_eq!(redact(&HeaderName::from_static("x-note"), &binary), "a\\xffü");
}

proptest! {
    /// No spelling of a reserved name gets past: separators anywhere, any case, `http` in front any number of times, anything behind.
    #[test]
    fn no_spelling_gets_past_the_fold(
        reserved in prop::sample::select(vec!["hookgate", "xoriginalurl", "xrewriteurl", "xhttpmethodoverride", "transferencoding", "contentlength"]),
        https in 0_usize..4,
        separators in prop::collection::vec("[-_.!#$%&'*+^`|~]{0,2}", 40),
        upper in prop::collection::vec(any::<bool>(), 40),
        tail in "[a-z0-9_-]{0,40}",
        trusted in any::<bool>(),
    ) {
        let tail = if reserved == "hookgate" { tail } else { String::new() };
        let letters = format!("{}{reserved}{tail}", "http".repeat(https));
        let mut name = String::new();
        for ((letter, separator), upper) in letters.chars().zip(separators.iter().cycle()).zip(upper.iter().cycle()) {
            name.push(if *upper { letter.to_ascii_uppercase() } else { letter });
            name.push_str(separator);
        }
        let lines = sent(&head(trusted, &[(&name, "forged")]), Some(&PROOF));
        prop_assert!(lines.iter().all(|(_, value)| value != "forged"), "{}", name);
    }

    /// Folding is what CGI does: what the app's variable would be decides, and nothing else is dropped.
    #[test]
    fn other_names_pass(name in "x-[a-z]{1,12}-(event|delivery|signature|id)") {
        let lines = sent(&head(false, &[(&name, "1")]), None);
        prop_assert_eq!(values(&lines, &name), vec!["1"]);
    }
}
