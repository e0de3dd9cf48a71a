//! The findings about sending.
use std::time::{Duration, Instant};

use super::finding::{Finding, in_words};
use super::observation::SendingObservation;
use crate::alarm::Code;
use crate::alarm::latch::Level;

/// The delay of a due event from which on sending is behind.
const BEHIND: Duration = Duration::from_secs(60);
/// The delay below which it is not.
const IN_TIME: Duration = Duration::from_secs(30);
/// The time for which newly paused endpoints need attention.
const RECENT: Duration = Duration::from_secs(86_400);

/// The state between two looks.
#[derive(Debug, Default)]
pub(super) struct SendingState {
    /// The pauses that the gateway had made at the last look; 0 before the first, which may come after pauses.
    pauses: u64,
    /// The time of the last one.
    last_pause: Option<Instant>,
}

impl SendingState {
    /// Returns the findings of one look.
    pub(super) fn findings(
        &mut self,
        observation: Option<&SendingObservation>,
        now: Instant,
    ) -> [(Code, Finding); 2] {
        let good = || Finding(Level::Good, Duration::ZERO, String::new());
        let Some(observation) = observation else {
            return [
                (Code::EndpointsPaused, good()),
                (Code::OutboundBehind, good()),
            ];
        };
        [
            (Code::EndpointsPaused, self.paused(observation, now)),
            (Code::OutboundBehind, behind(observation.oldest_due)),
        ]
    }

    /// Returns the finding about endpoints that the gateway has paused.
    fn paused(&mut self, observation: &SendingObservation, now: Instant) -> Finding {
        let paused = observation.paused;
        // the number of paused endpoints stays the same if one is resumed in the meantime
        let before = std::mem::replace(&mut self.pauses, observation.pauses);
        if before < observation.pauses {
            self.last_pause = Some(now);
        }
        self.last_pause = self
            .last_pause
            .filter(|at| paused > 0 && now.saturating_duration_since(*at) < RECENT);
        let level = if self.last_pause.is_some() {
            Level::Bad
        } else {
            Level::Good
        };
        let text = if paused == 1 {
            "1 endpoint is paused, because it failed or answered 410: its events wait until it is resumed"
                .to_owned()
        } else {
            format!(
                "{paused} endpoints are paused, because they failed or answered 410: their events wait until they are resumed"
            )
        };
        Finding(level, Duration::ZERO, text)
    }
}

/// Returns the finding about events that are due.
fn behind(oldest: Option<Duration>) -> Finding {
    let delay = oldest.unwrap_or_default();
    let level = if delay > BEHIND {
        Level::Bad
    } else if delay < IN_TIME {
        Level::Good
    } else {
        Level::Between
    };
    let text = format!(
        "an event for an endpoint that works has been due for {}: too many attempts are under way, or the endpoint gets more events than it takes",
        in_words(delay)
    );
    Finding(level, BEHIND, text)
}
