//! How long deliveries of a route are remembered.
use std::time::Duration;

use crate::config::compile::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::Dedupe;
use crate::provider::Known;

/// The shortest window unless the config says one.
const DAY: Duration = Duration::from_secs(86_400);
/// The window of a body that a later event may have, too: it catches a request that is sent twice at once.
const REPEATED: Duration = Duration::from_secs(10);

/// The facts of the route and of its provider.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// The name of the route.
    pub(super) route: &'a str,
    /// The provider's name for people.
    pub(super) title: Option<&'a str>,
    /// How long the provider retries.
    pub(super) retries_for: Option<Duration>,
    /// Whether two events can have the same signed bytes.
    pub(super) bodies_repeat: Known,
    /// Whether the requests have an ID that tells deliveries apart.
    pub(super) has_id: bool,
}

pub(super) fn dedupe(dedupe: file::Dedupe, given: Given<'_>, place: &Place, cx: &mut Context<'_>) -> Dedupe {
    let file::Dedupe { window, by } = dedupe;
    let is_written = window.is_some() || cx.problems.is_spoiled(&place.key("window"));
    let window = cx.maybe_duration(window.as_deref(), &place.key("window"));
    let by_content = cx.word(by.as_deref(), &place.key("by"), &[("id", false), ("content", true)]).unwrap_or(false);
    if by_content && !is_written {
        without_window(given, &place.key("by"), cx);
    }
    let may_repeat = given.bodies_repeat != Known::No;
    let is_short_on_purpose = may_repeat && (by_content || !given.has_id);
    let longest = DAY.max(given.retries_for.unwrap_or_default());
    if let (Some(window), Some(title), Some(retries_for)) = (window, given.title, given.retries_for)
        && window < retries_for
        && !is_short_on_purpose
    {
        let message =
            format!("route {} remembers IDs for {}, {title} retries for {}", given.route, in_words(window), in_words(retries_for));
        let least = humantime::format_duration(retries_for).to_string().replace(' ', "");
        cx.problems.warning(&place.key("window"), message, format!("leave it out, or write {least} or more"));
    }
    let of_content = if may_repeat && !by_content { REPEATED } else { longest };
    let of_id = if given.has_id { longest } else { of_content };
    Dedupe { window: window.unwrap_or(of_id), content_window: window.unwrap_or(of_content), by_content }
}

/// Tells what `by: content` drops where the config does not say for how long.
fn without_window(given: Given<'_>, place: &Place, cx: &mut Context<'_>) {
    let (route, sender) = (given.route, given.title.unwrap_or("the sender"));
    match given.bodies_repeat {
        Known::No => {}
        Known::Yes => {
            let message = format!("route {route}: two events of {sender} can have the same bytes, and `by: content` drops the second one");
            cx.problems.error(place, message, "leave `by` out, or write how long a body is remembered: `window: 10s`".to_owned());
        }
        Known::Unknown => {
            let message = format!("route {route}: `by: content` drops an event that has the bytes of an earlier one");
            let help = format!("if {sender} sends such events, write how long a body is remembered: `window: 10s`");
            cx.problems.warning(place, message, help);
        }
    }
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
