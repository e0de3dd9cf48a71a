//! Errors.
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::web::guard::Blocked;

/// An error response.
#[derive(Debug)]
pub struct Denied {
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

impl From<Blocked> for Denied {
    fn from(blocked: Blocked) -> Self {
        Self::new(blocked.status(), blocked.error(), blocked.help())
    }
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
