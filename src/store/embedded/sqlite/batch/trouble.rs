//! The reason why writes fail: for the status at once, for the log only if it lasts.
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// The time for which writes must succeed before the log says that the trouble is over. On a full disk small writes succeed between those
/// that fail.
const CALM_BEFORE_END: Duration = Duration::from_secs(10);

/// The present trouble of writes, if there is any.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// The error of the last write, if it failed.
    now: Option<StoreError>,
    /// Whether the log has its beginning and not yet its end.
    is_logged: bool,
    /// Since when no write has failed.
    calm_since: Option<Instant>,
}

/// A change that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Writes fail.
    Begins,
    /// None has failed for a while.
    Ends,
}

impl Trouble {
    /// Returns why the last write failed, if it did.
    pub(super) fn now(&self) -> Option<&StoreError> {
        self.now.as_ref()
    }

    /// Takes the result of a write. Returns the change to log, if there is one.
    pub(super) fn note(&mut self, trouble: Option<StoreError>, now: Instant) -> Option<Turn> {
        let is_well = trouble.is_none();
        self.now = trouble;
        if !is_well {
            self.calm_since = None;
            return (!std::mem::replace(&mut self.is_logged, true)).then_some(Turn::Begins);
        }
        let calm_since = *self.calm_since.get_or_insert(now);
        let ends = self.is_logged && now.saturating_duration_since(calm_since) >= CALM_BEFORE_END;
        self.is_logged &= !ends;
        ends.then_some(Turn::Ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn only_lasting_changes_are_logged() {
        let (begun, mut trouble) = (SystemClock.mono(), Trouble::default());
        let mut step = |second: u64, fails: bool| {
            let turn = trouble.note(
                fails.then_some(StoreError::Full),
                begun + Duration::from_secs(second),
            );
            assert_eq!(
                trouble.now().is_some(),
                fails,
                "the status tells it at once"
            );
            turn
        };
        assert_eq!(step(0, false), None);
        assert_eq!(step(1, true), Some(Turn::Begins));
        // each second a write that fails, and one that does not
        assert!((2..600).all(|second| step(second, second % 2 == 0).is_none()));
        assert_eq!(step(600, true), None);
        assert!((601..611).all(|second| step(second, false).is_none()));
        assert_eq!(step(611, false), Some(Turn::Ends));
        assert_eq!(step(612, false), None);
        assert_eq!(step(613, true), Some(Turn::Begins));
    }
}
