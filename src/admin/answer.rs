//! Errors, and the headers of every response.
use axum::Json;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// An error response.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) error: String,
    pub(super) help: &'static str,
}

impl Denied {
    /// Makes an error response: what is wrong, and what to do.
    pub(super) fn new(status: StatusCode, error: &str, help: &'static str) -> Self {
        Self {
            status,
            error: error.to_owned(),
            help,
        }
    }
}

/// The body of an error response.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct Refusal {
    /// A description of the error.
    error: String,
    /// A hint what to do.
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

/// The headers that tell a browser to cache nothing, to guess no type, to run, load and frame nothing, and to send no referrer.
const SAFETY_HEADERS: [(HeaderName, &str); 6] = [
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

/// Adds [`SAFETY_HEADERS`] to a response.
pub(super) async fn safe(mut response: Response) -> Response {
    for (name, value) in SAFETY_HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) async fn not_found() -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        "there is no such endpoint",
        "the health listener has /livez, /readyz and /metrics; for the admin listener see /-/openapi.json",
    )
}

pub(super) async fn wrong_method() -> Denied {
    Denied::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the endpoint does not support this method",
        "use the method in the `Allow` header: GET reads, POST changes something",
    )
}
