//! Counts of sending. No tenant and no endpoint is a label: there is no bound on their number.
use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::Histogram;

use super::attempts::outcome_label;
use super::histograms::unlabelled;
use crate::delivery::Outcome;

/// The bounds of the delay of attempts, in seconds.
const START_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    3600.0,
];
/// The bounds of the duration of attempts, in seconds. An attempt takes 30 seconds at most.
const ATTEMPT_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0,
];

/// The result of a request to publish an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublishResult {
    /// The event is stored.
    Accepted,
    /// An earlier request with the same key stored it.
    Repeated,
    /// The request is wrong: repeating it changes nothing.
    Refused,
    /// The gateway could not take it now. The app repeats it.
    Unavailable,
}

impl PublishResult {
    /// All results.
    pub const ALL: [Self; 4] = [
        Self::Accepted,
        Self::Repeated,
        Self::Refused,
        Self::Unavailable,
    ];

    /// Returns its metric label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// An attempt to send an event to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointAttempt {
    /// The outcome.
    pub outcome: Outcome,
    /// The time from when the event was accepted, or its retry was due, to the beginning of the attempt.
    pub delay: Duration,
    /// The duration.
    pub took: Duration,
}

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendingSums {
    /// Events that were stored.
    pub published: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts that did not end with a 2xx status.
    pub failed: u64,
}

/// Counts of sending since the start.
#[derive(Debug)]
pub struct Sending {
    published: Mutex<BTreeMap<PublishResult, u64>>,
    attempts: Mutex<BTreeMap<&'static str, u64>>,
    failed: Mutex<u64>,
    /// The delay of attempts.
    pub(super) start_seconds: Histogram,
    /// The duration of attempts.
    pub(super) attempt_seconds: Histogram,
}

impl Sending {
    pub(super) fn new() -> Self {
        Self {
            published: Mutex::default(),
            attempts: Mutex::default(),
            failed: Mutex::default(),
            start_seconds: unlabelled(
                "hookgate_outbound_start_seconds",
                "Time from when an event was accepted, or its retry was due, to the beginning of the attempt.",
                START_SECONDS,
            ),
            attempt_seconds: unlabelled(
                "hookgate_outbound_attempt_seconds",
                "Duration of attempts to endpoints.",
                ATTEMPT_SECONDS,
            ),
        }
    }

    /// Returns the requests to publish, by result.
    pub(super) fn published(&self) -> BTreeMap<PublishResult, u64> {
        self.published.lock().clone()
    }

    /// Returns the attempts, by outcome.
    pub(super) fn attempts(&self) -> BTreeMap<&'static str, u64> {
        self.attempts.lock().clone()
    }

    /// Counts a request to publish an event.
    pub fn count_publish(&self, result: PublishResult) {
        *self.published.lock().entry(result).or_default() += 1;
    }

    /// Counts an attempt to send an event to an endpoint.
    pub fn count_attempt(&self, attempt: &EndpointAttempt) {
        self.start_seconds.observe(attempt.delay.as_secs_f64());
        self.attempt_seconds.observe(attempt.took.as_secs_f64());
        let label = outcome_label(attempt.outcome);
        *self.attempts.lock().entry(label).or_default() += 1;
        let status = attempt.outcome.status();
        *self.failed.lock() += u64::from(!status.is_some_and(|status| status.is_success()));
    }

    /// Returns the sums since the start.
    pub fn sums(&self) -> SendingSums {
        let published = self.published();
        SendingSums {
            published: published
                .get(&PublishResult::Accepted)
                .copied()
                .unwrap_or(0),
            attempts: self.attempts().values().sum(),
            failed: *self.failed.lock(),
        }
    }
}
