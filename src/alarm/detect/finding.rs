//! A finding about an alarm, derived from the observations.
use std::time::Duration;

use crate::alarm::latch::Level;

/// The present finding about an alarm: its level, the time that it must be bad, and its text.
pub(super) struct Finding(pub(super) Level, pub(super) Duration, pub(super) String);

/// Formats a duration for people, such as `1h 30m`, with two units at most.
pub(super) fn in_words(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
