//! The query of a request.
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::web::problem::{Problem, quoted};

/// The query parameters of a request.
#[derive(Clone, Copy, Debug)]
pub struct ApiQuery<T>(pub T);

impl<T, S> FromRequestParts<S> for ApiQuery<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(query)| Self(query))
            .map_err(|rejection| problem(&rejection.body_text()))
    }
}

/// Makes the error response for a message of axum: the parameter, and what serde says of it.
fn problem(message: &str) -> Problem {
    let message = message
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(message);
    let fault = Fault::read(message);
    if fault != Fault::Other(None) {
        return fault.problem("the query");
    }
    match message.split_once(": ") {
        Some((name, message)) => Fault::read(message).problem(&quoted(name)),
        None => fault.problem("the query"),
    }
}
