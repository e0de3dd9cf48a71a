//! The only module that reads a clock.
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::error::Elapsed;
use tokio::time::timeout_at;

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
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
        Now { wall: SystemTime::now(), mono: self.mono() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    fn mono(&self) -> Instant {
        Instant::now()
    }
}

/// What `future` comes to, if it does by `deadline`. One that is ready at once costs no timer and no look at the clock.
///
/// # Errors
/// The deadline passed.
pub async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let at_once = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(output) => Ok(output),
        None => timeout_at(deadline.into(), future).await,
    }
}

/// A wall clock that stands still at a given time, for judging recorded requests; monotonic time runs on.
#[derive(Clone, Copy, Debug)]
pub struct FrozenClock(pub SystemTime);

impl FrozenClock {
    /// A clock that stands at `seconds` after the Unix epoch.
    pub fn at_unix(seconds: u64) -> Self {
        Self(UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

impl Clock for FrozenClock {
    fn now(&self) -> Now {
        Now { wall: self.0, mono: SystemClock.now().mono }
    }
}
