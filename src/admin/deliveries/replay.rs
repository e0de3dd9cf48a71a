//! Replays by filter: plan, begin, show, stop, resume.
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::access::{names_of, store_access};
use super::body::{RequestBody, parse_body, parse_reason};
use super::errors::bad_request;
use super::filter::{default_replayable, refuse_empty, select_found};
use super::plan::plan;
use super::read::{id_of, order_of};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::admin::token::Actor;
use crate::api::actions::{Empty, Replay, ReplayBegun, ReplayState, Replays, Resume};
use crate::api::deliveries::ReplayMany;
use crate::replay::{CannotBegin, Job, Jobs, MAX_RUNNING, ReplayOrder};
use crate::web::problem::quoted;

/// The bounds of the rate, in deliveries a second.
const MIN_RATE: f64 = 0.01;
const MAX_RATE: f64 = 1000.0;

/// Returns the job with an ID.
fn find(jobs: &Jobs, id: &str) -> Result<Arc<Job>, Denied> {
    jobs.find(id).ok_or_else(|| {
        let help =
            "`GET /-/replays` lists the known replays; a restart of the gateway forgets them";
        let error = format!("there is no replay {}", quoted(id));
        Denied::new(StatusCode::NOT_FOUND, &error, help)
    })
}

/// Returns the error for a job that does not begin.
fn cannot_begin(why: CannotBegin) -> Denied {
    match why {
        CannotBegin::State(state) => Denied::new(
            StatusCode::CONFLICT,
            &format!("the replay is {}", word(state)),
            "only a stopped or cancelled replay can be resumed",
        ),
        CannotBegin::TooMany => Denied::new(
            StatusCode::TOO_MANY_REQUESTS,
            &format!("{MAX_RUNNING} replays are already running"),
            "wait for one to end, or stop one; `GET /-/replays` lists them",
        ),
    }
}

/// Returns the state of a replay as its JSON spells it.
fn word(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Stopped => "stopped",
        ReplayState::Cancelled => "cancelled",
    }
}

/// Checks that a rate is within its bounds.
fn rate(rate: f64) -> Result<f64, Denied> {
    match (MIN_RATE..=MAX_RATE).contains(&rate) {
        true => Ok(rate),
        false => Err(bad_request(
            "`rate` is out of bounds",
            "write a number of deliveries a second, from 0.01 to 1000",
        )),
    }
}

pub(super) async fn replay_many(
    Actor(who): Actor,
    State(source): State<Arc<dyn AdminSource>>,
    State(jobs): State<Arc<Jobs>>,
    body: RequestBody,
) -> Result<Response, Denied> {
    let ReplayMany {
        mut filter,
        dry_run,
        rate: asked,
        stop_after,
        reason: why,
        bypass_dedupe,
        include_delivered: delivered,
        order,
    } = parse_body(body)?;
    refuse_empty(&filter)?;
    let (rate, why) = (rate(asked)?, parse_reason(&why)?);
    let access = store_access(&source)?;
    default_replayable(&mut filter.state, delivered);
    let names = names_of(&access).await?;
    let selection = select_found(&access, &names, &filter).await?;
    if dry_run {
        return Ok(
            Json(plan(&access, &names, &selection, order_of(order), |_| true).await?)
                .into_response(),
        );
    }
    let order = ReplayOrder {
        selection,
        order: order_of(order),
        filter,
        delivered,
        bypass_dedupe,
        stop_after,
        reason: why,
        who,
    };
    let id = jobs.start(access, order, rate).map_err(cannot_begin)?;
    Ok((StatusCode::ACCEPTED, Json(ReplayBegun { id })).into_response())
}

pub(super) async fn list(State(jobs): State<Arc<Jobs>>) -> Json<Replays> {
    Json(Replays {
        replays: jobs.shown(),
    })
}

pub(super) async fn show(
    State(jobs): State<Arc<Jobs>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Replay>, Denied> {
    Ok(Json(find(&jobs, &id_of(path)?)?.shown()))
}

pub(super) async fn stop(
    Actor(who): Actor,
    State(jobs): State<Arc<Jobs>>,
    path: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> Result<Json<Replay>, Denied> {
    let Empty {} = parse_body(body)?;
    let job = find(&jobs, &id_of(path)?)?;
    if !job.stop(&who) {
        return Err(Denied::new(
            StatusCode::CONFLICT,
            &format!("the replay is {}", word(job.shown().state)),
            "only a running replay can be stopped",
        ));
    }
    tracing::info!(replay = job.id(), who = &*who, "replay stopped");
    Ok(Json(job.shown()))
}

pub(super) async fn resume(
    Actor(who): Actor,
    State(source): State<Arc<dyn AdminSource>>,
    State(jobs): State<Arc<Jobs>>,
    path: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> Result<(StatusCode, Json<Replay>), Denied> {
    let Resume { rate: asked } = parse_body(body)?;
    let asked = asked.map(rate).transpose()?;
    let (job, access) = (find(&jobs, &id_of(path)?)?, store_access(&source)?);
    let shown = jobs.resume(access, &job, asked).map_err(cannot_begin)?;
    tracing::info!(replay = job.id(), who = &*who, "replay resumed");
    Ok((StatusCode::ACCEPTED, Json(shown)))
}
