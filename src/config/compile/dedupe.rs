//! Compiles `dedupe`.
use std::time::Duration;

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::presets::Known;
use crate::config::snapshot::{Dedupe, OnStoreDown};

/// The smallest default of `window`.
const DAY: Duration = Duration::from_secs(86_400);
/// The default of `window` for bodies that may repeat: it catches a request that is sent twice at once.
const REPEATED: Duration = Duration::from_secs(10);

/// The facts of the route and of its provider.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// The name of the route.
    pub(super) route: &'a str,
    /// The provider's name for people.
    pub(super) title: Option<&'a str>,
    /// The time for which the provider retries.
    pub(super) retries_for: Option<Duration>,
    /// Whether two events can have the same signed bytes.
    pub(super) bodies_repeat: Known,
    /// Whether an ID in the request identifies the delivery.
    pub(super) has_id: bool,
}

/// Compiles `dedupe`.
pub(super) fn dedupe(
    dedupe: file::Dedupe,
    given: Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Dedupe {
    let file::Dedupe {
        window,
        by,
        per,
        on_store_down,
    } = dedupe;
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
            "route {} remembers IDs for {}, but {title} retries for {}",
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
    let place = place.key("on_store_down");
    let written = self::on_store_down(on_store_down.as_deref(), &place, cx);
    // who identifies deliveries by their content wants no copy to pass
    let default = if by_content {
        OnStoreDown::Refuse
    } else {
        OnStoreDown::Pass
    };
    Dedupe {
        on_store_down: written.or(cx.on_store_down).unwrap_or(default),
        window: window.unwrap_or(of_id),
        content_window: window.unwrap_or(of_content),
        by_content,
        per_secret,
    }
}

/// Compiles `on_store_down`.
pub(super) fn on_store_down(
    written: Option<&str>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<OnStoreDown> {
    if written.is_some() && !cx.is_shared {
        let help = "leave it out: only with `store: { postgres: … }` can the store be away while the gateway runs";
        cx.problems
            .error_at_key(place, "no store is shared", help.to_owned());
        return None;
    }
    let words = [("pass", OnStoreDown::Pass), ("refuse", OnStoreDown::Refuse)];
    cx.word(written, place, &words)
}

/// Reports that `by: content` without `window` may drop events.
fn without_window(given: Given<'_>, place: &Place, cx: &mut Context<'_>) {
    let (route, sender) = (given.route, given.title.unwrap_or("the sender"));
    match given.bodies_repeat {
        Known::No => {}
        Known::Yes => {
            let message = format!(
                "route {route}: two events of {sender} can have the same bytes, and `by: content` would drop the second one"
            );
            cx.problems.error(
                place,
                message,
                "leave `by` out, or set how long a body is remembered: `window: 10s`".to_owned(),
            );
        }
        Known::Unknown => {
            let message = format!(
                "route {route}: `by: content` drops an event with the same bytes as an earlier one"
            );
            let help = format!(
                "if {sender} sends such events, set how long a body is remembered: `window: 10s`"
            );
            cx.problems.warning(place, message, help);
        }
    }
}

/// Reports secrets that may belong to two senders instead of a rotation. `place` is that of the route.
pub(super) fn note_senders(
    secrets: &[file::Secret],
    dedupe: Option<Dedupe>,
    route: &str,
    place: &Place,
    cx: &mut Context<'_>,
) {
    if cx.problems.is_faulty(&place.key("dedupe")) {
        return;
    }
    let place = place.key("verify").key("secrets");
    if dedupe.is_some_and(|dedupe| dedupe.per_secret) {
        for (index, _) in secrets
            .iter()
            .enumerate()
            .filter(|(_, secret)| secret.name.is_none())
        {
            let help =
                "add `name: NAME`; it identifies the sender and is stored with each delivery ID"
                    .to_owned();
            cx.problems.error(
                &place.index(index),
                "this secret needs a name because the route has `dedupe: { per: secret }`",
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
            "route {route} has two secrets without dates: if they belong to two senders with the same delivery IDs, deliveries are dropped as duplicates"
        );
        let help = "in a rotation, add `expires` to the old secret; for two senders, use two routes, or name the secrets and add `dedupe: { per: secret }`";
        cx.problems.warning_at_key(&place, message, help.to_owned());
    }
}

/// Warns if the provider repeats the signed time in its retries and the route refuses them for their age.
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
        "route {route}: {title} signs retries with the time of the first attempt, so retries are refused after {}",
        in_words(tolerance)
    );
    let needed = tolerance.saturating_mul(2).saturating_add(retries_for);
    match dedupe {
        None if !cx.problems.is_spoiled(&place.key("dedupe")) => {
            let help =
                "add `dedupe: {}`: late retries of undelivered events are then accepted".to_owned();
            cx.problems
                .warning_at_key(&place.key("verify"), message, help);
        }
        Some(dedupe) if dedupe.late_window() < needed => {
            let least = humantime::format_duration(needed)
                .to_string()
                .replace(' ', "");
            let help = format!(
                "leave `window` out, or write {least} or more: late retries are accepted only while delivered IDs are remembered"
            );
            cx.problems
                .warning_at_key(&place.key("dedupe"), message, help);
        }
        Some(_) | None => {}
    }
}

/// Formats a duration as `1 h`, `3 d` or `90 m`.
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
