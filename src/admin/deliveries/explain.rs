//! `/-/refusals/{id}/explain`: why a refused request that is kept is not authentic.
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::errors::{bad_request, unavailable};
use super::quarantine::denied;
use crate::admin::answer::Denied;
use crate::admin::table::{AdminCall, change_call};
use crate::admin::token::Actor;
use crate::admin::{AdminSource, QuarantineError};
use crate::api::actions::Empty;
use crate::api::explain::Explanation;
use crate::request::RequestId;
use crate::store::archive::Note;
use crate::web::call::{Answers, schema};

/// Returns the call. It changes nothing, but its answer tells which secret signs a request.
pub(super) fn calls() -> Vec<AdminCall> {
    vec![
        change_call(
            "/-/refusals/{id}/explain",
            "Explains why a refused request is not authentic, and what would have matched, if this gateway keeps the request. Writes an entry into the audit log.",
            Answers::Json(200, schema::<Explanation>),
            explain,
        )
        .with_body::<Empty>()
        .refuses(&[400, 404, 409, 503]),
    ]
}

async fn explain(
    Actor(who): Actor,
    State(source): State<Arc<dyn AdminSource>>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Denied> {
    let id = RequestId::parse(&id).ok_or_else(|| {
        bad_request(
            "this is not the ID of a request",
            "GET /-/quarantine lists the IDs of the requests that are kept",
        )
    })?;
    let explained = source.explained(id).await;
    let explained = explained.map_err(|error| {
        if error == QuarantineError::NoRoute {
            route_is_gone()
        } else {
            denied(&error, "")
        }
    })?;
    let explanation = explained.ok_or_else(not_kept)?;
    // a gateway without a store on disk has no audit
    if let Some(store) = source.store() {
        let note = Note {
            who,
            what: "explain",
            which: format!("request {id} of route {}", explanation.judged_by).into(),
            reason: "".into(),
            done: 1,
            goes_on: None,
        };
        store
            .note(note)
            .await
            .map_err(|error| unavailable(&error))?;
    }
    Ok(Json(explanation))
}

fn route_is_gone() -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        "the config has no route of the name that refused this request",
        "if the route has another name now, write the earlier one under its `previously`",
    )
}

fn not_kept() -> Denied {
    Denied::new(
        StatusCode::NOT_FOUND,
        "this gateway does not keep this request: it never did, or the request was released or is too old",
        "`kept_until` in /-/refusals says which are kept; a captured request can be explained too: hookgate explain FILE",
    )
}
