//! The store's own time: milliseconds that begin at the wall clock's and then follow elapsed time alone.
//!
//! Due times, ages of deliveries and expiry of IDs are in this time. Setting the wall clock, by a year or by an hour, forward or back,
//! moves none of them: nothing is purged early, and no attempt stalls. Over a restart it continues from its last value, by as much as the
//! wall clock has moved since, but never back and never more than a day: a clock that was set meanwhile cannot be distinguished from a
//! long pause, and a pause that counts too little only delays expiry.
use std::sync::Arc;
use std::time::Instant;

use super::sqlite::LastOpen;
use crate::clock::{Clock, Now};
use crate::units::saturating;

/// The longest pause that counts in full.
const LONGEST_PAUSE: i64 = 24 * 3_600_000;

/// The store's time.
#[derive(Clone, Debug)]
pub(crate) struct StoreTime {
    clock: Arc<dyn Clock>,
    began: Instant,
    base: i64,
}

impl StoreTime {
    /// Goes on from when the store was last seen; a new store, and one that did not keep its time, begins with the wall clock.
    pub(crate) fn resume(clock: Arc<dyn Clock>, now: Now, last: Option<LastOpen>) -> Self {
        let wall = i64::try_from(now.unix_ms()).unwrap_or(i64::MAX);
        let base = match last {
            Some(last) => last
                .store
                .saturating_add(wall.saturating_sub(last.wall).clamp(0, LONGEST_PAUSE)),
            None => wall,
        };
        Self {
            clock,
            began: now.mono,
            base,
        }
    }

    /// Returns the time at which this process began, in milliseconds.
    pub(crate) fn began(&self) -> i64 {
        self.base
    }

    /// Milliseconds since it began in this process.
    pub(crate) fn elapsed(&self) -> u64 {
        saturating(
            self.clock
                .mono()
                .saturating_duration_since(self.began)
                .as_millis(),
        )
    }

    /// Returns the time, in milliseconds.
    pub(crate) fn now(&self) -> i64 {
        self.base
            .saturating_add(i64::try_from(self.elapsed()).unwrap_or(i64::MAX))
    }

    /// Returns the clock of the process.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::contract::HandClock;

    #[test]
    fn store_time_ignores_a_set_clock_and_survives_a_restart() {
        let clock = HandClock::new();
        let wall = || i64::try_from(clock.now().unix_ms()).unwrap();
        let resume = |last| StoreTime::resume(clock.clone(), clock.now(), last);
        let first = resume(None);
        let begin = first.now();
        assert_eq!(begin, wall());
        clock.jump(Duration::from_secs(365 * 86_400));
        clock.advance(Duration::from_secs(5));
        assert_eq!(first.now() - begin, 5000);
        let last = LastOpen {
            store: first.now(),
            wall: wall(),
        };
        clock.advance(Duration::from_secs(60));
        assert_eq!(resume(Some(last)).now() - begin, 65_000, "a pause counts");
        clock.jump(Duration::from_secs(365 * 86_400));
        assert_eq!(
            resume(Some(last)).now() - begin,
            5000 + LONGEST_PAUSE,
            "a year is a day"
        );
        let ahead = LastOpen {
            store: last.store,
            wall: wall() + 3_600_000,
        };
        assert_eq!(resume(Some(ahead)).now() - begin, 5000, "never back");
    }
}
