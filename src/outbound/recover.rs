//! The calls that recover events of an endpoint, and stop that.
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::{Caller, Right};
use super::endpoints::{SAVES, find, save_change};
use super::faults;
use super::reason::{take_flag, take_reason};
use super::shown::{ShownEndpoint, shown};
use super::state::Api;
use crate::clock::rfc3339;
use crate::deliver::Recovery;
use crate::store::address_book::{Endpoint, EndpointState};
use crate::store::queue::DeliveryRef;
use crate::tenant::event_id::event_id;
use crate::tenant::job::{
    EndpointJob, JobCursor, MAX_RECOVERED, Recover, RecoverWhat, StopReason, Work,
};
use crate::web::input::JsonBody;
use crate::web::problem::Problem;

/// The events that a step of a plan looks at.
const STEP: u16 = 500;
/// The longest time that a plan counts.
const MAX_TIME: Duration = Duration::from_secs(5);
/// The events that a plan names.
const SAMPLE: usize = 10;

/// A recovery.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `Recover` reads")]
pub(super) struct RecoverBody {
    /// The events: `failed` (dead or cancelled for this endpoint), `missing` (it would have got them, had it been there or had it wanted them
    /// then), `both`, or `ids`.
    what: String,
    /// The events of `ids`, 1000 at most. They are sent whatever became of them.
    ids: Option<Vec<String>>,
    /// The time from which on events were accepted, as RFC 3339. Required, but not for `ids`.
    since: Option<String>,
    /// The time before which events were accepted (default: now).
    until: Option<String>,
    /// Only events of these types: patterns as in `types` of an endpoint.
    types: Option<Vec<String>>,
    /// The most attempts that it begins in a second, 1 to 1000 (default 20).
    rate: Option<u32>,
    /// The number of failures in a row after which it stops (default 20).
    stop_after: Option<u32>,
    /// Whether nothing is sent, and the answer says what would be.
    dry_run: Option<bool>,
    /// The reason, for the audit log.
    reason: Option<String>,
}

/// The plan of a recovery.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct RecoveryPlan {
    /// The number of events.
    count: u64,
    /// Whether there may be more events: counting stops at 100000 events, which is the most that one recovery sends, and after 5 seconds.
    more: bool,
    /// How many of them the endpoint has never got.
    missing: u64,
    /// The number of events by type.
    types: BTreeMap<String, u64>,
    /// Some of the events.
    sample: Vec<String>,
    /// The time at which the first of them was accepted.
    first: Option<String>,
    /// The time at which the last of them was accepted.
    last: Option<String>,
    /// The most attempts that it begins in a second.
    rate: u32,
    /// The number of failures in a row after which it stops.
    stop_after: u32,
}

/// Plans a recovery, and begins it.
pub(super) async fn recover(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(mut body): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.may(Right::Manage)?;
    let is_dry = take_flag(&mut body, "dry_run")?;
    let reason = take_reason(&mut body)?;
    let recover = Recover::read(&body).map_err(faults::invalid)?;
    api.rules()?;
    let tenant = api.tenant(&uid).await?;
    let row = find(&api, &tenant, &name).await?;
    if !is_dry {
        check(&row)?;
    }
    let started = api.clock().now().wall;
    let plan = plan(&api, &row, &recover, started).await?;
    if is_dry {
        return Ok(Json(plan).into_response());
    }
    let job = EndpointJob {
        planned: (!plan.more).then_some(plan.count),
        ..EndpointJob::new(Work::Recover(recover), &caller.name, Some(&reason), started)
    };
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        check(&row)?;
        let job = EndpointJob {
            failures_before: row.health.map_or(0, |streak| streak.failures),
            ..job.clone()
        };
        let row = Endpoint {
            job: Some(job.to_json().into()),
            cursor: Some(JobCursor::default().to_bytes().into()),
            ..row
        };
        if save_change(&api, &caller, &uid, &row, "recover events", &reason).await? {
            return Ok((StatusCode::ACCEPTED, Json(plan)).into_response());
        }
    }
    Err(faults::conflict())
}

/// Stops the recovery of an endpoint's events. Attempts that were begun go on.
pub(super) async fn stop(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
) -> Result<Json<ShownEndpoint>, Problem> {
    caller.may(Right::Manage)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        let job = row.job.as_deref().filter(|_| row.cursor.is_some());
        let job = job.and_then(|text| EndpointJob::from_json(text).ok());
        let Some(job) = job.filter(|job| matches!(job.work, Work::Recover(_))) else {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "state",
                "no recovery of the endpoint runs",
                "GET the endpoint to see its `job`; only a recovery can be stopped",
            ));
        };
        let job = job.ended(Some(StopReason::Person), api.clock().now().wall);
        let row = Endpoint {
            job: Some(job.to_json().into()),
            cursor: None,
            ..row
        };
        if save_change(&api, &caller, &uid, &row, "stop recovery", "").await? {
            return Ok(Json(shown(&api, &row, &rules).await?));
        }
    }
    Err(faults::conflict())
}

/// Checks that a recovery can begin.
fn check(row: &Endpoint) -> Result<(), Problem> {
    if row.cursor.is_some() {
        return Err(faults::busy());
    }
    if row.state != EndpointState::Active {
        let word = row.state.word();
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "state",
            format!("the endpoint is {word}"),
            "resume it before you recover its events; with `dry_run` you get the plan now",
        ));
    }
    Ok(())
}

/// Counts what a recovery would send.
async fn plan(
    api: &Api,
    row: &Endpoint,
    recover: &Recover,
    started: SystemTime,
) -> Result<RecoveryPlan, Problem> {
    let mut plan = RecoveryPlan {
        rate: recover.rate,
        stop_after: recover.stop_after,
        ..RecoveryPlan::default()
    };
    let (mut first, mut last) = (None::<DeliveryRef>, None::<DeliveryRef>);
    let began = api.clock().mono();
    let recovery = Recovery::new(api.store(), row, recover, started);
    let mut cursor = Some(JobCursor::default());
    while let (Some(recovery), Some(at)) = (&recovery, &cursor) {
        let is_late = api.clock().mono().saturating_duration_since(began) > MAX_TIME;
        if plan.count >= MAX_RECOVERED || is_late {
            plan.more = true;
            break;
        }
        let step = api.ask(Box::pin(recovery.step(at, STEP))).await?;
        for event in step.events {
            plan.count += 1;
            plan.missing += u64::from(event.is_missing);
            let event_type = event.event_type.as_deref().unwrap_or_default();
            *plan.types.entry(event_type.to_owned()).or_default() += 1;
            if plan.sample.len() < SAMPLE {
                plan.sample.push(event_id(event.id.0));
            }
            first = first.into_iter().chain([event.id]).min();
            last = last.into_iter().chain([event.id]).max();
        }
        cursor = step.next;
    }
    // events that are named are all there are
    plan.more &= recover.what != RecoverWhat::Ids;
    plan.count = plan.count.min(MAX_RECOVERED);
    plan.first = first.map(|id| rfc3339(id.drawn_at()));
    plan.last = last.map(|id| rfc3339(id.drawn_at()));
    Ok(plan)
}
