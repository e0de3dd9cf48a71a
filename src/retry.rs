//! When a delivery is tried again, and when no more: a pure function of the tries so far, the delivery's age, what the last try came to and a random number.
use std::time::{Duration, SystemTime};

use http::StatusCode;

/// The longest wait that an upstream's `Retry-After` can ask for, unless the schedule says otherwise.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// The longest wait between two tries that a schedule can have; what is beyond is a mistake.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What one try came to, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The upstream gave this final status, and asked for this wait (see [`retry_after`]).
    Answered(StatusCode, Option<Duration>),
    /// There is no answer.
    NoAnswer,
}

/// What follows from a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was handed on.
    Delivered,
    /// The next try comes after this time.
    RetryIn(Duration),
    /// There is no next try.
    Dead(Reason),
}

/// Why there is no next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The upstream's status is final.
    Status(StatusCode),
    /// As many tries were made as the schedule has.
    Attempts,
    /// The delivery is as old as the schedule lets it become.
    Age,
}

/// Where a delivery stands after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Tries made, the last one among them: 1 after the first.
    pub tries: u32,
    /// How long ago the delivery was accepted, or given a fresh budget.
    pub age: Duration,
}

/// Waits that grow by a factor, each drawn evenly between nothing and its bound: so many deliveries that failed together do not come again together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub initial: Duration,
    /// How much each bound is greater than the one before it; 1 at least.
    pub factor: f64,
    /// The greatest bound.
    pub max: Duration,
    /// The attempts in all, 1 at least; `None`: as many as fit into the greatest age.
    pub max_attempts: Option<u32>,
}

/// The waits of a schedule.
#[derive(Clone, Debug, PartialEq)]
enum Waits {
    Growing(Backoff),
    Fixed(Box<[Duration]>),
}

/// When a delivery is tried again. Made by [`Schedule::growing`] and [`Schedule::fixed`] alone, so that it cannot be nonsense.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    waits: Waits,
    max_age: Duration,
    longest_asked: Duration,
    terminal: Box<[StatusCode]>,
}

/// What is wrong with a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// No wait at all hammers an upstream that is down.
    #[error("the first wait is zero: a dead upstream would be tried without a pause")]
    NoInitial,
    /// Waits that shrink.
    #[error("the factor is below 1, or no number: waits would shrink")]
    Factor,
    /// The bound is below the first wait.
    #[error("the longest wait is shorter than the first")]
    MaxBelowInitial,
    /// No tries.
    #[error("there is no attempt at all")]
    NoAttempts,
    /// No age.
    #[error("the greatest age is zero: nothing would ever be tried again")]
    NoAge,
    /// A wait of years.
    #[error("a wait is longer than a year")]
    TooLong,
    /// An empty list.
    #[error("the list of waits is empty: write one attempt instead")]
    NoWaits,
}

impl Schedule {
    /// Waits that grow, full jitter. Nothing is tried once it is `max_age` old.
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
        if max > LONGEST {
            return Err(InvalidSchedule::TooLong);
        }
        if max_attempts == Some(0) {
            return Err(InvalidSchedule::NoAttempts);
        }
        Self::new(Waits::Growing(backoff), max_age)
    }

    /// Waits as written, without jitter: one try more than there are waits.
    ///
    /// # Errors
    /// See [`InvalidSchedule`].
    pub fn fixed(
        waits: impl Into<Box<[Duration]>>,
        max_age: Duration,
    ) -> Result<Self, InvalidSchedule> {
        let waits = waits.into();
        match waits.first() {
            None => return Err(InvalidSchedule::NoWaits),
            Some(first) if first.is_zero() => return Err(InvalidSchedule::NoInitial),
            Some(_) => {}
        }
        if waits.iter().any(|wait| *wait > LONGEST) {
            return Err(InvalidSchedule::TooLong);
        }
        Self::new(Waits::Fixed(waits), max_age)
    }

    fn new(waits: Waits, max_age: Duration) -> Result<Self, InvalidSchedule> {
        if max_age.is_zero() {
            return Err(InvalidSchedule::NoAge);
        }
        Ok(Self {
            waits,
            max_age,
            longest_asked: LONGEST_ASKED,
            terminal: Box::default(),
        })
    }

    /// Ends at once on these statuses too; on 410 it always does.
    #[must_use]
    pub fn ending_on(mut self, terminal: impl Into<Box<[StatusCode]>>) -> Self {
        self.terminal = terminal.into();
        self
    }

    /// Waits at most this long for an upstream that asks for a wait; a day unless said.
    #[must_use]
    pub fn asked_at_most(mut self, longest: Duration) -> Self {
        self.longest_asked = longest.min(LONGEST);
        self
    }

    /// Returns the attempts in all; `None` if only the age ends them.
    pub fn max_attempts(&self) -> Option<u32> {
        match &self.waits {
            Waits::Growing(backoff) => backoff.max_attempts,
            Waits::Fixed(waits) => Some(
                u32::try_from(waits.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1),
            ),
        }
    }

    /// The age at which nothing is tried any more.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The longest wait after try `tries`, whatever is drawn; what an upstream asks for comes on top of it.
    pub fn bound(&self, tries: u32) -> Duration {
        match &self.waits {
            Waits::Growing(Backoff {
                initial,
                factor,
                max,
                ..
            }) => {
                let grown = initial.as_secs_f64() * factor.powf(f64::from(tries.saturating_sub(1)));
                // too large for a duration, or no number at all: the greatest bound
                Duration::try_from_secs_f64(grown).unwrap_or(*max).min(*max)
            }
            Waits::Fixed(waits) => {
                let place = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
                waits
                    .get(place)
                    .or(waits.last())
                    .copied()
                    .unwrap_or(LONGEST)
            }
        }
    }

    /// Returns what follows from an attempt that counts. `random` is any number, drawn anew for each call.
    pub fn verdict(&self, standing: Standing, tried: Tried, random: u64) -> Verdict {
        if let Some(end) = self.end(tried) {
            return end;
        }
        if self
            .max_attempts()
            .is_some_and(|most| standing.tries >= most)
        {
            return Verdict::Dead(Reason::Attempts);
        }
        self.again(standing, tried, self.wait(standing.tries, random))
    }

    /// Returns the wait after attempt `tries`, unless the app asks for more. `random` is any number, drawn anew for each call.
    pub fn wait(&self, tries: u32, random: u64) -> Duration {
        match &self.waits {
            Waits::Growing(_) => drawn(self.bound(tries), random),
            Waits::Fixed(_) => self.bound(tries),
        }
    }

    /// Returns the longest wait that an app can ask for.
    pub fn longest_asked(&self) -> Duration {
        self.longest_asked
    }

    /// Returns what follows from a probe that found its target away, and does not count. The delivery waits `longest` at most, unless the app
    /// asks for more.
    pub fn verdict_of_probe(&self, standing: Standing, tried: Tried, longest: Duration) -> Verdict {
        self.end(tried)
            .unwrap_or_else(|| self.again(standing, tried, self.bound(standing.tries).min(longest)))
    }

    /// What the status alone decides.
    fn end(&self, tried: Tried) -> Option<Verdict> {
        match tried {
            Tried::Answered(status, _) if status.is_success() => Some(Verdict::Delivered),
            Tried::Answered(status, _)
                if status == StatusCode::GONE || self.terminal.contains(&status) =>
            {
                Some(Verdict::Dead(Reason::Status(status)))
            }
            Tried::Answered(..) | Tried::NoAnswer => None,
        }
    }

    /// The next attempt after `own`, or when the app asks for it. The last one comes at the end of the age, however long the app asks to wait.
    fn again(&self, standing: Standing, tried: Tried, own: Duration) -> Verdict {
        let asked = match tried {
            Tried::Answered(
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
                asked,
            ) => asked.unwrap_or_default(),
            Tried::Answered(..) | Tried::NoAnswer => Duration::ZERO,
        };
        match self
            .max_age
            .checked_sub(standing.age)
            .filter(|left| !left.is_zero())
        {
            Some(left) => Verdict::RetryIn(own.max(asked.min(self.longest_asked)).min(left)),
            None => Verdict::Dead(Reason::Age),
        }
    }
}

/// A time between nothing and `bound`, evenly by `random`.
fn drawn(bound: Duration, random: u64) -> Duration {
    let nanos = bound.as_nanos().saturating_mul(u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(bound)
}

/// The wait that a `Retry-After` header asks for: seconds, or a date, which is compared with `now`. None if it is neither.
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub fn parse_retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // more digits than a number has are still a number of seconds
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
