//! The reason of a 401 is only logged. The sender gets the same bytes for every reason, over HTTP/1 and HTTP/2.
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::http::Request;
use bytes::Bytes;

use super::support::app::App;
use super::support::config;
use super::support::gate::{Gate, wait_for};
use super::support::http;
use super::support::sign::hmac_hex;
use super::support::tls_gate::{connect, runtime};

const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";
/// The secret of the second account.
const OTHER: &str = "the-secret-of-the-other-account";
const BODY: &[u8] = b"{\"id\": \"evt_1\"}";

/// Path and headers of requests that are all refused with 401.
fn refused() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let signed = |secret: &str, at: u64| {
        let content = [format!("{at}.").as_bytes(), BODY].concat();
        format!("t={at},v1={}", hmac_hex(secret, &content))
    };
    let with = |value: String| vec![("x-sig", value)];
    let of_key = |key: &str, value: String| vec![("x-sig", value), ("x-key", key.to_owned())];
    let good = signed(SECRET, now);
    vec![
        ("/timed", vec![]),
        ("/timed", with(String::new())),
        ("/timed", with("nonsense".to_owned())),
        ("/timed", with(format!("t={now}"))),
        ("/timed", with(good.replace("t=", "x="))),
        ("/timed", with(good.replace("t=", "t=0"))),
        ("/timed", with(format!("{good}0"))),
        ("/timed", with(signed("another-secret-of-many-bytes", now))),
        ("/timed", with(signed("the-secret-that-has-expired", now))),
        ("/timed", with(signed(SECRET, now - 86_400))),
        (
            "/timed",
            with(signed("the-older-secret-of-the-two", now - 86_400)),
        ),
        ("/timed", with(signed(SECRET, now + 86_400))),
        (
            "/timed",
            with(signed("another-secret-of-many-bytes", now - 86_400)),
        ),
        (
            "/tenants/acme",
            with(signed("another-secret-of-many-bytes", now)),
        ),
        ("/tenants/acme", with(signed(OTHER, now))),
        ("/tenants/other", with(good.clone())),
        ("/tenants/nobody", with(good.clone())),
        ("/tenants/no%20key", with(good.clone())),
        ("/keyed", with(good.clone())),
        ("/keyed", of_key("nobody", good.clone())),
        (
            "/keyed",
            of_key("acme", signed("another-secret-of-many-bytes", now)),
        ),
        ("/keyed", of_key("acme", signed(OTHER, now))),
        ("/keyed", of_key("other", good.clone())),
        ("/token", vec![]),
        ("/token", vec![("x-token", "wrong".to_owned())]),
        ("/basic", vec![]),
        ("/basic", vec![("authorization", "Basic !".to_owned())]),
        (
            "/basic",
            vec![("authorization", "Basic dXNlcjp3cm9uZw==".to_owned())],
        ),
    ]
}

fn routes() -> String {
    let timed = "scheme: hmac, algorithm: sha256, signature: { header: X-Sig, pair: v1, separator: \",\", encoding: hex }, signed_content: \"{timestamp}.{body}\", timestamp: { pair: t, format: unix, tolerance: 5m }";
    let route = |name: &str, path: &str, verify: &str| {
        format!(
            "  - name: {name}\n    path: {path}\n    verify: {{ {verify} }}\n    forward: {{ upstream: app }}\n"
        )
    };
    let list = format!(
        "secrets: [{{ insecure_inline: {SECRET} }}, {{ insecure_inline: the-older-secret-of-the-two }}, {{ insecure_inline: the-secret-that-has-expired, expires: 2020-01-01T00:00:00Z }}]"
    );
    [
        route("timed", "/timed", &format!("{timed}, {list}")),
        route("tenants", "\"/tenants/{account}\"", &format!("{timed}, secrets: {{ by: \"{{account}}\", dir: tenants }}")),
        route("keyed", "/keyed", &format!("{timed}, secrets: {{ by: \"header:X-Key\", dir: tenants }}")),
        route("token", "/token", "scheme: token, signature: { header: X-Token }, secrets: [{ insecure_inline: the-token-of-this-route }]"),
        route("basic", "/basic", "scheme: basic, secrets: [{ insecure_inline: \"user:a-long-password\" }]"),
    ]
    .concat()
}

#[test]
fn every_401_is_the_same_to_the_sender() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let made = rcgen::generate_simple_self_signed(["gate.test".to_owned()]).unwrap();
    std::fs::create_dir(dir.path().join("tenants")).unwrap();
    for (name, text) in [
        ("tls.crt", made.cert.pem()),
        ("tls.key", made.signing_key.serialize_pem()),
        ("tenants/acme", SECRET.to_owned()),
        ("tenants/other", OTHER.to_owned()),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let plain = config::forward(&app.url(), &routes());
    let tls = plain.replace(
        "listen: [{ address: 127.0.0.1:0 }]",
        "listen: [{ address: 127.0.0.1:0, tls: { certificate: tls.crt, key: tls.key } }]",
    );
    let over_tls = Gate::in_process_in(Arc::clone(&dir), &tls);
    let gate = Gate::in_process_in(dir, &plain);
    let answers: Vec<String> = refused()
        .into_iter()
        .map(|(path, headers)| over_http_1(&gate, path, &headers))
        .collect();
    for (answer, request) in answers.iter().zip(refused()) {
        assert_eq!(*answer, answers[0], "{request:?}");
    }
    runtime().block_on(async {
        let mut connection = connect(&over_tls, made.cert.der().clone()).await;
        let mut first = None;
        for (path, headers) in refused() {
            let mut request = Request::post(format!("https://gate.test{path}"));
            for (name, value) in &headers {
                request = request.header(*name, value);
            }
            connection = connection.ready().await.unwrap();
            let (answer, mut body) = connection
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            body.send_data(Bytes::from_static(BODY), true).ok();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 401, "{path} {headers:?}");
            let id = answer.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .to_owned();
            let lines: Vec<_> = answer
                .headers()
                .iter()
                .filter(|(name, _)| *name != "date")
                .map(|(name, value)| format!("{name}: {value:?}"))
                .collect();
            let mut whole = format!("{lines:?}");
            let mut body = answer.into_body();
            while let Some(piece) = body.data().await {
                whole.push_str(&String::from_utf8_lossy(&piece.unwrap()));
            }
            let whole = whole.replace(&id, "ID");
            assert_eq!(
                *first.get_or_insert_with(|| whole.clone()),
                whole,
                "{path} {headers:?}"
            );
        }
    });
    assert_eq!(app.count(), 0);
    wait_for("all reasons to be on record", || {
        let refusals = gate.admin("/-/refusals")["refusals"].to_string();
        let codes = [
            "signature_missing",
            "signature_malformed",
            "signature_mismatch",
            "timestamp_missing",
            "timestamp_malformed",
            "timestamp_stale",
            "timestamp_future",
        ];
        codes.iter().all(|code| refusals.contains(code))
    });
    let refusals = gate.admin("/-/refusals?limit=256");
    let whys: Vec<&str> = refusals["refusals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| {
            refused["why"]
                .as_str()
                .unwrap_or_else(|| panic!("no reason: {refused}"))
        })
        .collect();
    for due in [
        "the header X-Sig is missing",
        "the header X-Sig has no `v1`",
        "no secret of the route matches: 2 tried, and secret-3 expired at 2020-01-01T00:00:00.000Z",
        "there is no secret for the account in the path parameter `account`",
        "there is no secret for the account in the header X-Key",
        "the header Authorization does not hold the base64 of `user:password`",
    ] {
        assert!(whys.contains(&due), "{due}: {whys:#?}");
    }
    assert!(
        whys.iter()
            .any(|why| why.ends_with(" s before it arrived, tolerance 300 s")),
        "{whys:#?}"
    );
    for secret in [
        SECRET,
        OTHER,
        "the-token-of-this-route",
        "dXNlcjp3cm9uZw",
        "nobody",
    ] {
        assert!(
            !whys.iter().any(|why| why.contains(secret)),
            "{secret}: {whys:#?}"
        );
    }
}

/// A route, or its preset, may say how it refuses; then all that is not authentic gets that, a refused handshake included.
#[test]
fn refusals_of_a_route_are_alike_as_it_says() {
    let app = App::start();
    let route = |provider: &str, more: &str| {
        let verify = format!(
            "verify: {{ provider: {provider}, secrets: [{{ insecure_inline: {SECRET} }}] }}"
        );
        format!(
            "  - name: of-{provider}\n    path: /{provider}\n    {verify}\n{more}    forward: {{ upstream: app }}\n"
        )
    };
    let token = "    handshake: { verify_token: { insecure_inline: a-token-of-many-bytes } }\n";
    let routes = [
        route("xero", ""),
        route(
            "meta",
            &format!("    refused_status: 403\n    refused_body: empty\n{token}"),
        ),
        route("github", "    refused_status: 406\n"),
    ];
    let gate = Gate::in_process(&config::forward(&app.url(), &routes.concat()));
    let whole = |method: &str, target: &str, headers: &[(&str, &str)]| {
        let answer = http::request(
            gate.address("senders"),
            method,
            target,
            headers,
            if method == "GET" { b"" } else { BODY },
        );
        let id = answer.header("X-Request-Id").unwrap().to_owned();
        let lines: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
            .collect();
        (
            answer.status,
            answer.text().replace(&id, "ID"),
            format!("{lines:?}").replace(&id, "ID"),
        )
    };
    let wrong = hmac_hex("another-secret-of-many-bytes", BODY);
    for (route, header, status, text) in [
        ("xero", "x-xero-signature", 401, ""),
        ("meta", "X-Hub-Signature-256", 403, ""),
        (
            "github",
            "X-Hub-Signature-256",
            406,
            "{\"error\":\"Not Acceptable\",\"request_id\":\"ID\"}\n",
        ),
    ] {
        let path = format!("/{route}");
        let first = whole("POST", &path, &[]);
        assert_eq!((first.0, first.1.as_str()), (status, text), "{route}");
        assert_eq!(
            first.2.contains("content-type") || first.2.contains("Content-Type"),
            !text.is_empty(),
            "{}",
            first.2
        );
        for value in [
            "nonsense",
            &format!("sha256={wrong}"),
            "dGhpcyBpcyBub3QgdGhlIHNpZ25hdHVyZSBvZiBpdCE=",
        ] {
            assert_eq!(
                whole("POST", &path, &[(header, value)]),
                first,
                "{route} {value}"
            );
        }
    }
    let refused = whole("POST", "/meta", &[]);
    for query in [
        "hub.verify_token=wrong",
        "hub.verify_token=a-token-of-many-bytes&hub.challenge=%7B%7D",
    ] {
        let target = format!("/meta?hub.mode=subscribe&hub.challenge=1234&{query}");
        let target = if query.contains("challenge") {
            target.replace("hub.challenge=1234&", "")
        } else {
            target
        };
        assert_eq!(whole("GET", &target, &[]), refused, "{target}");
    }
    assert_eq!(app.count(), 0);
    wait_for("the status to be on record", || {
        gate.admin("/-/refusals")["refusals"]
            .to_string()
            .contains("406")
    });
}

fn over_http_1(gate: &Gate, path: &str, headers: &[(&'static str, String)]) -> String {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = http::request(gate.address("senders"), "POST", path, &headers, BODY);
    assert_eq!(answer.status, 401, "{path} {headers:?}");
    let id = answer.header("X-Request-Id").unwrap().to_owned();
    let lines: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
        .collect();
    format!("{} {lines:?} {}", answer.status, answer.text()).replace(&id, "ID")
}
