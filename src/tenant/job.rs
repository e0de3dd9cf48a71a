//! The job of an endpoint: work on its events that is done in steps and survives a restart.
mod cursor;
mod request;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::tenant::health::Streak;
use crate::tenant::texts::{optional_time, time};

pub use cursor::JobCursor;
pub use request::{MAX_RECOVERED, Recover, RecoverWhat, Resume, Waiting};

/// The work of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Work {
    /// The events that wait are sorted out after a pause.
    Resume(Resume),
    /// Events are sent again.
    Recover(Recover),
    /// All that waits is ended, then the row is removed.
    Remove,
}

impl Work {
    /// Returns the kind, as JSON has it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Resume(_) => "resume",
            Self::Recover(_) => "recover",
            Self::Remove => "remove",
        }
    }
}

/// The reason why a job stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// A person stopped it.
    Person,
    /// The endpoint failed too many times in a row.
    Failures,
    /// The endpoint gave no answer, or said that it is overloaded, several times in a row.
    Unavailable,
    /// The endpoint was paused.
    Paused,
}

impl StopReason {
    /// Returns the word for it, as JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Failures => "failures",
            Self::Unavailable => "unavailable",
            Self::Paused => "paused",
        }
    }
}

/// The job of an endpoint, as its row has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointJob {
    /// The work.
    pub work: Work,
    /// The name of the token with which it was started; empty for the gateway's own.
    pub actor: String,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The time at which it was started.
    #[serde(with = "time")]
    pub started: SystemTime,
    /// The events that were planned, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<u64>,
    /// The events that are done.
    pub done: u64,
    /// The failures in a row that the endpoint had when it was started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures_before: u32,
    /// The reason why it stopped before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopReason>,
    /// The time at which it ended or stopped.
    #[serde(
        default,
        with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended: Option<SystemTime>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl EndpointJob {
    /// Returns a job that has not begun.
    pub fn new(work: Work, actor: &str, reason: Option<&str>, now: SystemTime) -> Self {
        Self {
            work,
            actor: actor.to_owned(),
            reason: reason.map(str::to_owned),
            started: now,
            planned: None,
            done: 0,
            failures_before: 0,
            stopped: None,
            ended: None,
        }
    }

    /// Returns the job after a step that did `count` events.
    #[must_use]
    pub fn after_step(&self, count: u64) -> Self {
        Self {
            done: self.done.saturating_add(count),
            ..self.clone()
        }
    }

    /// Returns the job after its end.
    #[must_use]
    pub fn ended(&self, stopped: Option<StopReason>, now: SystemTime) -> Self {
        Self {
            stopped,
            ended: Some(now),
            ..self.clone()
        }
    }

    /// Returns the failures in a row since it was started.
    pub fn failures(&self, streak: Option<&Streak>) -> u32 {
        match streak {
            Some(streak) if streak.since < self.started => {
                streak.failures.saturating_sub(self.failures_before)
            }
            Some(streak) => streak.failures,
            None => 0,
        }
    }

    /// Returns the text that the store keeps.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the text that the store keeps.
    ///
    /// # Errors
    /// The text is not that of this version.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests;
