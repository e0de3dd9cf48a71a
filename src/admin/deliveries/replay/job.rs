//! One replay: sets deliveries going one by one, and watches what their first try comes to.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::admin::deliveries::act::Wanted;
use crate::admin::deliveries::desk::{Desk, Names};
use crate::admin::deliveries::plan::Walk;
use crate::admin::deliveries::replay::duplicate::find_duplicate;
use crate::api::actions::{Replay, ReplayState};
use crate::api::deliveries::Filter;
use crate::random;
use crate::store::archive::{self, Act, AuditRow, Deed, LastTry, Row, Scope, Status, Step, Which};
use crate::store::queue::{CUT_OFF, Cause, DeliveryRef, TargetId};
use crate::store::{StoreError, repeated};
use crate::telemetry::rfc3339;

/// Between two looks at those that are on their way.
const LOOK: Duration = Duration::from_millis(100);
/// Rows fetched at once.
const FETCHED: u16 = 100;
/// Rows counted at once.
const COUNTED: u16 = 500;
/// Deliveries on their way at once, at least and at most: what is set going is not taken back when it stops.
const FEWEST: usize = 8;
const MOST: usize = 128;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) wanted: Wanted,
    pub(super) order: archive::Order,
    pub(super) filter: Filter,
    pub(super) delivered: bool,
    pub(super) bypass_dedupe: bool,
    pub(super) stop_after: u32,
    pub(super) reason: Arc<str>,
    pub(super) who: Arc<str>,
}

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    state: ReplayState,
    why: Option<String>,
    planned: u64,
    counted: bool,
    done: u64,
    handed_on: u64,
    failed: u64,
    skipped: u64,
    rate: f64,
    ended: Option<SystemTime>,
    /// The last one that was set going or left out.
    after: Option<DeliveryRef>,
    audit: Option<AuditRow>,
    /// Who stopped it.
    told: Option<Arc<str>>,
    /// Set going, and not seen tried: when it stops, it goes on from there.
    watched: Vec<Watched>,
}

/// A delivery that is on its way.
#[derive(Clone, Debug)]
struct Watched {
    id: DeliveryRef,
    /// The number of the last lease of each way before.
    before: Vec<(TargetId, u32)>,
}

/// One replay.
#[derive(Debug)]
pub(super) struct Job {
    id: String,
    order: Order,
    /// What it is about, for the audit.
    said: Arc<str>,
    started: SystemTime,
    progress: Mutex<Progress>,
    stopping: Notify,
}

/// Why a replay does not go on.
enum End {
    Done,
    Stopped(String),
    Cancelled(Arc<str>),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Stopped(error.to_string())
    }
}

impl Job {
    pub(super) fn new(order: Order, rate: f64, started: SystemTime) -> Self {
        let progress = Mutex::new(Progress {
            rate,
            state: ReplayState::Done,
            ..Progress::default()
        });
        let said = serde_json::to_string(&order.filter)
            .unwrap_or_default()
            .into();
        Self {
            id: draw(),
            order,
            said,
            started,
            progress,
            stopping: Notify::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn is_running(&self) -> bool {
        self.progress().state == ReplayState::Running
    }

    /// It goes on from where it is.
    pub(super) fn begin(&self) {
        let mut progress = self.progress();
        (progress.state, progress.why, progress.ended, progress.told) =
            (ReplayState::Running, None, None, None);
    }

    pub(super) fn set_rate(&self, rate: f64) {
        self.progress().rate = rate;
    }

    /// Tells it to stop; whether it goes on now.
    pub(super) fn stop(&self, who: &Arc<str>) -> bool {
        let mut progress = self.progress();
        let running = progress.state == ReplayState::Running;
        if running {
            progress.told = Some(Arc::clone(who));
            self.stopping.notify_one();
        }
        running
    }

    pub(super) fn shown(&self) -> Replay {
        let progress = self.progress();
        let Order {
            filter,
            stop_after,
            reason,
            who,
            ..
        } = &self.order;
        let seen = progress.handed_on + progress.failed + progress.skipped;
        Replay {
            id: self.id.clone(),
            state: progress.state,
            why: progress.why.clone(),
            planned: progress.planned,
            counting: !progress.counted && progress.state == ReplayState::Running,
            done: progress.done,
            handed_on: progress.handed_on,
            failed: progress.failed,
            skipped: progress.skipped,
            not_tried: progress.planned.saturating_sub(seen),
            rate: progress.rate,
            stop_after: *stop_after,
            filter: filter.clone(),
            reason: reason.to_string(),
            who: who.to_string(),
            started_at: rfc3339(self.started),
            ended_at: progress.ended.map(rfc3339),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_go_on(&self) -> Result<(), End> {
        self.progress()
            .told
            .clone()
            .map_or(Ok(()), |who| Err(End::Cancelled(who)))
    }
}

/// Letters of an ID that are not mistaken for each other.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn draw() -> String {
    let mut random = random::number();
    let mut id = "r_".to_owned();
    for _ in 0..10 {
        let place = usize::try_from(random & 31).unwrap_or(0);
        id.push(LETTERS.get(place).copied().map_or('0', char::from));
        random >>= 5;
    }
    id
}

/// Replays until it is done or stopped.
pub(super) async fn run(desk: Arc<dyn Desk>, job: Arc<Job>) {
    let end = match count(&*desk, &job).await {
        Ok(()) => go(&*desk, &job).await,
        Err(end) => end,
    };
    let mut progress = job.progress();
    progress.ended = Some(desk.now().wall);
    (progress.state, progress.why) = match end {
        End::Done => (ReplayState::Done, None),
        End::Stopped(why) => (ReplayState::Stopped, Some(why)),
        End::Cancelled(who) => (ReplayState::Cancelled, Some(format!("stopped by {who}"))),
    };
    tracing::info!(replay = job.id, state = ?progress.state, handed_on = progress.handed_on, failed = progress.failed, "a replay is over");
}

/// Counts what it is about, once.
async fn count(desk: &dyn Desk, job: &Job) -> Result<(), End> {
    if job.progress().counted {
        return Ok(());
    }
    job.progress().planned = 0;
    let mut walk = Walk::new(desk, &job.order.wanted, job.order.order);
    while let Some(rows) = walk.next(COUNTED).await? {
        job.may_go_on()?;
        job.progress().planned += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    }
    job.progress().counted = true;
    Ok(())
}

/// The hand of one run.
struct Hand<'a> {
    desk: &'a dyn Desk,
    job: &'a Job,
    names: Names,
    /// Failures one after the other.
    in_a_row: u32,
    /// When the next may go.
    next: Instant,
}

async fn go(desk: &dyn Desk, job: &Job) -> End {
    let names = match Names::of(desk).await {
        Ok(names) => names,
        Err(denied) => return End::Stopped(denied.error),
    };
    let mut hand = Hand {
        desk,
        job,
        names,
        in_a_row: 0,
        next: desk.now().mono,
    };
    match hand.go().await {
        Ok(()) => End::Done,
        Err(end) => end,
    }
}

impl Hand<'_> {
    async fn go(&mut self) -> Result<(), End> {
        let mut walk = Walk::new(self.desk, &self.job.order.wanted, self.job.order.order);
        walk.after = self.job.progress().after;
        let (mut rows, mut over) = (Vec::new().into_iter(), false);
        loop {
            self.job.may_go_on()?;
            self.look().await?;
            while self.has_room() {
                let Some(row) = rows.next() else { break };
                self.one(&row).await?;
                self.job.may_go_on()?;
            }
            if rows.len() == 0 && !over {
                match walk.next(FETCHED).await? {
                    Some(more) => rows = more.into_iter(),
                    None => over = true,
                }
                continue;
            }
            if over && self.job.progress().watched.is_empty() {
                return Ok(());
            }
            let until_next = self.next.saturating_duration_since(self.desk.now().mono);
            let pause = if over || until_next.is_zero() {
                LOOK
            } else {
                until_next.min(LOOK)
            };
            // told to stop, it stops now
            drop(timeout(pause, self.job.stopping.notified()).await);
        }
    }

    /// Whether one more may be set going now.
    fn has_room(&mut self) -> bool {
        let (rate, on_their_way) = {
            let progress = self.job.progress();
            (progress.rate, progress.watched.len())
        };
        let most = usize::try_from(Duration::from_secs_f64(rate * 2.0).as_secs())
            .unwrap_or(MOST)
            .clamp(FEWEST, MOST);
        let now = self.desk.now().mono;
        if on_their_way >= most || self.next > now {
            return false;
        }
        let pace = Duration::from_secs_f64(1.0 / rate);
        // what a slow disk held up is made good for one look only
        self.next = self.next.max(now.checked_sub(LOOK).unwrap_or(now)) + pace;
        true
    }

    /// Sets one going, or leaves it out.
    async fn one(&mut self, row: &Row) -> Result<(), End> {
        let parked = row.units.iter().all(|unit| self.names.is_gone(unit.target));
        let left_out = parked
            || !self.job.order.bypass_dedupe
                && find_duplicate(self.desk, &self.names, row).await?.is_some();
        let step = if left_out {
            Step::default()
        } else {
            self.act(row.id).await?
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
            progress.watched.push(Watched { id: row.id, before });
        }
        Ok(())
    }

    async fn act(&self, id: DeliveryRef) -> Result<Step, StoreError> {
        let Order {
            delivered,
            reason,
            who,
            ..
        } = &self.job.order;
        let act = Act {
            deed: Deed::Replay {
                delivered: *delivered,
                cause: Cause::Replay,
            },
            which: Which::Ids(vec![id]),
            targets: Arc::default(),
            who: Arc::clone(who),
            reason: Arc::clone(reason),
            said: Some(Arc::clone(&self.job.said)),
            goes_on: self.job.progress().audit,
        };
        let store = self.desk.store();
        repeated(|| store.act(Scope::All, &act, 1)).await
    }

    /// Looks at those on their way.
    async fn look(&mut self) -> Result<(), End> {
        let watched = self.job.progress().watched.clone();
        if watched.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = watched.iter().map(|one| one.id).collect();
        let rows = self.desk.store().rows(Scope::All, &ids).await?;
        let mut left = Vec::new();
        let mut end = Ok(());
        for one in watched {
            let Some(row) = rows.iter().find(|row| row.id == one.id) else {
                // it was purged meanwhile
                self.job.progress().skipped += 1;
                continue;
            };
            match came_to(row, &one) {
                None => left.push(one),
                Some(Ok(())) => {
                    self.in_a_row = 0;
                    self.job.progress().handed_on += 1;
                }
                Some(Err(what)) => {
                    self.in_a_row += 1;
                    self.job.progress().failed += 1;
                    let most = self.job.order.stop_after;
                    if most > 0 && self.in_a_row >= most && end.is_ok() {
                        end = Err(End::Stopped(format!(
                            "{} failures in a row, the last came to {what}",
                            self.in_a_row
                        )));
                    }
                }
            }
        }
        self.job.progress().watched = left;
        end
    }
}

/// What the first try since came to, on all ways; nothing while one is not tried.
fn came_to(row: &Row, watched: &Watched) -> Option<Result<(), String>> {
    let before = |target| {
        watched
            .before
            .iter()
            .find(|(known, _)| *known == target)
            .map_or(0, |(_, number)| *number)
    };
    let mut all = Ok(());
    for unit in &row.units {
        // one that was cut off is made again
        let is_known = |last: &&LastTry| {
            last.number > before(unit.target) && last.error.as_deref() != Some(CUT_OFF)
        };
        let tried = unit.last.as_ref().filter(is_known);
        match (unit.status, tried) {
            (Status::Delivered, _) => {}
            (Status::Cancelled, _) => all = Err("a person's word: it was cancelled".to_owned()),
            (Status::Pending | Status::Retrying | Status::Dead, Some(last)) => {
                let word = last.error.as_deref().unwrap_or_default();
                all = Err(last
                    .status
                    .map_or_else(|| word.to_owned(), |status| status.to_string()));
            }
            // its tries ended without one
            (Status::Dead, None) => all = Err("nothing: its time was over".to_owned()),
            (Status::Pending | Status::Retrying, None) => return None,
        }
    }
    Some(all)
}
