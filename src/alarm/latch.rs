//! Keeps an alarm from flapping: it is raised after it was bad for a while without a break, and cleared after it was good for a while.
use std::time::{Duration, Instant};

/// The time that a measure must be good before its alarm is cleared.
pub const CLEAR_AFTER: Duration = Duration::from_secs(300);

/// The present level of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// It should be raised.
    Bad,
    /// Neither: what is raised stays so, what is not as well.
    Between,
    /// It should not be raised.
    Good,
}

/// Whether an alarm is raised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latch {
    raised: bool,
    /// Since when it looks as if that should change.
    turning: Option<Instant>,
}

impl Latch {
    pub(super) fn is_raised(&self) -> bool {
        self.raised
    }

    /// Returns whether it is raised, and will be cleared if the measure stays good.
    pub(super) fn is_ending(&self) -> bool {
        self.raised && self.turning.is_some()
    }

    /// Takes the present level. Returns `true` if the alarm is raised now, `false` if it is cleared now, `None` if nothing changes. `hold`
    /// is the time that the level must be bad.
    pub(super) fn step(&mut self, level: Level, hold: Duration, now: Instant) -> Option<bool> {
        let (turns, wait) = if self.raised {
            (level == Level::Good, CLEAR_AFTER)
        } else {
            (level == Level::Bad, hold)
        };
        if !turns {
            self.turning = None;
            return None;
        }
        let since = *self.turning.get_or_insert(now);
        if now.saturating_duration_since(since) < wait {
            return None;
        }
        self.raised = !self.raised;
        self.turning = None;
        Some(self.raised)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const TICK: Duration = Duration::from_secs(5);

    fn levels() -> impl Strategy<Value = Vec<Level>> {
        prop::collection::vec(
            prop::sample::select(vec![Level::Bad, Level::Between, Level::Good]),
            0..600,
        )
    }

    #[test]
    fn latch_waits_before_it_raises_and_clears() {
        let (mut latch, begun) = (Latch::default(), SystemClock.mono());
        let mut at = |seconds: u64, level| {
            latch.step(
                level,
                Duration::from_secs(30),
                begun + Duration::from_secs(seconds),
            )
        };
        assert_eq!(
            [at(0, Level::Bad), at(29, Level::Bad), at(30, Level::Bad)],
            [None, None, Some(true)]
        );
        assert_eq!(
            [
                at(31, Level::Good),
                at(200, Level::Between),
                at(400, Level::Good)
            ],
            [None, None, None]
        );
        assert_eq!(
            [
                at(699, Level::Good),
                at(700, Level::Good),
                at(701, Level::Good)
            ],
            [None, Some(false), None]
        );
    }

    proptest! {
        /// For any levels, raised and cleared come in turn, and no alarm clears too early.
        #[test]
        fn latch_does_not_flap(levels in levels(), hold in 0_u64..60) {
            let (mut latch, begun) = (Latch::default(), SystemClock.mono());
            let mut last: Option<(bool, Instant)> = None;
            for (tick, level) in (0_u32..).zip(levels) {
                let now = begun + TICK * tick;
                let Some(raised) = latch.step(level, Duration::from_secs(hold), now) else { continue };
                prop_assert_eq!(raised, last.is_none_or(|(before, _)| !before));
                prop_assert_eq!(level, if raised { Level::Bad } else { Level::Good });
                if let Some((true, at)) = last {
                    prop_assert!(now - at >= CLEAR_AFTER);
                }
                last = Some((raised, now));
            }
        }
    }
}
