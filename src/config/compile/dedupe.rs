//! How long delivery IDs of a route are remembered.
use std::time::Duration;

use crate::config::compile::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::Dedupe;

/// The shortest window unless the config says one.
const DAY: Duration = Duration::from_secs(86_400);

/// `provider` is its name for people and how long it retries.
pub(super) fn dedupe(dedupe: file::Dedupe, provider: Option<(&str, Duration)>, route: &str, place: &Place, cx: &mut Context<'_>) -> Dedupe {
    let file::Dedupe { window, by } = dedupe;
    let window = cx.maybe_duration(window.as_deref(), &place.key("window"));
    let by_content = cx.word(by.as_deref(), &place.key("by"), &[("id", false), ("content", true)]).unwrap_or(false);
    let retries_for = provider.map_or(Duration::ZERO, |(_, retries_for)| retries_for);
    if let (Some(window), Some((title, retries_for))) = (window, provider)
        && window < retries_for
    {
        let message = format!("route {route} remembers IDs for {}, {title} retries for {}", in_words(window), in_words(retries_for));
        let least = humantime::format_duration(retries_for).to_string().replace(' ', "");
        cx.problems.warning(&place.key("window"), message, format!("leave it out, or write {least} or more"));
    }
    Dedupe { window: window.unwrap_or(DAY).max(retries_for), by_content }
}

/// `1 h`, `3 d`, `90 m`.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        _ if seconds >= 86_400 && seconds.is_multiple_of(86_400) => (seconds / 86_400, "d"),
        _ if seconds >= 3_600 && seconds.is_multiple_of(3_600) => (seconds / 3_600, "h"),
        _ if seconds >= 60 && seconds.is_multiple_of(60) => (seconds / 60, "m"),
        _ => (seconds, "s"),
    };
    format!("{count} {unit}")
}
