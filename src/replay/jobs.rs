//! The replay jobs of a gateway.
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::api::actions::{Replay, ReplayState};
use crate::replay::access::StoreAccess;
use crate::replay::job::{Job, ReplayOrder};
use crate::replay::run::run;

/// The most replays that run at once.
pub const MAX_RUNNING: usize = 4;
/// The most replays that are known, including those that have ended.
const MAX_KNOWN: usize = 64;

/// The replay jobs of a gateway, oldest first.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<VecDeque<Arc<Job>>>);

/// The reason why a job does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotBegin {
    /// Its state does not permit it.
    #[error("the replay is {0:?}")]
    State(ReplayState),
    /// Too many are running.
    #[error("too many replays are running")]
    TooMany,
}

impl Jobs {
    /// Returns the job with an ID, if it is known.
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.all().iter().find(|job| job.id() == id).cloned()
    }

    /// Returns all known jobs as the API shows them, newest first.
    pub fn shown(&self) -> Vec<Replay> {
        self.all().iter().rev().map(|job| job.shown()).collect()
    }

    /// Starts a new job at `rate` deliveries a second. Returns its ID.
    ///
    /// # Errors
    /// Too many are running.
    pub fn start(
        &self,
        access: StoreAccess,
        order: ReplayOrder,
        rate: f64,
    ) -> Result<String, CannotBegin> {
        let job = Arc::new(Job::new(order, rate, access.now().wall));
        self.begin(&job, |_| true)?;
        let id = job.id().to_owned();
        tokio::spawn(run(access, job));
        Ok(id)
    }

    /// Resumes a job that was stopped, at another rate if one is given.
    ///
    /// # Errors
    /// It was not stopped, or too many are running.
    pub fn resume(
        &self,
        access: StoreAccess,
        job: &Arc<Job>,
        rate: Option<f64>,
    ) -> Result<Replay, CannotBegin> {
        self.begin(job, |state| {
            matches!(state, ReplayState::Stopped | ReplayState::Cancelled)
        })?;
        if let Some(rate) = rate {
            job.set_rate(rate);
        }
        let shown = job.shown();
        tokio::spawn(run(access, Arc::clone(job)));
        Ok(shown)
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock()
    }

    /// Begins a job if its state permits it and not too many are running.
    fn begin(&self, job: &Arc<Job>, may_begin: fn(ReplayState) -> bool) -> Result<(), CannotBegin> {
        // the state is judged under the lock, so that only one of two callers begins the job
        let mut all = self.all();
        let state = job.shown().state;
        if !may_begin(state) {
            return Err(CannotBegin::State(state));
        }
        if all.iter().filter(|other| other.is_running()).count() >= MAX_RUNNING {
            return Err(CannotBegin::TooMany);
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::api::deliveries::Filter;
    use crate::replay::selection::Selection;
    use crate::store::archive::Order;

    #[test]
    fn only_one_of_two_resumes_begins() {
        let jobs = Jobs::default();
        let order = ReplayOrder {
            selection: Selection::Ids(Vec::new()),
            order: Order::Oldest,
            filter: Filter::default(),
            delivered: false,
            bypass_dedupe: false,
            stop_after: 0,
            reason: "".into(),
            who: "anna".into(),
        };
        let job = Arc::new(Job::new(order, 1.0, SystemTime::UNIX_EPOCH));
        let stopped = |state: ReplayState| state != ReplayState::Running;
        assert_eq!(jobs.begin(&job, stopped), Ok(()));
        assert_eq!(
            jobs.begin(&job, stopped),
            Err(CannotBegin::State(ReplayState::Running))
        );
        assert_eq!(jobs.all().len(), 1);
    }
}
