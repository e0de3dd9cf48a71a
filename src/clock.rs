//! The only module that reads a clock.
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::unconstrained;
use tokio::time::error::Elapsed;
use tokio::time::{Sleep, sleep_until, timeout_at};

use crate::units::saturating;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time: compared with timestamps that providers sign, shown and stored.
    pub wall: SystemTime,
    /// Monotonic time: deadlines, leases and rates.
    pub mono: Instant,
}

impl Now {
    /// Milliseconds since the Unix epoch; 0 for a clock set before it.
    pub fn unix_ms(&self) -> u64 {
        unix_ms(self.wall)
    }
}

/// Milliseconds from the Unix epoch to `wall`; 0 for a time before it.
pub fn unix_ms(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH)
        .map_or(0, |since| saturating(since.as_millis()))
}

/// Returns a wall time without the part of it below a millisecond: stores keep whole milliseconds.
pub fn whole_ms(wall: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms(wall))
}

/// Returns `at` as RFC 3339 in UTC to the millisecond, such as `2026-11-24T02:01:00.000Z`. Empty for a time that no calendar has.
///
/// Each request writes the present once or twice, so the text of the last second is cached.
pub fn rfc3339(at: SystemTime) -> String {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let written = || {
        jiff::Timestamp::try_from(at)
            .map(|at| format!("{at:.3}"))
            .unwrap_or_default()
    };
    let Ok(since) = at.duration_since(UNIX_EPOCH) else {
        return written();
    };
    // a thread that ends has no cache any more
    SECOND
        .try_with(|cached| with_milliseconds(&mut cached.borrow_mut(), at, since))
        .unwrap_or_else(|_| written())
}

/// Returns the text of a time, of which the seconds may be cached.
fn with_milliseconds(cached: &mut (u64, String), at: SystemTime, since: Duration) -> String {
    let (second, text) = cached;
    if *second != since.as_secs() || text.is_empty() {
        *second = since.as_secs();
        *text = jiff::Timestamp::try_from(at)
            .map(|at| format!("{at:.0}"))
            .unwrap_or_default();
    }
    let Some(seconds) = text.strip_suffix('Z') else {
        return String::new();
    };
    let mut whole = String::with_capacity(text.len() + 4);
    whole.push_str(seconds);
    whole.push('.');
    let ms = since.subsec_millis();
    let digits = [ms / 100, ms / 10 % 10, ms % 10];
    whole.extend(digits.map(|digit| char::from_digit(digit, 10).unwrap_or('0')));
    whole.push('Z');
    whole
}

/// Parses RFC 3339, as [`rfc3339`] writes it.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let at: jiff::Timestamp = text.parse().ok()?;
    let since = u64::try_from(at.as_millisecond()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(since))
}

/// Returns the day of `at` in UTC for people, such as `3 November 2026`. Empty for a time that no calendar has.
pub fn day(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|at| at.strftime("%-d %B %Y").to_string())
        .unwrap_or_default()
}

/// One reading of the time by which dates of the config (`expires`, `not_before`, `until`, certificates) are judged.
#[derive(Clone, Debug)]
pub struct Dates {
    time: SystemTime,
    ended: Arc<BTreeSet<SystemTime>>,
}

impl Dates {
    /// Returns the reading of a wall clock that is trusted as it is: for whatever is no running gateway.
    pub fn at(wall: SystemTime) -> Self {
        Self {
            time: wall,
            ended: Arc::default(),
        }
    }

    /// Returns whether what begins at `date` has begun.
    pub fn has_begun(&self, date: SystemTime) -> bool {
        date <= self.time
    }

    /// Returns whether what ends at `date` has ended, now or before the clock was set back.
    pub fn has_ended(&self, date: SystemTime) -> bool {
        date <= self.time || self.ended.contains(&date)
    }

    /// Returns the time itself, to tell how far away a date is.
    pub fn time(&self) -> SystemTime {
        self.time
    }
}

/// The time by which dates of the config are judged in a running gateway.
///
/// It runs with the monotonic clock, so that setting the wall clock neither revives an expired secret or a route's `mode: observe`, nor
/// ends what is still valid. Its owner calls [`Self::follow`] once the wall clock has held for a while. A date that has ended stays ended.
#[derive(Clone, Debug)]
pub struct ConfigTime {
    base: Now,
    ended: Arc<BTreeSet<SystemTime>>,
}

impl ConfigTime {
    /// Begins at the wall clock of `now`.
    pub fn new(now: Now) -> Self {
        Self {
            base: now,
            ended: Arc::default(),
        }
    }

    /// Reads it.
    pub fn read(&self, mono: Instant) -> Dates {
        let elapsed = mono.saturating_duration_since(self.base.mono);
        Dates {
            time: self
                .base
                .wall
                .checked_add(elapsed)
                .unwrap_or(self.base.wall),
            ended: Arc::clone(&self.ended),
        }
    }

    /// Returns the time that follows the wall clock of `now`. A date of `dates`, all those of the config, that has passed stays passed.
    #[must_use]
    pub fn follow(&self, now: Now, dates: impl IntoIterator<Item = SystemTime>) -> Self {
        let before = self.read(now.mono);
        if now.wall >= before.time {
            return Self {
                base: now,
                ended: before.ended,
            };
        }
        let ended = dates
            .into_iter()
            .filter(|date| before.has_ended(*date))
            .chain(self.ended.iter().copied());
        Self {
            base: now,
            ended: Arc::new(ended.collect()),
        }
    }
}

/// A source of time. The edges ask it; the rules are given a [`Now`].
pub trait Clock: Send + Sync + Debug {
    /// Reads both clocks.
    fn now(&self) -> Now;

    /// Reads the monotonic clock alone.
    fn mono(&self) -> Instant {
        self.now().mono
    }
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads them")]
    fn now(&self) -> Now {
        Now {
            wall: SystemTime::now(),
            mono: self.mono(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    fn mono(&self) -> Instant {
        Instant::now()
    }
}

/// Polls a future once, and returns its output if it is ready.
pub async fn at_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Awaits `future` until `deadline`. A future that is ready at once costs no timer and no reading of the clock.
///
/// # Errors
/// The deadline passed.
pub async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match at_once(future.as_mut()).await {
        Some(output) => Ok(output),
        None => timeout_at(deadline.into(), future).await,
    }
}

/// Waits until the next multiple of `period` since the first call. Loops with equal or multiple periods wake at the same moment, so an idle
/// process wakes less often than with a timer for each of them.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub async fn tick(period: Duration) {
    static BEGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
    let now = tokio::time::Instant::now();
    let since = now.saturating_duration_since(*BEGIN.get_or_init(|| now));
    sleep_until(now + until_multiple(since, period)).await;
}

/// Returns the time from `since` to the next multiple of `period`.
fn until_multiple(since: Duration, period: Duration) -> Duration {
    let over = since.as_nanos().checked_rem(period.as_nanos());
    period.saturating_sub(Duration::from_nanos(saturating(over.unwrap_or(0))))
}

/// A timer for deadlines that follow each other.
///
/// The runtime keeps its timers in a list behind a lock; each is entered and taken out again. One that is kept, and whose next deadline is later than
/// the one before, costs one atomic change.
#[derive(Debug)]
pub struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Makes a timer. It costs least if `deadline` is the first one.
    pub fn new(deadline: Instant) -> Self {
        Self(Box::pin(sleep_until(deadline.into())))
    }

    /// Awaits `future` until `deadline`; nothing if the deadline passed. A future that is ready at once does not touch the timer.
    pub async fn within<F: Future>(&mut self, deadline: Instant, future: F) -> Option<F::Output> {
        let (mut future, mut is_set) = (pin!(future), false);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if !std::mem::replace(&mut is_set, true) {
                self.0.as_mut().reset(deadline.into());
            }
            // tokio does not check a timer in a task that has used up its turn
            let ended = pin!(unconstrained(self.0.as_mut()));
            ended.poll(context).map(|()| None)
        })
        .await
    }
}

/// A wall clock that stands still at a given time, for judging recorded requests; monotonic time runs on.
#[derive(Clone, Copy, Debug)]
pub struct FrozenClock(pub SystemTime);

impl FrozenClock {
    /// Creates a clock that always shows `seconds` after the Unix epoch.
    pub fn at_unix(seconds: u64) -> Self {
        Self(UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

impl Clock for FrozenClock {
    fn now(&self) -> Now {
        Now {
            wall: self.0,
            mono: SystemClock.now().mono,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn config_time_runs_with_the_monotonic_clock() {
        let start = SystemClock.now();
        let time = ConfigTime::new(start);
        let expires = start.wall + DAY;
        let after = |elapsed: Duration| time.read(start.mono + elapsed);
        assert!(!after(DAY - Duration::from_secs(1)).has_ended(expires));
        assert!(after(DAY).has_ended(expires) && after(DAY).has_begun(expires));
    }

    proptest! {
        #[test]
        fn times_are_written_as_the_calendar_has_them(seconds in prop_oneof![-9_999..9_999_i64, 0..300_000_000_000_i64], next in 0..3_u64, nanos in 0..1_000_000_000_u64) {
            let begin = if seconds < 0 {
                UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs())
            } else {
                UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
            };
            // the second is kept from one to the next
            for at in [begin, begin + Duration::from_nanos(nanos), begin + Duration::from_secs(next)] {
                let expected = jiff::Timestamp::try_from(at).map(|at| format!("{at:.3}")).unwrap_or_default();
                prop_assert_eq!(rfc3339(at), expected);
            }
        }
    }

    #[test]
    fn ticks_are_multiples_of_their_period() {
        let left = |since, period| {
            until_multiple(Duration::from_millis(since), Duration::from_millis(period)).as_millis()
        };
        assert_eq!((left(0, 1000), left(0, 2000)), (1000, 2000));
        assert_eq!((left(1999, 1000), left(1999, 2000)), (1, 1));
        assert_eq!((left(2000, 1000), left(3001, 2000)), (1000, 999));
    }

    #[test]
    fn expired_date_stays_expired_if_the_clock_goes_back() {
        let start = SystemClock.now();
        let [soon, later] = [start.wall + DAY, start.wall + 100 * DAY];
        let at = |mono: Duration, wall: SystemTime| Now {
            wall,
            mono: start.mono + mono,
        };
        let ahead =
            ConfigTime::new(start).follow(at(DAY / 24, start.wall + 365 * DAY), [soon, later]);
        assert!(ahead.read(start.mono + DAY / 24).has_ended(later));
        let back = ahead
            .follow(at(DAY / 12, start.wall + DAY / 12), [soon, later])
            .read(start.mono + DAY / 12);
        assert!(back.has_ended(soon) && back.has_ended(later));
        assert!(!back.has_begun(soon), "the time itself is right again");
        let added = start.wall + 50 * DAY;
        assert!(
            !back.has_ended(added),
            "a date that the config did not have then is judged by the time alone"
        );
    }
}
