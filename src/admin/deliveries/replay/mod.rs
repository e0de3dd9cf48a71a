//! Replays by filter: plan, begin, show, stop, resume. The jobs live in memory. Deliveries that they restart are on disk and go on without them.
use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, MutexGuard};

use super::access::{Names, StoreAccess};
use super::body::{RequestBody, parse_body, parse_reason};
use super::errors::{bad_request, quoted};
use super::filter::{Selection, default_replayable, refuse_empty};
use super::plan::plan;
use super::read::{id_of, order_of};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::admin::token::Actor;
use crate::api::actions::{Empty, Replay, ReplayBegun, ReplayState, Replays, Resume};
use crate::api::deliveries::ReplayMany;

pub(super) mod duplicate;
mod job;
mod run;
use job::{Job, ReplayOrder};

/// The most replays that run at once.
const MAX_RUNNING: usize = 4;
/// The most replays that are known, including those that have ended.
const MAX_KNOWN: usize = 64;
/// The bounds of the rate, in deliveries a second.
const MIN_RATE: f64 = 0.01;
const MAX_RATE: f64 = 1000.0;

/// The replay jobs of a gateway, oldest first.
#[derive(Debug, Default)]
pub(in crate::admin) struct Jobs(Mutex<VecDeque<Arc<Job>>>);

impl Jobs {
    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock()
    }

    fn find(&self, id: &str) -> Result<Arc<Job>, Denied> {
        self.all().iter().find(|job| job.id() == id).cloned().ok_or_else(|| {
            let help = "`GET /-/replays` lists the known replays; a restart of the gateway forgets them";
            Denied::new(StatusCode::NOT_FOUND, &format!("there is no replay {}", quoted(id)), help)
        })
    }

    /// Begins a job if its state permits it and not too many are running.
    ///
    /// # Errors
    /// 409 if its state does not permit it, 429 if too many are running.
    fn begin(&self, job: &Arc<Job>, may_begin: fn(ReplayState) -> bool) -> Result<(), Denied> {
        // the state is judged under the lock, so that only one of two callers begins the job
        let mut all = self.all();
        if !may_begin(job.shown().state) {
            return Err(Denied::new(
                StatusCode::CONFLICT,
                &format!("the replay is {}", word(job.shown().state)),
                "only a stopped or cancelled replay can be resumed",
            ));
        }
        if all.iter().filter(|other| other.is_running()).count() >= MAX_RUNNING {
            let help = "wait for one to end, or stop one; `GET /-/replays` lists them";
            return Err(Denied::new(
                StatusCode::TOO_MANY_REQUESTS,
                &format!("{MAX_RUNNING} replays are already running"),
                help,
            ));
        }
        job.begin();
        if !all.iter().any(|other| Arc::ptr_eq(other, job)) {
            all.push_back(Arc::clone(job));
        }
        while all.len() > MAX_KNOWN
            && let Some(ended) = all.iter().position(|job| !job.is_running())
        {
            all.remove(ended);
        }
        Ok(())
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
    let access = StoreAccess::of(&source)?;
    default_replayable(&mut filter.state, delivered);
    let names = Names::of(&access).await?;
    let selection = Selection::found(&access, &names, &filter)?;
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
    let job = Arc::new(Job::new(order, rate, access.now().wall));
    jobs.begin(&job, |_| true)?;
    let id = job.id().to_owned();
    tokio::spawn(run::run(access, job));
    Ok((StatusCode::ACCEPTED, Json(ReplayBegun { id })).into_response())
}

pub(super) async fn list(State(jobs): State<Arc<Jobs>>) -> Json<Replays> {
    Json(Replays {
        replays: jobs.all().iter().rev().map(|job| job.shown()).collect(),
    })
}

pub(super) async fn show(
    State(jobs): State<Arc<Jobs>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Replay>, Denied> {
    Ok(Json(jobs.find(&id_of(path)?)?.shown()))
}

pub(super) async fn stop(
    Actor(who): Actor,
    State(jobs): State<Arc<Jobs>>,
    path: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> Result<Json<Replay>, Denied> {
    let Empty {} = parse_body(body)?;
    let job = jobs.find(&id_of(path)?)?;
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
    let (job, access) = (jobs.find(&id_of(path)?)?, StoreAccess::of(&source)?);
    jobs.begin(&job, |state| {
        matches!(state, ReplayState::Stopped | ReplayState::Cancelled)
    })?;
    if let Some(rate) = asked {
        job.set_rate(rate);
    }
    tracing::info!(replay = job.id(), who = &*who, "replay resumed");
    let shown = job.shown();
    tokio::spawn(run::run(access, job));
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::api::deliveries::Filter;

    #[test]
    fn only_one_of_two_resumes_begins() {
        let jobs = Jobs::default();
        let filter = Filter::default();
        let order = ReplayOrder {
            selection: Selection::Ids(Vec::new()),
            order: crate::store::archive::Order::Oldest,
            filter,
            delivered: false,
            bypass_dedupe: false,
            stop_after: 0,
            reason: "".into(),
            who: "anna".into(),
        };
        let job = Arc::new(Job::new(order, 1.0, SystemTime::UNIX_EPOCH));
        let stopped = |state: ReplayState| state != ReplayState::Running;
        assert!(jobs.begin(&job, stopped).is_ok());
        assert_eq!(
            jobs.begin(&job, stopped).map_err(|denied| denied.status),
            Err(StatusCode::CONFLICT)
        );
        assert_eq!(jobs.all().len(), 1);
    }
}
