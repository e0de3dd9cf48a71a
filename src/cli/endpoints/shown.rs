//! Endpoints as the API shows them, and their state in words.
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;

use crate::cli::term::{self, Look, Sign};

/// An endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Endpoint {
    pub(super) id: String,
    pub(super) uid: Option<String>,
    pub(super) url: String,
    pub(super) types: Vec<String>,
    pub(super) versions: BTreeMap<String, u64>,
    pub(super) payload: String,
    pub(super) sign: String,
    pub(super) headers: Vec<String>,
    pub(super) rate: Option<String>,
    pub(super) concurrency: Option<u64>,
    pub(super) ordered: bool,
    pub(super) on_dead: String,
    pub(super) timeout: Option<u64>,
    pub(super) description: Option<String>,
    pub(super) state: String,
    pub(super) paused: Option<Paused>,
    pub(super) health: Option<Health>,
    /// The events whose attempts are exhausted, as far as they were counted.
    pub(super) dead: Option<u64>,
    /// The patterns of `types` that match no type of the catalogue.
    pub(super) unknown_types: Vec<String>,
    pub(super) job: Option<Job>,
}

/// The pause of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Paused {
    pub(super) why: String,
    pub(super) since: String,
    pub(super) waiting: Option<u64>,
}

/// The failures of an endpoint since its last success.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    pub(super) failing_since: String,
    pub(super) failures: u64,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) message: Option<String>,
    pub(super) first: String,
}

/// The last job of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) stop_reason: Option<String>,
    pub(super) by: String,
    pub(super) started_at: String,
    pub(super) ended_at: Option<String>,
    pub(super) planned: Option<u64>,
    pub(super) done: u64,
}

/// A secret, without its text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) ends_at: Option<String>,
    pub(super) signs: bool,
}

/// Describes patterns that match no type of the catalogue; `None` if there are none.
pub(super) fn unknown(patterns: &[String]) -> Option<String> {
    let quoted: Vec<String> = patterns.iter().map(|one| format!("`{one}`")).collect();
    (!quoted.is_empty()).then(|| {
        format!(
            "no type of the catalogue matches {}",
            term::clean(&quoted.join(", "))
        )
    })
}

/// Renders a time of the API.
pub(super) fn time(text: &str, now: SystemTime, look: &Look) -> String {
    term::moment(text).map_or_else(|| look.none().to_owned(), |at| look.time(at, now))
}

impl Endpoint {
    /// Describes the state with its sign: `✓ active`, `! failing since 13:04:33`, `✕ paused: failing, since 21 Nov 09:14`.
    pub(super) fn state(&self, now: SystemTime, look: &Look) -> (Sign, String) {
        let (sign, mut words) = self.short_state(look);
        match (&self.paused, &self.health) {
            (Some(paused), _) => {
                words.push_str(&format!(", since {}", time(&paused.since, now, look)));
            }
            (None, Some(health)) => {
                words.push_str(&format!(
                    " since {}",
                    time(&health.failing_since, now, look)
                ));
            }
            (None, None) => {}
        }
        (sign, words)
    }

    /// Describes the state with its sign in few words, for a list: `✓ active`, `! failing`, `✕ paused: failing`.
    pub(super) fn short_state(&self, look: &Look) -> (Sign, String) {
        let (sign, words) = match (&self.paused, &self.health) {
            (Some(paused), _) => {
                let why = match paused.why.as_str() {
                    "by_hand" => "by hand",
                    "gone" => "it answered 410",
                    other => other,
                };
                let sign = if paused.why == "by_hand" {
                    Sign::Warning
                } else {
                    Sign::Bad
                };
                (sign, format!("paused: {}", term::clean(why)))
            }
            (None, Some(_)) => (Sign::Warning, "failing".to_owned()),
            (None, None) if self.state == "active" => (Sign::Good, self.state.clone()),
            (None, None) => (Sign::Warning, term::clean(&self.state)),
        };
        (sign, format!("{} {words}", look.bare_sign(sign)))
    }
}

impl Job {
    /// Returns whether it has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Describes the job: `recover, running since 13:04:33: 684 of 1,204 events`.
    pub(super) fn describe(&self, now: SystemTime, look: &Look) -> String {
        let kind = term::clean(&self.kind);
        let by = if self.by.is_empty() {
            String::new()
        } else {
            format!(" by {}", term::clean(&self.by))
        };
        let done = match self.planned {
            Some(planned) => format!(
                "{} of {}",
                term::count(self.done),
                term::counted(planned, "event")
            ),
            None => term::counted(self.done, "event"),
        };
        let at = |text: &str| time(text, now, look);
        let ended = at(self.ended_at.as_deref().unwrap_or(&self.started_at));
        let state = match self.state.as_str() {
            "running" => format!("running since {}", at(&self.started_at)),
            "done" => format!("done at {ended}"),
            "stopped" => {
                let why = match self.stop_reason.as_deref() {
                    Some("person") => "by a person",
                    Some("failures") => "after failures in a row",
                    Some("paused") => "because the endpoint was paused",
                    Some("unavailable") => "because the endpoint is unavailable",
                    Some(other) => other,
                    None => "before its end",
                };
                format!("stopped {} at {ended}", term::clean(why))
            }
            other => term::clean(other),
        };
        format!("{kind}{by}, {state}: {done}")
    }
}
