//! When a target of the queue pauses because something in front of its app answers for it: a state machine that is told the time.
//!
//! The circuit breaker judges an address: connect failures and timeouts. A proxy that answers 502, or a port that accepts and closes, is there;
//! the app behind it is not. Five such attempts in a row, of at least three different deliveries, pause the target: one poison message alone
//! never does. Then one probe at a time, each with another delivery, finds out when the pause ends.
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::delivery::{Fault, Outcome};
use crate::queue::choose::Room;
use crate::store::queue::Subject;

/// Attempts in a row that pause a target.
const ATTEMPTS: usize = 5;
/// Different deliveries that these attempts are of, at least.
const DELIVERIES: usize = 3;
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// The shortest pause that a `Retry-After` sets.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);
/// How long others wait while a probe is out.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// The statuses of a proxy without an app, and of an app that has too much to do.
const AWAY: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// What an attempt says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The app is away or has too much to do, and wants to be left alone for this time.
    Away(Option<Duration>),
    /// The app gave any other final status.
    Answered,
    /// There is no final status: the breaker judges that.
    NoAnswer,
}

/// Judges an attempt. `fresh`: its connection was made for it, so an app that closes it without a byte did not merely end an idle one. Returns
/// `None` if the attempt says nothing about the target: a probe is given back then.
pub fn sign(outcome: Outcome, fresh: bool, asked: Option<Duration>) -> Option<Sign> {
    match outcome {
        Outcome::Answered(status) if AWAY.contains(&status) => Some(Sign::Away(asked)),
        Outcome::Answered(_) => Some(Sign::Answered),
        Outcome::Unreached(Fault::BreakerOpen(_) | Fault::Local(_))
        | Outcome::Ambiguous(Fault::Stale) => None,
        Outcome::Ambiguous(Fault::Reset) if fresh => Some(Sign::Away(None)),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => Some(Sign::NoAnswer),
    }
}

/// The number of a probe: a result counts as the probe's only while that probe is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe(u64);

/// The pause of one target.
#[derive(Debug, Default)]
pub struct Pause {
    state: State,
    /// Probes so far.
    probes: u64,
}

#[derive(Debug)]
enum State {
    /// Attempts are made; these, the latest last, said that the app is away, with none between that said otherwise.
    Running(VecDeque<Subject>),
    Paused {
        until: Instant,
        /// The pause before the next probe, if the app asks for none: doubled by each probe that fails.
        wait: Duration,
        /// The probe that is out.
        probe: Option<Probe>,
        /// The delivery of the last attempt that failed: the next probe is another one.
        failed: Subject,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Running(VecDeque::new())
    }
}

impl Pause {
    /// Returns what the pause lets begin as of `now`.
    pub fn room(&self, now: Instant) -> Room {
        match &self.state {
            State::Running(_) => Room::All,
            State::Paused {
                until, probe: None, ..
            } if now >= *until => Room::Probe,
            State::Paused { .. } => Room::None,
        }
    }

    /// Returns how long it lets nothing begin as of `now`; zero if it does.
    pub fn shut_for(&self, now: Instant) -> Duration {
        match &self.state {
            State::Running(_) => Duration::ZERO,
            State::Paused { until, .. } if now < *until => until.saturating_duration_since(now),
            State::Paused { probe, .. } => probe.map_or(Duration::ZERO, |_| WHILE_PROBING),
        }
    }

    /// Returns the time until the next probe, zero while one is due or out; `None` if the target does not pause.
    pub fn left(&self, now: Instant) -> Option<Duration> {
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

    /// Takes the only probe, if one may begin now. It is given back by [`Self::let_go`], or ended by [`Self::heard`].
    pub fn probe(&mut self, now: Instant) -> Option<Probe> {
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
    pub fn let_go(&mut self, probe: Probe) {
        if let State::Paused { probe: out, .. } = &mut self.state
            && *out == Some(probe)
        {
            *out = None;
        }
    }

    /// Ends the pause, if there is one: what is known is of another app.
    pub fn end(&mut self) {
        self.state = State::default();
    }

    /// Records what an attempt, as a probe or not, says. `open` is the first pause.
    pub fn heard(
        &mut self,
        sign: Sign,
        subject: Subject,
        probe: Option<Probe>,
        open: Duration,
        now: Instant,
    ) {
        match (&mut self.state, sign) {
            (_, Sign::Answered) => self.state = State::default(),
            (State::Running(_), Sign::NoAnswer) => {}
            (State::Running(row), Sign::Away(asked)) => {
                row.push_back(subject);
                if row.len() > ATTEMPTS {
                    row.pop_front();
                }
                if row.len() == ATTEMPTS && different(row) >= DELIVERIES {
                    let wait = open.min(LONGEST);
                    let until = now + asked.map_or(wait, within);
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
                Sign::Away(_) | Sign::NoAnswer,
            ) if out.is_some() && *out == probe => {
                let asked = if let Sign::Away(asked) = sign {
                    asked
                } else {
                    None
                };
                *wait = wait.saturating_mul(2).min(LONGEST);
                (*until, *out, *failed) = (now + asked.map_or(*wait, within), None, subject);
            }
            // an attempt that was under way when the pause began
            (State::Paused { until, .. }, Sign::Away(Some(asked))) => {
                *until = (*until).max(now + within(asked))
            }
            (State::Paused { .. }, Sign::Away(None) | Sign::NoAnswer) => {}
        }
    }
}

/// The pause that a `Retry-After` sets.
fn within(asked: Duration) -> Duration {
    asked.clamp(SHORTEST_ASKED, LONGEST)
}

fn different(row: &VecDeque<Subject>) -> usize {
    let is_first = |(index, subject): &(usize, &Subject)| {
        row.iter()
            .take(*index)
            .all(|earlier| earlier.delivery != subject.delivery)
    };
    row.iter().enumerate().filter(is_first).count()
}

#[cfg(test)]
mod tests;
