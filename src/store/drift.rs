//! Decides whether the wall clock can be trusted for deletion: it must have held for ten minutes, measured by the monotonic clock.
use std::time::{Duration, Instant, SystemTime};

use crate::clock::{ConfigTime, Now};

/// A drift that is a jump.
const MIN_JUMP: Duration = Duration::from_secs(60);
/// The time for which the wall clock must hold after a jump, or after the start.
const HOLD_TIME: Duration = Duration::from_secs(600);

/// Compares both clocks from reading to reading.
#[derive(Clone, Copy, Debug)]
pub struct Drift {
    base: Now,
    held_since: Instant,
    jumped: bool,
}

impl Drift {
    /// Begins to watch. The wall clock must hold first, since its past is unknown.
    pub fn new(now: Now) -> Self {
        Self {
            base: now,
            held_since: now.mono,
            jumped: false,
        }
    }

    /// Takes a reading.
    pub fn observe(&mut self, now: Now) {
        let expected = self
            .base
            .wall
            .checked_add(now.mono.saturating_duration_since(self.base.mono))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let drift = now
            .wall
            .duration_since(expected)
            .unwrap_or_else(|error| error.duration());
        if drift > MIN_JUMP {
            *self = Self {
                base: now,
                held_since: now.mono,
                jumped: true,
            };
        } else if self.holds(now) {
            self.jumped = false;
        }
    }

    /// Takes a reading, and returns the time of the config that follows the wall clock; `None` until that has held. `dates` are those at
    /// which something ends.
    pub fn lead(
        &mut self,
        time: &ConfigTime,
        now: Now,
        dates: impl IntoIterator<Item = SystemTime>,
    ) -> Option<ConfigTime> {
        self.observe(now);
        self.holds(now).then(|| time.follow(now, dates))
    }

    /// Returns whether the wall clock has held for ten minutes.
    pub fn holds(&self, now: Now) -> bool {
        now.mono.saturating_duration_since(self.held_since) >= HOLD_TIME
    }

    /// Returns whether the wall clock jumped and has not held for ten minutes since.
    pub fn jumped(&self) -> bool {
        self.jumped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    const DAY: u64 = 86_400;

    /// A gateway's look at its clocks every ten seconds.
    struct Run {
        start: Now,
        drift: Drift,
        time: ConfigTime,
        mono: u64,
        dates: Vec<SystemTime>,
    }

    impl Run {
        fn new(ends: &[u64]) -> Self {
            let start = SystemClock.now();
            let dates = ends
                .iter()
                .map(|end| start.wall + Duration::from_secs(*end))
                .collect();
            Self {
                start,
                drift: Drift::new(start),
                time: ConfigTime::new(start),
                mono: 0,
                dates,
            }
        }

        /// Runs on with a wall clock that is `offset` seconds ahead, and returns which of the dates have ended.
        fn on(&mut self, seconds: u64, offset: i64) -> Vec<bool> {
            for _ in 0..=seconds / 10 {
                let right = self.start.wall + Duration::from_secs(self.mono);
                let by = Duration::from_secs(offset.unsigned_abs());
                let wall = if offset < 0 { right - by } else { right + by };
                let now = Now {
                    wall,
                    mono: self.start.mono + Duration::from_secs(self.mono),
                };
                if let Some(time) = self.drift.lead(&self.time, now, self.dates.iter().copied()) {
                    self.time = time;
                }
                self.mono += 10;
            }
            let dates = self
                .time
                .read(self.start.mono + Duration::from_secs(self.mono));
            self.dates
                .iter()
                .map(|date| dates.has_ended(*date))
                .collect()
        }
    }

    #[test]
    fn clock_set_back_revives_no_entry() {
        let mut run = Run::new(&[3_600, 3 * 3_600]);
        let back = -i64::try_from(DAY).unwrap();
        assert_eq!(run.on(3_500, 0), [false, false]);
        assert_eq!(
            run.on(200, back),
            [true, false],
            "it ended by the monotonic clock"
        );
        assert_eq!(
            run.on(3_600, back),
            [true, false],
            "the clock has held, and it stays ended"
        );
        assert_eq!(
            run.on(3 * 3_600, back),
            [true, false],
            "what had not ended goes by the clock that has held"
        );
    }

    #[test]
    fn clock_set_ahead_ends_entries_only_once_confirmed() {
        let year = i64::try_from(365 * DAY).unwrap();
        let mut run = Run::new(&[100 * DAY, 400 * DAY]);
        assert_eq!(run.on(700, 0), [false, false]);
        assert_eq!(run.on(550, year), [false, false], "it has not held");
        assert_eq!(run.on(900, 0), [false, false]);
        assert_eq!(run.on(700, year), [true, false]);
        assert_eq!(
            run.on(1_300, 0),
            [true, false],
            "back again: what has ended stays ended"
        );
    }

    proptest! {
        /// However the wall clock is set, a date that has ended never begins again.
        #[test]
        fn ended_entry_stays_ended(
            ends in prop::collection::vec(0..400 * DAY, 1..5),
            steps in prop::collection::vec((0_u64..2_000, -40_000_000_i64..40_000_000), 1..12),
        ) {
            let mut run = Run::new(&ends);
            let mut ended = run.on(0, 0);
            for (seconds, offset) in steps {
                let now = run.on(seconds, offset);
                for (before, now) in ended.iter().zip(&now) {
                    prop_assert!(*now || !*before);
                }
                ended = now;
            }
        }
    }

    #[test]
    fn clock_jump_is_reported_for_ten_minutes() {
        let start = SystemClock.now();
        let at = |mono: u64, wall: i64| Now {
            mono: start.mono + Duration::from_secs(mono),
            wall: if wall < 0 {
                start.wall - Duration::from_secs(wall.unsigned_abs())
            } else {
                start.wall + Duration::from_secs(wall.unsigned_abs())
            },
        };
        for offset in [3_600, -3_600] {
            let mut drift = Drift::new(start);
            assert!(!drift.holds(at(599, 599)) && drift.holds(at(600, 600)));
            drift.observe(at(700, 750));
            assert!(!drift.jumped(), "50 s are no jump");
            drift.observe(at(800, 800 + offset));
            assert!(drift.jumped() && !drift.holds(at(800, 800 + offset)));
            drift.observe(at(1399, 1399 + offset));
            assert!(drift.jumped());
            drift.observe(at(1400, 1400 + offset));
            assert!(!drift.jumped() && drift.holds(at(1400, 1400 + offset)));
        }
    }
}
