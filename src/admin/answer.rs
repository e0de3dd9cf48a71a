//! How every answer looks.
use axum::Json;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A request that is not done.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) error: String,
    pub(super) help: &'static str,
}

impl Denied {
    pub(super) fn new(status: StatusCode, error: &str, help: &'static str) -> Self {
        Self { status, error: error.to_owned(), help }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
            help: &'static str,
        }
        (self.status, Json(Body { error: self.error, help: self.help })).into_response()
    }
}

/// Answers are for whoever asked, now, and are what they say they are.
pub(super) async fn safe(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) async fn not_found() -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        "there is nothing here",
        "health: /livez, /readyz, /metrics; admin: /-/status, /-/refusals, /-/report, /-/reload",
    )
}

pub(super) async fn wrong_method() -> Denied {
    Denied::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this is not asked with that method",
        "GET reads, POST changes; the header Allow says which",
    )
}
