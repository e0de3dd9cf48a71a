//! How long deliveries of a route are remembered.
use std::time::Duration;

use crate::config::compile::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::presets::Known;
use crate::config::snapshot::Dedupe;

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

pub(super) fn dedupe(
    dedupe: file::Dedupe,
    given: Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Dedupe {
    let file::Dedupe { window, by, per } = dedupe;
    let is_written = window.is_some() || cx.problems.is_spoiled(&place.key("window"));
    let window = cx.maybe_duration(window.as_deref(), &place.key("window"));
    let by_content = cx
        .word(
            by.as_deref(),
            &place.key("by"),
            &[("id", false), ("content", true)],
        )
        .unwrap_or(false);
    let per_secret = cx
        .word(
            per.as_deref(),
            &place.key("per"),
            &[("route", false), ("secret", true)],
        )
        .unwrap_or(false);
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
        let message = format!(
            "route {} remembers IDs for {}, {title} retries for {}",
            given.route,
            in_words(window),
            in_words(retries_for)
        );
        let least = humantime::format_duration(retries_for)
            .to_string()
            .replace(' ', "");
        cx.problems.warning(
            &place.key("window"),
            message,
            format!("leave it out, or write {least} or more"),
        );
    }
    let of_content = if may_repeat && !by_content {
        REPEATED
    } else {
        longest
    };
    let of_id = if given.has_id { longest } else { of_content };
    Dedupe {
        window: window.unwrap_or(of_id),
        content_window: window.unwrap_or(of_content),
        by_content,
        per_secret,
    }
}

/// Tells what `by: content` drops where the config does not say for how long.
fn without_window(given: Given<'_>, place: &Place, cx: &mut Context<'_>) {
    let (route, sender) = (given.route, given.title.unwrap_or("the sender"));
    match given.bodies_repeat {
        Known::No => {}
        Known::Yes => {
            let message = format!(
                "route {route}: two events of {sender} can have the same bytes, and `by: content` drops the second one"
            );
            cx.problems.error(
                place,
                message,
                "leave `by` out, or write how long a body is remembered: `window: 10s`".to_owned(),
            );
        }
        Known::Unknown => {
            let message = format!(
                "route {route}: `by: content` drops an event that has the bytes of an earlier one"
            );
            let help = format!(
                "if {sender} sends such events, write how long a body is remembered: `window: 10s`"
            );
            cx.problems.warning(place, message, help);
        }
    }
}

/// Judges the secrets of a route by whom they are of: one sender that rotates, or two. `verify` is the place of the `verify` block.
pub(super) fn note_senders(
    secrets: &[file::Secret],
    dedupe: Option<Dedupe>,
    route: &str,
    verify: &Place,
    cx: &mut Context<'_>,
) {
    let place = verify.key("secrets");
    if dedupe.is_some_and(|dedupe| dedupe.per_secret) {
        for (index, _) in secrets
            .iter()
            .enumerate()
            .filter(|(_, secret)| secret.name.is_none())
        {
            let help = "add `name: NAME`: the name stands for the sender, and is part of what is remembered".to_owned();
            cx.problems.error(
                &place.index(index),
                "this secret needs a name, since the route says `dedupe: { per: secret }`",
                help,
            );
        }
        return;
    }
    if secrets
        .iter()
        .filter(|secret| secret.expires.is_none() && secret.not_before.is_none())
        .count()
        > 1
    {
        let message = format!(
            "route {route} has two secrets without a date: two senders with the same delivery IDs drop each other's deliveries"
        );
        let help = "give each sender a URL (a route) of its own; if they must share this one, name the secrets and write `dedupe: { per: secret }`; in a rotation, write `expires` on the old secret";
        cx.problems.warning_at_key(&place, message, help.to_owned());
    }
}

/// Warns where a provider repeats the signed time in its retries, and the route refuses them for their age.
pub(super) fn note_late_retries(
    dedupe: Option<Dedupe>,
    tolerance: Option<Duration>,
    given: Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) {
    let (Some(tolerance), Some(title), Some(retries_for)) =
        (tolerance, given.title, given.retries_for)
    else {
        return;
    };
    let route = given.route;
    let message = format!(
        "route {route}: {title} repeats the time of the first attempt, so retries are refused that come later than {}",
        in_words(tolerance)
    );
    let needed = tolerance.saturating_mul(2).saturating_add(retries_for);
    match dedupe {
        None if !cx.problems.is_spoiled(&place.key("dedupe")) => {
            let help = "add `dedupe: {}`: retries of what was not delivered are then accepted for as long as it retries".to_owned();
            cx.problems
                .warning_at_key(&place.key("verify"), message, help);
        }
        Some(dedupe) if dedupe.late_window() < needed => {
            let least = humantime::format_duration(needed)
                .to_string()
                .replace(' ', "");
            let help = format!(
                "leave `window` out, or write {least} or more: older retries count only as long as what was delivered is remembered"
            );
            cx.problems
                .warning_at_key(&place.key("dedupe"), message, help);
        }
        Some(_) | None => {}
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
