//! For people and the CLI: `/-/status`, `/-/refusals`, `/-/report`, `/-/reload`.
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRef, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{self, Denied};
use super::deliveries::replay::Jobs;
use super::endpoint::{self, Answers, Endpoint, schema};
use super::{Guard, Report, Source, Status, openapi};
use crate::api::actions::Nothing;
use crate::telemetry::{REMEMBERED, RecentRefusal};

/// Refusals shown when nobody says how many.
const REFUSALS_SHOWN: usize = 50;
/// Bytes of a request's body.
const MOST_BODY: usize = 64 * 1024;

/// What `/-/refusals` answers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refusals {
    /// Newest first.
    pub refusals: Vec<RecentRefusal>,
}

/// What `/-/reload` answers when the config was taken.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The new generation.
    pub generation: u64,
}

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Api {
    source: Arc<dyn Source>,
    replays: Arc<Jobs>,
}

impl FromRef<Api> for Arc<Jobs> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.replays)
    }
}

impl FromRef<Api> for Arc<dyn Source> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.source)
    }
}

/// What is asked of the gate itself.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/-/status",
            "The state of everything.",
            Answers::Json(200, schema::<Status>),
            get(status),
        ),
        Endpoint::get(
            "/-/refusals",
            "The last refusals, newest first.",
            Answers::Json(200, schema::<Refusals>),
            get(refusals),
        )
        .asked::<Asked>()
        .refuses(&[400]),
        Endpoint::get(
            "/-/report",
            "What routes that observe would have refused.",
            Answers::Json(200, schema::<Report>),
            get(report),
        ),
        Endpoint::post::<Nothing>(
            "/-/reload",
            "Takes the config anew. 422: it has mistakes, and nothing has changed.",
            Answers::Json(200, schema::<Reloaded>),
            post(reload),
        )
        .refuses(&[422]),
        Endpoint::get(
            "/-/openapi.json",
            "This document.",
            Answers::Json(200, schema::<serde_json::Value>),
            get(openapi::served),
        ),
    ]
}

/// The admin listener's router, behind its guard.
pub fn router(source: Arc<dyn Source>, guard: Guard) -> Router {
    endpoint::router()
        .method_not_allowed_fallback(answer::wrong_method)
        .fallback(answer::not_found)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(Arc::new(guard), guarded))
        .layer(map_response(answer::safe))
        .with_state(Api {
            source,
            replays: Arc::default(),
        })
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

async fn status(State(source): State<Arc<dyn Source>>) -> Json<Status> {
    Json(source.status())
}

async fn report(State(source): State<Arc<dyn Source>>) -> Json<Report> {
    Json(source.report())
}

/// What `/-/refusals` is asked.
#[derive(Deserialize, JsonSchema)]
struct Asked {
    /// How many at most.
    limit: Option<usize>,
}

async fn refusals(
    State(source): State<Arc<dyn Source>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Refusals>, Denied> {
    let Ok(Query(asked)) = asked else {
        return Err(Denied::new(
            StatusCode::BAD_REQUEST,
            "`limit` is not a number",
            "write `/-/refusals?limit=20`",
        ));
    };
    let limit = asked.limit.unwrap_or(REFUSALS_SHOWN).min(REMEMBERED);
    Ok(Json(Refusals {
        refusals: source.refusals(limit),
    }))
}

async fn reload(State(source): State<Arc<dyn Source>>) -> Result<Json<Reloaded>, Denied> {
    match source.reload().await {
        Ok(generation) => Ok(Json(Reloaded { generation })),
        Err(error) => Err(Denied {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            error,
            help: "nothing has changed; `hookgate check` says the same",
        }),
    }
}
