//! Attempts to send events, as a table.
use std::time::SystemTime;

use anstyle::Style;
use serde::Deserialize;

use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, GREEN, Look, PLAIN, RED, YELLOW};

/// An attempt, as the API shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) event: String,
    pub(super) endpoint: String,
    pub(super) number: u32,
    pub(super) cause: String,
    pub(super) started_at: String,
    pub(super) took: f64,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) message: Option<String>,
    pub(super) body_text: Option<String>,
}

/// The subject whose attempts a table lists: the other one has a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Endpoint,
    Event,
}

impl Attempt {
    /// Returns whether it was answered with 2xx.
    pub(super) fn is_success(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }

    /// Returns the status, or the error: `503`, `unreached_refused`.
    pub(super) fn outcome(&self) -> String {
        match (self.status, &self.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => term::clean(error),
            (None, None) => "unknown".to_owned(),
        }
    }

    /// Returns the colour of the outcome.
    pub(super) fn style(&self) -> Style {
        match self.status {
            Some(200..=299) => GREEN,
            Some(_) => RED,
            None => YELLOW,
        }
    }

    /// Describes a failure in words; empty after a success.
    pub(super) fn detail(&self) -> String {
        if self.is_success() {
            return String::new();
        }
        if let Some(message) = &self.message {
            return term::clean(message);
        }
        let text = self.body_text.as_deref().unwrap_or_default();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        line.map(term::clean).unwrap_or_default()
    }
}

/// Renders a row for each attempt.
pub(super) fn render(attempts: &[Attempt], of: Of, now: SystemTime, look: &Look) -> String {
    let (other, name): (&str, fn(&Attempt) -> &str) = match of {
        Of::Endpoint => ("EVENT", |attempt| &attempt.event),
        Of::Event => ("ENDPOINT", |attempt| &attempt.endpoint),
    };
    let columns = [
        ("#", Align::Right),
        ("STARTED", Align::Left),
        ("OUTCOME", Align::Left),
        ("TOOK", Align::Right),
        ("DETAIL", Align::Left),
        (other, Align::Left),
    ];
    let mut table = Table::new(&columns, 2);
    for attempt in attempts {
        let started = term::moment(&attempt.started_at);
        let detail = match attempt.cause.as_str() {
            "" | "schedule" => attempt.detail(),
            cause => [term::clean(cause), attempt.detail()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
        };
        table.row([
            attempt.number.to_string().into(),
            started
                .map_or_else(|| look.none().to_owned(), |at| look.time(at, now))
                .into(),
            Cell::styled(attempt.outcome(), attempt.style()),
            term::took(attempt.took).into(),
            Cell::styled(detail, PLAIN),
            term::clean(name(attempt)).into(),
        ]);
    }
    table.render(look)
}
