//! Whatever is asked, the answer is one that the document names, and it comes soon.
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::admin::{openapi, routes};
use crate::web::call::Security;

/// It answers for as long as somebody listens.
const STREAM: &str = "/-/tail";

/// Checks that the guard and the handlers answer as the document says.
#[tokio::test]
async fn openapi_document_matches_the_router() {
    let api = TestApi::new().await;
    let document = api.get("/-/openapi.json").await;
    assert_eq!(document, openapi::document(&routes::calls()));
    for call in routes::calls()
        .into_iter()
        .filter(|call| call.path != STREAM)
    {
        let verb = call.verb.word();
        let operation = &document["paths"][call.path][verb];
        let path = call.path.replace("{id}", "nobody");
        let (status, answer) = api
            .ask(
                &format!("{} {path}", verb.to_uppercase()),
                false,
                (verb == "post").then_some(&json!({})),
            )
            .await;
        let needs = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .all(|alternative| alternative.as_object().unwrap().contains_key("token"));
        assert_eq!(
            (needs, needs),
            (call.needs.security() == Security::Token, status == 401),
            "{} {status} {answer}",
            call.path
        );
        assert!(
            operation["responses"]
                .as_object()
                .unwrap()
                .contains_key(&status.to_string()),
            "{} {status}",
            call.path
        );
        let other = if verb == "get" { "POST" } else { "GET" };
        let twice = document["paths"][call.path].as_object().unwrap().len() > 1;
        let (status, _) = api
            .ask(&format!("{other} {path}"), true, Some(&json!({})))
            .await;
        // `/-/deliveries/replay` and its like are IDs for whoever gets them
        let is_id = call.path.starts_with("/-/deliveries/") && call.path.matches('/').count() == 3;
        assert!(
            twice || status == 405 || is_id && status == 404,
            "{other} {path} {status}"
        );
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "-",
            "deliveries",
            "replay",
            "cancel",
            "purge",
            "forget",
            "audit",
            "replays",
            "body",
            "http",
            "stop",
            "resume",
            "evt_1",
            "r_0",
            "..",
            "",
            "%2e%2e",
            "%00",
            "%ff",
            "%2F",
            "018f0000-0000-7000-8000-000000000000",
        ])
        .prop_map(str::to_owned),
        "[!-~&&[^ #?]]{0,12}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let names = vec![
        "route", "state", "since", "until", "id", "type", "text", "order", "limit", "after", "raw",
        "x",
    ];
    let values = vec![
        "1",
        "0",
        "-1",
        "65536",
        "99999999999999999999",
        "stripe",
        "dead",
        "pending,parked",
        "newest",
        "oldest",
        "2026-01-01T00:00:00Z",
        "-009999-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999999999y",
        "1h",
        "%00",
        "%ff%fe",
        "%27%3B--",
        "true",
        "",
    ];
    let value = prop_oneof![
        prop::sample::select(values).prop_map(str::to_owned),
        "[!-~&&[^ #&]]{0,10}"
    ];
    prop::collection::vec((prop::sample::select(names), value), 0..4).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "stripe",
            "dead",
            "evt_1",
            "1h",
            "9999-12-31T23:59:59Z",
            "-1s",
            "oldest",
            "\0"
        ])
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let names = || {
        prop::sample::select(vec![
            "filter",
            "ids",
            "route",
            "state",
            "since",
            "until",
            "id",
            "type",
            "text",
            "reason",
            "dry_run",
            "include_waiting",
            "rate",
            "stop_after",
            "order",
            "include_delivered",
            "bypass_dedupe",
            "params",
            "x",
        ])
    };
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names(), inner), 0..5).prop_map(|pairs| Value::Object(
                pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => (60_000..70_000_usize).prop_map(|size| vec![b'['; size]),
    ]
}

/// Checks that garbage gets neither a server error nor a late response.
#[test]
fn garbage_gets_an_error_and_never_hangs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let api = runtime.block_on(async {
        let api = TestApi::new().await;
        api.dead("evt_1").await;
        api.put(1, "evt_2", Start::In(WINDOW)).await;
        api
    });
    let asked = (
        any::<bool>(),
        prop::collection::vec(piece(), 1..5),
        query(),
        body(),
    );
    // a stream goes on, as it should
    let known: Vec<&str> = routes::calls()
        .iter()
        .map(|call| call.path)
        .filter(|path| *path != STREAM)
        .collect();
    let asked = (
        asked,
        prop::option::weighted(0.6, prop::sample::select(known)),
    );
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&asked, |((post, pieces, query, body), known)| {
        let path = known.map_or_else(
            || format!("/{}", pieces.join("/")),
            |path| path.replace("{id}", &pieces[0]),
        );
        let query = if query.is_empty() {
            query
        } else {
            format!("?{query}")
        };
        let line = format!("{} {path}{query}", if post { "POST" } else { "GET" });
        let length = format!("Content-Length: {}", body.len());
        let mut headers = vec!["Host: localhost", BEARER];
        headers.extend(
            post.then_some([JSON, length.as_str()])
                .into_iter()
                .flatten(),
        );
        let answer = runtime.block_on(async {
            let mut bytes = request(&line, &headers).into_bytes();
            if post {
                bytes.extend_from_slice(&body);
            }
            let asking = crate::admin::tests::exchange_bytes(api.router.clone(), &bytes);
            tokio::time::timeout(Duration::from_secs(20), asking).await
        });
        let Ok(answer) = answer else {
            return Err(TestCaseError::fail(format!("{line} hangs")));
        };
        let status = answer.as_ref().map_or(0, |(status, _)| *status);
        // a greedy sender may be cut off before it has read its answer
        let cut = answer.is_none() && body.len() > 50_000;
        prop_assert!(
            cut || (200..500).contains(&status),
            "{line} {}: {answer:?}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    });
    outcome.unwrap();
}
