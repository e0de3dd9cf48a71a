use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::request::{Client, RequestId};

fn head(trusted: bool, lines: &[(&str, &str)]) -> RequestHead {
    let headers = lines.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(0),
        method: Method::POST,
        target: Bytes::from_static(b"/hook"),
        authority: "hooks.example".to_owned(),
        tls: true,
        headers: headers.collect(),
        declared_size: None,
        client: Client {
            ip: IpAddr::from([192, 0, 2, 7]),
            own: true,
            behind_trusted_proxy: trusted,
        },
        received: SystemClock.now(),
    }
}

static NO_SECRETS: SecretLocations = SecretLocations {
    headers: Vec::new(),
    query: Vec::new(),
    json: Vec::new(),
    signatures: Vec::new(),
};
static NO_NAMES: FoldedNames = FoldedNames::NONE;
const POLICY: Policy<'_> = Policy {
    dropped: &NO_SECRETS,
    scheme: &NO_NAMES,
    keys: &NO_NAMES,
    replaced: &NO_NAMES,
    keeps_override: false,
};

const COVERS: Covers = Covers {
    body: true,
    timestamp: true,
    id: false,
    method: false,
    url: false,
    path: false,
    query: false,
    headers: false,
    fields: false,
};

const PROOF: Proof<'_> = Proof {
    route: "github",
    provider: Some("github"),
    delivery_id: Some("72d3162e-cc78"),
    attempt: 2,
    secret: "2026-11",
    received_at: UNIX_EPOCH,
    covers: COVERS,
    id_unchecked: false,
};

fn sent(head: &RequestHead, proof: Option<&Proof<'_>>) -> Vec<(String, String)> {
    let body = Bytes::from_static(b"{}");
    let lines = upstream(
        head,
        &HeaderValue::from_static("hooks.example"),
        POLICY,
        &body,
        proof,
    );
    lines
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

fn values<'a>(lines: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .collect()
}

#[test]
fn authentic_delivery_gets_all_headers() {
    let proof = Proof {
        received_at: UNIX_EPOCH + Duration::from_millis(1_795_485_660_007),
        ..PROOF
    };
    let lines = sent(
        &head(
            false,
            &[
                ("content-type", "application/json"),
                ("x-github-event", "push"),
            ],
        ),
        Some(&proof),
    );
    let entry = hops::entry();
    let expected = [
        ("host", "hooks.example"),
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("content-length", "2"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "hooks.example"),
        ("x-request-id", "00000000000000000000000000"),
        ("hookgate-request-id", "00000000000000000000000000"),
        ("cdn-loop", entry.to_str().unwrap()),
        ("hookgate-verified", "true"),
        ("hookgate-route", "github"),
        ("hookgate-provider", "github"),
        ("hookgate-delivery-id", "72d3162e-cc78"),
        ("hookgate-attempt", "2"),
        ("hookgate-secret", "2026-11"),
        ("hookgate-received-at", "2026-11-24T02:01:00.007Z"),
        ("hookgate-covers", "body,timestamp"),
    ];
    assert_eq!(
        lines,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn unverified_request_gets_no_other_header() {
    let lines = sent(
        &head(
            false,
            &[
                ("Hookgate-Verified", "true"),
                ("Hookgate-Route", "x"),
                ("Hookgate_Secret", "x"),
            ],
        ),
        None,
    );
    let ours: Vec<_> = lines
        .iter()
        .filter(|(name, _)| name.contains("gate"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(ours, ["hookgate-request-id", "hookgate-verified"]);
    assert_eq!(values(&lines, "hookgate-verified"), ["false"]);
}

#[test]
fn headers_that_never_reach_the_app() {
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
        assert!(
            values(&lines, name).iter().all(|value| *value != "1"),
            "{name}"
        );
        assert_eq!(values(&lines, "x-kept"), ["1"], "{name}");
    }
}

#[test]
fn headers_named_by_connection_are_removed() {
    let head = head(
        false,
        &[
            ("connection", "close, X-Once , hookgate-verified"),
            ("connection", "x-forwarded-for,host"),
            ("x-once", "1"),
        ],
    );
    let lines = sent(&head, Some(&PROOF));
    assert!(values(&lines, "x-once").is_empty());
    assert_eq!(values(&lines, "hookgate-verified"), ["true"]);
    assert_eq!(values(&lines, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&lines, "host"), ["hooks.example"]);
}

#[test]
fn forwarding_headers_count_from_a_trusted_proxy_alone() {
    let forwarding = [
        ("x-forwarded-for", "198.51.100.1, 10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded-proto", "http"),
        ("traceparent", "00-1-2-01"),
        ("x-request-id", "theirs"),
    ];
    let lines = sent(&head(true, &forwarding), None);
    assert_eq!(
        values(&lines, "x-forwarded-for"),
        ["198.51.100.1, 10.0.0.1", "10.0.0.2"]
    );
    assert_eq!(values(&lines, "x-forwarded-proto"), ["http"]);
    assert_eq!(
        values(&lines, "x-forwarded-host"),
        ["hooks.example"],
        "what the proxy leaves out, the gate says"
    );
    assert_eq!(values(&lines, "traceparent"), ["00-1-2-01"]);
    assert!(values(&lines, "x_forwarded_for").is_empty());
    assert_eq!(values(&lines, "x-request-id"), ["theirs"]);
    assert_eq!(
        values(&lines, "hookgate-request-id"),
        ["00000000000000000000000000"]
    );

    let lines = sent(&head(false, &forwarding), None);
    assert_eq!(
        values(&lines, "x-request-id"),
        ["00000000000000000000000000"]
    );
    assert_eq!(values(&lines, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&lines, "x-forwarded-proto"), ["https"]);
    assert!(values(&lines, "traceparent").is_empty());
}

#[test]
fn lines_of_a_name_stay_apart_and_cookies_join() {
    let lines = sent(
        &head(
            false,
            &[
                ("x-sig", "a"),
                ("x-sig", "b"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
            ],
        ),
        None,
    );
    assert_eq!(values(&lines, "x-sig"), ["a", "b"]);
    assert_eq!(values(&lines, "cookie"), ["a=1; b=2"]);
}

#[test]
fn secrets_of_the_route_are_dropped() {
    let head = head(
        false,
        &[
            ("x-gitlab-token", "s3cret"),
            ("x_gitlab_token", "s3cret"),
            ("x-gitlab-event", "Push Hook"),
        ],
    );
    let dropped = SecretLocations {
        headers: vec![HeaderName::from_static("x-gitlab-token")],
        ..SecretLocations::default()
    };
    let lines = upstream(
        &head,
        &HeaderValue::from_static("h"),
        Policy {
            dropped: &dropped,
            ..POLICY
        },
        &Bytes::new(),
        None,
    );
    assert!(lines.iter().all(|(_, value)| value != "s3cret"));
    assert!(lines.iter().any(|(name, _)| name == "x-gitlab-event"));
}

#[test]
fn content_length_is_set_where_a_body_may_be() {
    for (method, body, expected) in [
        (Method::POST, "", vec!["0"]),
        (Method::GET, "", vec![]),
        (Method::GET, "x", vec!["1"]),
        (Method::PUT, "xy", vec!["2"]),
    ] {
        let head = RequestHead {
            method: method.clone(),
            ..head(false, &[("content-length", "9")])
        };
        let lines = upstream(
            &head,
            &HeaderValue::from_static("h"),
            POLICY,
            &Bytes::from_static(body.as_bytes()),
            None,
        );
        let lengths: Vec<_> = lines
            .iter()
            .filter(|(name, _)| *name == header::CONTENT_LENGTH)
            .map(|(_, value)| value.to_str().unwrap().to_owned())
            .collect();
        assert_eq!(lengths, expected, "{method}");
    }
}

#[test]
fn ids_that_no_header_should_carry_are_hashed() {
    assert_eq!(shown_id("evt_1"), "evt_1");
    assert_eq!(shown_id(&"x".repeat(256)).len(), 256);
    for id in [
        "",
        "a b",
        "a\r\nHookgate-Verified: true",
        "ü",
        &"x".repeat(257),
    ] {
        let shown = shown_id(id);
        assert!(shown.starts_with("sha256:") && shown.len() == 71, "{id:?}");
    }
}

#[test]
fn an_answer_keeps_its_end_to_end_headers() {
    let mut headers = http::HeaderMap::new();
    let lines = [
        ("connection", "x-a"),
        ("x-a", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
    ];
    for (name, value) in lines
        .into_iter()
        .chain([("content-length", "5"), ("content-length", "5")])
    {
        headers.append(name, HeaderValue::from_static(value));
    }
    let values_for = |body| {
        answer(headers.clone(), body)
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values_for(true),
        ["set-cookie=a", "set-cookie=b", "content-length=5"]
    );
    assert_eq!(values_for(false), ["set-cookie=a", "set-cookie=b"]);
}

/// Checks against a list of headers that other software sets and reads.
#[test]
fn no_untrusted_header_of_the_list_passes() {
    let list = include_str!("../../tests/headers/untrusted.txt");
    let names: Vec<&str> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert!(names.len() > 100, "{}", names.len());
    for name in names {
        for spelling in [
            name.to_owned(),
            name.replace('-', "_"),
            format!("HTTP_{}", name.replace('-', "_")),
            name.to_uppercase(),
        ] {
            let lines = sent(&head(false, &[(&spelling, "forged")]), None);
            assert!(
                lines.iter().all(|(_, value)| value != "forged"),
                "{spelling} of a stranger"
            );
        }
        let lines = sent(&head(true, &[(name, "told")]), None);
        let is_ever_dropped =
            ["x-original-url", "x-rewrite-url"].contains(&name.to_lowercase().as_str());
        assert_eq!(
            lines.iter().any(|(_, value)| value == "told"),
            !is_ever_dropped,
            "{name} of a trusted proxy"
        );
    }
}

fn treatment_of(name: &str) -> Treatment {
    treatment(name, &Folded::new(name))
}

/// Returns the treatment by the first rule that fits, of all rules.
fn treatment_in_turn(name: &str) -> Treatment {
    let folded = Folded::new(name);
    let patterns = || {
        rules::RULES.iter().flat_map(|rule| {
            let names = rule.names.iter();
            names.map(|known| (*known, Folded::new(known), rule.treatment))
        })
    };
    let find = |fits: &dyn Fn(&str, &Folded) -> bool| {
        patterns().find(|(known, pattern, _)| fits(known, pattern))
    };
    let whole = |known: &str, pattern: &Folded| !known.contains('*') && *pattern == folded;
    let begins = |known: &str, pattern: &Folded| {
        known.ends_with('*') && folded.as_bytes().starts_with(pattern.as_bytes())
    };
    let ends = |known: &str, pattern: &Folded| {
        known.starts_with('*') && Folded::ends_with(name, pattern.as_bytes())
    };
    find(&whole)
        .or_else(|| find(&begins))
        .or_else(|| find(&ends))
        .map_or(Treatment::Keep, |(_, _, treatment)| treatment)
}

/// Families, so that a name that no list has is found too.
#[test]
fn header_families_are_matched_by_pattern() {
    for name in [
        "X-Forwarded-Anything",
        "x-b3-anything",
        "SSL_CLIENT_ANYTHING",
        "Acme-Edge-Client-IP",
        "acme-trace-id",
        "X-Acme-Real-Ip",
    ] {
        assert_eq!(treatment_of(name), Treatment::FromTrustedProxy, "{name}");
    }
    let long = format!("X-{}-Client-IP", "a".repeat(300));
    assert_eq!(treatment_of(&long), Treatment::FromTrustedProxy);
    for name in [
        "X-Github-Delivery",
        "Webhook-Id",
        "X-Client-Id",
        "X-Trace",
        "X-Shopify-Topic",
        "X-Vercel-Signature",
        "Sslmate-Signature",
        "Ssl",
        "Ip",
    ] {
        assert_eq!(treatment_of(name), Treatment::Keep, "{name}");
    }
}

/// Checks that headers that a scheme reads reach the upstream under any name, except the secret itself.
#[test]
fn headers_of_every_scheme_pass() {
    let mut count = 0;
    for name in crate::config::presets::Catalogue::built_in().names() {
        let preset = crate::config::presets::Catalogue::built_in()
            .get(name)
            .unwrap();
        let mut problems = crate::config::diagnostic::Diagnostics::default();
        let block = crate::config::file::Verify::default();
        let place = crate::config::diagnostic::Place::root(0);
        let Some(shape) = crate::config::compile::verify::compile(
            &block,
            Some(&preset.provider),
            &place,
            &mut problems,
        ) else {
            continue;
        };
        for header in shape
            .headers()
            .iter()
            .filter(|header| *header != header::HOST)
        {
            // other spellings, also those that a CGI app takes for the same variable
            let respelled = [
                header.as_str().replace('-', "_"),
                format!("http_{header}"),
                format!("{header}-"),
            ];
            let others = respelled
                .iter()
                .filter(|other| **other != *header.as_str())
                .map(|other| (&**other, "other"));
            let lines: Vec<(&str, &str)> = std::iter::once((header.as_str(), "theirs"))
                .chain(others)
                .collect();
            let policy = Policy {
                scheme: shape.headers(),
                ..POLICY
            };
            let lines = upstream(
                &head(true, &lines),
                &HeaderValue::from_static("h"),
                policy,
                &Bytes::new(),
                None,
            );
            assert!(
                lines
                    .iter()
                    .any(|(name, value)| name == header && value == "theirs"),
                "{name}: {header}"
            );
            assert!(
                lines.iter().all(|(_, value)| value != "other"),
                "{name}: {header} in another spelling"
            );
            count += 1;
        }
    }
    assert!(count > 150, "{count}");
}

#[test]
fn request_id_is_forwarded_if_covered_or_trusted() {
    let theirs = head(
        false,
        &[("x-request-id", "theirs"), ("x_request_id", "theirs")],
    );
    let scheme = FoldedNames::from_iter([REQUEST_ID]);
    for (policy, expected) in [
        (POLICY, "00000000000000000000000000"),
        (
            Policy {
                scheme: &scheme,
                ..POLICY
            },
            "theirs",
        ),
    ] {
        let lines = upstream(
            &theirs,
            &HeaderValue::from_static("h"),
            policy,
            &Bytes::new(),
            None,
        );
        let of = |wanted: HeaderName| {
            lines
                .iter()
                .filter(|(name, _)| *name == wanted)
                .map(|(_, value)| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(REQUEST_ID), [expected]);
        assert_eq!(of(OWN_REQUEST_ID), ["00000000000000000000000000"]);
        assert!(lines.iter().all(|(name, _)| name != "x_request_id"));
    }
}

#[test]
fn method_override_passes_only_where_nothing_needs_it() {
    let head = head(
        false,
        &[
            ("x-http-method-override", "PUT"),
            ("x_method_override", "PUT"),
        ],
    );
    let values = |keeps| -> Vec<String> {
        let lines = passed(&head, &HeaderValue::from_static("h"), keeps);
        lines
            .iter()
            .filter(|(_, value)| value == "PUT")
            .map(|(name, _)| name.to_string())
            .collect()
    };
    assert_eq!(values(true), ["x-http-method-override"]);
    assert!(values(false).is_empty());
}

#[test]
fn each_hop_adds_one_entry_to_the_loop_header() {
    for name in ["cdn-loop", "cdn_loop"] {
        let lines = sent(&head(false, &[(name, "cloudflare; loops=1")]), Some(&PROOF));
        let entries = values(&lines, "cdn-loop");
        let expected: Vec<String> = (name == "cdn-loop")
            .then(|| "cloudflare; loops=1".to_owned())
            .into_iter()
            .chain([hops::entry().to_str().unwrap().to_owned()])
            .collect();
        assert_eq!(entries, expected);
        assert!(values(&lines, "cdn_loop").is_empty());
    }
}

/// Compares `docs/headers.md` with the tables. `HOOKGATE_WRITE_EXPECTED=1` writes it.
#[test]
fn headers_page_lists_every_changed_header() {
    use rules::{ANSWERS, RULES, SET};
    let mut page = String::from(
        "# Headers\n\nThe headers that hookgate removes, sets or replaces. It forwards every other header byte for byte. This page is generated from the code.\n\n\
         Names are compared as CGI-like apps read them: only letters and digits count, and a leading `HTTP_` is ignored, so `X_Real_Ip` is `X-Real-IP`. A `*` matches any text.\n\n\
         A secret that a route declares (a token, basic auth) is also removed, unless the route says `keep_token: true`. So is every other spelling of a header that the route reads: its signature, signed time, delivery ID, event type, account, keys of rate limits and FIFO lanes, and each header that the signature covers. Several `Cookie` lines are joined to one.\n\n\
         ## Headers of the sender in requests\n\n| header | treatment | reason |\n|---|---|---|\n",
    );
    for rule in RULES {
        let names: Vec<String> = rule.names.iter().map(|name| format!("`{name}`")).collect();
        page.push_str(&format!(
            "| {} | {} | {} |\n",
            names.join(", "),
            rule.treatment.words(),
            rule.why
        ));
    }
    page.push_str("\n## Headers that hookgate sets in requests\n\n| header | when |\n|---|---|\n");
    let quoted = |names: &str| {
        names
            .split(", ")
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (names, when) in SET {
        page.push_str(&format!("| {} | {when} |\n", quoted(names)));
    }
    page.push_str("\n## Headers of responses\n\n| header | treatment |\n|---|---|\n");
    for (names, what) in ANSWERS {
        page.push_str(&format!("| {} | {what} |\n", quoted(names)));
    }
    let path = "docs/headers.md";
    if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "run `HOOKGATE_WRITE_EXPECTED=1 cargo test --lib headers`"
    );
}

/// Checks that the table of headers that are set is complete, and lists no others.
#[test]
fn headers_page_names_every_set_header() {
    let listed: Vec<String> = rules::SET
        .iter()
        .flat_map(|(names, _)| names.split(", "))
        .map(str::to_lowercase)
        .collect();
    let upgrade = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("expect", "100-continue"),
        ("content-length", "0"),
    ];
    let websocket = RequestHead {
        method: Method::GET,
        declared_size: Some(0),
        ..head(false, &upgrade)
    };
    let proof = Proof {
        id_unchecked: true,
        ..PROOF
    };
    let mut set: Vec<String> = sent(&head(false, &[]), Some(&proof))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    set.extend(
        passed(&websocket, &HeaderValue::from_static("h"), false)
            .iter()
            .map(|(name, _)| name.to_string()),
    );
    for name in &set {
        assert!(listed.contains(name), "{name} is set and not listed");
    }
    // pingora writes the one, `sign` the others
    let elsewhere = |name: &String| name == "transfer-encoding" || name.starts_with("webhook-");
    for name in listed.iter().filter(|name| !elsewhere(name)) {
        assert!(set.contains(name), "{name} is listed and never set");
    }
}

proptest! {
    /// Checks that no spelling of a reserved name passes: separators anywhere, any case, `http` in front any number of times, any text behind.
    #[test]
    fn reserved_names_are_removed_in_any_spelling(
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

    /// Checks that the rule for a name is found, although few are compared with it.
    #[test]
    fn rule_of_a_name_is_found(
        known in prop::sample::select(rules::RULES.iter().flat_map(|rule| rule.names).collect::<Vec<_>>()),
        more in "[-_a-zA-Z.]{0,3}",
        in_front in any::<bool>(),
    ) {
        let known = known.replace('*', &more);
        for name in [&known, &format!("{known}{more}"), &format!("{more}{known}"), &known.replace('-', "_")] {
            let name = if in_front { format!("http_{name}") } else { name.clone() };
            prop_assert_eq!(treatment_of(&name), treatment_in_turn(&name), "{}", name);
        }
    }

    /// Checks that names fold as CGI folds them, and that no other names are removed.
    #[test]
    fn other_names_pass(name in "x-[a-z]{1,12}-(event|delivery|signature|id)") {
        let lines = sent(&head(false, &[(&name, "1")]), None);
        prop_assert_eq!(values(&lines, &name), vec!["1"]);
    }
}
