//! The health listener: `/livez`, `/readyz`, `/metrics`.
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::get;

use super::{AdminSource, answer};
use crate::web::safety::safe;

/// The format of the metrics.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The gateway, once it has started. Until then the process is alive and not ready.
pub type Later = Arc<OnceLock<Arc<dyn AdminSource>>>;

/// Builds the router of the health listener. It reveals the names of routes, upstreams and secrets, never a secret, and changes nothing.
pub fn router(source: Later) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(answer::wrong_method)
        .fallback(answer::not_found)
        .layer(map_response(safe))
        .with_state(source)
}

async fn readyz(State(source): State<Later>) -> impl IntoResponse {
    let is_ready = source.get().is_some_and(|source| source.is_ready());
    if is_ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(source): State<Later>) -> impl IntoResponse {
    match source.get() {
        Some(source) => ([(CONTENT_TYPE, EXPOSITION)], source.metrics()).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}
