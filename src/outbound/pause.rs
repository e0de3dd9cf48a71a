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
use super::reason::{checked, take_flag, take_reason};
use super::state::{Api, audit};
use crate::store::address_book::{Endpoint, EndpointState, Saved};
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
    /// With `resume`: the number of waiting events that are sent. Each kind of event (with and without an attempt) is counted up to 100000.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// With `resume`: the number of waiting events that are cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<u64>,
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
) -> Result<Json<StateShown>, Problem> {
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
        let (all, count) = count(&api, &row, &resume).await?;
        if is_dry {
            return Ok(shown(&row, Some((all, count))));
        }
        let now = api.clock().now().wall;
        let work = Work::Resume(resume.clone());
        let job = EndpointJob::new(work, &caller.name, Some(&reason), now);
        let row = Endpoint {
            state: EndpointState::Resuming,
            since: now,
            job: Some(job.to_json().into()),
            cursor: Some(JobCursor::default().to_bytes().into()),
            ..row
        };
        if save(&api, &caller, &uid, &row, "resume endpoint", &reason).await? {
            return Ok(shown(&row, Some((all, count))));
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

/// Shows the state of an endpoint, with the numbers of all events that wait and of those that are sent.
fn shown(row: &Endpoint, waiting: Option<(u64, u64)>) -> Json<StateShown> {
    Json(StateShown {
        state: row.state.word(),
        count: waiting.map(|(_, count)| count),
        cancelled: waiting.map(|(all, count)| all.saturating_sub(count)),
    })
}

/// Counts the events that wait for an endpoint, and those of them that are sent.
async fn count(api: &Api, row: &Endpoint, resume: &Resume) -> Result<(u64, u64), Problem> {
    let waiting = async |since| {
        let counted = api.store().count_waiting(WaitingCount {
            target: row.target,
            since,
            only_new: false,
            most: MAX_COUNTED,
        });
        api.ask(counted).await
    };
    let all = waiting(None).await?;
    let count = match resume.waiting {
        Waiting::All => all,
        Waiting::Since => waiting(resume.since).await?,
        Waiting::None => 0,
    };
    Ok((all, count))
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
