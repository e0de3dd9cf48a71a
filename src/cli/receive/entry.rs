//! The line of a delivery, for people and as JSON; and the summary at the end.
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::json;

use crate::cli::receive::data::DataVerdict;
use crate::cli::receive::judge::{Judged, Verdict};
use crate::cli::term::{self, BOLD, Look, Sign};
use crate::clock::rfc3339;

/// The number of characters that stay of an ID where the terminal is too narrow for the whole line.
const SHORT_ID: usize = 12;

/// A delivery and what was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The time at which it was complete.
    pub(super) received_at: SystemTime,
    pub(super) judged: Judged,
    /// The attempt of its event, if it is authentic.
    pub(super) attempt: Option<Attempt>,
    pub(super) outcome: Outcome,
}

/// An attempt of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Its number, counted from 1.
    pub(super) number: u32,
    /// The number of attempts that fail, if it is one of those.
    pub(super) failing: Option<u32>,
    /// Whether an earlier one was answered with 2xx.
    pub(super) delivered_before: bool,
}

/// The response that the sender got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer.
    Answered(StatusCode),
    /// An answer that comes a byte a second.
    Dripping(StatusCode),
    /// Nothing: the connection stays open.
    Hanging,
    /// Nothing: the connection was closed.
    Dropped,
    /// Nothing: the sender closed the connection first, after this time.
    GaveUp(Duration),
}

impl Entry {
    /// Renders the line: `13:04:33  ✓ invoice.paid  msg_…  signed by secret-1, 0 s old  answered 500 (1 of 3)`.
    pub(super) fn text(&self, look: &Look) -> String {
        let again = self.attempt.is_some_and(|attempt| attempt.delivered_before);
        let has_bad_data = matches!(self.judged.data, Some(DataVerdict::Invalid { .. }));
        let sign = look.sign(match self.judged.verdict {
            Verdict::Authentic { .. } if again || has_bad_data => Sign::Warning,
            Verdict::Authentic { .. } => Sign::Good,
            Verdict::NotAuthentic { .. } | Verdict::Unreadable { .. } => Sign::Bad,
        });
        let of_sender = |text: &Option<String>| {
            text.as_deref()
                .map_or_else(|| look.none().to_owned(), term::clean)
        };
        let id = of_sender(&self.judged.id);
        let line = |id: &str| {
            format!(
                "{}  {sign} {BOLD}{}{BOLD:#}  {id}  {}  {}",
                look.time(self.received_at, self.received_at),
                of_sender(&self.judged.event_type),
                self.verdict(again),
                self.answer()
            )
        };
        let whole = line(&id);
        let columns = anstream::adapter::strip_str(&whole).to_string();
        match look.width {
            Some(width) if columns.chars().count() > width && id.chars().count() > SHORT_ID => {
                let begin: String = id.chars().take(SHORT_ID).collect();
                line(&format!("{begin}{}", if look.utf8 { "…" } else { "~" }))
            }
            Some(_) | None => whole,
        }
    }

    fn verdict(&self, again: bool) -> String {
        match &self.judged.verdict {
            Verdict::Authentic {
                secret, signed_at, ..
            } => {
                let age = signed_at
                    .map(|at| self.received_at.duration_since(at).unwrap_or_default())
                    .map_or_else(String::new, |age| format!(", {} old", term::wait(age)));
                let again = if again { "; delivered before" } else { "" };
                let data = self.judged.data.as_ref();
                let data = data.map_or_else(String::new, |data| format!("; {}", data.describe()));
                format!(
                    "signed by {}{age}{again}{}",
                    term::clean(secret),
                    term::clean(&data)
                )
            }
            Verdict::NotAuthentic { message, .. } => message.clone(),
            Verdict::Unreadable { message, .. } => (*message).to_owned(),
        }
    }

    fn answer(&self) -> String {
        let text = match self.outcome {
            Outcome::Answered(status) => format!("answered {}", status.as_u16()),
            Outcome::Dripping(status) => {
                format!("answering {}, a byte a second", status.as_u16())
            }
            Outcome::Hanging => "not answered".to_owned(),
            Outcome::Dropped => "connection closed".to_owned(),
            Outcome::GaveUp(after) => format!(
                "the sender gave up after {}",
                term::took(after.as_secs_f64())
            ),
        };
        match self.attempt {
            Some(Attempt {
                number,
                failing: Some(count),
                ..
            }) => format!("{text} ({number} of {count})"),
            Some(Attempt { number, .. }) if number > 1 => format!("{text} (attempt {number})"),
            Some(_) | None => text,
        }
    }

    /// Returns the line as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        let (verdict, message) = match &self.judged.verdict {
            Verdict::Authentic { .. } => ("authentic", None),
            Verdict::NotAuthentic { message, .. } => ("refused", Some(&**message)),
            Verdict::Unreadable { message, .. } => ("refused", Some(*message)),
        };
        let (secret, signed_at) = match &self.judged.verdict {
            Verdict::Authentic {
                secret, signed_at, ..
            } => (Some(secret), *signed_at),
            Verdict::NotAuthentic { .. } | Verdict::Unreadable { .. } => (None, None),
        };
        let (data_version, data_at, data_message) = match &self.judged.data {
            Some(DataVerdict::Valid(version)) => (Some(*version), None, None),
            Some(DataVerdict::Invalid {
                version,
                at,
                message,
            }) => (*version, at.as_deref(), Some(&**message)),
            None => (None, None, None),
        };
        let (outcome, status) = match self.outcome {
            Outcome::Answered(status) => ("answered", Some(status.as_u16())),
            Outcome::Dripping(status) => ("dripping", Some(status.as_u16())),
            Outcome::Hanging => ("hanging", None),
            Outcome::Dropped => ("dropped", None),
            Outcome::GaveUp(_) => ("gave_up", None),
        };
        json!({
            "received_at": rfc3339(self.received_at),
            "verdict": verdict,
            "code": self.judged.verdict.code(),
            "message": message,
            "delivery_id": self.judged.id,
            "event_type": self.judged.event_type,
            "secret": secret,
            "signed_at": signed_at.map(rfc3339),
            "body_bytes": self.judged.body_bytes,
            "data_valid": self.judged.data.as_ref().map(DataVerdict::is_valid),
            "data_version": data_version,
            "data_at": data_at,
            "data_message": data_message,
            "attempt": self.attempt.map(|attempt| attempt.number),
            "delivered_before": self.attempt.map(|attempt| attempt.delivered_before),
            "outcome": outcome,
            "status": status,
        })
    }
}

/// The numbers at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    deliveries: u64,
    events: u64,
    succeeded: u64,
    failed: u64,
    refused: u64,
}

impl Summary {
    /// Counts a delivery.
    pub(super) fn add(&mut self, entry: &Entry) {
        self.deliveries += 1;
        let Some(attempt) = entry.attempt else {
            self.refused += 1;
            return;
        };
        if attempt.number == 1 {
            self.events += 1;
        }
        match entry.outcome {
            Outcome::Answered(status) if status.is_success() => self.succeeded += 1,
            Outcome::Answered(_)
            | Outcome::Dripping(_)
            | Outcome::Hanging
            | Outcome::Dropped
            | Outcome::GaveUp(_) => self.failed += 1,
        }
    }

    /// Renders the numbers: `12 deliveries of 4 events: 4 answered with success, 7 not; 1 was not authentic`.
    pub(super) fn text(&self) -> String {
        let deliveries = match self.deliveries {
            1 => "1 delivery".to_owned(),
            many => format!("{} deliveries", term::count(many)),
        };
        let mut text = format!(
            "{deliveries} of {}: {} answered with success, {} not",
            term::counted(self.events, "event"),
            term::count(self.succeeded),
            term::count(self.failed)
        );
        if self.refused > 0 {
            text.push_str(&format!("; {} not authentic", term::count(self.refused)));
        }
        text
    }
}
