//! The calls that pause and resume an endpoint.
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Right};
use super::endpoints::{SAVES, find};
use super::faults;
use super::state::{Api, audit};
use crate::store::address_book::{Endpoint, EndpointState, Saved};
use crate::web::input::JsonBody;
use crate::web::problem::Problem;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// A pause.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PauseBody {
    /// The reason, for the audit log.
    reason: String,
}

/// The end of a pause.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ResumeBody {
    /// The reason, for the audit log.
    reason: String,
}

/// The state of an endpoint after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StateShown {
    /// `active` or `paused`.
    state: &'static str,
}

/// Pauses an endpoint: what waits for it stays where it is.
pub(super) async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    JsonBody(PauseBody { reason }): JsonBody<PauseBody>,
) -> Result<Json<StateShown>, Problem> {
    turn(&api, &caller, &path, EndpointState::Paused, &reason).await
}

/// Resumes an endpoint.
pub(super) async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    JsonBody(ResumeBody { reason }): JsonBody<ResumeBody>,
) -> Result<Json<StateShown>, Problem> {
    turn(&api, &caller, &path, EndpointState::Active, &reason).await
}

async fn turn(
    api: &Api,
    caller: &Caller,
    (uid, name): &(String, String),
    state: EndpointState,
    reason: &str,
) -> Result<Json<StateShown>, Problem> {
    caller.may(Right::Manage)?;
    if reason.chars().count() > MAX_REASON {
        let help = format!("write at most {MAX_REASON} characters");
        return Err(Problem::bad_request("the reason is too long", help).at("/reason"));
    }
    let tenant = api.tenant(uid).await?;
    for _ in 0..SAVES {
        let row = find(api, &tenant, name).await?;
        let is_active = row.state == EndpointState::Active;
        if is_active == (state == EndpointState::Active) {
            let now = if is_active { "active" } else { "paused" };
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "state",
                format!("the endpoint is {now} already"),
                "GET the endpoint to see its state",
            ));
        }
        let expected = Some(row.edition);
        let row = Endpoint {
            state,
            since: api.clock().now().wall,
            ..row
        };
        let what = if is_active {
            "pause endpoint"
        } else {
            "resume endpoint"
        };
        let entry = audit(&caller.name, what, format!("{uid} {}", row.id), reason);
        let saved = api
            .ask(
                api.store()
                    .save_endpoint(row.clone(), expected, u32::MAX, Some(entry)),
            )
            .await?;
        if let Saved::Done { .. } = saved {
            api.changed(uid, &row);
            return Ok(Json(StateShown {
                state: row.state.word(),
            }));
        }
    }
    Err(faults::conflict())
}
