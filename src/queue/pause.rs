//! Pauses a target of the queue when something in front of its app answers for it. A pure state machine: callers pass `now`.
//!
//! The circuit breaker judges an address by connect failures and timeouts. A proxy that answers 502, or a port that accepts and closes, is
//! reachable, but the app behind it is not. Five such attempts in a row, of at least three different deliveries, pause the target: one poison
//! message alone never does. Then one probe at a time, each with another delivery, finds out when the pause ends.
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::delivery::{Fault, Outcome};
use crate::queue::choose::Admission;
use crate::store::queue::Subject;

/// The number of attempts in a row that pause a target.
const ATTEMPTS: usize = 5;
/// The least number of different deliveries among these attempts.
const DELIVERIES: usize = 3;
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The shortest pause that a `Retry-After` sets.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The wait of other deliveries while a probe is under way.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// The statuses of a proxy without an app, and of an overloaded app.
const UNAVAILABLE: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// The conclusion from an attempt about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The app is unavailable or overloaded, and may have asked for this delay.
    Unavailable(Option<Duration>),
    /// The app gave any other final status.
    Answered,
    /// There is no final status; the circuit breaker judges that.
    NoAnswer,
}

/// Judges an attempt. `fresh` means that its connection was made for it, so an app that closed it without a byte did not just end an idle one.
/// Returns `None` if the attempt says nothing about the target; a probe is given back then.
pub fn signal(outcome: Outcome, fresh: bool, retry_after: Option<Duration>) -> Option<Signal> {
    match outcome {
        Outcome::Answered(status) if UNAVAILABLE.contains(&status) => {
            Some(Signal::Unavailable(retry_after))
        }
        Outcome::Answered(_) => Some(Signal::Answered),
        Outcome::Unreached(Fault::BreakerOpen(_) | Fault::Local(_))
        | Outcome::Ambiguous(Fault::Stale) => None,
        Outcome::Ambiguous(Fault::Reset) if fresh => Some(Signal::Unavailable(None)),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => Some(Signal::NoAnswer),
    }
}

/// A change of a target's pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseChange {
    /// The target pauses now, for this time.
    Paused(Duration),
    /// The pause has ended.
    Resumed,
}

/// The number of a probe. A result counts as the probe's only while that probe is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe(u64);

/// The pause of one target.
#[derive(Debug, Default)]
pub struct Pause {
    state: State,
    /// The number of probes so far.
    probes: u64,
}

#[derive(Debug)]
enum State {
    /// Attempts are made. These, the latest last, found the app unavailable, and none between them was answered.
    Running(VecDeque<Subject>),
    Paused {
        until: Instant,
        /// The pause before the next probe, unless the app asks for another: doubled by each probe that fails.
        wait: Duration,
        /// The probe that is under way.
        probe: Option<Probe>,
        /// The delivery of the last failed attempt. The next probe uses another one.
        failed: Subject,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Running(VecDeque::new())
    }
}

impl Pause {
    /// Returns which attempts the pause lets begin at `now`.
    pub fn admission(&self, now: Instant) -> Admission {
        match &self.state {
            State::Running(_) => Admission::All,
            State::Paused {
                until, probe: None, ..
            } if now >= *until => Admission::Probe,
            State::Paused { .. } => Admission::None,
        }
    }

    /// Returns how long from `now` no attempt may begin; zero if one may.
    pub fn shut_for(&self, now: Instant) -> Duration {
        match &self.state {
            State::Running(_) => Duration::ZERO,
            State::Paused { until, .. } if now < *until => until.saturating_duration_since(now),
            State::Paused { probe, .. } => probe.map_or(Duration::ZERO, |_| PROBE_WAIT),
        }
    }

    /// Returns the time until the next probe, zero while one is due or under way; `None` if the target does not pause.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        match &self.state {
            State::Running(_) => None,
            State::Paused { until, .. } => Some(until.saturating_duration_since(now)),
        }
    }

    /// Returns the delivery that the next probe should not be.
    pub fn failed(&self) -> Option<Subject> {
        match &self.state {
            State::Running(_) => None,
            State::Paused { failed, .. } => Some(*failed),
        }
    }

    /// Takes the only probe, if one may begin now. [`Self::release`] gives it back, [`Self::record`] ends it.
    pub fn begin_probe(&mut self, now: Instant) -> Option<Probe> {
        let State::Paused {
            until,
            probe: out @ None,
            ..
        } = &mut self.state
        else {
            return None;
        };
        if now < *until {
            return None;
        }
        self.probes += 1;
        *out = Some(Probe(self.probes));
        *out
    }

    /// Gives back a probe that was not sent.
    pub fn release(&mut self, probe: Probe) {
        if let State::Paused { probe: out, .. } = &mut self.state
            && *out == Some(probe)
        {
            *out = None;
        }
    }

    /// Ends the pause, if there is one: what is known is about another app.
    pub fn end(&mut self) {
        self.state = State::default();
    }

    /// Records the conclusion from an attempt, a probe or not. `first_pause` is the length of a new pause. Returns what changes by it.
    pub fn record(
        &mut self,
        signal: Signal,
        subject: Subject,
        probe: Option<Probe>,
        first_pause: Duration,
        now: Instant,
    ) -> Option<PauseChange> {
        let was_paused = self.remaining(now).is_some();
        self.follow(signal, subject, probe, first_pause, now);
        match (was_paused, self.remaining(now)) {
            (false, Some(left)) => Some(PauseChange::Paused(left)),
            (true, None) => Some(PauseChange::Resumed),
            (false, None) | (true, Some(_)) => None,
        }
    }

    fn follow(
        &mut self,
        signal: Signal,
        subject: Subject,
        probe: Option<Probe>,
        first_pause: Duration,
        now: Instant,
    ) {
        match (&mut self.state, signal) {
            (_, Signal::Answered) => self.state = State::default(),
            (State::Running(_), Signal::NoAnswer) => {}
            (State::Running(row), Signal::Unavailable(retry_after)) => {
                row.push_back(subject);
                if row.len() > ATTEMPTS {
                    row.pop_front();
                }
                if row.len() == ATTEMPTS && distinct_deliveries(row) >= DELIVERIES {
                    let wait = first_pause.min(MAX_PAUSE);
                    let until = now + retry_after.map_or(wait, pause_of);
                    self.state = State::Paused {
                        until,
                        wait,
                        probe: None,
                        failed: subject,
                    };
                }
            }
            (
                State::Paused {
                    until,
                    wait,
                    probe: out,
                    failed,
                },
                Signal::Unavailable(_) | Signal::NoAnswer,
            ) if out.is_some() && *out == probe => {
                let retry_after = if let Signal::Unavailable(retry_after) = signal {
                    retry_after
                } else {
                    None
                };
                *wait = wait.saturating_mul(2).min(MAX_PAUSE);
                (*until, *out, *failed) =
                    (now + retry_after.map_or(*wait, pause_of), None, subject);
            }
            // an attempt that was under way when the pause began
            (State::Paused { until, .. }, Signal::Unavailable(Some(retry_after))) => {
                *until = (*until).max(now + pause_of(retry_after));
            }
            (State::Paused { .. }, Signal::Unavailable(None) | Signal::NoAnswer) => {}
        }
    }
}

/// Returns the pause that a `Retry-After` sets.
fn pause_of(retry_after: Duration) -> Duration {
    retry_after.clamp(MIN_RETRY_AFTER, MAX_PAUSE)
}

fn distinct_deliveries(row: &VecDeque<Subject>) -> usize {
    let is_first = |(index, subject): &(usize, &Subject)| {
        row.iter()
            .take(*index)
            .all(|earlier| earlier.delivery != subject.delivery)
    };
    row.iter().enumerate().filter(is_first).count()
}

#[cfg(test)]
mod tests;
