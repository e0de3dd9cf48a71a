//! The API over sockets, with a store in a directory of its own.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::router;
use crate::admin::tests::{BEARER, Fixed, FixedDeliveries, JSON, exchange, loopback, request};
use crate::clock::{Clock as _, SystemClock};
use crate::queue::stored;
use crate::request::{Body, Client, Params, Received, RequestHead, RequestId};
use crate::retry::Reason;
use crate::store::embedded::Embedded;
use crate::store::names::{Kind, Named};
use crate::store::queue::{
    Accept, Accepted, Attempt, Cause, Dedupe, DeliveryRef, Lease, LeaseRequest, NewUnit, Next,
    OnDead, OriginId, Start, TargetId,
};
use crate::store::record::headers;
use crate::store::{Key, Ownership, Store};
use crate::verify::{Cleared, Covers, SecretLocations, StoredProof};

const LEASE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(3600);

/// Makes a request as it was received.
fn received(target: &str, lines: &[(&str, &str)], body: Bytes) -> Received {
    let headers = lines.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    let head = RequestHead {
        request_id: RequestId::from_u128(7),
        method: Method::POST,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: "hooks.example.com".to_owned(),
        tls: true,
        headers: headers.collect(),
        declared_size: None,
        client: Client {
            ip: [198, 51, 100, 24].into(),
            own: true,
            behind_trusted_proxy: false,
        },
        certificate: None,
        received: SystemClock.now(),
    };
    Received {
        head,
        body: Body::from(body),
    }
}

/// A gate's admin API.
struct TestApi {
    deliveries: Arc<FixedDeliveries>,
    source: Arc<Fixed>,
    router: axum::Router,
    numbers: [u32; 2],
    _directory: TempDir,
}

impl TestApi {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(
            Embedded::open(directory.path(), 1000, Arc::new(SystemClock))
                .unwrap()
                .ledger,
        );
        let named = ["stripe", "github"].map(|name| Named {
            kind: Kind::Route,
            name: name.into(),
            previously: Vec::new(),
        });
        let numbers = store.numbers(&named).await.unwrap();
        let numbers = [numbers[0].number, numbers[1].number];
        let deliveries = Arc::new(FixedDeliveries {
            store,
            routes: Mutex::new(vec!["stripe", "github"]),
        });
        let source = Arc::new(Fixed {
            deliveries: Some(Arc::clone(&deliveries)),
            ..Fixed::default()
        });
        let router = router(Arc::<Fixed>::clone(&source), loopback());
        Self {
            deliveries,
            source,
            router,
            numbers,
            _directory: directory,
        }
    }

    /// Status and JSON (or text) of an answer.
    async fn ask(&self, line: &str, token: bool, body: Option<&Value>) -> (u16, Value) {
        let (status, answer) = self.raw(line, token, body).await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (
            status,
            serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)),
        )
    }

    async fn raw(&self, line: &str, token: bool, body: Option<&Value>) -> (u16, String) {
        let body = body.map(ToString::to_string);
        let length = body
            .as_ref()
            .map(|body| format!("Content-Length: {}", body.len()));
        let headers = ["Host: localhost"]
            .into_iter()
            .chain(token.then_some(BEARER));
        let headers: Vec<&str> = headers
            .chain(body.is_some().then_some(JSON))
            .chain(length.as_deref())
            .collect();
        exchange(
            self.router.clone(),
            &(request(line, &headers) + &body.unwrap_or_default()),
        )
        .await
    }

    /// Reads without a token.
    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(&format!("GET {path}"), false, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Reads with a token.
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(&format!("POST {path}"), true, Some(&body)).await
    }

    async fn list(&self, query: &str) -> Vec<String> {
        let found = self.get(&format!("/-/deliveries?{query}")).await;
        found["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["delivery_id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn delivery(&self, route: usize, id: &str, start: Start) -> Accept {
        let lines = [
            ("content-type", "application/json"),
            (
                "stripe-signature",
                "t=1800000000,v1=0123456789abcdef0123456789abcdef",
            ),
            (
                "x-sealed",
                "fedcba9876543210fedcba9876543210fedcba9876543210",
            ),
            ("authorization", "Bearer hidden-secret"),
            ("x-hook-auth", "hidden-key"),
            ("transfer-encoding", "chunked"),
        ];
        let body = format!("{{\"customer\":\"c-{id}\",\"bell\":\"\u{7}\"}}");
        let received = received(
            "/webhooks/stripe?key=hidden-query",
            &lines,
            body.clone().into(),
        );
        let proof = StoredProof {
            secret: "main".into(),
            account: None,
            signed_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            delivery_id: Some(id.into()),
            covers: Covers::default(),
        };
        let delivery = crate::delivery::Delivery::new(
            "stripe".into(),
            Params::default(),
            Cleared::restored(received, Some(proof)),
        );
        let secrets = SecretLocations {
            headers: vec![HeaderName::from_static("x-hook-auth")],
            query: vec!["key".into()],
            signatures: vec![HeaderName::from_static("x-sealed")],
            ..SecretLocations::default()
        };
        let number = self.numbers[route];
        Accept {
            id: DeliveryRef::draw(),
            origin: OriginId(number),
            delivery_id: Some(id.into()),
            key: None,
            event_type: Some("invoice.paid".into()),
            to: vec![NewUnit {
                target: TargetId(number),
                lane: None,
                start,
                attempts: Vec::new(),
            }],
            record: stored::record(
                &delivery,
                &SecretLocations::default(),
                &secrets,
                &[(stored::ANSWERED, "200")],
            ),
            body: body.into(),
            versions: Vec::new(),
        }
    }

    async fn put(&self, route: usize, id: &str, start: Start) -> (DeliveryRef, Vec<Lease>) {
        let accept = self.delivery(route, id, start);
        let of = accept.id;
        let dedupe = Dedupe::Key {
            key: self.deliveries.key(id),
            window: WINDOW,
            dead: OnDead::Revive,
        };
        let Accepted::New(leases) = self
            .deliveries
            .store
            .accept(Arc::new(accept), dedupe)
            .await
            .unwrap()
        else {
            panic!("{id}")
        };
        (of, leases)
    }

    /// Stores a delivery and settles its first attempt.
    async fn attempted(&self, route: usize, id: &str, status: u16, next: Next) -> DeliveryRef {
        let (of, leases) = self.put(route, id, Start::Mine(LEASE)).await;
        self.settle(leases[0], status, next).await;
        of
    }

    async fn settle(&self, lease: Lease, status: u16, next: Next) {
        let attempt = Attempt {
            cause: Cause::Schedule,
            started: SystemClock.now().wall,
            took: Duration::from_millis(84),
            connect: None,
            first_byte: Some(Duration::from_millis(80)),
            status: Some(status),
            error: None,
            peer: Some("127.0.0.1:3000".into()),
            head: headers(&vec![
                ("set-cookie".into(), "hidden-cookie".into()),
                ("x-hook-auth".into(), "hidden-key".into()),
                ("server".into(), "app".into()),
            ]),
            body: "migrating, back soon".into(),
            facts: Bytes::new(),
        };
        assert_eq!(
            self.deliveries
                .store
                .settle(lease, Some(attempt), next)
                .await
                .unwrap(),
            Ownership::Owned
        );
    }

    async fn dead(&self, id: &str) -> DeliveryRef {
        self.attempted(0, id, 410, Next::Dead(Reason::Status(StatusCode::GONE)))
            .await
    }
}

#[tokio::test]
async fn lists_are_filtered() {
    let api = TestApi::new().await;
    let begun = crate::clock::rfc3339(SystemClock.now().wall - Duration::from_secs(1));
    api.put(0, "waits", Start::Anyone).await;
    api.attempted(0, "again", 503, Next::RetryIn(LEASE)).await;
    api.dead("dead").await;
    api.attempted(1, "done", 200, Next::Delivered).await;
    assert_eq!(api.list("").await, ["done", "dead", "again", "waits"]);
    assert_eq!(
        api.list("order=oldest&route=stripe").await,
        ["waits", "again", "dead"]
    );
    assert_eq!(api.list("state=dead,retrying").await, ["dead", "again"]);
    assert_eq!(
        api.list("state=pending&route=stripe&type=invoice.paid")
            .await,
        ["waits"]
    );
    assert_eq!(api.list("state=delivered").await, ["done"]);
    assert_eq!(api.list("id=dead").await, ["dead"]);
    assert_eq!(api.list("type=other").await.len(), 0);
    assert_eq!(api.list("until=1h").await.len(), 0);
    assert_eq!(api.list(&format!("since={begun}")).await.len(), 4);
    let one = &api.get("/-/deliveries?id=again").await["deliveries"][0];
    assert_eq!(one["origin"], json!({ "kind": "route", "name": "stripe" }));
    assert_eq!(one["targets"][0]["last"]["outcome"], "503");
    assert_eq!(
        (
            &one["targets"][0]["attempt_count"],
            &one["targets"][0]["max_attempts"]
        ),
        (&json!(1), &json!(12))
    );
    assert!(
        one["targets"][0]["next_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(
        api.get("/-/deliveries?id=dead").await["deliveries"][0]["targets"][0]["reason"],
        "410"
    );
    api.deliveries.routes.lock().remove(0);
    assert_eq!(api.list("state=parked").await, ["again", "waits"]);
    assert_eq!(api.list("state=pending,retrying").await.len(), 0);
    assert_eq!(
        api.list("route=stripe").await.len(),
        3,
        "a route that is gone has its name still"
    );
    assert_eq!(
        api.get("/-/deliveries?id=waits").await["deliveries"][0]["targets"][0]["state"],
        "parked"
    );
}

#[tokio::test]
async fn pages_continue_and_invalid_queries_are_errors() {
    let api = TestApi::new().await;
    for number in 0..7 {
        api.put(0, &format!("evt_{number}"), Start::Anyone).await;
    }
    let mut found = Vec::new();
    let mut after = String::new();
    for _ in 0..4 {
        let page = api.get(&format!("/-/deliveries?limit=2{after}")).await;
        found.extend(
            page["deliveries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["delivery_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }
    assert_eq!(
        found,
        [
            "evt_6", "evt_5", "evt_4", "evt_3", "evt_2", "evt_1", "evt_0"
        ]
    );
    for (query, status) in [
        ("limit=0", 400),
        ("limit=501", 400),
        ("limit=x", 400),
        ("state=gone", 400),
        ("state=", 400),
        ("since=yesterday", 400),
        ("after=x", 400),
        ("order=up", 400),
        ("unknown=1", 400),
        ("id=", 400),
        ("route=nobody", 404),
        ("text=c-evt_1", 401),
    ] {
        let (is, answer) = api
            .ask(&format!("GET /-/deliveries?{query}"), false, None)
            .await;
        assert_eq!(is, status, "{query}: {answer}");
        assert!(
            answer["error"].is_string() && answer["help"].is_string(),
            "{query}: {answer}"
        );
    }
    let (_, found) = api.ask("GET /-/deliveries?text=c-evt_1", true, None).await;
    assert_eq!(found["deliveries"].as_array().unwrap().len(), 1);
    let none = router(Arc::new(Fixed::default()), loopback());
    let (status, answer) =
        exchange(none, &request("GET /-/deliveries", &["Host: localhost"])).await;
    assert_eq!((status, answer.contains("store.path")), (409, true));
}

#[tokio::test]
async fn a_delivery_is_shown_without_its_secrets() {
    let api = TestApi::new().await;
    let id = api.attempted(0, "evt/1", 503, Next::RetryIn(LEASE)).await;
    for path in [id.to_string(), "evt%2F1".to_owned()] {
        let shown = api.get(&format!("/-/deliveries/{path}")).await;
        assert_eq!(
            (&shown["id"], &shown["delivery_id"], &shown["type"]),
            (
                &json!(id.to_string()),
                &json!("evt/1"),
                &json!("invoice.paid")
            )
        );
        let text = shown.to_string();
        assert!(
            !text.contains("hidden")
                && !text.contains("0123456789abcdef0")
                && !text.contains("c-evt"),
            "{text}"
        );
        let value = |name: &str| {
            let headers = shown["request"]["headers"].as_array().unwrap();
            headers
                .iter()
                .find(|header| header["name"] == name)
                .map(|header| header["value"].as_str().unwrap().to_owned())
        };
        assert_eq!(value("x-hook-auth").as_deref(), Some("[redacted]"));
        assert_eq!(
            value("x-sealed").as_deref(),
            Some("fedcba987654…3210"),
            "a declared signature, whatever its name"
        );
        assert_eq!(value("content-type").as_deref(), Some("application/json"));
        assert_eq!(
            (&shown["request"]["path"], &shown["request"]["secret"]),
            (&json!("/webhooks/stripe"), &json!("main"))
        );
        assert_eq!(
            (
                &shown["request"]["response_status"],
                &shown["request"]["signed_at"]
            ),
            (&json!(200), &json!("2027-01-15T08:00:00.000Z"))
        );
        assert_eq!(shown["body"]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(
            (
                &shown["attempts"][0]["outcome"],
                &shown["attempts"][0]["took"]
            ),
            (&json!("503"), &json!(0.084))
        );
        assert_eq!(
            shown["attempts"][0]["body_text"],
            Value::Null,
            "not without a token"
        );
    }
    let (_, shown) = api
        .ask(&format!("GET /-/deliveries/{id}"), true, None)
        .await;
    assert_eq!(shown["attempts"][0]["body_text"], "migrating, back soon");
    for tail in ["body", "http"] {
        assert_eq!(
            api.raw(&format!("GET /-/deliveries/{id}/{tail}"), false, None)
                .await
                .0,
            401
        );
    }
    let (_, answer) = api
        .raw(&format!("GET /-/deliveries/{id}/body"), true, None)
        .await;
    assert!(
        answer.contains("content-type: text/plain") && answer.contains("sandbox"),
        "{answer}"
    );
    assert!(answer.ends_with("{\"customer\":\"c-evt/1\",\"bell\":\"\u{7}\"}"));
    let (_, answer) = api
        .raw(&format!("GET /-/deliveries/{id}/body?raw=true"), true, None)
        .await;
    assert!(
        answer.contains("application/octet-stream") && answer.contains("attachment"),
        "{answer}"
    );
    let (_, answer) = api
        .raw(&format!("GET /-/deliveries/{id}/http"), true, None)
        .await;
    let http = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(http.starts_with("POST /webhooks/stripe?key=[redacted] HTTP/1.1\r\nhost: hooks.example.com\r\ncontent-type:"), "{http}");
    assert!(
        !http.contains("hidden") && http.contains("\r\nx-sealed: fedcba9876543210fedc"),
        "{http}"
    );
    assert!(
        http.contains("\r\ncontent-length: 33\r\n\r\n{") && !http.contains("chunked"),
        "{http}"
    );
    for path in ["nobody", "018f0000-0000-7000-8000-000000000000", "%00"] {
        assert_eq!(
            api.ask(&format!("GET /-/deliveries/{path}"), false, None)
                .await
                .0,
            404,
            "{path}"
        );
    }
    assert_eq!(api.ask("GET /-/deliveries/%ff", false, None).await.0, 400);
}

mod acting;
mod hostile;
mod secrets;
