//! Samples for the snapshots, and a gate that answers what it is told.
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::actions::Replay;
use crate::api::deliveries::{Delivery, DeliveryDetails, Filter, Plan};
use crate::api::tail::TailLine;
use crate::cli::term::{self, Look};

pub(in crate::cli) fn look() -> Look {
    Look {
        width: Some(100),
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

pub(in crate::cli) fn now() -> SystemTime {
    term::moment("2026-11-24T13:07:02Z").unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a sample is written where it is used"
)]
pub(in crate::cli) fn delivery(id: &str, kind: &str, at: &str, target: Value) -> Value {
    let mut whole = json!({ "target": "stripe", "attempt_count": 0, "max_attempts": 12, "next_at": null, "leased": false, "reason": null, "last": null });
    whole
        .as_object_mut()
        .unwrap()
        .extend(target.as_object().unwrap().clone());
    json!({ "id": "01936000-0000-7000-8000-000000000001", "origin": { "kind": "route", "name": "stripe" }, "delivery_id": id, "type": kind,
            "received_at": at, "size": 423, "targets": [whole] })
}

fn last(outcome: &str) -> Value {
    json!({ "at": "2026-11-24T13:06:40Z", "outcome": outcome, "took": 0.031 })
}

pub(in crate::cli) fn deliveries() -> Vec<Delivery> {
    read(json!([
        delivery(
            "evt_1QNkT2Hd7mZ0pVbX",
            "invoice.payment_failed",
            "2026-11-24T13:04:33.118Z",
            json!({ "state": "retrying", "attempt_count": 4, "next_at": "2026-11-24T13:08:50Z", "last": last("503") })
        ),
        delivery(
            "evt_1QNkSeHd7mZ0pVb4",
            "charge.refunded",
            "2026-11-24T13:04:09Z",
            json!({ "state": "retrying", "attempt_count": 4, "next_at": "2026-11-24T13:08:33Z", "last": last("unreached") })
        ),
        delivery(
            "evt_1QMzzWHd7mZ0pV9c",
            "payout.failed",
            "2026-11-22T09:12:00Z",
            json!({ "state": "dead", "attempt_count": 12, "reason": "attempts", "last": last("500") })
        ),
    ]))
}

pub(in crate::cli) fn shown() -> DeliveryDetails {
    let target = json!({ "state": "retrying", "attempt_count": 4, "next_at": "2026-11-24T13:08:50Z", "last": last("503") });
    let mut value = delivery(
        "evt_1QNkT2Hd7mZ0pVbX",
        "invoice.payment_failed",
        "2026-11-24T13:04:33.118Z",
        target,
    );
    let attempt = |number: u32,
                   at: &str,
                   outcome: &str,
                   status: Option<u16>,
                   took: f64,
                   headers: Value,
                   text: Option<&str>| {
        json!({ "target": "stripe", "number": number, "cause": "schedule", "late": false, "started_at": at, "took": took, "connect": null,
                "first_byte": null, "outcome": outcome, "status": status, "error": status.is_none().then_some("connection refused"),
                "peer": "127.0.0.1:3000", "headers": headers, "body_text": text })
    };
    value.as_object_mut().unwrap().extend(
        json!({
            "same_id_count": 0,
            "request": { "method": "POST", "path": "/webhooks/stripe", "query": false, "host": "hooks.example.com", "headers": [],
                "client": "198.51.100.24", "tls": true, "received_at": "2026-11-24T13:04:33.118Z", "request_id": "01JDC9R7T3WA", "provider": "stripe",
                "verified": true, "secret": "2026-11", "signed_at": "2026-11-24T13:04:31Z", "covers": "timestamp, body", "params": {}, "response_status": 200 },
            "body": { "size": 423, "sha256": "4a46799bd0a1", "content_type": "application/json" },
            "attempts": [
                attempt(1, "2026-11-24T13:04:33Z", "503", Some(503), 0.084, json!([]), Some("migrating, \u{1b}[2Jback soon\nmore")),
                attempt(2, "2026-11-24T13:04:41Z", "unreached", None, 0.001, json!([]), None),
                attempt(3, "2026-11-24T13:05:02Z", "unreached", None, 0.001, json!([]), None),
                attempt(4, "2026-11-24T13:06:40Z", "503", Some(503), 0.031, json!([{ "name": "retry-after", "value": "120" }]), None),
            ],
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    read(value)
}

pub(in crate::cli) fn filter() -> Filter {
    read(json!({ "route": "stripe", "state": ["dead"], "since": "2026-11-23T15:07:02Z" }))
}

pub(in crate::cli) fn plan() -> Plan {
    read(
        json!({ "count": 1204, "complete": true, "bytes": 6_396_314, "first_at": "2026-11-22T15:10:00Z", "last_at": "2026-11-23T09:02:00Z",
                 "types": { "invoice.paid": 811, "charge.refunded": 290, "payout.failed": 103 }, "sample": [] }),
    )
}

pub(in crate::cli) fn replay() -> Replay {
    Replay {
        id: "r_01JDCA3".to_owned(),
        planned: 1204,
        done: 684,
        delivered: 681,
        failed: 3,
        not_attempted: 520,
        rate: 20.0,
        ..Replay::default()
    }
}

pub(in crate::cli) fn tail() -> Vec<TailLine> {
    let line = |at: &str,
                kind: &str,
                route: &str,
                outcome: &str,
                status: u16,
                took: f64,
                more: Value| {
        let mut value = json!({ "seq": 1, "at": at, "kind": kind, "route": route, "outcome": outcome, "status": status, "took": took });
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        read::<TailLine>(value)
    };
    let (first, second) = ("2026-11-24T13:07:01Z", "2026-11-24T13:07:02Z");
    let stripe = json!({ "type": "invoice.paid", "delivery_id": "evt_1QNkVwHd7mZ0pVc1" });
    let refused =
        json!({ "type": "push", "code": "signature_mismatch", "request_id": "01JDC9R7T3WA" });
    let attempt = json!({ "delivery_id": "evt_1QNkVwHd7mZ0pVc1", "attempt": 1 });
    let again = json!({ "delivery_id": "evt_1QNkVwHd7mZ0pVc1", "attempt": 2, "retry_in": 108.0 });
    let duplicate =
        json!({ "type": "push", "delivery_id": "7d1b6e90-c86a-11f1-9f2c-0242ac120002" });
    vec![
        line(first, "request", "stripe", "queued", 200, 0.003, stripe),
        line(second, "request", "github", "refused", 401, 0.001, refused),
        line(
            second,
            "attempt",
            "stripe",
            "delivered",
            200,
            0.022,
            attempt,
        ),
        line(second, "attempt", "stripe", "retrying", 503, 0.084, again),
        line(
            second,
            "request",
            "github",
            "duplicate",
            200,
            0.0,
            duplicate,
        ),
    ]
}

/// A request to the fake gateway: method and target, and its body.
pub(in crate::cli) type Asked = (String, Value);

type Answers = Arc<dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync>;

/// An admin listener in this process.
pub(in crate::cli) struct Fake {
    pub(in crate::cli) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers each request, told as `GET /-/x` with its body, with a status and JSON.
    pub(in crate::cli) fn start(
        answers: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state: (Answers, Arc<Mutex<Vec<Asked>>>) = (Arc::new(answers), Arc::clone(&asked));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, Router::new().fallback(answer).with_state(state))
                    .await
                    .ok();
            });
        });
        Self { address, asked }
    }

    /// Returns the requests so far.
    pub(in crate::cli) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Runs `hookgate ARGS --admin HERE`.
    pub(in crate::cli) fn run(&self, args: &[&str]) -> crate::cli::Exit {
        let all = [&["hookgate"], args, &["--admin", &self.address]].concat();
        crate::cli::main(all.iter().map(std::ffi::OsString::from))
    }
}

async fn answer(
    State((answers, asked)): State<(Answers, Arc<Mutex<Vec<Asked>>>)>,
    request: Request,
) -> Response {
    let what = format!("{} {}", request.method(), request.uri());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, answer) = answers(&what, &body);
    asked.lock().push((what, body));
    let status = StatusCode::from_u16(status).unwrap();
    if let Value::String(text) = answer {
        (status, text).into_response()
    } else {
        (status, axum::Json(answer)).into_response()
    }
}
