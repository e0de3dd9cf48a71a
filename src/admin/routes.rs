//! The calls of the admin API, gathered, and the router. The router and the OpenAPI document are made from the same table, so neither
//! knows a call that the other does not.
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::{Json, Router};

use super::state::Api;
use super::table::{AdminCall, read_call};
use super::{AdminSource, Guard, answer, deliveries, drain, gateway, openapi, tail};
use crate::web::call::{Answers, routes, schema};

/// The maximum size of a request body in bytes. A call may allow more.
const MAX_BODY: usize = 64 * 1024;

/// Returns all calls.
pub(super) fn calls() -> Vec<AdminCall> {
    let mut all = gateway::calls();
    all.extend(deliveries::calls());
    all.extend(tail::calls());
    all.extend(drain::calls());
    all.push(read_call(
        "/-/openapi.json",
        "Returns this document.",
        Answers::Json(200, schema::<serde_json::Value>),
        document,
    ));
    all
}

/// Builds the router of an admin listener, behind its guard.
pub fn router(source: Arc<dyn AdminSource>, guard: Guard) -> Router {
    let router = routes(calls())
        .method_not_allowed_fallback(answer::wrong_method)
        .fallback(answer::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY));
    guard.protect(router).with_state(Api::new(source))
}

async fn document() -> Json<serde_json::Value> {
    Json(openapi::document(&calls()))
}
