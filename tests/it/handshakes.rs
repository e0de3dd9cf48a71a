//! Handshakes: challenge requests with the answers that SDKs computed, and what must not come of them.
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookgate::clock::{Dates, Now};
use hookgate::config::file::{OneOrMany, Provider};
use hookgate::config::presets::Catalogue;
use hookgate::config::snapshot::WebhookRoute;
use hookgate::gateway::serve::Server;
use hookgate::request::{Params, Received};
use hookgate::verify::handshake::{HandshakeResponse, Separation};
use hookgate::verify::{Cleared, NotAuthentic, Part, Scheme, TokenGrammar};
use serde_json::{Value, json};

use super::support::app::App;
use super::support::config::SECRET;
use super::support::gate::{Gate, wait_for};
use super::support::http::{self, Answer, Connection};
use super::support::set_clock::{NOTHING, SetClock, snapshot, start};
use super::support::sign::hmac_hex;
use super::support::vectors::{self, Case};

/// The time of the signed ones among the vectors.
const NOW: u64 = 1_767_225_600;
/// Handshakes that are not answered here, with the reason.
const LEFT_OUT: [(&str, &str); 1] = [(
    "braintree",
    "it has no preset: its signatures are pairs of public key and tag inside a form, which is no scheme here yet",
)];

struct Vector {
    provider: String,
    case: Case,
    status: u16,
    json: Option<Value>,
}

fn vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string("tests/vectors/handshakes.json").unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let read = |vector: &Value| {
        let mut case = vector["request"].clone();
        for (key, value) in [
            ("name", json!("handshake")),
            ("now", json!(NOW)),
            ("valid", json!(true)),
            ("secret", vector["secret"].clone()),
        ] {
            case[key] = value;
        }
        Vector {
            provider: vector["provider"].as_str().unwrap().to_owned(),
            case: serde_json::from_value(case).unwrap(),
            status: vector["response"]["status"]
                .as_u64()
                .unwrap()
                .try_into()
                .unwrap(),
            json: vector["response"].get("json").cloned(),
        }
    };
    all["handshakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(read)
        .collect()
}

/// Returns the answer of the pure code.
fn pure(
    hook: &WebhookRoute,
    received: Received,
    now: Now,
) -> Result<Option<HandshakeResponse>, NotAuthentic> {
    let (verifier, params) = (hook.verifier.as_ref(), Params::default());
    if let Some(full) =
        hook.handshakes
            .unsigned(verifier, &received, &params, &Dates::at(now.wall))?
    {
        return Ok(Some(full));
    }
    let authentic = hook
        .verifier
        .as_ref()
        .unwrap()
        .verify(received, &params, now)
        .map_err(|refused| refused.why)?;
    Ok(hook.handshakes.signed(
        verifier,
        &Cleared::Authentic(authentic),
        &params,
        &Dates::at(now.wall),
    ))
}

fn route(provider: &str, case: &Case) -> String {
    let path = case.target().split('?').next().unwrap().to_owned();
    let secret = case.secret.as_deref().unwrap();
    format!(
        "{{ name: it, path: {path}, verify: {{ provider: {provider}, secrets: [{{ insecure_inline: {secret} }}] }}, forward: {{ upstream: app }} }}"
    )
}

#[test]
fn every_challenge_gets_the_answer_that_the_sdk_computed() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let app = App::start();
    let clock = Arc::new(SetClock::default());
    clock.0.store(NOW, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(start(
        &runtime,
        &clock,
        snapshot(dir.path(), &app, NOTHING).unwrap(),
    ));
    let server = runtime.block_on(Server::start(Arc::clone(&gate))).unwrap();
    let mut kept = Connection::open(server.addresses()[0].tcp().unwrap());
    let mut count = 0;
    for Vector {
        provider,
        case,
        status,
        json,
    } in vectors()
    {
        if Catalogue::built_in().get(&provider).is_none() {
            assert!(
                LEFT_OUT.iter().any(|(name, _)| *name == provider),
                "{provider} has no preset, and nobody says why"
            );
            continue;
        }
        let snapshot = snapshot(dir.path(), &app, &route(&provider, &case)).unwrap();
        let full = pure(&snapshot.webhooks[0], case.received(), case.now())
            .unwrap()
            .unwrap_or_else(|| panic!("{provider}: no answer"));
        assert_eq!(
            serde_json::from_slice::<Value>(&full.body).ok(),
            json,
            "{provider}"
        );
        runtime.block_on(gate.swap(&Arc::new(snapshot))).unwrap();
        let mut headers: Vec<(&str, &str)> = case
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        headers.push(("Host", case.authority()));
        let answer = kept.request(&case.method, &case.target(), &headers, &case.body());
        assert_eq!(
            (
                answer.status,
                serde_json::from_slice::<Value>(&answer.body).ok()
            ),
            (status, json),
            "{provider}"
        );
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        count += 1;
    }
    assert_eq!(
        (count, app.count()),
        (3, 0),
        "handshakes over HTTP, none of which the app saw"
    );
}

/// The presets that hand out MACs, and the grammar of their tokens.
fn that_hand_out_macs() -> Vec<(String, Provider, TokenGrammar)> {
    let mut found = Vec::new();
    for preset in Catalogue::built_in().presets() {
        for one in preset
            .provider
            .handshake
            .as_ref()
            .map(OneOrMany::all)
            .unwrap_or_default()
        {
            let texts = one
                .answer
                .iter()
                .filter_map(|answer| answer.json.as_ref())
                .flat_map(|json| json.values());
            if texts.into_iter().any(|text| text.contains("{mac}")) {
                let tokens =
                    TokenGrammar::with_extra(one.token_also.as_deref().unwrap_or_default())
                        .unwrap();
                found.push((preset.name.to_string(), preset.provider.clone(), tokens));
            }
        }
    }
    found
}

/// The answer to a challenge is a MAC under the key that signs deliveries. It must be the signature of none.
#[test]
fn no_answer_to_a_challenge_is_the_signature_of_a_delivery() {
    let presets = that_hand_out_macs();
    let names: Vec<&str> = presets.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["linkedin", "smartcar", "x-twitter", "zoom"]);
    let dir = tempfile::tempdir().unwrap();
    let app = App::start();
    for (name, preset, tokens) in &presets {
        let shape = vectors::shape(name, preset);
        let Scheme::Hmac(scheme) = shape.scheme() else {
            panic!("{name} has no MAC")
        };
        match tokens.apart(&scheme.content) {
            Some(Separation::ByLiteral) => {
                // all signed content holds this literal, and no token does
                let is_own = |part: &Part| matches!(part, Part::Literal(text) if !tokens.is_token(std::str::from_utf8(text).unwrap()));
                assert!(scheme.content.parts().iter().any(is_own), "{name}");
            }
            Some(Separation::ByBody) => {
                let route = format!(
                    "{{ name: it, path: /it, verify: {{ provider: {name}, secrets: [{{ insecure_inline: {SECRET:?}, allow_whitespace: true }}] }}, forward: {{ upstream: app }} }}"
                );
                for off in ["", "handshake: none, "] {
                    let snapshot = snapshot(
                        dir.path(),
                        &app,
                        &route.replace("path:", &format!("{off}path:")),
                    )
                    .unwrap();
                    let verifier = snapshot.webhooks[0].verifier.as_ref().unwrap();
                    for token in [
                        "a",
                        "12345",
                        "true",
                        "null",
                        "0",
                        "crc-Zm9vYmFy",
                        &"x".repeat(128),
                        &"x".repeat(4000),
                        "{}",
                        "[1]",
                        "\"a\"",
                        " a",
                    ] {
                        let case: Case = serde_json::from_value(json!({
                            "name": token, "now": NOW, "method": "POST", "url": "https://hooks.example.com/it", "headers": {}, "body_b64": "", "valid": true
                        }))
                        .unwrap();
                        let mut received = case.received();
                        let signed = verifier
                            .sign(
                                &received.head,
                                &Params::default(),
                                token.as_bytes(),
                                0,
                                case.now().wall,
                            )
                            .unwrap();
                        for (name, value) in &signed.headers {
                            received.head.headers.insert(name, value);
                        }
                        received.body = bytes::Bytes::copy_from_slice(token.as_bytes()).into();
                        let verdict = verifier.verify(received, &Params::default(), case.now());
                        // longer than any token is refused as well: the grammar alone decides
                        let is_token = tokens.is_token(&token[..token.len().min(128)]);
                        assert_eq!(verdict.is_err(), is_token, "{name}: {token}");
                    }
                }
            }
            None => panic!("{name}: a token could be signed content"),
        }
    }
}

fn gate(app: &App, routes: &str) -> Gate {
    let yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\nhealth: {{ address: 127.0.0.1:0 }}\ntrusted_proxies: [127.0.0.1]\nlimits: {{ refused_per_client: 1/h }}\nupstreams: {{ app: {{ url: {} }} }}\nroutes:\n{routes}",
        app.url()
    );
    Gate::in_process(&yaml)
}

fn hook(name: &str, provider: &str, more: &str) -> String {
    format!(
        "  - {{ name: {name}, path: /{name}, verify: {{ provider: {provider}, secrets: [{{ insecure_inline: {SECRET:?}, allow_whitespace: true }}] }}, {more}forward: {{ upstream: app }} }}\n"
    )
}

fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers: Vec<_> = headers
        .iter()
        .copied()
        .chain([("Host", "hooks.example.com")])
        .collect();
    if method == "HEAD" {
        // the answer may say a length and has no body
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(10)))
            .unwrap();
        let headers: Vec<_> = headers
            .into_iter()
            .chain([("Connection", "close")])
            .collect();
        stream
            .write_all(&http::head(method, target, &headers, Some(0)))
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        return Answer {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
    }
    http::request(address, method, target, &headers, body.as_bytes())
}

#[test]
fn a_get_is_let_in_for_a_handshake_alone_and_the_app_sees_none() {
    let app = App::start();
    let verify_token = "handshake: { verify_token: { insecure_inline: the-verify-token } }, ";
    let routes = [
        hook("meta", "meta", verify_token),
        hook("bare", "meta", ""),
        hook("dropbox", "dropbox", ""),
        hook("off", "dropbox", "handshake: none, "),
        hook("trello", "trello", ""),
        hook("okta", "okta", ""),
        hook("events", "azure-event-grid", "").replace(
            "azure-event-grid,",
            "azure-event-grid, signature: { query: key },",
        ),
    ];
    let gate = gate(&app, &routes.concat());
    let to = gate.address("senders");
    let get = |target: &str| send(to, "GET", target, &[], "");

    let right =
        get("/meta?hub.mode=subscribe&hub.verify_token=the-verify-token&hub.challenge=1158201444");
    assert_eq!((right.status, right.text().as_str()), (200, "1158201444"));
    assert_eq!(
        right.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(
        (
            right.header("X-Content-Type-Options"),
            right.header("Cache-Control")
        ),
        (Some("nosniff"), Some("no-store"))
    );
    let wrong = get("/meta?hub.mode=subscribe&hub.verify_token=another&hub.challenge=1158201444");
    assert_eq!(wrong.status, 401);
    assert!(!wrong.text().contains("1158201444"));
    for target in [
        "/meta",
        "/meta?hub.mode=unsubscribe&hub.verify_token=the-verify-token&hub.challenge=1",
        "/meta?hub.mode=subscribe&hub.challenge=1",
        "/meta?hub.mode=subscribe&hub.verify_token=the-verify-token&hub.challenge=1&hub.challenge=2",
        "/bare?hub.mode=subscribe&hub.verify_token=&hub.challenge=1",
        "/bare?hub.mode=subscribe&hub.verify_token=the-verify-token&hub.challenge=1",
        "/off?challenge=abc",
        "/dropbox?challenge=",
    ] {
        assert_eq!(get(target).status, 405, "{target}");
    }
    assert_eq!(get("/dropbox?challenge=aB3_-x").text(), "aB3_-x");
    for token in [
        "%3Cscript%3E",
        "a%0d%0aX:y",
        "%22",
        "a+b",
        "a.b",
        &"a".repeat(129),
    ] {
        let refused = get(&format!("/dropbox?challenge={token}"));
        assert_eq!(refused.status, 401, "{token}");
        assert!(!refused.text().contains(token), "{token}");
    }
    assert_eq!(
        send(to, "PUT", "/dropbox?challenge=abc", &[], "").status,
        405
    );
    assert_eq!(
        send(to, "POST", "/dropbox?challenge=abc", &[], "{}").status,
        401
    );

    let okta = send(
        to,
        "GET",
        "/okta",
        &[("X-Okta-Verification-Challenge", "abc")],
        "",
    );
    assert_eq!(
        (okta.status, okta.text().as_str()),
        (200, r#"{"verification":"abc"}"#)
    );
    assert_eq!(okta.header("Content-Type"), Some("application/json"));
    assert_eq!(
        (
            send(to, "HEAD", "/trello", &[], "").status,
            send(to, "HEAD", "/dropbox", &[], "").status
        ),
        (200, 405)
    );
    let events = send(
        to,
        "OPTIONS",
        "/events",
        &[("WebHook-Request-Origin", "eventgrid.azure.net")],
        "",
    );
    assert_eq!(
        (events.status, events.header("WebHook-Allowed-Origin")),
        (200, Some("eventgrid.azure.net"))
    );
    assert_eq!(
        send(
            to,
            "OPTIONS",
            "/events",
            &[("WebHook-Request-Origin", "evil.example")],
            ""
        )
        .status,
        405
    );

    assert_eq!(app.count(), 0);
    let metrics = gate.health("/metrics").text();
    let counted = metrics.lines().any(|line| {
        line.contains("route=\"meta\"") && line.contains("\"handshake\"") && line.ends_with(" 1")
    });
    assert!(counted, "{metrics}");
    wait_for("its line", || {
        gate.lines()
            .iter()
            .any(|line| line.contains("\"code\":\"handshake\""))
    });
    assert!(
        !gate.lines().concat().contains("the-verify-token")
            && !gate.lines().concat().contains("1158201444")
    );
}

#[test]
fn a_signed_handshake_is_answered_after_the_proof_alone() {
    let app = App::start();
    let gate = gate(
        &app,
        &(hook("slack", "slack", "dedupe: {}, ") + &hook("off", "slack", "handshake: none, ")),
    );
    let to = gate.address("senders");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .to_string();
    let slack = |path: &str, body: &str, secret: &str| {
        let signature = format!(
            "v0={}",
            hmac_hex(secret, format!("v0:{now}:{body}").as_bytes())
        );
        send(
            to,
            "POST",
            path,
            &[
                ("X-Slack-Request-Timestamp", &now),
                ("X-Slack-Signature", &signature),
            ],
            body,
        )
    };
    let challenge = r#"{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    assert_eq!(
        slack("/slack", challenge, "another secret of sixteen").status,
        401
    );
    assert_eq!(send(to, "POST", "/slack", &[], challenge).status, 401);
    for _ in 0..3 {
        let answer = slack("/slack", challenge, SECRET);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")
        );
        assert_eq!(answer.header("Hookgate-Status"), None, "it claims nothing");
    }
    assert_eq!(app.count(), 0);
    assert_eq!(
        slack(
            "/slack",
            r#"{"type":"url_verification","challenge":"<b>"}"#,
            SECRET
        )
        .text(),
        "done",
        "no token: the app's"
    );
    assert_eq!(
        slack(
            "/slack",
            r#"{"type":"event_callback","challenge":"a","event_id":"1"}"#,
            SECRET
        )
        .text(),
        "done"
    );
    assert_eq!(slack("/off", challenge, SECRET).text(), "done");
    assert_eq!(app.count(), 3);
}

#[test]
fn the_answer_to_a_crc_signs_nothing() {
    let app = App::start();
    let gate = gate(&app, &hook("x", "x-twitter", ""));
    let to = gate.address("senders");
    for token in ["12345", "true", "abc"] {
        let answer = send(to, "GET", &format!("/x?crc_token={token}"), &[], "");
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let forged = send(
            to,
            "POST",
            "/x",
            &[(
                "x-twitter-webhooks-signature",
                answer["response_token"].as_str().unwrap(),
            )],
            token,
        );
        assert_eq!(forged.status, 401, "{token}");
    }
    assert_eq!(send(to, "GET", "/x?crc_token=%7B%7D", &[], "").status, 401);
    assert_eq!(app.count(), 0);
}

/// An unsigned handshake costs its client a token, as whatever proves nothing does.
#[test]
fn unsigned_handshakes_are_slowed_down() {
    let app = App::start();
    let gate = gate(&app, &hook("dropbox", "dropbox", ""));
    let to = gate.address("senders");
    let get = || {
        send(
            to,
            "GET",
            "/dropbox?challenge=abc",
            &[("X-Forwarded-For", "203.0.113.7")],
            "",
        )
        .status
    };
    assert!((0..10).all(|_| get() == 200));
    assert_eq!(get(), 429);
}
