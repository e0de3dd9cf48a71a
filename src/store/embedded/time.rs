//! The store's own time: milliseconds that begin at the wall clock's and then go on by elapsed time alone.
//!
//! What is due, how old a delivery is and when an ID is forgotten is told by it. A wall clock that is set, by a year or by an hour, forward or back,
//! moves none of them: nothing is purged early, and no try stalls. Over a restart it goes on where it was last seen, by as much as the wall clock
//! has moved since, but never back and never more than a day: a clock that was set meanwhile cannot be told from a long pause, and a pause that
//! counts too little only keeps things longer.
use std::sync::Arc;
use std::time::Instant;

use super::sqlite::Seen;
use crate::clock::{Clock, Now};

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
    pub(crate) fn resume(clock: Arc<dyn Clock>, now: Now, seen: Option<Seen>) -> Self {
        let wall = i64::try_from(now.unix_ms()).unwrap_or(i64::MAX);
        let base = match seen {
            Some(seen) => seen
                .store
                .saturating_add(wall.saturating_sub(seen.wall).clamp(0, LONGEST_PAUSE)),
            None => wall,
        };
        Self {
            clock,
            began: now.mono,
            base,
        }
    }

    /// The time at which this process began, in milliseconds.
    pub(crate) fn began(&self) -> i64 {
        self.base
    }

    /// Milliseconds since it began in this process.
    pub(crate) fn elapsed(&self) -> u64 {
        u64::try_from(
            self.clock
                .mono()
                .saturating_duration_since(self.began)
                .as_millis(),
        )
        .unwrap_or(u64::MAX)
    }

    /// The time, in milliseconds.
    pub(crate) fn now(&self) -> i64 {
        self.base
            .saturating_add(i64::try_from(self.elapsed()).unwrap_or(i64::MAX))
    }

    /// The process's clock.
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
    fn a_set_clock_moves_nothing_and_a_restart_goes_on() {
        let clock = HandClock::new();
        let wall = || i64::try_from(clock.now().unix_ms()).unwrap();
        let resume = |seen| StoreTime::resume(clock.clone(), clock.now(), seen);
        let first = resume(None);
        let begin = first.now();
        assert_eq!(begin, wall());
        clock.jump(Duration::from_secs(365 * 86_400));
        clock.advance(Duration::from_secs(5));
        assert_eq!(first.now() - begin, 5000);
        let seen = Seen {
            store: first.now(),
            wall: wall(),
        };
        clock.advance(Duration::from_secs(60));
        assert_eq!(resume(Some(seen)).now() - begin, 65_000, "a pause counts");
        clock.jump(Duration::from_secs(365 * 86_400));
        assert_eq!(
            resume(Some(seen)).now() - begin,
            5000 + LONGEST_PAUSE,
            "a year is a day"
        );
        let ahead = Seen {
            store: seen.store,
            wall: wall() + 3_600_000,
        };
        assert_eq!(resume(Some(ahead)).now() - begin, 5000, "never back");
    }
}
