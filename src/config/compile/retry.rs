//! Compiles the schedule of attempts.
use std::time::Duration;

use http::StatusCode;

use crate::config::compile::context::Context;
use crate::config::diagnostic::{Place, shown};
use crate::config::file;
use crate::config::snapshot::Upstream;
use crate::retry::{Backoff, InvalidSchedule, Jitter, Schedule};

/// The default of `initial`.
const INITIAL: Duration = Duration::from_secs(5);
/// The default of `factor`.
const FACTOR: f64 = 2.0;
/// The default of `max`.
const MAX: Duration = Duration::from_secs(3_600);
/// The default of `max_age`.
const AGE: Duration = Duration::from_secs(3 * 86_400);
/// The default of `retry_after_max`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// The largest number of waits of a schedule.
const MAX_WAITS: usize = 1_000;

/// Compiles `retry`.
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
        jitter,
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
        RETRY_AFTER_MAX,
    );
    let terminal = statuses(&terminal, &place.key("terminal"), cx);
    let made = if schedule.is_empty() {
        if jitter.is_some() {
            cx.problems.error_at_key(
                &place.key("jitter"),
                "`jitter` has no effect without `schedule`",
                "leave it out: each wait that grows is drawn between 0 and its bound".to_owned(),
            );
        }
        let backoff = backoff((initial, factor, max), max_attempts, place, cx)?;
        Schedule::growing(backoff, max_age.unwrap_or(AGE))
    } else {
        for (key, _) in written.iter().filter(|(_, written)| *written) {
            let help = format!("keep either `schedule` or `{key}`");
            cx.problems.error_at_key(
                &place.key(key),
                format!("`{key}` has no effect beside `schedule`"),
                help,
            );
        }
        let jitter = jitter.and_then(|text| self::jitter(&text, &place.key("jitter"), cx));
        let jitter = jitter.unwrap_or_default();
        fixed(&schedule, jitter, max_age, place, cx)?
    };
    match made {
        Ok(schedule) => Some(schedule.ending_on(terminal).with_max_retry_after(asked)),
        Err(why) => {
            report(why, !schedule.is_empty(), place, cx);
            None
        }
    }
}

/// Compiles `initial`, `factor` and `max`; `None` if `factor` is not a number.
fn backoff(
    (initial, factor, max): (Option<String>, Option<String>, Option<String>),
    max_attempts: Option<u32>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Backoff> {
    let initial = cx.maybe_duration(initial.as_deref(), &place.key("initial"));
    let longest = cx.maybe_duration(max.as_deref(), &place.key("max"));
    let factor = factor.map_or(Some(FACTOR), |text| number(&text, &place.key("factor"), cx))?;
    let initial = initial.unwrap_or(longest.map_or(INITIAL, |longest| INITIAL.min(longest)));
    Some(Backoff {
        initial,
        factor,
        max: longest.unwrap_or(MAX.max(initial)),
        max_attempts,
    })
}

/// Warns if an upstream that is down can use up all attempts before its breaker opens. A single attempt is meant to be the only one.
pub(super) fn note_few_attempts(
    max_attempts: u32,
    upstream: &Upstream,
    place: &Place,
    cx: &mut Context<'_>,
) {
    let failures = upstream.breaker.failures;
    if max_attempts > 1 && max_attempts <= failures && !cx.problems.is_faulty(place) {
        let message = format!(
            "an upstream that is down can use up all {max_attempts} attempts of a delivery: its circuit breaker opens after {failures} failures"
        );
        let help = format!(
            "leave it out, or write more than {failures} (`breaker.failures` of the upstream {})",
            shown(&upstream.name)
        );
        cx.problems
            .warning(&place.key("max_attempts"), message, help);
    }
}

/// Compiles `jitter`.
fn jitter(text: &str, place: &Place, cx: &mut Context<'_>) -> Option<Jitter> {
    let percent = text
        .strip_suffix('%')
        .and_then(|percent| percent.trim().parse().ok());
    let jitter = percent.and_then(Jitter::percent);
    if jitter.is_none() {
        let message = if percent.is_some() {
            "this is more than half of the wait"
        } else {
            "this is not a percentage"
        };
        let help = format!("write `0%` to `{}%`, such as `20%`", Jitter::MAX_PERCENT);
        cx.problems.error(place, message, help);
    }
    jitter
}

/// Compiles `schedule`, `retry` is at `place`. Returns `None` if one of the waits is not valid.
fn fixed(
    written: &[String],
    jitter: Jitter,
    max_age: Option<Duration>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Result<Schedule, InvalidSchedule>> {
    let (age_place, place) = (&place.key("max_age"), &place.key("schedule"));
    if written.len() > MAX_WAITS {
        cx.problems.error_at_key(
            place,
            format!("there are more than {MAX_WAITS} waits"),
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
        let help = "write a longer `max_age`, or leave it out".to_owned();
        cx.problems.warning(
            age_place,
            "`max_age` is shorter than all waits of `schedule` together",
            help,
        );
    }
    Some(Schedule::fixed_with(
        waits,
        jitter,
        max_age.unwrap_or(AGE.max(all.saturating_mul(2))),
    ))
}

/// Parses a number.
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

/// Compiles `terminal`.
fn statuses(written: &[u16], place: &Place, cx: &mut Context<'_>) -> Vec<StatusCode> {
    let mut statuses = Vec::with_capacity(written.len());
    for (index, number) in written.iter().enumerate() {
        let place = place.index(index);
        match StatusCode::from_u16(*number) {
            Ok(status) if (300..600).contains(number) => statuses.push(status),
            Ok(status) if status.is_success() => {
                cx.problems.error(
                    &place,
                    "a 2xx status already means that the delivery succeeded",
                    "leave it out".to_owned(),
                );
            }
            Ok(_) | Err(_) => {
                cx.problems.error(
                    &place,
                    "this is not a failure status",
                    "write a status from 300 to 599".to_owned(),
                );
            }
        }
    }
    statuses
}

/// Reports why a schedule is not valid, at the key that causes it.
fn report(why: InvalidSchedule, is_fixed: bool, place: &Place, cx: &mut Context<'_>) {
    let (key, help) = match why {
        InvalidSchedule::NoInitial => (
            if is_fixed { "schedule" } else { "initial" },
            "write a wait such as `5s`",
        ),
        InvalidSchedule::Factor => ("factor", "write 1 or more, such as `2`"),
        InvalidSchedule::MaxBelowInitial => ("max", "write at least `initial`"),
        InvalidSchedule::NoAttempts => {
            ("max_attempts", "write at least 1: the first attempt counts")
        }
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
