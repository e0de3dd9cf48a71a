//! Decides when the gateway stops sending webhooks to an upstream. A state machine; callers pass the time.
//!
//! Two kinds of failures have a breaker each. Failures to reach an address count for all routes that send there. A request that is sent
//! and not answered in time counts for its own route: one slow handler must not cut off its neighbours. Statuses never count: one poison
//! message must not block the upstream for the others. Traffic of pass routes has no breaker, since anyone can cause its failures.
//!
//! Closed, a breaker counts failures in a row; attempts that were made at the same time count once. Open, it lets nothing through until
//! its time is over. Half-open, it lets one probe through at a time, for a limited time; the result of the probe decides.
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::config::snapshot::Breaker as Policy;
use crate::delivery::{Fault, Outcome};
use crate::queue::choose::Admission;

/// The time after which others ask again while a probe is out.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The part of an upstream whose failures a breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Its address: no connection can be made.
    Address,
    /// The handler of one route: a request was sent, and no answer came in time.
    Handler,
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    scope: Scope,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    policy: Policy,
    state: State,
    /// The end of the last attempt that counted as a failure: attempts that began earlier do not count again.
    counted: Option<Instant>,
    /// The number of state changes: the result of a permit from an earlier state says nothing about this one.
    epoch: u64,
    /// The number of probes so far.
    probes: u64,
    opened: u64,
    /// The last failure, until a success.
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probe: Option<Probe> },
}

/// A probe that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    number: u64,
    /// The end of its permit.
    until: Instant,
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

/// A permit for one attempt. Dropped without a record it counts for nothing, and a probe's place is free again. A probe's permit ends
/// by itself when its time is over.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts for nothing"]
pub struct Permit {
    breaker: Arc<Breaker>,
    began: Instant,
    epoch: u64,
    /// The number of the probe, if it is one.
    probe: Option<u64>,
}

impl Scope {
    /// Returns whether an outcome is a failure of this part of the upstream, or `None` if it says nothing about it.
    const fn failed(self, outcome: Outcome) -> Option<bool> {
        match (self, outcome) {
            // nothing was sent, for a reason of the gateway's own
            (_, Outcome::Unreached(Fault::BreakerOpen(_) | Fault::Malformed | Fault::Local(_))) => {
                None
            }
            (_, Outcome::Ambiguous(Fault::BreakerOpen(_) | Fault::Local(_))) => None,
            // an upstream that was restarted, or one that closes idle connections
            (_, Outcome::Ambiguous(Fault::Stale)) => None,
            (Self::Address, Outcome::Unreached(_)) => Some(true),
            (Self::Handler, Outcome::Unreached(_)) => None,
            // it may have arrived before, over another connection
            (
                Self::Address,
                Outcome::Ambiguous(
                    Fault::Resolve
                    | Fault::Blocked
                    | Fault::Refused
                    | Fault::Unreachable
                    | Fault::Tls(_)
                    | Fault::ConnectTimeout,
                ),
            ) => Some(true),
            (
                Self::Handler,
                Outcome::Ambiguous(
                    Fault::Resolve
                    | Fault::Blocked
                    | Fault::Refused
                    | Fault::Unreachable
                    | Fault::Tls(_)
                    | Fault::ConnectTimeout,
                ),
            ) => None,
            // there was a connection
            (Self::Address, Outcome::Ambiguous(_) | Outcome::Answered(_)) => Some(false),
            (Self::Handler, Outcome::Ambiguous(Fault::Timeout)) => Some(true),
            // an answer, even a broken one, comes from a handler that runs
            (
                Self::Handler,
                Outcome::Ambiguous(Fault::Reset | Fault::Malformed | Fault::TooLarge)
                | Outcome::Answered(_),
            ) => Some(false),
        }
    }
}

impl Breaker {
    /// Makes a closed breaker.
    pub fn new(scope: Scope, policy: Policy) -> Arc<Self> {
        let state = State::Closed { failures: 0 };
        Arc::new(Self {
            scope,
            inner: Mutex::new(Inner {
                policy,
                state,
                counted: None,
                epoch: 0,
                probes: 0,
                opened: 0,
                fault: None,
            }),
        })
    }

    /// Follows another policy from now on; the count stays.
    pub fn set_policy(&self, policy: Policy) {
        let mut inner = self.lock();
        inner.policy = policy;
        if policy.failures == 0 {
            inner.enter(State::Closed { failures: 0 });
        }
    }

    /// Permits one attempt. If it is a probe, it must end within `limit`: afterwards its result does not count, and another may be sent.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn admit(self: &Arc<Self>, now: Instant, limit: Duration) -> Result<Permit, Duration> {
        let mut inner = self.lock();
        let wait = inner.shut_for(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        let is_probe = !matches!(inner.state, State::Closed { .. });
        if matches!(inner.state, State::Open { .. }) {
            inner.enter(State::HalfOpen { probe: None });
        }
        let probe = is_probe.then(|| {
            inner.probes += 1;
            inner.state = State::HalfOpen {
                probe: Some(Probe {
                    number: inner.probes,
                    until: now + limit,
                }),
            };
            inner.probes
        });
        Ok(Permit {
            breaker: Arc::clone(self),
            began: now,
            epoch: inner.epoch,
            probe,
        })
    }

    /// Returns what [`Self::admit`] would permit at `now`.
    pub fn admission(&self, now: Instant) -> Admission {
        let inner = self.lock();
        match inner.state {
            State::Closed { .. } => Admission::All,
            State::Open { .. } | State::HalfOpen { .. } if inner.shut_for(now).is_zero() => {
                Admission::Probe
            }
            State::Open { .. } | State::HalfOpen { .. } => Admission::None,
        }
    }

    /// Returns how long it permits nothing from `now` on; zero if it does.
    pub fn shut_for(&self, now: Instant) -> Duration {
        self.lock().shut_for(now)
    }

    /// Returns the state at `now`.
    pub fn state(&self, now: Instant) -> Shown {
        match self.lock().state {
            State::Closed { failures } => Shown::Closed { failures },
            State::Open { until } if now < until => Shown::Open {
                remaining: until.saturating_duration_since(now),
            },
            State::Open { .. } | State::HalfOpen { .. } => Shown::HalfOpen,
        }
    }

    /// Returns how often it has opened.
    pub fn opened(&self) -> u64 {
        self.lock().opened
    }

    /// Returns the last failure, if nothing has succeeded since.
    pub fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.opened += u64::from(matches!(state, State::Open { .. }));
    }

    fn shut_for(&self, now: Instant) -> Duration {
        match self.state {
            State::Open { until } => until.saturating_duration_since(now),
            State::HalfOpen { probe: Some(probe) } => {
                let wait = PROBE_WAIT.min(self.policy.open).max(SHORTEST_WAIT);
                probe.until.saturating_duration_since(now).min(wait)
            }
            State::Closed { .. } | State::HalfOpen { probe: None } => Duration::ZERO,
        }
    }

    /// Returns whether the place of the probe with this number is its own at `now`.
    fn is_probing(&self, number: Option<u64>, now: Instant) -> bool {
        matches!(self.state, State::HalfOpen { probe: Some(probe) } if Some(probe.number) == number && now < probe.until)
    }

    fn succeeded(&mut self) {
        match self.state {
            State::Closed { .. } => self.state = State::Closed { failures: 0 },
            State::HalfOpen { .. } => self.enter(State::Closed { failures: 0 }),
            State::Open { .. } => {}
        }
    }

    fn failed(&mut self, began: Instant, now: Instant) {
        if self.counted.is_some_and(|counted| began < counted) {
            return;
        }
        self.counted = Some(now);
        let open = State::Open {
            until: now + self.policy.open,
        };
        match self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                match self.policy.failures {
                    limit if limit > 0 && failures >= limit => self.enter(open),
                    _ => self.state = State::Closed { failures },
                }
            }
            State::HalfOpen { .. } => self.enter(open),
            State::Open { .. } => {}
        }
    }
}

impl Permit {
    /// Records the outcome of the attempt. It does not count if the breaker has changed its state since, or the time of the probe is over.
    pub fn record(self, outcome: Outcome, now: Instant) {
        let Some(failed) = self.breaker.scope.failed(outcome) else {
            return;
        };
        let mut inner = self.breaker.lock();
        inner.fault = outcome.fault().filter(|_| failed);
        let counts = inner.epoch == self.epoch
            && (self.probe.is_none() || inner.is_probing(self.probe, now));
        match (counts, failed) {
            (true, true) => inner.failed(self.began, now),
            (true, false) => inner.succeeded(),
            (false, _) => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(number) = self.probe {
            let mut inner = self.breaker.lock();
            if matches!(inner.state, State::HalfOpen { probe: Some(probe) } if probe.number == number)
            {
                inner.state = State::HalfOpen { probe: None };
            }
        }
    }
}

#[cfg(test)]
mod tests;
