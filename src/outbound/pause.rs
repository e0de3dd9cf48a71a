//! The calls that pause and resume an endpoint.
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::{Caller, Right};
use super::endpoints::{SAVES, find};
use super::faults;
use super::state::{Api, audit};
use crate::store::address_book::{Endpoint, EndpointState, Saved};
use crate::tenant::Invalid;
use crate::tenant::job::{EndpointJob, JobCursor, Resume, Work};
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
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `Resume` reads")]
pub(super) struct ResumeBody {
    /// The events that are sent: `all` that wait (default), those accepted `since` a time, or `none`. The others are cancelled.
    waiting: Option<String>,
    /// The time for `since`, as RFC 3339.
    since: Option<String>,
    /// The reason, for the audit log.
    reason: Option<String>,
}

/// The state of an endpoint after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StateShown {
    /// `paused`, or `resuming`: it becomes `active` as soon as its waiting events are sorted out.
    state: &'static str,
}

/// Pauses an endpoint: what waits for it stays where it is.
pub(super) async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(PauseBody { reason }): JsonBody<PauseBody>,
) -> Result<Json<StateShown>, Problem> {
    caller.may(Right::Manage)?;
    let reason = checked(&reason)?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        if row.state != EndpointState::Active {
            return Err(wrong_state(row.state));
        }
        let row = Endpoint {
            state: EndpointState::Paused,
            since: api.clock().now().wall,
            ..row
        };
        if save(&api, &caller, &uid, &row, "pause endpoint", reason).await? {
            return Ok(shown(&row));
        }
    }
    Err(faults::conflict())
}

/// Resumes an endpoint. A job sorts out what waits, and makes the endpoint active then.
pub(super) async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(mut body): JsonBody<Map<String, Value>>,
) -> Result<Json<StateShown>, Problem> {
    caller.may(Right::Manage)?;
    let reason = match body.remove("reason") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(reason)) => reason,
        Some(_) => {
            let invalid = Invalid::new("/reason", "this must be a string", "write `\"…\"`");
            return Err(faults::invalid(invalid));
        }
    };
    let reason = checked(&reason)?;
    let resume = Resume::read(&body).map_err(faults::invalid)?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        if !row.state.is_paused() {
            return Err(wrong_state(row.state));
        }
        let now = api.clock().now().wall;
        let work = Work::Resume(resume.clone());
        let job = EndpointJob::new(work, &caller.name, Some(reason), now);
        let row = Endpoint {
            state: EndpointState::Resuming,
            since: now,
            job: Some(job.to_json().into()),
            cursor: Some(JobCursor::default().to_bytes().into()),
            ..row
        };
        if save(&api, &caller, &uid, &row, "resume endpoint", reason).await? {
            return Ok(shown(&row));
        }
    }
    Err(faults::conflict())
}

/// Saves a row. Returns whether no other request came first.
async fn save(
    api: &Api,
    caller: &Caller,
    uid: &str,
    row: &Endpoint,
    what: &str,
    reason: &str,
) -> Result<bool, Problem> {
    let entry = audit(&caller.name, what, format!("{uid} {}", row.id), reason);
    let expected = Some(row.edition);
    let saved = api
        .save_endpoint(uid, row, expected, u32::MAX, entry)
        .await?;
    Ok(matches!(saved, Saved::Done { .. }))
}

fn shown(row: &Endpoint) -> Json<StateShown> {
    Json(StateShown {
        state: row.state.word(),
    })
}

/// Checks a reason.
fn checked(reason: &str) -> Result<&str, Problem> {
    if reason.chars().count() > MAX_REASON {
        let help = format!("write at most {MAX_REASON} characters");
        let invalid = Invalid::new("/reason", "the reason is too long", help);
        return Err(faults::invalid(invalid));
    }
    Ok(reason)
}

/// Makes the error of a change that the state of the endpoint does not allow.
fn wrong_state(state: EndpointState) -> Problem {
    let word = state.word();
    Problem::new(
        StatusCode::CONFLICT,
        "state",
        format!("the endpoint is {word}"),
        "GET the endpoint to see its state",
    )
}
