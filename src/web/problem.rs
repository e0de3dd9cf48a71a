//! Errors of an API with a code: what is wrong, what to do, and where in the request.
use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::guard::Blocked;

/// The maximum number of characters of a text from a request that an error repeats.
const MAX_QUOTED: usize = 80;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Error,
}

/// The body of an error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Error {
    /// The kind of the error, for programs.
    code: &'static str,
    /// A description of the error. It repeats no value of the request's data.
    error: String,
    /// A hint what to do.
    help: Cow<'static, str>,
    /// The place in the request's body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl Problem {
    /// Makes an error response: what is wrong, and what to do. Neither may contain a value of the request's data.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        error: impl Into<String>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            retry_after: None,
            body: Error {
                code,
                error: error.into(),
                help: help.into(),
                at: None,
            },
        }
    }

    /// Makes an error response for an invalid request.
    pub fn bad_request(error: impl Into<String>, help: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", error, help)
    }

    /// Adds the place in the request's body, as a JSON pointer.
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.body.at = Some(pointer.into());
        self
    }

    /// Adds the time after which the client may repeat the request.
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the kind of the error.
    pub fn code(&self) -> &'static str {
        self.body.code
    }
}

impl From<Blocked> for Problem {
    fn from(blocked: Blocked) -> Self {
        let (code, help) = match blocked {
            Blocked::Host => (
                "host",
                "send `Authorization: Bearer TOKEN`, or use the listener's address or `localhost` as the host",
            ),
            Blocked::CrossSite => (
                "cross_site",
                "send the request from your app, not from a web page",
            ),
            Blocked::ContentType => ("content_type", "send `Content-Type: application/json`"),
        };
        Self::new(blocked.status(), code, blocked.error(), help)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(time) = self.retry_after {
            // rounded up: a client that comes back early is refused again
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Returns a text from a request in backticks, escaped and shortened.
pub fn quoted(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_QUOTED)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests;
