//! When the gate stops trying an upstream: a state machine that is told the time.
//!
//! Closed, it counts connect failures and timeouts in a row, never statuses: one poison message must not close the app for the others.
//! Open, it lets nothing through until its time is over. Half-open, it lets one probe through at a time; what the probe finds decides.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::snapshot::Breaker as Policy;
use crate::delivery::{Fault, Outcome};
use crate::queue::choose::Room;

/// How long others wait while a probe is out.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// The breaker of one upstream. Lives as long as the upstream's name, so that a reload keeps what it knows.
#[derive(Debug)]
pub struct Breaker(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    policy: Policy,
    state: State,
    /// Counts changes of state: what a permit of an earlier one found says nothing of this one.
    epoch: u64,
    opened: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// The state as people are shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Deliveries go through.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Nothing goes through.
    Open {
        /// Until a probe is let through.
        remaining: Duration,
    },
    /// The next delivery, or the one that is out, is the probe.
    HalfOpen,
}

/// Leave to try once. Dropped without a record it counts for nothing, and a probe's place is free again.
#[derive(Debug)]
pub struct Permit {
    breaker: Arc<Breaker>,
    epoch: u64,
    probe: bool,
    recorded: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: Policy) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { policy, state: State::Closed { failures: 0 }, epoch: 0, opened: 0 })))
    }

    /// The policy it follows from now on; what it counted stays.
    pub fn set_policy(&self, policy: Policy) {
        let mut inner = self.lock();
        inner.policy = policy;
        if policy.failures == 0 {
            inner.enter(State::Closed { failures: 0 });
        }
    }

    /// Leave to try.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Duration> {
        let mut inner = self.lock();
        let probe = match inner.state {
            State::Closed { .. } => false,
            State::Open { until } if now < until => return Err(until.saturating_duration_since(now)),
            State::HalfOpen { probing: true } => return Err(WHILE_PROBING.min(inner.policy.open)),
            State::Open { .. } => {
                inner.enter(State::HalfOpen { probing: true });
                true
            }
            State::HalfOpen { probing: false } => {
                inner.state = State::HalfOpen { probing: true };
                true
            }
        };
        Ok(Permit { breaker: Arc::clone(self), epoch: inner.epoch, probe, recorded: false })
    }

    /// What [`Self::admit`] would let through as of `now`, if it is not everything.
    pub fn room(&self, now: Instant) -> Room {
        match self.lock().state {
            State::Closed { .. } => Room::All,
            State::Open { until } if now < until => Room::None,
            State::HalfOpen { probing: true } => Room::None,
            State::Open { .. } | State::HalfOpen { probing: false } => Room::Probe,
        }
    }

    /// How long it lets nothing through as of `now`; zero if it does.
    pub fn shut_for(&self, now: Instant) -> Duration {
        let inner = self.lock();
        match inner.state {
            State::Open { until } => until.saturating_duration_since(now),
            State::HalfOpen { probing: true } => WHILE_PROBING.min(inner.policy.open),
            State::Closed { .. } | State::HalfOpen { probing: false } => Duration::ZERO,
        }
    }

    /// The state as of `now`.
    pub fn state(&self, now: Instant) -> Shown {
        match self.lock().state {
            State::Closed { failures } => Shown::Closed { failures },
            State::Open { until } if now < until => Shown::Open { remaining: until.saturating_duration_since(now) },
            State::Open { .. } | State::HalfOpen { .. } => Shown::HalfOpen,
        }
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.lock().opened
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.opened += u64::from(matches!(state, State::Open { .. }));
    }
}

impl Permit {
    /// Tells what came of the try.
    pub fn record(mut self, outcome: Outcome, now: Instant) {
        let Some(failed) = failed(outcome) else { return };
        self.recorded = true;
        let mut inner = self.breaker.lock();
        if inner.epoch != self.epoch {
            return;
        }
        let open = State::Open { until: now + inner.policy.open };
        match (inner.state, failed) {
            (State::Closed { failures: 0 }, false) | (State::Open { .. }, _) => {}
            (State::Closed { .. }, false) => inner.state = State::Closed { failures: 0 },
            (State::Closed { failures }, true) => {
                let failures = failures.saturating_add(1);
                match inner.policy.failures {
                    limit if limit > 0 && failures >= limit => inner.enter(open),
                    _ => inner.state = State::Closed { failures },
                }
            }
            (State::HalfOpen { .. }, true) => inner.enter(open),
            (State::HalfOpen { .. }, false) => inner.enter(State::Closed { failures: 0 }),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe && !self.recorded {
            let mut inner = self.breaker.lock();
            if inner.epoch == self.epoch {
                inner.state = State::HalfOpen { probing: false };
            }
        }
    }
}

/// Whether the outcome says that the app cannot be reached or does not answer in time; `None`: it was not tried.
fn failed(outcome: Outcome) -> Option<bool> {
    match outcome {
        Outcome::Unreached(Fault::BreakerOpen(_) | Fault::Malformed) => None,
        Outcome::Unreached(_) => Some(true),
        Outcome::Ambiguous(Fault::Timeout | Fault::Resolve | Fault::Connect | Fault::ConnectTimeout) => Some(true),
        // An answer, even a broken one, comes from an app that runs.
        Outcome::Answered(_) | Outcome::Ambiguous(Fault::Reset | Fault::Malformed | Fault::BreakerOpen(_)) => Some(false),
    }
}

#[cfg(test)]
mod tests;
