//! The look at endpoints that fail or are paused, once a minute: the app is notified, endpoints that failed for too long are paused, and events
//! that waited for too long end.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::endpoint_pause::pause;
use super::job_steps::step;
use super::notice::{self, Kind};
use super::worker::Worker;
use crate::clock::tick;
use crate::retry::Reason;
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointState, Inactive, Unhealthy};
use crate::store::archive::ActKind;
use crate::store::queue::TargetId;
use crate::tenant::health::{Due, Notified, PauseRules, due};

/// The time from the beginning of one look to that of the next.
const INTERVAL: Duration = Duration::from_secs(60);
/// The time from one expiry of a paused endpoint's events to the next.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3_600);
/// The wait between two steps, in which other writes get the disk.
const STEP_INTERVAL: Duration = Duration::from_millis(5);
/// The rows that are read at a time.
const PAGE: u16 = 200;

/// Looks at endpoints that fail or are paused until the process leaves.
pub async fn watch_health(worker: Arc<Worker>) {
    let mut leaving = worker.activity.leaving();
    let mut expired = HashMap::new();
    while !*leaving.borrow_and_update() {
        if let Err(error) = look(&worker, &mut expired).await {
            tracing::debug!(%error, "the health of endpoints cannot be looked at; the next look repeats it");
        }
        tokio::select! {
            () = tick(INTERVAL) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Looks at all of them once. `expired` has the time of each paused endpoint's last expiry. While the config does not send, nothing happens.
async fn look(worker: &Worker, expired: &mut HashMap<TargetId, Instant>) -> Result<(), StoreError> {
    let Some(rules) = worker.endpoints().rules() else {
        return Ok(());
    };
    let policy = rules.outbound.pause;
    let mut after = None;
    loop {
        let page = worker.store.unhealthy(after, PAGE).await?;
        for one in &page {
            follow_up(worker, one, &policy.rules).await?;
        }
        after = page.last().map(|one| one.target);
        if page.len() < usize::from(PAGE) {
            break;
        }
    }
    let now = worker.clock.now();
    expired.retain(|_, at| now.mono.saturating_duration_since(*at) < EXPIRY_INTERVAL);
    let until = now.wall.checked_sub(policy.keep);
    let mut after = None;
    while let Some(until) = until {
        let page = worker.store.inactive(after, PAGE).await?;
        for one in &page {
            let is_old = one.state.is_paused() && one.since <= until;
            if is_old && !expired.contains_key(&one.target) {
                expire(worker, one, until).await?;
                expired.insert(one.target, worker.clock.mono());
            }
        }
        after = page.last().map(|one| one.target);
        if page.len() < usize::from(PAGE) {
            break;
        }
    }
    Ok(())
}

/// Does what is due for an endpoint with failures.
async fn follow_up(worker: &Worker, one: &Unhealthy, rules: &PauseRules) -> Result<(), StoreError> {
    let now = worker.clock.now().wall;
    match due(&one.health, rules, now) {
        Due::Nothing => Ok(()),
        Due::Warn(notified) if one.state == EndpointState::Active => {
            notify(worker, one, Some(notified)).await
        }
        Due::Pause if one.state == EndpointState::Active => {
            let is_due = |row: &Endpoint| {
                row.health
                    .is_some_and(|streak| due(&streak, rules, now) == Due::Pause)
            };
            let (state, since) = (EndpointState::PausedByFailures, one.health.since);
            pause(worker, one.target, state, Some(since), is_due).await
        }
        // one that is paused already fails no more
        Due::Warn(_) | Due::Pause => Ok(()),
        Due::Recovered => notify(worker, one, None).await,
    }
}

/// Notifies the app of the failures of an endpoint, or of their end.
async fn notify(
    worker: &Worker,
    one: &Unhealthy,
    notified: Option<Notified>,
) -> Result<(), StoreError> {
    let rows = worker.store.endpoints_of(&[one.target]).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let kind = if notified.is_some() {
        Kind::Failing
    } else {
        Kind::Recovered
    };
    let notice = notice::failures(worker, row, Some(&one.health), kind).await;
    if notice.is_none() && notified.is_some() {
        // the config wants no notifications; the first after it does is about what fails then
        return Ok(());
    }
    let since = one.health.since;
    let noted = worker
        .store
        .note_notified(one.target, since, notified, notice);
    if noted.await? {
        let failures = one.health.failures;
        tracing::info!(
            endpoint = &*row.id,
            failures,
            ?kind,
            "the failures of an endpoint are reported"
        );
    }
    Ok(())
}

/// Ends the events of a paused endpoint that were accepted before `until`. The pause can end meanwhile.
async fn expire(worker: &Worker, one: &Inactive, until: SystemTime) -> Result<(), StoreError> {
    let act = ActKind::MakeDead {
        reason: Reason::Paused,
    };
    let (mut after, mut audit, mut ended) = (None, None, 0);
    loop {
        let rows = worker.store.endpoints_of(&[one.target]).await?;
        let is_same = |row: &&Endpoint| row.state == one.state && row.since == one.since;
        let Some(row) = rows.first().filter(is_same) else {
            return Ok(());
        };
        let (done, next) = step(worker, row, (act, Some(until)), after, &mut audit).await?;
        ended += done;
        if next.is_none() {
            if ended > 0 {
                tracing::warn!(
                    endpoint = &*row.id,
                    events = ended,
                    "events of a paused endpoint waited for too long, and are dead"
                );
            }
            return Ok(());
        }
        after = next;
        sleep(STEP_INTERVAL).await;
    }
}
