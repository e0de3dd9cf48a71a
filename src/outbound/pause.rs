//! The calls that pause and resume an endpoint.
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::{Caller, Right};
use super::endpoints::{SAVES, find, save_change};
use super::faults;
use super::reason::{checked, take_flag, take_reason};
use super::state::Api;
use crate::store::address_book::{Endpoint, EndpointState};
use crate::store::archive::WaitingCount;
use crate::tenant::job::{EndpointJob, JobCursor, Resume, Waiting, Work};
use crate::web::input::JsonBody;
use crate::web::problem::Problem;

/// The most waiting events of each kind that are counted: those without an attempt, and those with one.
const MAX_COUNTED: u32 = 100_000;

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
    /// Whether nothing is changed, and the answer says how many events would be sent.
    dry_run: Option<bool>,
    /// The reason, for the audit log.
    reason: Option<String>,
}

/// The state of an endpoint after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StateShown {
    /// `paused`, or `resuming`: it becomes `active` as soon as its waiting events are sorted out.
    state: &'static str,
    /// With `resume`: the number of waiting events that are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// With `resume`: the number of waiting events that are cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<u64>,
    /// With `resume`: whether there may be more: events with an attempt and events without one are counted up to 100000 each.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
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
        if save_change(&api, &caller, &uid, &row, "pause endpoint", reason).await? {
            return Ok(shown(&row, None));
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
) -> Result<(StatusCode, Json<StateShown>), Problem> {
    caller.may(Right::Manage)?;
    let is_dry = take_flag(&mut body, "dry_run")?;
    let reason = take_reason(&mut body)?;
    let resume = Resume::read(&body).map_err(faults::invalid)?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        if !row.state.is_paused() {
            return Err(wrong_state(row.state));
        }
        // a recovery that the pause stopped reports its end first
        if !is_dry && row.cursor.is_some() {
            return Err(faults::busy());
        }
        let now = api.clock().now().wall;
        let counted = count(&api, &row, &resume, now).await?;
        if is_dry {
            return Ok((StatusCode::OK, shown(&row, Some(counted))));
        }
        let work = Work::Resume(resume.clone());
        let job = EndpointJob::new(work, &caller.name, Some(&reason), now);
        let row = Endpoint {
            state: EndpointState::Resuming,
            since: now,
            job: Some(job.to_json().into()),
            cursor: Some(JobCursor::default().to_bytes().into()),
            ..row
        };
        if save_change(&api, &caller, &uid, &row, "resume endpoint", &reason).await? {
            return Ok((StatusCode::ACCEPTED, shown(&row, Some(counted))));
        }
    }
    Err(faults::conflict())
}

/// The events that wait for an endpoint which is resumed.
#[derive(Clone, Copy, Debug)]
struct Counted {
    sent: u64,
    cancelled: u64,
    /// Whether there may be more of them.
    more: bool,
}

/// Shows the state of an endpoint, with the numbers of events that wait for it.
fn shown(row: &Endpoint, waiting: Option<Counted>) -> Json<StateShown> {
    Json(StateShown {
        state: row.state.word(),
        count: waiting.map(|counted| counted.sent),
        cancelled: waiting.map(|counted| counted.cancelled),
        more: waiting.map(|counted| counted.more),
    })
}

/// Counts the events that wait for an endpoint.
async fn count(
    api: &Api,
    row: &Endpoint,
    resume: &Resume,
    now: SystemTime,
) -> Result<Counted, Problem> {
    // the time at which those that are sent begin
    let boundary = match resume.waiting {
        Waiting::All => None,
        Waiting::Since => resume.since,
        Waiting::None => Some(now),
    };
    let waiting = async |since, until| {
        let counted = api.store().count_waiting(WaitingCount {
            target: row.target,
            since,
            until,
            only_new: false,
            most: MAX_COUNTED,
        });
        api.ask(counted).await
    };
    let sent = waiting(boundary, None).await?;
    let cancelled = match boundary {
        Some(boundary) => waiting(None, Some(boundary)).await?,
        None => 0,
    };
    let most = u64::from(MAX_COUNTED);
    Ok(Counted {
        sent,
        cancelled,
        more: sent >= most || cancelled >= most,
    })
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
