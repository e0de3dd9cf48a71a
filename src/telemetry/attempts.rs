//! Tries to hand on what waited: counted, and a line each.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;

use super::LogFormat;
use super::line::{json, rfc3339};
use crate::delivery::Outcome;

/// What follows a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: it was handed on.
    Delivered,
    /// Another try after this time.
    Again(Duration),
    /// Nothing: its tries are over.
    Dead,
    /// Nothing: another try had taken over.
    Late,
    /// Another try, because the disk does not take what this one came to.
    Unsaved,
}

impl After {
    /// Its word in lines and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Again(_) => "retrying",
            Self::Dead => "dead",
            Self::Late => "late",
            Self::Unsaved => "unsaved",
        }
    }
}

/// A try, as it is seen.
#[derive(Clone, Debug)]
pub struct AttemptSeen<'a> {
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
    /// What it came to.
    pub outcome: Outcome,
    /// The word for a try without an answer.
    pub error: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
    /// What follows.
    pub after: After,
}

/// What a try came to, as metrics say it.
fn outcome_label(outcome: Outcome) -> &'static str {
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
}

impl Attempts {
    pub(super) fn count(&self, seen: &AttemptSeen<'_>) {
        for (counts, word) in [
            (&self.by_outcome, outcome_label(seen.outcome)),
            (&self.by_after, seen.after.word()),
        ] {
            *counts
                .lock()
                .entry((Arc::clone(seen.route), word))
                .or_default() += 1;
        }
    }

    /// How many tries of a route were followed by that.
    pub(super) fn count_of(&self, route: &str, after: After) -> u64 {
        let counts = self.by_after.lock();
        counts
            .iter()
            .filter(|((name, word), _)| **name == *route && *word == after.word())
            .map(|(_, count)| count)
            .sum()
    }

    /// By route and what it came to.
    pub(super) fn by_outcome(&self) -> BTreeMap<(Arc<str>, &'static str), u64> {
        self.by_outcome.lock().clone()
    }

    /// By route and what followed.
    pub(super) fn by_after(&self) -> BTreeMap<(Arc<str>, &'static str), u64> {
        self.by_after.lock().clone()
    }
}

/// To the millisecond.
fn seconds(delay: Duration) -> f64 {
    Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

/// Whether the line is a warning.
pub(super) fn is_bad(seen: &AttemptSeen<'_>) -> bool {
    seen.after != After::Delivered
}

/// The line of a try, with its newline.
pub(super) fn line(format: LogFormat, seen: &AttemptSeen<'_>, at: SystemTime) -> Vec<u8> {
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
        ms: u64,
        after: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_s: Option<f64>,
    }
    let status = match seen.outcome {
        Outcome::Answered(status) => Some(status.as_u16()),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => None,
    };
    let line = Line {
        ts: rfc3339(at),
        level: if is_bad(seen) { "warn" } else { "info" },
        msg: "attempt",
        route: seen.route,
        upstream: seen.upstream,
        delivery: seen.delivery.to_string(),
        delivery_id: seen.delivery_id,
        attempt: seen.number,
        status,
        error: seen.error,
        ms: u64::try_from(seen.took.as_millis()).unwrap_or(u64::MAX),
        after: seen.after.word(),
        retry_s: if let After::Again(delay) = seen.after {
            Some(seconds(delay))
        } else {
            None
        },
    };
    if format == LogFormat::Json {
        return json(&line);
    }
    let came = status.map_or_else(
        || seen.error.unwrap_or_default().to_owned(),
        |status| status.to_string(),
    );
    let id = line.delivery_id.unwrap_or(&line.delivery);
    let (ts, level, took, after) = (&line.ts, line.level.to_uppercase(), line.ms, line.after);
    format!(
        "{ts} {level:5} attempt {} {came} route={} delivery={id} took={took}ms after={after}\n",
        seen.number, seen.route
    )
    .into_bytes()
}
