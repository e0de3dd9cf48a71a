//! When a delivery that failed is tried again.
use std::time::Duration;

use http::StatusCode;

use crate::config::compile::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::retry::{Backoff, InvalidSchedule, Schedule};

/// The first wait, if nobody says.
const INITIAL: Duration = Duration::from_secs(5);
/// How much longer each wait is, if nobody says.
const FACTOR: f64 = 2.0;
/// The longest wait, if nobody says.
const MAX: Duration = Duration::from_secs(3_600);
/// The greatest age, if nobody says.
const AGE: Duration = Duration::from_secs(3 * 86_400);
/// The longest wait that the app can ask for, if nobody says.
const ASKED: Duration = Duration::from_secs(86_400);
/// Waits that a schedule may have.
const MOST_WAITS: usize = 1_000;

pub(super) fn schedule(
    retry: file::Retry,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Schedule> {
    // No `..`: a new field must be dealt with here.
    let file::Retry {
        initial,
        factor,
        max,
        max_attempts,
        max_age,
        schedule,
        terminal,
        retry_after_max,
    } = retry;
    let written = [
        ("initial", initial.is_some()),
        ("factor", factor.is_some()),
        ("max", max.is_some()),
        ("max_attempts", max_attempts.is_some()),
    ];
    let max_age = cx.maybe_duration(max_age.as_deref(), &place.key("max_age"));
    let asked = cx.duration(
        retry_after_max.as_deref(),
        &place.key("retry_after_max"),
        ASKED,
    );
    let terminal = statuses(&terminal, &place.key("terminal"), cx);
    let made = if schedule.is_empty() {
        let initial = cx.maybe_duration(initial.as_deref(), &place.key("initial"));
        let longest = cx.maybe_duration(max.as_deref(), &place.key("max"));
        let factor = factor.map_or(Some(FACTOR), |text| number(&text, &place.key("factor"), cx))?;
        let initial = initial.unwrap_or(longest.map_or(INITIAL, |longest| INITIAL.min(longest)));
        let max = longest.unwrap_or(MAX.max(initial));
        let backoff = Backoff {
            initial,
            factor,
            max,
            max_attempts,
        };
        Schedule::growing(backoff, max_age.unwrap_or(AGE))
    } else {
        for (key, _) in written.iter().filter(|(_, written)| *written) {
            let help = format!("keep `schedule`, or leave it out and write `{key}`");
            cx.problems.error_at_key(
                &place.key(key),
                "the waits are written out in `schedule` already",
                help,
            );
        }
        fixed(
            &schedule,
            max_age,
            &place.key("schedule"),
            &place.key("max_age"),
            cx,
        )?
    };
    match made {
        Ok(schedule) => Some(schedule.ending_on(terminal).with_max_retry_after(asked)),
        Err(why) => {
            told(why, !schedule.is_empty(), place, cx);
            None
        }
    }
}

/// The waits that are written out; `None` if one of them is none.
fn fixed(
    written: &[String],
    max_age: Option<Duration>,
    place: &Place,
    age_place: &Place,
    cx: &mut Context<'_>,
) -> Option<Result<Schedule, InvalidSchedule>> {
    if written.len() > MOST_WAITS {
        cx.problems.error_at_key(
            place,
            format!("there are more than {MOST_WAITS} waits"),
            None,
        );
        return None;
    }
    let waits: Vec<Duration> = written
        .iter()
        .enumerate()
        .filter_map(|(index, text)| cx.maybe_duration(Some(text), &place.index(index)))
        .collect();
    if waits.len() != written.len() {
        return None;
    }
    let all = waits
        .iter()
        .fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
    if max_age.is_some_and(|age| age <= all) {
        let help = "write more than all waits of `schedule` together, or leave it out".to_owned();
        cx.problems.warning(
            age_place,
            "a delivery is this old before `schedule` is through",
            help,
        );
    }
    Some(Schedule::fixed(
        waits,
        max_age.unwrap_or(AGE.max(all.saturating_mul(2))),
    ))
}

fn number(text: &str, place: &Place, cx: &mut Context<'_>) -> Option<f64> {
    let number = text.parse().ok();
    if number.is_none() {
        cx.problems.error(
            place,
            "this is not a number",
            "write a number such as `2` or `1.5`".to_owned(),
        );
    }
    number
}

fn statuses(written: &[u16], place: &Place, cx: &mut Context<'_>) -> Vec<StatusCode> {
    let mut statuses = Vec::with_capacity(written.len());
    for (index, number) in written.iter().enumerate() {
        let place = place.index(index);
        match StatusCode::from_u16(*number) {
            Ok(status) if (300..600).contains(number) => statuses.push(status),
            Ok(status) if status.is_success() => {
                cx.problems.error(
                    &place,
                    "a delivery that the app answers so is delivered",
                    "take it out".to_owned(),
                );
            }
            Ok(_) | Err(_) => {
                cx.problems.error(
                    &place,
                    "this is not a final status of a failure",
                    "write one from 300 to 599".to_owned(),
                );
            }
        }
    }
    statuses
}

/// Says what is wrong with a schedule, at the key that it is wrong by.
fn told(why: InvalidSchedule, is_fixed: bool, place: &Place, cx: &mut Context<'_>) {
    let (key, help) = match why {
        InvalidSchedule::NoInitial => (
            if is_fixed { "schedule" } else { "initial" },
            "write a wait such as `5s`",
        ),
        InvalidSchedule::Factor => ("factor", "write 1 or more, such as `2`"),
        InvalidSchedule::MaxBelowInitial => ("max", "write at least `initial`"),
        InvalidSchedule::NoAttempts => ("max_attempts", "write at least 1: the first try counts"),
        InvalidSchedule::NoAge => ("max_age", "write a time such as `3d`"),
        InvalidSchedule::TooLong => (
            if is_fixed { "schedule" } else { "max" },
            "write less than a year",
        ),
        InvalidSchedule::NoWaits => ("schedule", "leave it out, or write `max_attempts: 1`"),
    };
    cx.problems
        .error(&place.key(key), why.to_string(), help.to_owned());
}
