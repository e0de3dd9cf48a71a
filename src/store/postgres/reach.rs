//! Whether the database can be reached, and when it is tried next.
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::errors::NoConnection;
use crate::clock::{Clock as _, SystemClock};
use crate::random;
use crate::store::StoreError;

/// The first pause after a connection could not be made.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether the database can be reached.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Option<Away>>);

#[derive(Clone, Debug)]
struct Away {
    since: Instant,
    pause: Duration,
    why: Arc<str>,
    /// Whether a task tries to connect.
    is_probed: bool,
}

/// The next step towards a connection.
#[derive(Debug)]
pub(super) enum Advice {
    /// Connect now.
    Connect,
    /// Connect after this pause.
    After(Duration),
    /// Give up: it has been away for too long. If true, the caller starts the task that tries to connect.
    GiveUp(StoreError, bool),
}

impl Reach {
    /// Returns what a caller does that needs a connection, and waits for `patience` at most.
    pub(super) fn advice(&self, patience: Duration) -> Advice {
        let mut away = self.0.lock();
        let Some(away) = &mut *away else {
            return Advice::Connect;
        };
        if SystemClock.mono() >= away.since + patience {
            let begins = !std::mem::replace(&mut away.is_probed, true);
            return Advice::GiveUp(unreachable(&away.why), begins);
        }
        Advice::After(jittered(away.pause))
    }

    /// Notes that a connection was made.
    pub(super) fn is_there(&self) {
        if self.0.lock().take().is_some() {
            tracing::info!("the database can be reached again");
        }
    }

    /// Notes that no connection could be made. Returns the pause before the next attempt.
    pub(super) fn is_away(&self, why: &NoConnection) -> Duration {
        let mut state = self.0.lock();
        let away = state.get_or_insert_with(|| {
            tracing::warn!(error = %why, "there is no connection to the database");
            Away {
                since: SystemClock.mono(),
                pause: FIRST_PAUSE / 2,
                why: Arc::default(),
                is_probed: false,
            }
        });
        away.why = why.to_string().into();
        away.pause = (away.pause * 2).min(LONGEST_PAUSE);
        jittered(away.pause)
    }

    /// Returns the time for which it could not be reached; `None` if it can be.
    pub(super) fn away(&self) -> Option<Duration> {
        let away = self.0.lock();
        let since = away.as_ref()?.since;
        Some(SystemClock.mono().saturating_duration_since(since))
    }

    /// Returns the reason for which it cannot be reached.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.0.lock().as_ref().map(|away| unreachable(&away.why))
    }
}

fn unreachable(why: &Arc<str>) -> StoreError {
    StoreError::Unavailable(Arc::clone(why))
}

/// Returns a pause that is up to a fifth shorter or longer, so that gateways do not connect all at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(random::number() % 401).unwrap_or(200);
    pause * (800 + part) / 1000
}
