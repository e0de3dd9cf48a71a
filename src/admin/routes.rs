//! The endpoints of the admin API, gathered, and the router. The router and the OpenAPI document are made from the same table, so neither
//! knows an endpoint that the other does not.
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::endpoint::{Answers, Endpoint, schema};
use super::state::Api;
use super::{AdminSource, Guard, answer, deliveries, drain, gateway, openapi, tail};

/// The maximum size of a request body in bytes. An endpoint may allow more.
const MAX_BODY: usize = 64 * 1024;

/// Returns all endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = gateway::endpoints();
    all.extend(deliveries::endpoints());
    all.extend(tail::endpoints());
    all.extend(drain::endpoints());
    all.push(Endpoint::get(
        "/-/openapi.json",
        "Returns this document.",
        Answers::Json(200, schema::<serde_json::Value>),
        get(document),
    ));
    all
}

/// Builds the router of an admin listener, behind its guard.
pub fn router(source: Arc<dyn AdminSource>, guard: Guard) -> Router {
    endpoints()
        .into_iter()
        .fold(Router::new(), |router, endpoint| {
            router.route(endpoint.path, endpoint.handler)
        })
        .method_not_allowed_fallback(answer::wrong_method)
        .fallback(answer::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(Arc::new(guard), guarded))
        .layer(map_response(answer::safe))
        .with_state(Api::new(source))
}

async fn guarded(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.check(request.method(), request.uri(), request.headers()) {
        Ok(offered) => {
            request.extensions_mut().insert(offered);
            next.run(request).await
        }
        Err(denied) => denied.into_response(),
    }
}

async fn document() -> Json<serde_json::Value> {
    Json(openapi::document(&endpoints()))
}
