//! Compiles `mode` and `until`.
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::rfc3339;
use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;

/// The longest observation without a warning.
const LONG: Duration = Duration::from_secs(90 * 86_400);
/// The observation that is proposed if `until` is missing.
const TRIAL: Duration = Duration::from_secs(14 * 86_400);

/// The keys of the route about its mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) mode: Option<&'a str>,
    pub(super) until: Option<&'a str>,
    /// Whether it verifies requests.
    pub(super) verifies: bool,
}

/// Returns the time until which the route observes; `None`: it enforces from the first request on.
pub(super) fn observe_until(
    written: Written<'_>,
    route: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SystemTime> {
    let Written {
        mode,
        until,
        verifies,
    } = written;
    let observes = cx.word(
        mode,
        &place.key("mode"),
        &[("enforce", false), ("observe", true)],
    );
    if mode.is_some() && !verifies {
        cx.problems.error_at_key(
            &place.key("mode"),
            "`mode` has no effect: this route does not verify requests",
            "leave it out".to_owned(),
        );
        return None;
    }
    let at = place.key("until");
    let Some(text) = until else {
        if observes == Some(true) {
            let help = format!(
                "add `until: {}`: an open-ended trial would never protect the route",
                date(cx.loader.now.wall + TRIAL)
            );
            cx.problems
                .missing(place, "until", "`mode: observe` needs `until`", help);
        }
        return None;
    };
    if observes != Some(true) {
        let is_left_out = cx.problems.is_spoiled(&place.key("mode"));
        if mode.is_none() && !is_left_out || observes == Some(false) {
            cx.problems.error_at_key(
                &at,
                "`until` has no effect without `mode: observe`",
                "leave it out, or add `mode: observe`".to_owned(),
            );
        }
        return None;
    }
    let Some(until) = moment(text) else {
        let help = format!(
            "write a date, such as `{}`, or RFC 3339 with a zone",
            date(cx.loader.now.wall + TRIAL)
        );
        cx.problems.error(&at, "this is not a time", help);
        return None;
    };
    note_until(until, route, &at, cx);
    Some(until)
}

/// Warns about a route that observes, and about an `until` that has passed or is far away.
fn note_until(until: SystemTime, route: &str, at: &Place, cx: &mut Context<'_>) {
    let now = cx.loader.now.wall;
    if until <= now {
        let help = "remove `mode` and `until`".to_owned();
        cx.problems.warning(
            at,
            format!("this time has passed, so route {route} enforces"),
            help,
        );
    } else {
        let message = format!(
            "route {route} forwards requests that are not authentic until {}",
            rfc3339(until)
        );
        cx.problems.warning(
            at,
            message,
            format!("`hookgate report --route {route}` shows when it is safe to enforce"),
        );
        if until > now + LONG {
            cx.problems.warning(
                at,
                "this is more than 90 days away",
                format!("write `{}`; you can extend it later", date(now + TRIAL)),
            );
        }
    }
}

/// Parses a date (as its first second in UTC) or an RFC 3339 time.
fn moment(text: &str) -> Option<SystemTime> {
    let moment = match text.parse::<Date>() {
        // a date parser accepts the beginning of a time, too
        Ok(date) if text.len() == "2026-12-01".len() => {
            TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?
        }
        Ok(_) | Err(_) => text.parse::<jiff::Timestamp>().ok()?,
    };
    SystemTime::try_from(moment).ok()
}

/// Formats the date of a time in UTC.
fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|at| at.to_zoned_datetime(TimeZone::UTC).date().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_rfc_3339() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (text, time) in [
            ("2026-12-01", at(1_796_083_200)),
            ("2026-12-01T00:00:00Z", at(1_796_083_200)),
            ("2026-12-01T01:00:00+01:00", at(1_796_083_200)),
            ("2026-12-01T00:00:00", None),
            ("2026-13-01", None),
            ("20261201", None),
            ("1 Dec", None),
            ("", None),
        ] {
            assert_eq!(moment(text), time, "{text}");
        }
        assert_eq!(date(at(1_796_083_200).unwrap()), "2026-12-01");
    }
}
