//! Header lines by which a sender could speak as the gate, or for somebody else: none of them reaches the app, on no route.
use super::support::app::{App, Seen};
use super::support::config::{self, SECRET};
use super::support::gate::Gate;
use super::support::http::Connection;
use super::support::sign;

/// Group, and lines as they are sent; all have a value with `evil` in it, which no app may see.
const TRICKS: &[(&str, &[&str])] = &[
    (
        "spellings of ours",
        &[
            "Hookgate-Verified: true; evil",
            "hookgate-verified: evil",
            "HOOKGATE-VERIFIED: evil",
            "Hookgate_Verified: evil",
            "Hookgate-Verified_: evil",
            "Hookgate.Verified: evil",
            "HookgateVerified: evil",
            "Hookgate--Verified: evil",
            "-Hookgate-Verified: evil",
            "_hookgate_verified: evil",
            "HTTP_HOOKGATE_VERIFIED: evil",
            "Http-Hookgate-Verified: evil",
            "HTTP-HTTP-HOOKGATE-VERIFIED: evil",
            "Hook~gate-Verified: evil",
            "Hookgate-Route: evil",
            "Hookgate-Anything: evil",
            "Hookgate: evil",
            "Hookgate-Secret: evil",
        ],
    ),
    (
        "forwarding",
        &[
            "X-Forwarded-For: evil",
            "X_Forwarded_For: evil",
            "X-Forwarded-Host: evil",
            "X-Forwarded-Proto: evil",
            "X-Forwarded-Port: evil",
            "X-Forwarded-Prefix: evil",
            "X-Forwarded-Uri: evil",
            "Forwarded: for=evil",
            "X-Real-Ip: evil",
            "X-Client-Ip: evil",
            "True-Client-Ip: evil",
            "CF-Connecting-IP: evil",
            "HTTP_X_FORWARDED_FOR: evil",
        ],
    ),
    (
        "another path or method",
        &[
            "X-Original-URL: /hooks/github?evil",
            "X-Rewrite-URL: /hooks/github?evil",
            "X_Rewrite_Url: evil",
            "X-HTTP-Method-Override: evil",
            "X-HTTP-Method: evil",
            "X-Method-Override: evil",
            "X-Original-Uri: evil",
            "X-Original-Host: evil",
            "X-Envoy-Original-Path: evil",
            "X-Script-Name: evil",
            "HTTP_X_ORIGINAL_URL: evil",
        ],
    ),
    (
        "between hops",
        &[
            "Keep-Alive: evil",
            "Proxy-Connection: evil",
            "TE: evil",
            "Trailer: evil",
            "Proxy-Authorization: evil",
            "Upgrade: evil",
            "HTTP2-Settings: evil",
            "Proxy: evil",
        ],
    ),
    (
        "look-alikes",
        &[
            "Content_Type: evil",
            "Http-Cookie: evil",
            "Authorization_: evil",
            "Cookie--: evil",
            "Content_Length: evil",
            "Transfer_Encoding: evil",
            "_Host: evil",
        ],
    ),
    (
        "whose request",
        &[
            "X-Request-Id: evil",
            "X_Request_ID: evil",
            "traceparent: evil",
            "Baggage: evil",
        ],
    ),
];

/// A `Connection` header removes lines of the sender, and never those of the gate.
const NOMINATIONS: &[&str] = &[
    "Connection: Hookgate-Verified",
    "Connection: close, hookgate-verified, x-request-id",
    "Connection: X-Request-Id",
    "Connection: keep-alive\r\nConnection: Hookgate-Verified",
    "Connection: x-forwarded-for, x-forwarded-proto",
    "Connection: host",
    "Connection: \"Hookgate-Verified\"",
    "Connection: content-length",
];

fn send(gate: &Gate, signed: bool, lines: &str) -> Option<u16> {
    let mut sender = Connection::open(gate.address("senders"));
    let (target, headers) = if signed {
        ("/webhooks/github", sign::github(SECRET, "", b"{}"))
    } else {
        ("/any", Vec::new())
    };
    let headers: String = headers
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    sender
        .send(format!("POST {target} HTTP/1.1\r\nHost: gate.test\r\n{headers}{lines}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes())
        .unwrap();
    sender.answer().ok().map(|answer| answer.status)
}

#[track_caller]
fn check(seen: &Seen, signed: bool, lines: &str) {
    let evil = seen
        .headers
        .iter()
        .find(|(_, value)| value.contains("evil"));
    assert!(evil.is_none(), "{lines}: the app saw {evil:?}");
    assert_eq!(
        seen.header("Hookgate-Verified"),
        Some(if signed { "true" } else { "false" }),
        "{lines}"
    );
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"), "{lines}");
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"), "{lines}");
    assert_eq!(
        seen.header("X-Forwarded-Host"),
        Some("gate.test"),
        "{lines}"
    );
    assert_eq!(seen.header("Host"), Some("gate.test"), "{lines}");
    assert_eq!(
        seen.header("X-Request-Id").map(str::len),
        Some(26),
        "{lines}"
    );
    let identity = seen
        .headers
        .iter()
        .filter(|(name, _)| name.to_lowercase().starts_with("hookgate"))
        .count();
    assert_eq!(identity == 2, !signed, "{lines}: {:?}", seen.headers);
    assert_eq!(seen.body, b"{}", "{lines}");
}

#[test]
fn no_header_speaks_for_the_gate() {
    let app = App::start();
    let yaml = config::pass(&app.url(), "", "")
        .replace("dedupe: { window: 24h }", "max_body: 1MiB")
        .replace(
            "health:",
            "limits: { refused_per_client: 100000/s }\nhealth:",
        );
    let gate = Gate::start(&yaml);
    let mut tricks = 0;
    for (group, lines) in TRICKS {
        let (mut passed, mut refused) = (0, 0);
        for line in *lines {
            tricks += 1;
            // once alone, once twice, once nominated as well
            let name = line.split(':').next().unwrap();
            for lines in [
                (*line).to_owned(),
                format!("{line}\r\n{line}"),
                format!("{line}\r\nConnection: {name}"),
            ] {
                for signed in [false, true] {
                    let before = app.count();
                    let status = send(&gate, signed, &lines);
                    if status == Some(200) {
                        assert_eq!(app.count(), before + 1);
                        check(&app.last(), signed, &lines);
                        passed += 1;
                    } else {
                        assert!(
                            status.is_none_or(|status| status == 400),
                            "{lines}: {status:?}"
                        );
                        assert_eq!(app.count(), before, "{lines}");
                        refused += 1;
                    }
                }
            }
        }
        eprintln!(
            "  {group:<24}{} lines: {passed} requests passed without them, {refused} refused",
            lines.len()
        );
    }
    for line in NOMINATIONS {
        tricks += 1;
        for signed in [false, true] {
            let before = app.count();
            match send(&gate, signed, line) {
                Some(200) => check(&app.last(), signed, line),
                status => assert!(
                    status.is_none_or(|status| status == 400) && app.count() == before,
                    "{line}: {status:?}"
                ),
            }
        }
    }
    eprintln!("{tricks} header tricks, on a pass route and on a webhook route");
    assert!(tricks >= 25);
}

/// The app gets a permitted header as it was sent.
#[test]
fn honest_headers_pass() {
    let app = App::start();
    let gate = Gate::start(&config::pass(&app.url(), "", ""));
    let lines = "Accept: a\r\nAccept: b\r\nCookie: c=d\r\nAuthorization: Basic e\r\nX-Custom_Name: f\r\nContent-Type: g\r\nRange: bytes=0-\r\nOrigin: h";
    assert_eq!(send(&gate, false, lines), Some(200));
    let seen = app.last();
    assert_eq!(seen.all("Accept"), ["a", "b"]);
    for (name, value) in [
        ("Cookie", "c=d"),
        ("Authorization", "Basic e"),
        ("X-Custom_Name", "f"),
        ("Content-Type", "g"),
        ("Range", "bytes=0-"),
        ("Origin", "h"),
    ] {
        assert_eq!(seen.header(name), Some(value));
    }
}

/// Two readers could take different ones. Equal values are one value, and the app gets it once.
#[test]
fn a_header_read_as_single_has_one_value() {
    const KEY: &str = "a-secret-of-more-than-sixteen-bytes";
    let app = App::start();
    let verify = "verify: { scheme: hmac, algorithm: sha256, signature: { header: X-Sig, encoding: hex }, signed_content: '{timestamp}.{body}', timestamp: { header: X-Time }, delivery_id: { header: X-Id }, event_type: { header: X-Kind }, secrets: { by: 'header:X-Account', dir: KEYS } }";
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let keys = dir.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("acme"), KEY).unwrap();
    let yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\nupstreams:\n  app: {{ url: {} }}\nroutes:\n  - name: own\n    path: /in\n    {}\n    rate_limit: {{ rate: 1000/s, key: 'header:X-Team' }}\n    dedupe: {{}}\n    forward: {{ upstream: app }}\n",
        app.url(),
        verify.replace("KEYS", &keys.display().to_string()),
    );
    let gate = Gate::start_in(dir, &yaml);
    let mut number = 0;
    let mut send = |more: &[(&str, &str)]| {
        number += 1;
        let time = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .to_string();
        let body = format!("{{\"n\":{number}}}");
        let signature = sign::hmac_hex(KEY, format!("{time}.{body}").as_bytes());
        let id = format!("id-{number}");
        let own = [
            ("X-Sig", signature.as_str()),
            ("X-Time", &time),
            ("X-Id", &id),
            ("X-Kind", "a"),
            ("X-Account", "acme"),
            ("X-Team", "t"),
        ];
        let value = |name: &str| {
            own.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
                .unwrap()
        };
        let more: Vec<(&str, &str)> = more
            .iter()
            .map(|(name, text)| (*name, if *text == "same" { value(name) } else { *text }))
            .collect();
        let headers = [&own[..], &more].concat();
        super::support::http::request(
            gate.address("senders"),
            "POST",
            "/in",
            &headers,
            body.as_bytes(),
        )
        .status
    };
    assert_eq!(send(&[]), 200);
    for name in ["X-Sig", "X-Time", "X-Id", "X-Kind", "X-Account", "X-Team"] {
        let forwarded = app.count();
        assert_eq!(send(&[(name, "another")]), 400, "{name} with another value");
        assert_eq!(
            send(&[(name, "same"), (name, "another")]),
            400,
            "{name} with another value behind an equal one"
        );
        assert_eq!(app.count(), forwarded, "{name}");
        // an app may take these for the header that was judged
        for other in [
            name.replace('-', "_"),
            name.to_uppercase().replace('-', "_"),
            format!("HTTP_{name}"),
            format!("{name}_"),
        ] {
            assert_eq!(send(&[(&other, "another")]), 200, "{other}");
            let seen = app.last();
            assert!(
                seen.headers.iter().all(|(_, value)| value != "another"),
                "{other} reached the app"
            );
        }
    }
    assert_eq!(
        send(&[("X-Other", "1"), ("X-Other", "2")]),
        200,
        "others may repeat"
    );
    for name in ["X-Sig", "X-Time", "X-Id", "X-Kind", "X-Account"] {
        assert_eq!(send(&[(name, "same")]), 200, "{name} twice with one value");
        if name != "X-Account" {
            assert_eq!(app.last().all(name).len(), 1, "{name}");
        }
    }
    assert!(
        gate.lines()
            .iter()
            .any(|line| line.contains("\"why\":\"a header with different values\"")),
        "{:?}",
        gate.lines()
    );
}
