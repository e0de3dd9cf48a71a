//! How every answer looks.
use axum::Json;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
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
        Self {
            status,
            error: error.to_owned(),
            help,
        }
    }
}

/// What every refusal says.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct Refusal {
    /// What is wrong.
    error: String,
    /// What to do.
    help: &'static str,
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        (
            self.status,
            Json(Refusal {
                error: self.error,
                help: self.help,
            }),
        )
            .into_response()
    }
}

/// What every answer says to a browser: keep nothing, guess no type, run, load and frame nothing, tell nobody.
const SAFE: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    ),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Answers are for whoever asked, now, and are what they say they are.
pub(super) async fn safe(mut response: Response) -> Response {
    for (name, value) in SAFE {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) async fn not_found() -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        "there is nothing here",
        "health: /livez, /readyz, /metrics; admin: /-/openapi.json lists all there is",
    )
}

pub(super) async fn wrong_method() -> Denied {
    Denied::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this is not asked with that method",
        "GET reads, POST changes; the header Allow says which",
    )
}
