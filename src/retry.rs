//! Decides whether and when a failed delivery is attempted again. Pure: a function of the attempts so far, the delivery's age, the last attempt
//! and a random number.
use std::time::{Duration, SystemTime};

use http::StatusCode;

/// The longest delay that an upstream's `Retry-After` can ask for, unless the schedule sets another.
const DEFAULT_MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The longest wait that a schedule can have. A longer one is a mistake in the config.
const MAX_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// The result of the last attempt, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAttempt {
    /// The upstream gave this final status, and asked for this delay (see [`parse_retry_after`]).
    Answered(StatusCode, Option<Duration>),
    /// There is no answer.
    NoAnswer,
}

/// The decision after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// The delivery is delivered.
    Delivered,
    /// The next attempt follows after this time.
    RetryIn(Duration),
    /// There is no next attempt.
    Dead(Reason),
}

/// The reason why a delivery is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The upstream's status is final.
    Status(StatusCode),
    /// The attempts of the schedule are exhausted.
    Attempts,
    /// The delivery has reached the greatest age of the schedule.
    Age,
    /// Its endpoint was paused for too long, or too many deliveries wait for paused endpoints of its tenant.
    Paused,
    /// Its endpoint was removed.
    Removed,
}

/// The state of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryState {
    /// The attempts made, including the last one: 1 after the first.
    pub attempts: u32,
    /// The time since the delivery was accepted or its budget was renewed.
    pub age: Duration,
}

/// Waits that grow by a factor. Each is drawn evenly between zero and its bound, so that many deliveries that failed together are not all
/// retried at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub initial: Duration,
    /// The factor between one bound and the next; at least 1.
    pub factor: f64,
    /// The greatest bound.
    pub max: Duration,
    /// The attempts in all, at least 1; `None` means as many as fit into the greatest age.
    pub max_attempts: Option<u32>,
}

/// The waits of a schedule.
#[derive(Clone, Debug, PartialEq)]
enum Waits {
    Growing(Backoff),
    Fixed {
        waits: Box<[Duration]>,
        jitter: Jitter,
    },
}

/// The part of a fixed wait by which it may be shorter or longer, so that deliveries that failed together are not all retried at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter {
    percent: u32,
}

impl Jitter {
    /// The largest jitter, in percent. A wait stays at least half as long as written.
    pub const MAX_PERCENT: u32 = 50;

    /// Makes a jitter of so many percent; `None` if that is more than [`Self::MAX_PERCENT`].
    pub fn percent(percent: u32) -> Option<Self> {
        (percent <= Self::MAX_PERCENT).then_some(Self { percent })
    }

    /// Returns the most by which `wait` may change.
    fn of(self, wait: Duration) -> Duration {
        wait.saturating_mul(self.percent) / 100
    }
}

/// A retry schedule. Only [`Schedule::growing`] and [`Schedule::fixed`] make one, so it is always valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    waits: Waits,
    max_age: Duration,
    max_retry_after: Duration,
    terminal: Box<[StatusCode]>,
}

/// A schedule that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Without a wait, an upstream that is down gets attempts without a pause.
    #[error("the first wait is zero: an upstream that is down would get attempts without a pause")]
    NoInitial,
    /// Waits would shrink.
    #[error("the factor is not a number of at least 1: waits would shrink")]
    Factor,
    /// The bound is below the first wait.
    #[error("the longest wait is shorter than the first")]
    MaxBelowInitial,
    /// There are no attempts.
    #[error("the schedule has no attempt")]
    NoAttempts,
    /// The age is zero.
    #[error("the greatest age is zero: no delivery would be retried")]
    NoAge,
    /// A wait is longer than a year.
    #[error("a wait is longer than a year")]
    TooLong,
    /// The list of waits is empty.
    #[error("the list of waits is empty: write one attempt instead")]
    NoWaits,
}

impl Schedule {
    /// Makes a schedule of waits that grow, with full jitter. Nothing is attempted once it is `max_age` old.
    ///
    /// # Errors
    /// See [`InvalidSchedule`].
    pub fn growing(backoff: Backoff, max_age: Duration) -> Result<Self, InvalidSchedule> {
        let Backoff {
            initial,
            factor,
            max,
            max_attempts,
        } = backoff;
        if initial.is_zero() {
            return Err(InvalidSchedule::NoInitial);
        }
        if !factor.is_finite() || factor < 1.0 {
            return Err(InvalidSchedule::Factor);
        }
        if max < initial {
            return Err(InvalidSchedule::MaxBelowInitial);
        }
        if max > MAX_WAIT {
            return Err(InvalidSchedule::TooLong);
        }
        if max_attempts == Some(0) {
            return Err(InvalidSchedule::NoAttempts);
        }
        Self::new(Waits::Growing(backoff), max_age)
    }

    /// Makes a schedule of these waits, as written: one attempt more than there are waits.
    ///
    /// # Errors
    /// See [`InvalidSchedule`].
    pub fn fixed(
        waits: impl Into<Box<[Duration]>>,
        max_age: Duration,
    ) -> Result<Self, InvalidSchedule> {
        Self::fixed_with(waits, Jitter::default(), max_age)
    }

    /// Makes a schedule of these waits, each with a jitter drawn anew.
    ///
    /// # Errors
    /// See [`InvalidSchedule`].
    pub fn fixed_with(
        waits: impl Into<Box<[Duration]>>,
        jitter: Jitter,
        max_age: Duration,
    ) -> Result<Self, InvalidSchedule> {
        let waits = waits.into();
        match waits.first() {
            None => return Err(InvalidSchedule::NoWaits),
            Some(first) if first.is_zero() => return Err(InvalidSchedule::NoInitial),
            Some(_) => {}
        }
        if waits.iter().any(|wait| *wait > MAX_WAIT) {
            return Err(InvalidSchedule::TooLong);
        }
        Self::new(Waits::Fixed { waits, jitter }, max_age)
    }

    fn new(waits: Waits, max_age: Duration) -> Result<Self, InvalidSchedule> {
        if max_age.is_zero() {
            return Err(InvalidSchedule::NoAge);
        }
        Ok(Self {
            waits,
            max_age,
            max_retry_after: DEFAULT_MAX_RETRY_AFTER,
            terminal: Box::default(),
        })
    }

    /// Makes these statuses final too; 410 always is.
    #[must_use]
    pub fn ending_on(mut self, terminal: impl Into<Box<[StatusCode]>>) -> Self {
        self.terminal = terminal.into();
        self
    }

    /// Bounds the delay that an upstream can ask for; a day by default.
    #[must_use]
    pub fn with_max_retry_after(mut self, longest: Duration) -> Self {
        self.max_retry_after = longest.min(MAX_WAIT);
        self
    }

    /// Returns the attempts in all; `None` if only the age ends them.
    pub fn max_attempts(&self) -> Option<u32> {
        match &self.waits {
            Waits::Growing(backoff) => backoff.max_attempts,
            Waits::Fixed { waits, .. } => Some(
                u32::try_from(waits.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1),
            ),
        }
    }

    /// Returns the age at which nothing is attempted any more.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Returns the longest wait that can be drawn after attempt `attempts`. An upstream may ask for more.
    pub fn bound(&self, attempts: u32) -> Duration {
        match &self.waits {
            Waits::Growing(Backoff {
                initial,
                factor,
                max,
                ..
            }) => {
                let grown =
                    initial.as_secs_f64() * factor.powf(f64::from(attempts.saturating_sub(1)));
                // too large for a duration, or not a number: the greatest bound
                Duration::try_from_secs_f64(grown).unwrap_or(*max).min(*max)
            }
            Waits::Fixed { waits, jitter } => {
                let wait = nth(waits, attempts);
                wait.saturating_add(jitter.of(wait))
            }
        }
    }

    /// Decides what follows from an attempt that counts. `random` must be drawn anew for each call.
    pub fn decide(&self, state: RetryState, last: LastAttempt, random: u64) -> RetryDecision {
        if let Some(end) = self.end(last) {
            return end;
        }
        if self
            .max_attempts()
            .is_some_and(|most| state.attempts >= most)
        {
            return RetryDecision::Dead(Reason::Attempts);
        }
        self.retry(state, last, self.wait(state.attempts, random))
    }

    /// Returns the wait after attempt `attempts`, unless the app asks for more. `random` must be drawn anew for each call.
    pub fn wait(&self, attempts: u32, random: u64) -> Duration {
        match &self.waits {
            Waits::Growing(_) => drawn(self.bound(attempts), random),
            Waits::Fixed { waits, jitter } => {
                let wait = nth(waits, attempts);
                let most = jitter.of(wait);
                wait.saturating_sub(most)
                    .saturating_add(drawn(most.saturating_mul(2), random))
            }
        }
    }

    /// Returns the longest delay that an app can ask for.
    pub fn max_retry_after(&self) -> Duration {
        self.max_retry_after
    }

    /// Decides what follows from a probe that found its target unavailable, and does not count. The delivery waits `longest` at most, unless
    /// the app asks for more.
    pub fn decide_after_probe(
        &self,
        state: RetryState,
        last: LastAttempt,
        longest: Duration,
    ) -> RetryDecision {
        self.end(last)
            .unwrap_or_else(|| self.retry(state, last, self.bound(state.attempts).min(longest)))
    }

    /// Returns the decision if the status alone makes it.
    fn end(&self, last: LastAttempt) -> Option<RetryDecision> {
        match last {
            LastAttempt::Answered(status, _) if status.is_success() => {
                Some(RetryDecision::Delivered)
            }
            LastAttempt::Answered(status, _)
                if status == StatusCode::GONE || self.terminal.contains(&status) =>
            {
                Some(RetryDecision::Dead(Reason::Status(status)))
            }
            LastAttempt::Answered(..) | LastAttempt::NoAnswer => None,
        }
    }

    /// Schedules the next attempt after `own`, or after the delay that the app asks for if that is longer, but at the end of the age at the
    /// latest.
    fn retry(&self, state: RetryState, last: LastAttempt, own: Duration) -> RetryDecision {
        let retry_after = match last {
            LastAttempt::Answered(
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
                retry_after,
            ) => retry_after.unwrap_or_default(),
            LastAttempt::Answered(..) | LastAttempt::NoAnswer => Duration::ZERO,
        };
        match self
            .max_age
            .checked_sub(state.age)
            .filter(|left| !left.is_zero())
        {
            Some(left) => {
                RetryDecision::RetryIn(own.max(retry_after.min(self.max_retry_after)).min(left))
            }
            None => RetryDecision::Dead(Reason::Age),
        }
    }
}

/// Returns the fixed wait after attempt `attempts`; the last one again after those that are written.
fn nth(waits: &[Duration], attempts: u32) -> Duration {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    waits
        .get(index)
        .or(waits.last())
        .copied()
        .unwrap_or(MAX_WAIT)
}

/// Returns a time between zero and `bound`, evenly by `random`.
fn drawn(bound: Duration, random: u64) -> Duration {
    let nanos = bound.as_nanos().saturating_mul(u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(bound)
}

/// Parses a `Retry-After` header: seconds, or a date, which is compared with `now`. Returns `None` if it is neither.
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub fn parse_retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // more digits than a `u64` holds are still a number of seconds
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
