//! Replays by filter: planned, begun, looked at, stopped, resumed. They live in memory; what they set going is on the disk and goes on without them.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::act::{Told, Wanted, bounded, reason, replayable, said, told, whole};
use super::desk::{Names, bad, shortened};
use super::filter::sought;
use super::plan::plan;
use super::read::{desk, id_of, order_of};
use crate::admin::Source;
use crate::admin::answer::Denied;
use crate::admin::token::Actor;
use crate::api::actions::{Nothing, Replay, ReplayBegun, ReplayState, Replays, Resume};
use crate::api::deliveries::ReplayMany;

pub(super) mod duplicate;
mod job;
use job::{Job, Order};

/// Replays that go on at once.
const MOST_RUNNING: usize = 4;
/// Replays that are known, those that are over included.
const MOST_KNOWN: usize = 64;
/// Deliveries a second, at least and at most.
const SLOWEST: f64 = 0.01;
const FASTEST: f64 = 1000.0;

/// The replays of a gate, oldest first.
#[derive(Debug, Default)]
pub(in crate::admin) struct Known(Mutex<VecDeque<Arc<Job>>>);

impl Known {
    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<Job>, Denied> {
        self.all().iter().find(|job| job.id() == id).cloned().ok_or_else(|| {
            let help = "`GET /-/replays` lists those that are known; a gate that is restarted knows none from before";
            Denied::new(StatusCode::NOT_FOUND, &format!("there is no replay {}", shortened(id)), help)
        })
    }

    /// Lets one begin that is in the state it must be in, if there is room for it.
    fn enter(&self, job: &Arc<Job>, may_begin: fn(ReplayState) -> bool) -> Result<(), Denied> {
        // the state is judged under the lock: of two callers one begins it
        let mut all = self.all();
        if !may_begin(job.shown().state) {
            return Err(Denied::new(
                StatusCode::CONFLICT,
                &format!("it is {}", word(job.shown().state)),
                "only a replay that was stopped goes on",
            ));
        }
        if all.iter().filter(|other| other.is_running()).count() >= MOST_RUNNING {
            let help = "wait for one to end, or stop one: `GET /-/replays` lists them";
            return Err(Denied::new(
                StatusCode::TOO_MANY_REQUESTS,
                &format!("{MOST_RUNNING} replays go on already"),
                help,
            ));
        }
        job.begin();
        if !all.iter().any(|other| Arc::ptr_eq(other, job)) {
            all.push_back(Arc::clone(job));
        }
        while all.len() > MOST_KNOWN
            && let Some(over) = all.iter().position(|job| !job.is_running())
        {
            all.remove(over);
        }
        Ok(())
    }
}

/// The word for the state of a replay, as its JSON has it.
fn word(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Stopped => "stopped",
        ReplayState::Cancelled => "cancelled",
    }
}

/// A rate that can be kept.
fn rate(rate: f64) -> Result<f64, Denied> {
    match (SLOWEST..=FASTEST).contains(&rate) {
        true => Ok(rate),
        false => Err(bad(
            "`rate` is out of bounds",
            "write a number of deliveries a second, from 0.01 to 1000",
        )),
    }
}

pub(super) async fn replay_many(
    Actor(who): Actor,
    State(source): State<Arc<dyn Source>>,
    State(known): State<Arc<Known>>,
    body: Told,
) -> Result<Response, Denied> {
    let ReplayMany {
        mut filter,
        dry_run,
        rate: asked,
        stop_after,
        reason: why,
        bypass_dedupe,
        delivered,
        order,
    } = told(&whole(body)?)?;
    said(&filter)?;
    let (rate, why, desk) = (rate(asked)?, reason(&why)?, desk(&source)?);
    replayable(&mut filter.status, delivered);
    let names = Names::of(&*desk).await?;
    let wanted = Wanted::Found(Box::new(bounded(
        &*desk,
        sought(&filter, &names, desk.now().wall)?,
    )));
    if dry_run {
        return Ok(
            Json(plan(&*desk, &names, &wanted, order_of(order), |_| true).await?).into_response(),
        );
    }
    let order = Order {
        wanted,
        order: order_of(order),
        filter,
        delivered,
        bypass_dedupe,
        stop_after,
        reason: why,
        who,
    };
    let job = Arc::new(Job::new(order, rate, desk.now().wall));
    known.enter(&job, |_| true)?;
    let id = job.id().to_owned();
    tokio::spawn(job::run(desk, job));
    Ok((StatusCode::ACCEPTED, Json(ReplayBegun { id })).into_response())
}

pub(super) async fn list(State(known): State<Arc<Known>>) -> Json<Replays> {
    Json(Replays {
        replays: known.all().iter().rev().map(|job| job.shown()).collect(),
    })
}

pub(super) async fn show(
    State(known): State<Arc<Known>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Replay>, Denied> {
    Ok(Json(known.find(&id_of(path)?)?.shown()))
}

pub(super) async fn stop(
    Actor(who): Actor,
    State(known): State<Arc<Known>>,
    path: Result<Path<String>, PathRejection>,
    body: Told,
) -> Result<Json<Replay>, Denied> {
    let Nothing {} = told(&whole(body)?)?;
    let job = known.find(&id_of(path)?)?;
    if !job.stop(&who) {
        return Err(Denied::new(
            StatusCode::CONFLICT,
            &format!("it is {}", word(job.shown().state)),
            "only a replay that runs can be stopped",
        ));
    }
    tracing::info!(replay = job.id(), who = &*who, "a replay is stopped");
    Ok(Json(job.shown()))
}

pub(super) async fn resume(
    Actor(who): Actor,
    State(source): State<Arc<dyn Source>>,
    State(known): State<Arc<Known>>,
    path: Result<Path<String>, PathRejection>,
    body: Told,
) -> Result<(StatusCode, Json<Replay>), Denied> {
    let Resume { rate: asked } = told(&whole(body)?)?;
    let asked = asked.map(rate).transpose()?;
    let (job, desk) = (known.find(&id_of(path)?)?, desk(&source)?);
    known.enter(&job, |state| {
        matches!(state, ReplayState::Stopped | ReplayState::Cancelled)
    })?;
    if let Some(rate) = asked {
        job.set_rate(rate);
    }
    tracing::info!(replay = job.id(), who = &*who, "a replay goes on");
    let shown = job.shown();
    tokio::spawn(job::run(desk, job));
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::api::deliveries::Filter;

    #[test]
    fn of_two_that_resume_a_replay_one_does() {
        let known = Known::default();
        let filter = Filter::default();
        let order = Order {
            wanted: Wanted::Ids(Vec::new()),
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
        assert!(known.enter(&job, stopped).is_ok());
        assert_eq!(
            known.enter(&job, stopped).map_err(|denied| denied.status),
            Err(StatusCode::CONFLICT)
        );
        assert_eq!(known.all().len(), 1);
    }
}
