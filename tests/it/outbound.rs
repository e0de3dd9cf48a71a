//! Sending: an app publishes events, and endpoints of tenants get them, signed, retried and recorded.
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use hookgate::verify::{SecretText, SigningKey};
use serde_json::{Value, json};

use super::support::app::{Act, App, Seen};
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::http::{self, Answer};
use super::support::outbound::{PUBLISHER, TOKEN, config};
use super::support::queue::waiting;

/// Starts a gateway that may send to these receivers.
fn start(receivers: &[&App], more: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    start_in(dir, receivers, more)
}

fn start_in(dir: Arc<tempfile::TempDir>, receivers: &[&App], more: &str) -> Gate {
    let ports: Vec<u16> = receivers
        .iter()
        .map(|app| app.address.port())
        .chain([443])
        .collect();
    // no test waits until the attempts are exhausted
    let waits = vec!["1s"; 100].join(", ");
    let yaml = config(more)
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", &format!("{ports:?}"))
        .replace("1s, 1s, 1s", &waits);
    Gate::in_process_in(dir, &yaml)
}

/// A receiver that answers with a status that the test sets.
fn answering(status: u16) -> (App, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let current = Arc::clone(&status);
    let app = App::answering(move |_, _| Act::status(current.load(Ordering::SeqCst)));
    (app, status)
}

/// Sends a request to the API.
fn call_as(gate: &Gate, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let address = gate.address("outbound");
    let body = body.map(Value::to_string).unwrap_or_default();
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("authorization", authorization.as_str())];
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    http::request(address, method, path, &headers, body.as_bytes())
}

fn call(gate: &Gate, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let answer = call_as(gate, TOKEN, method, path, body);
    let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, json)
}

/// Makes a tenant.
#[track_caller]
fn tenant(gate: &Gate, uid: &str) {
    let (status, answer) = call(gate, "PUT", &format!("/v1/tenants/{uid}"), Some(&json!({})));
    assert_eq!(status, 200, "{answer}");
}

/// Makes an endpoint. Returns its ID and its secret.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the JSON in place"
)]
fn endpoint(gate: &Gate, tenant: &str, app: &App, more: Value) -> (String, String) {
    let mut body = json!({ "url": format!("{}/in", app.url()), "types": ["invoice.*"] });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (status, answer) = call(
        gate,
        "POST",
        &format!("/v1/tenants/{tenant}/endpoints"),
        Some(&body),
    );
    assert_eq!(status, 201, "{answer}");
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (text("id"), text("secret"))
}

/// Publishes an event.
fn publish(gate: &Gate, tenant: &str, key: &str, data: &Value) -> (u16, Value) {
    let body = json!({ "type": "invoice.paid", "id": key, "data": data });
    call(
        gate,
        "POST",
        &format!("/v1/tenants/{tenant}/events"),
        Some(&body),
    )
}

/// Returns whether one of the signatures of a request is by `secret`.
fn is_signed(seen: &Seen, secret: &str) -> bool {
    let text = secret.as_bytes().to_vec().into();
    let key = SigningKey::new(&SecretText {
        name: "a".into(),
        text,
        encodings: None,
        not_before: None,
        expires: None,
    })
    .unwrap();
    let id = seen.header("webhook-id").unwrap();
    let seconds = seen.header("webhook-timestamp").unwrap().parse().unwrap();
    let expected = key
        .sign(id, UNIX_EPOCH + Duration::from_secs(seconds), &seen.body)
        .unwrap();
    let expected = expected[2].1.to_str().unwrap().to_owned();
    seen.header("webhook-signature")
        .unwrap()
        .split(' ')
        .any(|one| one == expected)
}

#[test]
fn an_event_reaches_its_endpoints_signed_and_is_recorded() {
    let [one, two, other] = [App::start(), App::start(), App::start()];
    let gate = start(&[&one, &two, &other], "");
    tenant(&gate, "acme");
    let (id, secret) = endpoint(
        &gate,
        "acme",
        &one,
        json!({ "uid": "main", "headers": { "X-Team": "blue" } }),
    );
    let (_, raw_secret) = endpoint(
        &gate,
        "acme",
        &two,
        json!({ "types": ["*"], "payload": "raw" }),
    );
    endpoint(&gate, "acme", &other, json!({ "types": ["order.*"] }));
    let (status, answer) = publish(&gate, "acme", "key-1", &json!({ "amount": 12 }));
    assert_eq!(
        (status, &answer["targets"], &answer["repeated"]),
        (202, &json!(2), &json!(false)),
        "{answer}"
    );
    let event = answer["id"].as_str().unwrap().to_owned();
    wait_for("both to get it", || one.count() == 1 && two.count() == 1);
    let seen = one.last();
    assert_eq!((&*seen.method, &*seen.target), ("POST", "/in"));
    assert_eq!(seen.header("webhook-id"), Some(&*event));
    assert_eq!(seen.header("x-team"), Some("blue"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert!(is_signed(&seen, &secret) && !is_signed(&seen, &raw_secret));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]),
        (&json!("invoice.paid"), &json!({ "amount": 12 }))
    );
    let raw = two.last();
    assert_eq!(raw.body, br#"{"amount":12}"#);
    assert!(is_signed(&raw, &raw_secret));
    assert_eq!(
        raw.header("webhook-id"),
        Some(&*event),
        "the same for all endpoints"
    );
    wait_for("the attempt to be recorded", || {
        let (_, attempts) = call(
            &gate,
            "GET",
            "/v1/tenants/acme/endpoints/main/attempts",
            None,
        );
        attempts["attempts"][0]["status"] == json!(200)
    });
    let (_, attempts) = call(
        &gate,
        "GET",
        &format!("/v1/tenants/acme/endpoints/{id}/attempts"),
        None,
    );
    let attempt = &attempts["attempts"][0];
    assert_eq!(
        (
            &attempt["event"],
            &attempt["number"],
            &attempt["payload"],
            &attempt["version"]
        ),
        (&json!(event), &json!(1), &json!("envelope"), &json!(1)),
        "{attempt}"
    );
    assert_eq!(attempt["peer"], json!(one.address.to_string()));
    let (_, shown) = call(
        &gate,
        "GET",
        &format!("/v1/tenants/acme/events/{event}"),
        None,
    );
    assert_eq!(shown["targets"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["targets"][0]["state"], json!("delivered"), "{shown}");
    assert_eq!(other.count(), 0);
}

#[test]
fn a_repeated_publish_gets_the_first_answer_and_sends_nothing() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    tenant(&gate, "other");
    endpoint(&gate, "acme", &app, json!({}));
    let (_, first) = publish(&gate, "acme", "key-1", &json!({ "amount": 12 }));
    let (status, again) = publish(&gate, "acme", "key-1", &json!({ "amount": 12 }));
    assert_eq!(
        (status, &again["id"], &again["repeated"]),
        (202, &first["id"], &json!(true)),
        "{again}"
    );
    for field in ["type", "version", "targets", "accepted_at"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    let (status, refused) = publish(&gate, "acme", "key-1", &json!({ "amount": 13 }));
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("key_reused")),
        "{refused}"
    );
    // another tenant's key is another key
    let (status, theirs) = publish(&gate, "other", "key-1", &json!({ "amount": 13 }));
    assert_eq!((status, &theirs["targets"]), (202, &json!(0)), "{theirs}");
    // what comes after it arrives, and nothing else is left to send
    let (_, last) = publish(&gate, "acme", "key-2", &json!({}));
    wait_for("nothing to wait", || waiting(gate.dir()) == 0);
    let arrived = app.seen();
    let mut arrived: Vec<&str> = arrived
        .iter()
        .map(|seen| seen.header("webhook-id").unwrap())
        .collect();
    arrived.sort_unstable();
    let mut published = [&first, &last].map(|event| event["id"].as_str().unwrap());
    published.sort_unstable();
    assert_eq!(arrived, published);
}

#[test]
fn concurrent_publishes_with_one_key_make_one_event() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    endpoint(&gate, "acme", &app, json!({}));
    let gate = &gate;
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| publish(gate, "acme", "same", &json!(1))))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let first = &answers[0].1["id"];
    assert!(
        answers
            .iter()
            .all(|(status, answer)| *status == 202 && answer["id"] == *first),
        "{answers:?}"
    );
    let new = answers
        .iter()
        .filter(|(_, answer)| answer["repeated"] == json!(false))
        .count();
    assert_eq!(new, 1);
    wait_for("the event", || app.count() == 1);
}

#[test]
fn a_failing_endpoint_is_retried_and_its_health_is_shown() {
    let (app, status) = answering(500);
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let (id, _) = endpoint(&gate, "acme", &app, json!({}));
    publish(&gate, "acme", "key-1", &json!(1));
    wait_for("two failures", || {
        let (_, shown) = call(
            &gate,
            "GET",
            &format!("/v1/tenants/acme/endpoints/{id}"),
            None,
        );
        shown["health"]["failures"].as_u64() >= Some(2)
    });
    status.store(200, Ordering::SeqCst);
    wait_for("the event to be delivered", || waiting(gate.dir()) == 0);
    assert!(app.count() >= 3);
    let ids: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("webhook-id").unwrap().to_owned())
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    wait_for("its health", || {
        let (_, shown) = call(
            &gate,
            "GET",
            &format!("/v1/tenants/acme/endpoints/{id}"),
            None,
        );
        shown["health"].is_null()
    });
}

#[test]
fn an_endpoint_that_answers_410_is_paused_and_keeps_its_events() {
    let gone = App::answering(|n, _| {
        if n == 0 {
            Act::status(410)
        } else {
            Act::status(200)
        }
    });
    let gate = start(&[&gone], "");
    tenant(&gate, "acme");
    let (id, _) = endpoint(&gate, "acme", &gone, json!({}));
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    publish(&gate, "acme", "key-1", &json!(1));
    wait_for("the pause", || {
        call(&gate, "GET", &path, None).1["state"] == json!("paused")
    });
    assert_eq!(
        call(&gate, "GET", &path, None).1["paused"]["why"],
        json!("gone")
    );
    publish(&gate, "acme", "key-2", &json!(2));
    let waits = || call(&gate, "GET", &path, None).1["paused"]["waiting"] == json!(2);
    wait_for("both events to wait", waits);
    assert_eq!(gone.count(), 1, "a paused endpoint gets nothing");
    let (status, answer) = call(
        &gate,
        "POST",
        &format!("{path}/resume"),
        Some(&json!({ "reason": "back" })),
    );
    assert_eq!(
        (status, &answer["state"]),
        (202, &json!("resuming")),
        "{answer}"
    );
    wait_at_most(Duration::from_secs(90), "both events", || gone.count() >= 3);
}

#[test]
fn events_survive_a_restart() {
    let app = App::answering(|_, _| Act::status(500));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let gate = start_in(Arc::clone(&dir), &[&app], "");
    tenant(&gate, "acme");
    let (_, secret) = endpoint(&gate, "acme", &app, json!({}));
    let (_, first) = publish(&gate, "acme", "key-1", &json!(1));
    wait_for("an attempt", || app.count() >= 1);
    drop(gate);
    let before = app.count();
    let gate = start_in(dir, &[&app], "");
    wait_for("another attempt", || app.count() > before);
    let seen = app.last();
    assert_eq!(seen.header("webhook-id"), first["id"].as_str());
    assert!(is_signed(&seen, &secret));
    let (_, again) = publish(&gate, "acme", "key-1", &json!(1));
    assert_eq!(
        (&again["id"], &again["repeated"]),
        (&first["id"], &json!(true))
    );
}

#[test]
fn two_secrets_sign_during_a_rotation() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let (id, old) = endpoint(&gate, "acme", &app, json!({}));
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    let (status, rotated) = call(
        &gate,
        "POST",
        &format!("{path}/rotate"),
        Some(&json!({ "overlap": 3600 })),
    );
    assert_eq!(status, 200, "{rotated}");
    let new = rotated["secret"].as_str().unwrap();
    publish(&gate, "acme", "key-1", &json!(1));
    wait_for("the event", || app.count() == 1);
    let seen = app.last();
    assert!(is_signed(&seen, &old) && is_signed(&seen, new));
    let (_, rotated) = call(
        &gate,
        "POST",
        &format!("{path}/rotate"),
        Some(&json!({ "overlap": 0 })),
    );
    let newest = rotated["secret"].as_str().unwrap();
    publish(&gate, "acme", "key-2", &json!(1));
    wait_for("the event", || app.count() == 2);
    let seen = app.last();
    assert!(is_signed(&seen, newest) && !is_signed(&seen, &old) && !is_signed(&seen, new));
    let (_, secrets) = call(&gate, "GET", &format!("{path}/secrets"), None);
    let text = secrets.to_string();
    assert!(!text.contains("whsec_"), "{text}");
}

#[test]
fn tokens_have_their_rights_alone() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let body = json!({ "type": "invoice.paid", "id": "1", "data": 1 });
    let events = "/v1/tenants/acme/events";
    assert_eq!(
        call_as(&gate, PUBLISHER, "POST", events, Some(&body)).status,
        202
    );
    assert_eq!(call_as(&gate, PUBLISHER, "GET", events, None).status, 403);
    assert_eq!(
        call_as(
            &gate,
            PUBLISHER,
            "PUT",
            "/v1/tenants/acme",
            Some(&json!({}))
        )
        .status,
        403
    );
    assert_eq!(
        call_as(&gate, "wrong", "POST", events, Some(&body)).status,
        401
    );
}

#[test]
fn bad_publishes_get_an_error_that_says_what_to_write() {
    let app = App::start();
    let gate = start(&[&app], "  limits: { body: 1KiB }\n");
    tenant(&gate, "acme");
    let send = |body: &str| {
        let address = gate.address("outbound");
        let authorization = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = http::request(
            address,
            "POST",
            "/v1/tenants/acme/events",
            &headers,
            body.as_bytes(),
        );
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (
            answer.status,
            json["code"].as_str().unwrap_or_default().to_owned(),
            json,
        )
    };
    let long = format!(r#"{{"type":"a","id":"1","data":"{}"}}"#, "x".repeat(2000));
    for (body, status, code) in [
        ("", 400, "bad_request"),
        ("[]", 400, "bad_request"),
        ("{", 400, "bad_request"),
        (r#"{"type":"a","data":1}"#, 400, "no_key"),
        (r#"{"type":"a","id":"","data":1}"#, 400, "bad_request"),
        (r#"{"type":"a","id":"a b","data":1}"#, 400, "bad_request"),
        (
            r#"{"type":"a","id":"1","data":1,"deliver_at":1}"#,
            400,
            "bad_request",
        ),
        (
            r#"{"type":"a","id":"1","data":{"b":1,"b":2}}"#,
            400,
            "repeated_key",
        ),
        (r#"{"type":"a","id":"1"}"#, 400, "bad_request"),
        (r#"{"type":"a..b","id":"1","data":1}"#, 422, "unknown_type"),
        (
            r#"{"type":"hookgate.a","id":"1","data":1}"#,
            422,
            "unknown_type",
        ),
        (
            r#"{"type":"a","id":"1","data":1,"timestamp":"yesterday"}"#,
            400,
            "bad_request",
        ),
        (&long, 413, "too_large"),
    ] {
        let (got, word, answer) = send(body);
        assert_eq!((got, &*word), (status, code), "{body}: {answer}");
        assert!(
            answer["help"].as_str().is_some_and(|help| !help.is_empty()),
            "{answer}"
        );
    }
    let (status, _, answer) = send(r#"{"type":"invoice.paid","id":"1","data":1}"#);
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        call(
            &gate,
            "POST",
            "/v1/tenants/nobody/events",
            Some(&json!({ "type": "a", "id": "1", "data": 1 }))
        )
        .0,
        404
    );
}

#[test]
fn urls_that_are_not_public_are_refused_with_one_text() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", "[443]")
        .replace("  egress: { allow: [127.0.0.0/8] }\n", "")
        .replace("http: true, ", "");
    let gate = Gate::in_process_in(dir, &yaml);
    tenant(&gate, "acme");
    let mut texts = std::collections::BTreeSet::new();
    for host in [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "[::1]",
        "169.254.169.254",
        "2130706433",
        "metadata",
        "a.localhost",
    ] {
        let body = json!({ "url": format!("https://{host}/"), "types": ["*"] });
        let (status, answer) = call(&gate, "POST", "/v1/tenants/acme/endpoints", Some(&body));
        assert_eq!(
            (status, &answer["code"]),
            (422, &json!("url_refused")),
            "{host}: {answer}"
        );
        texts.insert(format!("{} {}", answer["error"], answer["help"]));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(app.count(), 0);
}

#[test]
fn a_dry_run_says_who_would_get_an_event() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let (gets, _) = endpoint(&gate, "acme", &app, json!({}));
    let (left_out, _) = endpoint(&gate, "acme", &app, json!({ "types": ["order.*"] }));
    let body = json!({ "type": "invoice.paid", "id": "1", "data": {} });
    let (status, plan) = call(
        &gate,
        "POST",
        "/v1/tenants/acme/events?dry_run=true",
        Some(&body),
    );
    assert_eq!(status, 200, "{plan}");
    assert_eq!(plan["targets"][0]["endpoint"], json!(gets));
    assert_eq!(
        (
            &plan["left_out"][0]["endpoint"],
            &plan["left_out"][0]["why"]
        ),
        (&json!(left_out), &json!("type"))
    );
    let (_, events) = call(&gate, "GET", "/v1/tenants/acme/events", None);
    assert_eq!(events["events"], json!([]), "nothing is stored");
    assert_eq!((waiting(gate.dir()), app.count()), (0, 0));
}

/// Pauses an endpoint and publishes so many events for it.
fn paused_with_events(gate: &Gate, path: &str, events: usize) {
    let (status, answer) = call(gate, "POST", &format!("{path}/pause"), Some(&json!({})));
    assert_eq!(status, 200, "{answer}");
    for number in 0..events {
        let (status, answer) = publish(gate, "acme", &format!("key-{number}"), &json!(number));
        assert_eq!(status, 202, "{answer}");
    }
}

#[test]
fn a_backlog_drains_as_fast_as_the_endpoint_answers() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let (id, _) = endpoint(&gate, "acme", &app, json!({ "concurrency": 1 }));
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    paused_with_events(&gate, &path, 60);
    assert_eq!(app.count(), 0);
    call(&gate, "POST", &format!("{path}/resume"), Some(&json!({})));
    // one a second would take a minute
    wait_at_most(Duration::from_secs(50), "all events", || app.count() == 60);
}

#[test]
fn resume_with_none_cancels_what_waited() {
    let app = App::start();
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let (id, _) = endpoint(&gate, "acme", &app, json!({}));
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    paused_with_events(&gate, &path, 3);
    let body = json!({ "waiting": "none", "reason": "too old" });
    let (status, answer) = call(&gate, "POST", &format!("{path}/resume"), Some(&body));
    assert_eq!(
        (status, &answer["state"]),
        (202, &json!("resuming")),
        "{answer}"
    );
    wait_for("the end of the job", || {
        call(&gate, "GET", &path, None).1["state"] == json!("active")
    });
    publish(&gate, "acme", "new", &json!("new"));
    wait_for("nothing to wait", || waiting(gate.dir()) == 0);
    assert_eq!(app.count(), 1, "only the new event is sent");
    let (_, events) = call(&gate, "GET", "/v1/tenants/acme/events?key=key-1", None);
    let event = events["events"][0]["id"].as_str().unwrap();
    let (_, shown) = call(
        &gate,
        "GET",
        &format!("/v1/tenants/acme/events/{event}"),
        None,
    );
    assert_eq!(shown["targets"][0]["state"], json!("cancelled"), "{shown}");
}

#[test]
fn a_removed_endpoint_gets_nothing_and_its_tenant_can_be_removed() {
    let app = App::answering(|_, _| Act::status(500));
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    let (id, _) = endpoint(&gate, "acme", &app, json!({ "uid": "main" }));
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    publish(&gate, "acme", "key-1", &json!(1));
    wait_for("an attempt", || app.count() == 1);
    assert_eq!(call(&gate, "DELETE", &path, None).0, 204);
    assert_eq!(call(&gate, "GET", &path, None).0, 404);
    assert_eq!(
        call(&gate, "GET", "/v1/tenants/acme/endpoints/main", None).0,
        404
    );
    let (_, answer) = publish(&gate, "acme", "key-2", &json!(2));
    assert_eq!(answer["targets"], json!(0), "{answer}");
    wait_for("the tenant to be removed", || {
        call(&gate, "DELETE", "/v1/tenants/acme", None).0 == 204
    });
    assert_eq!(publish(&gate, "acme", "key-3", &json!(3)).0, 404);
    assert_eq!(waiting(gate.dir()), 0, "no retry follows");
    assert_eq!(app.count(), 1);
}

#[test]
fn an_ordered_endpoint_gets_its_events_in_order() {
    // the second event fails twice
    let app = App::answering(|n, _| {
        if (1..3).contains(&n) {
            Act::status(500)
        } else {
            Act::status(200)
        }
    });
    let gate = start(&[&app], "");
    tenant(&gate, "acme");
    endpoint(
        &gate,
        "acme",
        &app,
        json!({ "ordered": true, "payload": "raw" }),
    );
    for number in 0..6 {
        publish(&gate, "acme", &format!("key-{number}"), &json!(number));
    }
    wait_for("all events", || app.count() == 8);
    let bodies: Vec<String> = app
        .seen()
        .iter()
        .map(|seen| String::from_utf8_lossy(&seen.body).into_owned())
        .collect();
    assert_eq!(bodies, ["0", "1", "1", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_scheme_of_the_config_signs_as_its_verifier_reads_it() {
    let app = App::start();
    let more = "  schemes: { github: { provider: github } }\n";
    let gate = start(&[&app], more);
    tenant(&gate, "acme");
    let secret = "a-secret-that-both-know";
    let fields = json!({ "sign": "github", "secret": secret, "payload": "raw" });
    endpoint(&gate, "acme", &app, fields);
    let (_, answer) = publish(&gate, "acme", "key-1", &json!({ "a": 1 }));
    wait_for("the event", || app.count() == 1);
    let seen = app.last();
    let expected = super::support::sign::hmac_hex(secret, &seen.body);
    assert_eq!(
        seen.header("x-hub-signature-256"),
        Some(&*format!("sha256={expected}"))
    );
    assert_eq!(seen.header("x-github-delivery"), answer["id"].as_str());
    assert_eq!(seen.header("x-github-event"), Some("invoice.paid"));
    assert_eq!(seen.header("webhook-signature"), None);
    // a text that is no base64 cannot sign by Standard Webhooks
    let (_, endpoints) = call(&gate, "GET", "/v1/tenants/acme/endpoints", None);
    let id = endpoints["endpoints"][0]["id"].as_str().unwrap();
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    let (status, answer) = call(&gate, "PATCH", &path, Some(&json!({ "sign": "standard" })));
    assert_eq!((status, &answer["at"]), (422, &json!("/sign")), "{answer}");
}
