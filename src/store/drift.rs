//! Whether the wall clock can be trusted to delete by: it has held for ten minutes, told by the monotonic clock.
use std::time::{Duration, Instant, SystemTime};

use crate::clock::Now;

/// A drift that is a jump.
const JUMP: Duration = Duration::from_secs(60);
/// How long the wall clock must hold after a jump, or after the start.
const HELD: Duration = Duration::from_secs(600);

/// Compares both clocks from reading to reading.
#[derive(Clone, Copy, Debug)]
pub struct Drift {
    base: Now,
    held_since: Instant,
    jumped: bool,
}

impl Drift {
    /// Begins to watch. What the wall clock did before is not known, so it must hold first.
    pub fn new(now: Now) -> Self {
        Self { base: now, held_since: now.mono, jumped: false }
    }

    /// Takes a reading.
    pub fn observe(&mut self, now: Now) {
        let expected = self.base.wall.checked_add(now.mono.saturating_duration_since(self.base.mono)).unwrap_or(SystemTime::UNIX_EPOCH);
        let drift = now.wall.duration_since(expected).unwrap_or_else(|error| error.duration());
        if drift > JUMP {
            *self = Self { base: now, held_since: now.mono, jumped: true };
        } else if self.holds(now) {
            self.jumped = false;
        }
    }

    /// Whether the wall clock has held for ten minutes.
    pub fn holds(&self, now: Now) -> bool {
        now.mono.saturating_duration_since(self.held_since) >= HELD
    }

    /// Whether a jump was seen and the wall clock has not held for ten minutes since.
    pub fn jumped(&self) -> bool {
        self.jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn a_jump_either_way_is_seen_and_ends_after_ten_minutes() {
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
