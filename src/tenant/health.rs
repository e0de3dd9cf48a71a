//! The health of an endpoint: its present streak of failures, and when it is reported and paused.
//!
//! Every failed attempt changes the streak, every success ends it. The rules look at it now and then, never within an attempt.
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::clock::unix_ms;
use crate::tenant::cause::Cause;

/// The age of a streak at the first warning.
const FIRST_WARNING: Duration = Duration::from_secs(24 * 3600);
/// The age of a streak at the second warning.
const SECOND_WARNING: Duration = Duration::from_secs(72 * 3600);
/// The distinct hours in which a streak must have had failures, for a pause.
const MIN_HOURS: u32 = 24;
/// An hour in milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// The notifications about a streak that the app got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notified {
    /// None.
    #[default]
    No,
    /// None about this streak, but a warning about the one before, and nothing of its end.
    Before,
    /// The first warning.
    Once,
    /// The second warning.
    Twice,
    /// A warning. The streak is over, and the app is to be notified of that.
    Over,
}

impl Notified {
    /// Returns the number in the store.
    pub const fn number(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Before => 1,
            Self::Once => 2,
            Self::Twice => 3,
            Self::Over => u8::MAX,
        }
    }

    /// Returns the value with a number of the store.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::No),
            1 => Some(Self::Before),
            2 => Some(Self::Once),
            3 => Some(Self::Twice),
            u8::MAX => Some(Self::Over),
            _ => None,
        }
    }
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The time at which it ended.
    pub at: SystemTime,
    /// Its cause.
    pub cause: Cause,
    /// The event.
    pub event: Uuid,
}

/// Failed attempts without a success between them: the row of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    /// The time of the first failure.
    pub since: SystemTime,
    /// The failures.
    pub failures: u32,
    /// The distinct hours that had one.
    pub hours: u32,
    /// The time of the last failure.
    pub last: SystemTime,
    /// The cause of the last failure.
    pub cause: Cause,
    /// The event of the first failure.
    pub first: Uuid,
    /// The notifications that the app got.
    pub notified: Notified,
}

/// The change of an endpoint's row after a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSuccess {
    /// The row is removed.
    Remove,
    /// The row stays until the app was notified.
    Keep(Streak),
}

impl Streak {
    /// Returns the row after a failure. `before` is the row as it was.
    pub fn after_failure(before: Option<Self>, failure: &Failure) -> Self {
        let notified = match before {
            Some(streak) if streak.notified != Notified::Over => return streak.with(failure),
            Some(_) => Notified::Before,
            None => Notified::No,
        };
        Self {
            since: failure.at,
            failures: 1,
            hours: 1,
            last: failure.at,
            cause: failure.cause,
            first: failure.event,
            notified,
        }
    }

    /// Returns the streak with one failure more.
    ///
    /// Attempts may end in another order than they are recorded in, and the clock may be set back. Only an hour after all others counts, so there are
    /// never more of them than there were.
    fn with(self, failure: &Failure) -> Self {
        let is_new_hour = hour(failure.at) > hour(self.last);
        Self {
            failures: self.failures.saturating_add(1),
            hours: self.hours.saturating_add(u32::from(is_new_hour)),
            last: self.last.max(failure.at),
            cause: failure.cause,
            ..self
        }
    }

    /// Returns the change after a success.
    pub fn after_success(self) -> AfterSuccess {
        if self.notified == Notified::No {
            AfterSuccess::Remove
        } else {
            AfterSuccess::Keep(Self {
                notified: Notified::Over,
                ..self
            })
        }
    }

    /// Returns the row after a notification was stored.
    #[must_use]
    pub fn after_warning(self, notified: Notified) -> Self {
        Self { notified, ..self }
    }
}

/// Returns the hour since the Unix epoch.
fn hour(at: SystemTime) -> u64 {
    unix_ms(at) / HOUR_MS
}

/// The rules by which a failing endpoint is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseRules {
    /// The age of the streak.
    pub after: Duration,
    /// The failures in it.
    pub failures: u32,
    /// The distinct hours in it that had one.
    pub hours: u32,
}

impl PauseRules {
    /// Returns the rules for an age and a number of failures. The failures must be of 24 distinct hours, or of each hour of a shorter age.
    pub fn new(after: Duration, failures: u32) -> Self {
        let hours = u32::try_from(after.as_secs() / 3600).unwrap_or(MIN_HOURS);
        Self {
            after,
            failures,
            hours: hours.clamp(1, MIN_HOURS),
        }
    }
}

/// The step that is due for a failing endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// None.
    Nothing,
    /// The app is warned, and the row says so.
    Warn(Notified),
    /// The endpoint is paused, and the app notified.
    Pause,
    /// The app is notified that the endpoint has recovered, and the row is removed.
    Recovered,
}

/// Decides the step that is due at `now`.
pub fn due(streak: &Streak, rules: &PauseRules, now: SystemTime) -> Due {
    if streak.notified == Notified::Over {
        return Due::Recovered;
    }
    // a clock that was set back makes no streak older
    let age = now.duration_since(streak.since).unwrap_or_default();
    let is_long = age >= rules.after;
    if is_long && streak.failures >= rules.failures && streak.hours >= rules.hours {
        return Due::Pause;
    }
    match streak.notified {
        Notified::No | Notified::Before | Notified::Once if age >= SECOND_WARNING => {
            Due::Warn(Notified::Twice)
        }
        Notified::No | Notified::Before if age >= FIRST_WARNING => Due::Warn(Notified::Once),
        Notified::No | Notified::Before | Notified::Once | Notified::Twice | Notified::Over => {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests;
