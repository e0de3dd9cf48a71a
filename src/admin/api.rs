//! For people and the CLI: `/-/status`, `/-/refusals`, `/-/report`, `/-/reload`, and what is in `live`.
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::answer::{self, Denied};
use super::{Guard, Report, Source, Status, live};
use crate::telemetry::{REMEMBERED, RecentRefusal};

/// Refusals shown when nobody says how many.
const REFUSALS_SHOWN: usize = 50;

/// What `/-/refusals` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusals {
    /// Newest first.
    pub refusals: Vec<RecentRefusal>,
}

/// What `/-/reload` answers when the config was taken.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// The new generation.
    pub generation: u64,
}

/// The admin listener's router, behind its guard.
pub fn router(source: Arc<dyn Source>, guard: Guard) -> Router {
    Router::new()
        .route("/-/status", get(status))
        .route("/-/refusals", get(refusals))
        .route("/-/report", get(report))
        .route("/-/reload", post(reload))
        .merge(live::routes())
        .method_not_allowed_fallback(answer::wrong_method)
        .fallback(answer::not_found)
        .layer(from_fn_with_state(Arc::new(guard), guarded))
        .layer(map_response(answer::safe))
        .with_state(source)
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => denied.into_response(),
    }
}

async fn status(State(source): State<Arc<dyn Source>>) -> Json<Status> {
    Json(source.status())
}

async fn report(State(source): State<Arc<dyn Source>>) -> Json<Report> {
    Json(source.report())
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<usize>,
}

async fn refusals(State(source): State<Arc<dyn Source>>, asked: Result<Query<Asked>, QueryRejection>) -> Result<Json<Refusals>, Denied> {
    let Ok(Query(asked)) = asked else {
        return Err(Denied::new(StatusCode::BAD_REQUEST, "`limit` is not a number", "write `/-/refusals?limit=20`"));
    };
    let limit = asked.limit.unwrap_or(REFUSALS_SHOWN).min(REMEMBERED);
    Ok(Json(Refusals { refusals: source.refusals(limit) }))
}

async fn reload(State(source): State<Arc<dyn Source>>) -> Result<Json<Reloaded>, Denied> {
    match source.reload().await {
        Ok(generation) => Ok(Json(Reloaded { generation })),
        Err(error) => {
            Err(Denied { status: StatusCode::UNPROCESSABLE_ENTITY, error, help: "nothing has changed; `hookgate check` says the same" })
        }
    }
}
