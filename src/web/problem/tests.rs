use serde_json::{Value, json};

use super::*;

async fn body(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 65_536)
        .await
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn place_and_retry_time_are_left_out_unless_given() {
    let problem = Problem::new(StatusCode::CONFLICT, "taken", "there is one", "use another");
    let response = problem.clone().into_response();
    assert_eq!(response.status(), 409);
    assert!(!response.headers().contains_key(RETRY_AFTER));
    assert_eq!(
        body(response).await,
        json!({ "code": "taken", "error": "there is one", "help": "use another" })
    );
    let response = problem.at("/uid").into_response();
    assert_eq!(body(response).await["at"], "/uid");
}

#[test]
fn retry_time_is_rounded_up() {
    for (millis, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "", "")
            .retry_after(Duration::from_millis(millis));
        assert_eq!(problem.into_response().headers()[RETRY_AFTER], seconds);
    }
}

#[test]
fn guard_errors_have_codes() {
    for (blocked, status, code) in [
        (Blocked::Host, 403, "host"),
        (Blocked::CrossSite, 403, "cross_site"),
        (Blocked::ContentType, 415, "content_type"),
    ] {
        let problem = Problem::from(blocked);
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
    }
}

#[test]
fn quoted_names_are_escaped_and_short() {
    assert_eq!(quoted("a"), "`a`");
    assert_eq!(quoted("a\n\u{1b}"), "`a\\n\\u{1b}`");
    assert_eq!(quoted(&"é".repeat(81)), format!("`{}…`", "é".repeat(80)));
}
