//! The checks of a request that are the same for all calls.
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;

use super::state::Api;
use crate::web::call::Call;
use crate::web::problem::Problem;

/// Puts the checks in front of a call.
pub(super) fn checked(call: Call<Api>) -> Call<Api> {
    let handler = match call.query {
        Some(_) => call.handler,
        None => call.handler.layer(from_fn(no_query)),
    };
    Call {
        handler: handler.layer(from_fn(readable_path)),
        ..call
    }
}

/// Refuses query parameters: one that has no effect would surprise whoever wrote it.
async fn no_query(request: Request, next: Next) -> Result<Response, Problem> {
    if request.uri().query().is_none_or(str::is_empty) {
        return Ok(next.run(request).await);
    }
    let error = "this call has no query parameters";
    Err(Problem::bad_request(
        error,
        "leave out `?` and the text after it",
    ))
}

/// Refuses a path with an ID that is not UTF-8.
async fn readable_path(
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if params.is_ok() {
        return Ok(next.run(request).await);
    }
    let error = "a part of the path is not UTF-8";
    Err(Problem::bad_request(
        error,
        "percent-encode the bytes of its UTF-8 text",
    ))
}
