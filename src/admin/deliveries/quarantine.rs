//! `/-/quarantine` and `/-/reverify`: refused requests that are kept, and their release once they are authentic.
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::{RequestBody, parse_body, parse_reason};
use super::errors::{bad_request, no_route, unavailable};
use crate::admin::answer::Denied;
use crate::admin::table::{AdminCall, Needs, change_call, read_call};
use crate::admin::token::{Actor, Reader};
use crate::admin::{AdminSource, QuarantineError};
use crate::api::quarantine::{Quarantined, Reverified, Reverify, ReverifyAnswer};
use crate::request::RequestId;
use crate::store::archive::Note;
use crate::store::text::storable;
use crate::web::call::{Answers, schema};

/// The number of requests, by default and at most.
const DEFAULT_REQUESTS: u16 = 50;
const MAX_REQUESTS: u16 = 1000;

/// Returns the calls for kept requests.
pub(super) fn calls() -> Vec<AdminCall> {
    vec![
        read_call(
            "/-/quarantine",
            "Lists refused requests that this gateway keeps, newest first, and what each route keeps.",
            Answers::Json(200, schema::<Quarantined>),
            list,
        )
        .with_query::<QuarantineQuery>()
        .needs(&Needs::Read)
        .refuses(&[400, 404, 503]),
        change_call(
            "/-/reverify",
            "Judges the kept requests of a route again by the current config, each as of its receipt, and releases those that are authentic. A dry run only returns the plan.",
            Answers::Json(200, schema::<ReverifyAnswer>),
            reverify,
        )
        .with_body::<Reverify>()
        .refuses(&[404, 409, 503]),
    ]
}

/// The query of `GET /-/quarantine`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct QuarantineQuery {
    /// The route; all of them by default.
    route: Option<String>,
    /// The maximum number of requests: up to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u16>,
}

async fn list(
    _: Reader,
    State(source): State<Arc<dyn AdminSource>>,
    query: Result<Query<QuarantineQuery>, QueryRejection>,
) -> Result<Json<Quarantined>, Denied> {
    let Query(QuarantineQuery { route, limit }) =
        query.map_err(|error| bad_request(&error.body_text(), "write `?route=NAME&limit=20`"))?;
    let limit = limit.unwrap_or(DEFAULT_REQUESTS);
    if limit == 0 || limit > MAX_REQUESTS {
        return Err(bad_request(
            "`limit` is out of bounds",
            "write a number from 1 to 1000",
        ));
    }
    let name = route.clone().unwrap_or_default();
    let listed = source.quarantined(route, limit).await;
    listed.map(Json).map_err(|error| denied(&error, &name))
}

async fn reverify(
    Actor(who): Actor,
    State(source): State<Arc<dyn AdminSource>>,
    body: RequestBody,
) -> Result<Json<ReverifyAnswer>, Denied> {
    let Reverify {
        route,
        dry_run,
        after,
        reason,
    } = parse_body(body)?;
    let reason = parse_reason(&reason)?;
    let after = after.map(|id| {
        RequestId::parse(&id).ok_or_else(|| {
            bad_request(
                "`after` is not the ID of a request",
                "write the `next` of the call before",
            )
        })
    });
    let after = after.transpose()?;
    let failed = |error: QuarantineError| denied(&error, &route);
    if dry_run {
        let plan = source.plan_reverify(route.clone()).await.map_err(failed)?;
        return Ok(Json(ReverifyAnswer::Plan(plan)));
    }
    let mut note = Note {
        which: storable(&format!("route {route}")).into(),
        what: "reverify",
        done: 0,
        goes_on: None,
        who,
        reason,
    };
    // written before anything is released; a gateway without a store on disk has no audit
    let store = source.store();
    if let Some(store) = &store {
        let row = store.note(note.clone()).await;
        note.goes_on = Some(row.map_err(|error| unavailable(&error))?);
    }
    // to its end, with its row in the audit, if the caller leaves
    let name = route.clone();
    let released = tokio::spawn(async move { release(&source, name, after, note).await }).await;
    let released =
        released.unwrap_or_else(|error| Err(QuarantineError::Unreadable(error.to_string())));
    released.map(ReverifyAnswer::Done).map(Json).map_err(failed)
}

/// Releases, and writes down how many.
async fn release(
    source: &Arc<dyn AdminSource>,
    route: String,
    after: Option<RequestId>,
    mut note: Note,
) -> Result<Reverified, QuarantineError> {
    let done = source.reverify(route.clone(), after).await?;
    note.done = done.released;
    tracing::info!(
        route,
        who = &*note.who,
        released = done.released,
        duplicates = done.duplicates,
        left = done.left,
        "requests released from quarantine"
    );
    if let Some(store) = source.store()
        && let Err(error) = store.note(note).await
    {
        tracing::error!(%error, route, "the audit does not say how many requests were released");
    }
    Ok(done)
}

pub(super) fn denied(error: &QuarantineError, route: &str) -> Denied {
    let (status, help) = match error {
        QuarantineError::NoRoute => return no_route(route),
        QuarantineError::NotEnforcing => (
            StatusCode::CONFLICT,
            "release the requests once the route has `verify` and enforces it",
        ),
        QuarantineError::Draining => (
            StatusCode::CONFLICT,
            "a drained gateway accepts deliveries again after a restart",
        ),
        QuarantineError::Unreadable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "repeat the request; the log has the cause",
        ),
    };
    Denied::new(status, &error.to_string(), help)
}
