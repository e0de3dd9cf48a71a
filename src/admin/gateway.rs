//! The calls for the gateway as a whole: `/-/status`, `/-/refusals`, `/-/report`, `/-/secrets`, `/-/reload`.
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Denied;
use super::table::{AdminCall, change_call, read_call};
use super::{AdminSource, Report, Status};
use crate::api::actions::{Empty, Reloaded};
use crate::api::refusals::Refusals;
use crate::api::secrets::Secrets;
use crate::telemetry::REMEMBERED;
use crate::web::call::{Answers, schema};

/// The number of refusals that are returned by default.
const DEFAULT_REFUSALS: usize = 50;

/// Returns the calls for the gateway as a whole.
pub(super) fn calls() -> Vec<AdminCall> {
    vec![
        read_call(
            "/-/status",
            "Returns the status of the gateway.",
            Answers::Json(200, schema::<Status>),
            status,
        ),
        read_call(
            "/-/refusals",
            "Lists the last refused requests, newest first.",
            Answers::Json(200, schema::<Refusals>),
            refusals,
        )
        .with_query::<RefusalsQuery>()
        .refuses(&[400]),
        read_call(
            "/-/report",
            "Reports what routes with `mode: observe` would have refused.",
            Answers::Json(200, schema::<Report>),
            report,
        ),
        read_call(
            "/-/secrets",
            "Returns which secrets of the routes match, and which are safe to remove.",
            Answers::Json(200, schema::<Secrets>),
            secrets,
        ),
        change_call(
            "/-/reload",
            "Reloads the config. 422: the config has errors, and nothing was changed.",
            Answers::Json(200, schema::<Reloaded>),
            reload,
        )
        .with_body::<Empty>()
        .refuses(&[422]),
    ]
}

async fn status(State(source): State<Arc<dyn AdminSource>>) -> Json<Status> {
    Json(source.status())
}

async fn report(State(source): State<Arc<dyn AdminSource>>) -> Json<Report> {
    Json(source.report())
}

async fn secrets(State(source): State<Arc<dyn AdminSource>>) -> Json<Secrets> {
    Json(source.secrets())
}

/// The query of `GET /-/refusals`.
#[derive(Deserialize, JsonSchema)]
struct RefusalsQuery {
    /// The maximum number of refusals.
    limit: Option<usize>,
}

async fn refusals(
    State(source): State<Arc<dyn AdminSource>>,
    query: Result<Query<RefusalsQuery>, QueryRejection>,
) -> Result<Json<Refusals>, Denied> {
    let Ok(Query(query)) = query else {
        return Err(Denied::new(
            StatusCode::BAD_REQUEST,
            "`limit` is not a number",
            "write `/-/refusals?limit=20`",
        ));
    };
    let limit = query.limit.unwrap_or(DEFAULT_REFUSALS).min(REMEMBERED);
    Ok(Json(Refusals {
        refusals: source.refusals(limit).await,
    }))
}

async fn reload(State(source): State<Arc<dyn AdminSource>>) -> Result<Json<Reloaded>, Denied> {
    let generation = source.reload().await.map_err(|error| Denied {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        error: error.to_string(),
        help: "nothing was changed; `hookgate check` prints the same errors",
    })?;
    Ok(Json(Reloaded { generation }))
}
