use axum::body::Body;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::web::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its parsing counts")]
struct Made {
    url: String,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    limits: Limits,
    payload: Option<Payload>,
    since: Option<Time>,
    #[serde(default)]
    versions: std::collections::BTreeMap<String, u8>,
    #[serde(default)]
    ordered: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its parsing counts")]
struct Limits {
    publish: Option<u32>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its parsing counts")]
struct Step {
    wait: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Payload {
    Envelope,
    Raw,
}

/// A type with messages of its own: one that may be shown, one that may not.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Time;

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            0 => Err("must be an RFC 3339 time".to_owned()),
            _ => Err(format!("not a time: {text}, expected one")),
        }
    }
}

async fn body(problem: Problem) -> Value {
    let bytes = axum::body::to_bytes(problem.into_response().into_body(), 65_536)
        .await
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn errors_name_the_field_and_no_value() {
    let table = [
        // unknown, missing and repeated fields
        (
            r#"{"url":"u","usrl":"SECRET"}"#,
            "/usrl",
            "there is no field `usrl`",
        ),
        (
            r#"{"url":"u","limits":{"SEC":1}}"#,
            "/limits/SEC",
            "there is no field `SEC`",
        ),
        (r#"{}"#, "/url", "`url` is missing"),
        ("", "/url", "`url` is missing"),
        (
            r#"{"url":"u","limits":{"steps":[{"wait":1},{}]}}"#,
            "/limits/steps/1/wait",
            "`wait` is missing",
        ),
        (
            r#"{"url":"SECRET","url":"SECRET"}"#,
            "/url",
            "`url` is there twice",
        ),
        // wrong types and values
        (r#"{"url":17}"#, "/url", "`/url` must be a string"),
        (r#"{"url":["SECRET"]}"#, "/url", "`/url` must be a string"),
        (r#"{"url":{"SECRET":1}}"#, "/url", "`/url` must be a string"),
        (r#"{"url":null}"#, "/url", "`/url` must be a string"),
        (
            r#"{"types":"SECRET, expected SECRET"}"#,
            "/types",
            "`/types` must be a list",
        ),
        (
            r#"{"types":["a","b",3]}"#,
            "/types/2",
            "`/types/2` must be a string",
        ),
        (
            "{\"url\":\"u\",\n \"limits\":\n{\"publish\": \"SECRET\"}}",
            "/limits/publish",
            "`/limits/publish` must be a whole number from 0 to 4294967295",
        ),
        (
            r#"{"limits":{"publish":-1}}"#,
            "/limits/publish",
            "`/limits/publish` must be a whole number from 0 to 4294967295",
        ),
        (
            r#"{"limits":{"steps":[{"wait":true}]}}"#,
            "/limits/steps/0/wait",
            "`/limits/steps/0/wait` must be a number",
        ),
        (r#"{"limits":7}"#, "/limits", "`/limits` must be an object"),
        (
            r#"{"ordered":"SECRET"}"#,
            "/ordered",
            "`/ordered` must be `true` or `false`",
        ),
        (
            r#"{"versions":{"a\u002Fb~":256}}"#,
            "/versions/a~1b~0",
            "`/versions/a~1b~0` must be a whole number from 0 to 255",
        ),
        (
            r#"{"versions":[]}"#,
            "/versions",
            "`/versions` must be an object",
        ),
        (
            r#"{"payload":"SECRET"}"#,
            "/payload",
            "`/payload` must be `envelope` or `raw`",
        ),
        (r#"{"payload":5}"#, "/payload", "`/payload` is not valid"),
        // own messages
        (
            r#"{"since":"","url":"u"}"#,
            "/since",
            "`/since` must be an RFC 3339 time",
        ),
        (
            r#"{"since":"SECRET","url":"u"}"#,
            "/since",
            "`/since` is not valid",
        ),
        (
            r#"{"url":"u","since":""}"#,
            "",
            "a value in the body must be an RFC 3339 time",
        ),
    ];
    for (text, at, error) in table {
        let problem = parse::<Made>(text.as_bytes()).unwrap_err();
        assert_eq!(problem.status(), 400, "{text}");
        let body = body(problem).await;
        assert_eq!(
            (&body["at"], &body["error"]),
            (&json!(at), &json!(error)),
            "{text}"
        );
        assert!(!body.to_string().contains("SECRET"), "{body}");
    }
}

#[tokio::test]
async fn errors_of_the_whole_body_have_no_place() {
    for (text, error) in [
        ("[]", "the body is not a JSON object"),
        ("null", "the body is not a JSON object"),
        ("SECRET", "the body is not a JSON object"),
        (
            r#"{"url":SECRET}"#,
            "the body is not JSON: expected value at line 1 column 8",
        ),
        (
            r#"{"url":"SECRET"#,
            "the body is not JSON: EOF while parsing a string at line 1 column 14",
        ),
        (
            r#"{"url":"u"} SECRET"#,
            "the body is not JSON: trailing characters at line 1 column 13",
        ),
    ] {
        let body = body(parse::<Made>(text.as_bytes()).unwrap_err()).await;
        assert_eq!(
            (&body["at"], &body["error"]),
            (&Value::Null, &json!(error)),
            "{text}"
        );
    }
}

#[test]
fn raw_values_keep_their_bytes() {
    #[derive(Deserialize)]
    struct Publish<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let publish: Publish<'_> = parse(b" {\"data\": {\"a\" :1.0, \"a\":2}}\n").unwrap();
    assert_eq!(publish.data.get(), "{\"a\" :1.0, \"a\":2}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "SECRET",
            "SECRET`, expected `",
            "must be SECRET",
            "\"SECRET: "
        ])
        .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "url", "types", "limits", "publish", "steps", "wait", "payload", "since", "versions",
        "ordered", "x",
    ]);
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|pairs| Value::Object(
                pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

proptest! {
    /// The place of an error exists in the body, but for a missing field, whose object does.
    #[test]
    fn places_exist_and_values_are_never_repeated(value in value(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        if let Err(problem) = parse::<Made>(&text) {
            let shown = format!("{problem:?}");
            prop_assert!(!shown.contains("SECRET"), "{shown}");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let body = runtime.block_on(body(problem));
            if let Some(at) = body["at"].as_str() {
                let missing = body["error"].as_str().unwrap().ends_with("is missing");
                let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
                prop_assert!(value.pointer(at).is_none() == missing, "{body} {value}");
                prop_assert!(value.pointer(parent).is_some(), "{body} {value}");
            }
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let with_brace = [b"{", &bytes[..]].concat();
        prop_assert!(parse::<Made>(&bytes).is_err() && parse::<Made>(&with_brace).is_err());
    }
}

fn request(lines: &[(&str, &str)], body: Body) -> Request {
    let request = lines
        .iter()
        .fold(Request::builder(), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(body).unwrap()
}

#[tokio::test]
async fn length_of_a_body_is_known_before_it_is_read() {
    let large = "9".repeat(40);
    for (lines, expected) in [
        (vec![], Ok(0)),
        (vec![("content-length", "0")], Ok(0)),
        (vec![("content-length", "16")], Ok(16)),
        (vec![("content-length", "17")], Err((413, "too_large"))),
        (
            vec![("content-length", large.as_str())],
            Err((413, "too_large")),
        ),
        (
            vec![("content-length", "+1")],
            Err((411, "length_required")),
        ),
        (vec![("content-length", "")], Err((411, "length_required"))),
        (
            vec![("transfer-encoding", "chunked")],
            Err((411, "length_required")),
        ),
        (
            vec![("content-length", "1"), ("transfer-encoding", "chunked")],
            Err((411, "length_required")),
        ),
    ] {
        let length = body_length(request(&lines, Body::empty()).headers(), 16);
        let length = length.map_err(|problem| (problem.status().as_u16(), problem.code()));
        assert_eq!(length, expected, "{lines:?}");
    }
}

#[tokio::test]
async fn body_has_exactly_the_announced_length() {
    let read = async |length| read_body(Body::from("0123456789"), length).await;
    assert_eq!(read(10).await, Ok(Bytes::from_static(b"0123456789")));
    for length in [0, 9, 11] {
        assert_eq!(
            read(length).await.unwrap_err().status(),
            StatusCode::BAD_REQUEST
        );
    }
    assert_eq!(read_body(Body::empty(), 0).await, Ok(Bytes::new()));
}

#[tokio::test]
async fn json_body_is_bounded_and_parsed() {
    let ask = async |text: &'static str| {
        let length = text.len().to_string();
        let request = request(&[("content-length", length.as_str())], Body::from(text));
        let made = JsonBody::<Made, 16>::from_request(request, &()).await;
        made.map(|JsonBody(made)| made.url)
            .map_err(|problem| problem.status().as_u16())
    };
    assert_eq!(ask(r#"{"url":"u"}"#).await, Ok("u".to_owned()));
    assert_eq!(ask(r#"{"url":"12345678"}"#).await, Err(413));
    assert_eq!(ask("").await, Err(400));
}

#[tokio::test]
async fn no_object_of_a_body_has_a_key_twice() {
    let ask = async |text: &'static str| {
        let length = text.len().to_string();
        let request = request(&[("content-length", length.as_str())], Body::from(text));
        let read = JsonBody::<serde_json::Map<String, Value>>::from_request(request, &()).await;
        let refused = read.map(drop);
        match refused {
            Ok(()) => Value::Null,
            Err(problem) => {
                let body = body(problem).await;
                assert!(!body.to_string().contains("SECRET"), "{body}");
                json!([body["code"], body["at"]])
            }
        }
    };
    for text in ["", " ", "{}", r#"{"a":{"b":1},"b":[{"b":1},{"b":2}]}"#] {
        assert_eq!(ask(text).await, Value::Null, "{text}");
    }
    for (text, at) in [
        (r#"{"url":"SECRET","url":"SECRET"}"#, json!("")),
        (
            r#"{"headers":{"X-A":"SECRET","X-A":"SECRET"}}"#,
            json!("/headers"),
        ),
        (r#"{"a":[0,{"b":1,"\u0062":2}]}"#, json!("/a/1")),
    ] {
        assert_eq!(ask(text).await, json!(["repeated_key", at]), "{text}");
    }
}

#[tokio::test]
async fn errors_of_a_query_name_the_parameter() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing counts")]
    struct Listed {
        limit: Option<u16>,
        after: String,
    }
    for (query, error) in [
        ("after=SECRET&limit=SECRET", "`limit` is not valid"),
        ("after=a&limit=65536", "`limit` is not valid"),
        ("after=a&lim=SECRET", "there is no field `lim`"),
        ("limit=1", "`after` is missing"),
        ("after=SECRET&after=SECRET", "`after` is there twice"),
    ] {
        let request = Request::builder()
            .uri(format!("/v1/tenants?{query}"))
            .body(())
            .unwrap();
        let (mut parts, ()) = request.into_parts();
        let read = ApiQuery::<Listed>::from_request_parts(&mut parts, &()).await;
        let body = body(read.unwrap_err()).await;
        assert_eq!(body["error"], error, "{query}");
        assert!(!body.to_string().contains("SECRET"), "{body}");
    }
}
