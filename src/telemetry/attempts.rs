//! Attempts of queued deliveries: their counts, and a log line each.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;

use super::line::{json, push_field};
use super::log_policy::LogFormat;
use crate::clock::rfc3339;
use crate::delivery::Outcome;
use crate::units::saturating;

/// The next step after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: it was delivered.
    Delivered,
    /// Another attempt after this time.
    RetryIn(Duration),
    /// Nothing: its attempts are exhausted.
    Dead,
    /// Nothing: the lease had passed to another attempt.
    Late,
    /// Another attempt, because the result of this one could not be saved.
    Unsaved,
}

impl After {
    /// Its word in lines and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::RetryIn(_) => "retrying",
            Self::Dead => "dead",
            Self::Late => "late",
            Self::Unsaved => "unsaved",
        }
    }
}

/// An attempt, for log and metrics.
#[derive(Clone, Debug)]
pub struct AttemptEvent<'a> {
    /// The route's name.
    pub route: &'a Arc<str>,
    /// The delivery's ID in the store.
    pub delivery: uuid::Uuid,
    /// The provider's ID of it, fit for showing.
    pub delivery_id: Option<&'a str>,
    /// The upstream's name.
    pub upstream: &'a Arc<str>,
    /// Counted from 1.
    pub number: u32,
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// The error code of an attempt without a response.
    pub error: Option<&'static str>,
    /// The duration of the attempt.
    pub took: Duration,
    /// The next step.
    pub after: After,
}

/// Returns the metric label of an outcome.
pub(super) fn outcome_label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered(status) => match status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
        Outcome::Unreached(_) => "unreached",
        Outcome::Ambiguous(_) => "ambiguous",
    }
}

type Counts<K> = Mutex<BTreeMap<(Arc<str>, K), u64>>;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_outcome: Counts<&'static str>,
    by_after: Counts<&'static str>,
    by_error: Counts<&'static str>,
}

impl Attempts {
    pub(super) fn count(&self, event: &AttemptEvent<'_>) {
        let words = [
            (&self.by_outcome, Some(outcome_label(event.outcome))),
            (&self.by_after, Some(event.after.word())),
            (&self.by_error, event.error),
        ];
        for (counts, word) in words {
            let Some(word) = word else { continue };
            *counts
                .lock()
                .entry((Arc::clone(event.route), word))
                .or_default() += 1;
        }
    }

    /// Returns the number of attempts of a route with this next step.
    pub(super) fn count_of(&self, route: &str, after: After) -> u64 {
        let counts = self.by_after.lock();
        counts
            .iter()
            .filter(|((name, word), _)| **name == *route && *word == after.word())
            .map(|(_, count)| count)
            .sum()
    }

    /// Returns the counts by route and outcome.
    pub(super) fn by_outcome(&self) -> BTreeMap<(Arc<str>, &'static str), u64> {
        self.by_outcome.lock().clone()
    }

    /// Returns the counts of attempts without an answer by route and error code.
    pub(super) fn by_error(&self) -> BTreeMap<(Arc<str>, &'static str), u64> {
        self.by_error.lock().clone()
    }

    /// Returns the counts by route and next step.
    pub(super) fn by_after(&self) -> BTreeMap<(Arc<str>, &'static str), u64> {
        self.by_after.lock().clone()
    }
}

/// Converts to seconds, exact to the millisecond.
fn seconds(delay: Duration) -> f64 {
    Duration::from_millis(saturating(delay.as_millis())).as_secs_f64()
}

/// Returns whether the line is a warning.
pub(super) fn is_bad(event: &AttemptEvent<'_>) -> bool {
    event.after != After::Delivered
}

/// Formats the log line of an attempt, with its newline.
pub(super) fn line(format: LogFormat, event: &AttemptEvent<'_>, at: SystemTime) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        ts: String,
        level: &'static str,
        msg: &'static str,
        route: &'a str,
        upstream: &'a str,
        delivery: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery_id: Option<&'a str>,
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        ms: u64,
        after: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_s: Option<f64>,
    }
    let status = match event.outcome {
        Outcome::Answered(status) => Some(status.as_u16()),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => None,
    };
    let line = Line {
        ts: rfc3339(at),
        level: if is_bad(event) { "warn" } else { "info" },
        msg: "attempt",
        route: event.route,
        upstream: event.upstream,
        delivery: event.delivery.to_string(),
        delivery_id: event.delivery_id,
        attempt: event.number,
        status,
        error: event.error,
        why: event
            .outcome
            .fault()
            .map(|fault| fault.message("the upstream")),
        ms: saturating(event.took.as_millis()),
        after: event.after.word(),
        retry_s: if let After::RetryIn(delay) = event.after {
            Some(seconds(delay))
        } else {
            None
        },
    };
    if format == LogFormat::Json {
        return json(&line);
    }
    let outcome = status.map_or_else(
        || event.error.unwrap_or_default().to_owned(),
        |status| status.to_string(),
    );
    let id = line.delivery_id.unwrap_or(&line.delivery);
    let (ts, level, took, after) = (&line.ts, line.level.to_uppercase(), line.ms, line.after);
    let mut text = format!(
        "{ts} {level:5} attempt {} {outcome} route={} delivery={id} took={took}ms after={after}",
        event.number, event.route
    );
    if let Some(why) = &line.why {
        push_field(&mut text, " why=", why);
    }
    text.push('\n');
    text.into_bytes()
}
