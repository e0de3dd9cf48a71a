//! The run of a replay job: restarts deliveries one by one, and follows each until its next attempt has ended.
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::api::actions::ReplayState;
use crate::replay::access::{Names, StoreAccess};
use crate::replay::duplicate::find_duplicate;
use crate::replay::job::{End, Job, PendingDelivery, ReplayOrder};
use crate::replay::selection::Walk;
use crate::store::archive::{
    Act, ActKind, AttemptSummary, Row, Scope, Status, Step, UnitsShown, Which,
};
use crate::store::queue::{CUT_OFF, Cause, DeliveryRef};
use crate::store::{StoreError, repeated};

/// The wait between two checks of restarted deliveries.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The rows fetched at once.
const ROWS_PER_FETCH: u16 = 100;
/// The rows counted at once.
const ROWS_PER_COUNT: u16 = 500;
/// The bounds of restarted deliveries whose attempt has not ended. They go on when the replay stops, so there must not be too many.
const MIN_PENDING: usize = 8;
const MAX_PENDING: usize = 128;

/// Replays until it is done or stopped.
pub(super) async fn run(access: StoreAccess, job: Arc<Job>) {
    let end = match count(&access, &job).await {
        Ok(()) => replay_all(&access, &job).await,
        Err(end) => end,
    };
    let mut progress = job.progress();
    progress.ended = Some(access.now().wall);
    (progress.state, progress.why) = match end {
        End::Done => (ReplayState::Done, None),
        End::Stopped(why) => (ReplayState::Stopped, Some(why)),
        End::Cancelled(who) => (ReplayState::Cancelled, Some(format!("stopped by {who}"))),
    };
    tracing::info!(replay = job.id(), state = ?progress.state, delivered = progress.delivered, failed = progress.failed, "replay ended");
}

/// Counts the selected deliveries, once.
async fn count(access: &StoreAccess, job: &Job) -> Result<(), End> {
    if job.progress().counted {
        return Ok(());
    }
    job.progress().planned = 0;
    let mut walk = Walk::new(access, &job.order.selection, job.order.order);
    while let Some(rows) = walk.next(ROWS_PER_COUNT).await? {
        job.check_stopped()?;
        job.progress().planned += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    }
    job.progress().counted = true;
    Ok(())
}

/// One run of a replay job.
struct Run<'a> {
    access: &'a StoreAccess,
    job: &'a Job,
    names: Names,
    /// The number of failures in a row.
    failures_in_row: u32,
    /// The earliest time of the next restart.
    next: Instant,
}

async fn replay_all(access: &StoreAccess, job: &Job) -> End {
    let names = match Names::of(access).await {
        Ok(names) => names,
        Err(error) => return error.into(),
    };
    let mut run = Run {
        access,
        job,
        names,
        failures_in_row: 0,
        next: access.now().mono,
    };
    match run.replay_all().await {
        Ok(()) => End::Done,
        Err(end) => end,
    }
}

impl Run<'_> {
    /// Restarts all deliveries, and follows them until the last attempt has ended.
    async fn replay_all(&mut self) -> Result<(), End> {
        let mut walk = Walk::new(self.access, &self.job.order.selection, self.job.order.order);
        walk.after = self.job.progress().after;
        let (mut rows, mut is_last) = (Vec::new().into_iter(), false);
        loop {
            self.job.check_stopped()?;
            self.check_pending().await?;
            while self.may_restart() {
                let Some(row) = rows.next() else { break };
                self.restart_or_skip(&row).await?;
                self.job.check_stopped()?;
            }
            if rows.len() == 0 && !is_last {
                match walk.next(ROWS_PER_FETCH).await? {
                    Some(more) => rows = more.into_iter(),
                    None => is_last = true,
                }
                continue;
            }
            if is_last && self.job.progress().pending.is_empty() {
                return Ok(());
            }
            let until_next = self.next.saturating_duration_since(self.access.now().mono);
            let pause = if is_last || until_next.is_zero() {
                CHECK_INTERVAL
            } else {
                until_next.min(CHECK_INTERVAL)
            };
            // a stop takes effect at once
            drop(timeout(pause, self.job.stopping.notified()).await);
        }
    }

    /// Returns whether one more delivery may be restarted now, and counts it against the rate.
    fn may_restart(&mut self) -> bool {
        let (rate, pending) = {
            let progress = self.job.progress();
            (progress.rate, progress.pending.len())
        };
        let max_pending = usize::try_from(Duration::from_secs_f64(rate * 2.0).as_secs())
            .unwrap_or(MAX_PENDING)
            .clamp(MIN_PENDING, MAX_PENDING);
        let now = self.access.now().mono;
        if pending >= max_pending || self.next > now {
            return false;
        }
        let pace = Duration::from_secs_f64(1.0 / rate);
        // after a delay by a slow disk, at most one interval is made up for
        self.next = self
            .next
            .max(now.checked_sub(CHECK_INTERVAL).unwrap_or(now))
            + pace;
        true
    }

    /// Restarts a delivery, or skips it if its route is gone or another delivery has its ID.
    async fn restart_or_skip(&mut self, row: &Row) -> Result<(), End> {
        let parked = row.units.iter().all(|unit| self.names.is_gone(unit.target));
        let skip = parked
            || !self.job.order.bypass_dedupe
                && find_duplicate(self.access, &self.names, row)
                    .await?
                    .is_some();
        let step = if skip {
            Step::default()
        } else {
            self.restart(row.id).await?
        };
        let mut progress = self.job.progress();
        progress.after = Some(row.id);
        progress.audit = step.audit.or(progress.audit);
        if step.done == 0 {
            progress.skipped += 1;
        } else {
            progress.done += 1;
            let before = row
                .units
                .iter()
                .map(|unit| (unit.target, unit.leases))
                .collect();
            progress
                .pending
                .push(PendingDelivery { id: row.id, before });
        }
        Ok(())
    }

    async fn restart(&self, id: DeliveryRef) -> Result<Step, StoreError> {
        let ReplayOrder {
            delivered,
            reason,
            who,
            ..
        } = &self.job.order;
        let act = Act {
            kind: ActKind::Replay {
                delivered: *delivered,
                cause: Cause::Replay,
            },
            which: Which::Ids(vec![id]),
            targets: Arc::default(),
            who: Arc::clone(who),
            reason: Arc::clone(reason),
            description: Some(Arc::clone(&self.job.description)),
            goes_on: self.job.progress().audit,
        };
        let store = &self.access.store;
        repeated(|| store.act(Scope::All, &act, 1)).await
    }

    /// Checks the restarted deliveries for attempts that have ended.
    async fn check_pending(&mut self) -> Result<(), End> {
        let pending = self.job.progress().pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = pending.iter().map(|one| one.id).collect();
        let rows = self
            .access
            .store
            .rows(Scope::All, &ids, UnitsShown::All)
            .await?;
        let mut left = Vec::new();
        let mut end = Ok(());
        for one in pending {
            let Some(row) = rows.iter().find(|row| row.id == one.id) else {
                // it was purged in the meantime
                self.job.progress().skipped += 1;
                continue;
            };
            match outcome_since(row, &one) {
                None => left.push(one),
                Some(Ok(())) => {
                    self.failures_in_row = 0;
                    self.job.progress().delivered += 1;
                }
                Some(Err(outcome)) => {
                    self.failures_in_row += 1;
                    self.job.progress().failed += 1;
                    let limit = self.job.order.stop_after;
                    if limit > 0 && self.failures_in_row >= limit && end.is_ok() {
                        end = Err(End::Stopped(format!(
                            "{} failures in a row, the last: {outcome}",
                            self.failures_in_row
                        )));
                    }
                }
            }
        }
        self.job.progress().pending = left;
        end
    }
}

/// Returns the outcome of the first attempt since the restart, over all targets; `None` while one has not been attempted. The error is the
/// status or the error code.
fn outcome_since(row: &Row, pending: &PendingDelivery) -> Option<Result<(), String>> {
    let before = |target| {
        pending
            .before
            .iter()
            .find(|(known, _)| *known == target)
            .map_or(0, |(_, number)| *number)
    };
    let mut all = Ok(());
    for unit in &row.units {
        // an attempt that was cut off is repeated
        let is_known = |last: &&AttemptSummary| {
            last.number > before(unit.target) && last.error.as_deref() != Some(CUT_OFF)
        };
        let attempt = unit.last.as_ref().filter(is_known);
        match (unit.status, attempt) {
            (Status::Delivered, _) => {}
            (Status::Cancelled, _) => all = Err("the delivery was cancelled".to_owned()),
            (Status::Pending | Status::Retrying | Status::Dead, Some(last)) => {
                let word = last.error.as_deref().unwrap_or_default();
                all = Err(last
                    .status
                    .map_or_else(|| word.to_owned(), |status| status.to_string()));
            }
            (Status::Dead, None) => all = Err("the delivery expired before an attempt".to_owned()),
            (Status::Pending | Status::Retrying, None) => return None,
        }
    }
    Some(all)
}
