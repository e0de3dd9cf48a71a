//! Compiles the action `forward`: what it forwards, stores and records.
use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::outgoing::{CompiledAction, Delivery, outgoing};
use crate::config::compile::{forward, rate};
use crate::config::diagnostic::{Place, unknown};
use crate::config::file::{self, OnFailure};
use crate::config::snapshot::{Action, Forward, Inline, Keep, Recording, Spill};
use crate::limit::Quota;
use crate::units::Rate;

/// The default number of attempts of spilled deliveries at the same time, beside new deliveries.
const DEFAULT_CONCURRENCY: u32 = 4;
/// The default rate of attempts of spilled deliveries, beside new deliveries.
const DEFAULT_RATE: Rate = Rate {
    count: NonZeroU32::MIN.saturating_add(19),
    per: Duration::from_secs(1),
};

/// The kinds of failures after which deliveries are spilled.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kinds {
    unreached: bool,
    ambiguous: bool,
}

/// Compiles `forward` at `place`.
pub(super) fn forward_action(
    written: file::Forward,
    given: forward::Given<'_>,
    (success_status, has_dedupe): (StatusCode, bool),
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<CompiledAction> {
    // No `..`: a new field must be dealt with here.
    let file::Forward {
        outgoing: written,
        on_failure,
        budget,
        record,
    } = written;
    let resend = !matches!(&on_failure, Some(OnFailure::Table(file::Failures { ambiguous: Some(word), .. })) if word == "fail");
    let kinds = on_failure.and_then(|written| spilling(written, &place.key("on_failure"), cx));
    let record = recording(record.as_deref(), kinds.is_some(), place, cx);
    if kinds.is_none() {
        note_unused_keys(&written, budget.is_some(), has_dedupe, record, place, cx);
    }
    let budget = cx.maybe_duration(budget.as_deref(), &place.key("budget"));
    let quota = rate::quota(written.rate.as_deref(), written.burst, place, cx);
    let burst = written.burst.and_then(NonZeroU32::new);
    let default = Quota {
        rate: DEFAULT_RATE,
        burst: burst.unwrap_or(DEFAULT_RATE.count),
    };
    let delivery = Delivery {
        action: "forward",
        rate: Some(quota.unwrap_or(default)),
        rate_scope: rate::scope(written.scope.as_deref(), &place.key("scope"), cx),
        concurrency: DEFAULT_CONCURRENCY,
        success_status,
    };
    let compiled = outgoing(written, &delivery, given, upstreams, place, cx);
    let forward = compiled.forward?;
    let budget = within(budget, &forward, place, cx);
    let spill = kinds.map(|kinds| Spill {
        unreached: kinds.unreached,
        ambiguous: kinds.ambiguous,
        budget,
    });
    // without a spill: for deliveries that were spilled under an older config, and for replays
    let action = Action::Forward(Inline {
        spill,
        record,
        resend,
    });
    Some(CompiledAction {
        forward,
        action,
        answer: compiled.answer?,
        deliver: compiled.deliver?,
        keep: Keep::DEFAULT,
        rate_limits: Vec::new(),
    })
}

/// Compiles `record`, and reports a missing store.
fn recording(
    written: Option<&str>,
    spills: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Recording {
    let words = [
        ("all", Recording::All),
        ("failures", Recording::Failures),
        ("none", Recording::None),
    ];
    let record = cx
        .word(written, &place.key("record"), &words)
        .unwrap_or(Recording::None);
    if spills {
        cx.needs_store(&place.key("on_failure"), "`on_failure: queue`");
    } else if record != Recording::None {
        cx.needs_store(&place.key("record"), "`record`");
    }
    record
}

/// Reports keys that have no effect on a route that never spills.
fn note_unused_keys(
    written: &file::Outgoing,
    has_budget: bool,
    has_dedupe: bool,
    record: Recording,
    place: &Place,
    cx: &mut Context<'_>,
) {
    let keys = [
        ("budget", has_budget),
        ("retry", written.retry.is_some()),
        ("rate", written.rate.is_some()),
        ("burst", written.burst.is_some()),
        ("scope", written.scope.is_some()),
        ("concurrency", written.concurrency.is_some()),
        ("fifo", written.fifo.is_some()),
    ];
    if !cx.problems.has_error_at(&place.key("on_failure")) {
        for (key, _) in keys.iter().filter(|(_, is_written)| *is_written) {
            let help = format!("add `on_failure: queue`, or leave `{key}` out");
            cx.problems.error_at_key(
                &place.key(key),
                format!("`{key}` has no effect: this route never queues"),
                help,
            );
        }
    }
    if written.answer.is_some() && !has_dedupe && !cx.problems.has_error_at(place) {
        let help = "add `on_failure: queue` or `dedupe: {}`, or leave `answer` out".to_owned();
        cx.problems.error_at_key(
            &place.key("answer"),
            "`answer` has no effect: the sender always gets the upstream's response",
            help,
        );
    }
    if written.resign == Some(true) && record == Recording::None && !cx.problems.has_error_at(place)
    {
        let help = "add `on_failure: queue` or `record: all`, or leave `resign` out".to_owned();
        cx.problems.error_at_key(
            &place.key("resign"),
            "`resign` has no effect: this route never delivers after the request",
            help,
        );
    }
}

/// Returns the budget, and reports one that is longer than the timeout, which is its default.
fn within(
    budget: Option<Duration>,
    forward: &Forward,
    place: &Place,
    cx: &mut Context<'_>,
) -> Duration {
    if budget.is_some_and(|budget| budget > forward.timeout) {
        let all = humantime::format_duration(forward.timeout)
            .to_string()
            .replace(' ', "");
        cx.problems.error(
            &place.key("budget"),
            format!("`budget` is longer than the whole timeout of {all}"),
            format!("write {all} or less, or set a longer `timeout` on the upstream"),
        );
    }
    budget.unwrap_or(forward.timeout)
}

/// Compiles `on_failure`. Returns `None` if no failure spills a delivery.
fn spilling(written: OnFailure, place: &Place, cx: &mut Context<'_>) -> Option<Kinds> {
    let words = [("queue", true), ("fail", false)];
    let kinds = match written {
        OnFailure::Word(word) => match words.iter().find(|(known, _)| *known == word) {
            Some((_, queues)) => Kinds {
                unreached: *queues,
                ambiguous: *queues,
            },
            None => {
                let help =
                    "write `queue`, `fail`, or `{ unreached: queue, ambiguous: fail }`".to_owned();
                cx.problems.error(
                    place,
                    format!("`{}` is not a value of `on_failure`", unknown(&word)),
                    help,
                );
                return None;
            }
        },
        OnFailure::Table(file::Failures {
            unreached: None,
            ambiguous: None,
        }) => {
            // an unknown key is reported already
            if !cx.problems.has_error_at(place) {
                let help = "write `{ unreached: queue, ambiguous: fail }`".to_owned();
                cx.problems.error(place, "`on_failure` is empty", help);
            }
            return None;
        }
        OnFailure::Table(file::Failures {
            unreached,
            ambiguous,
        }) => {
            let mut word = |written: Option<String>, key| {
                cx.word(written.as_deref(), &place.key(key), &words)
                    .unwrap_or(false)
            };
            Kinds {
                unreached: word(unreached, "unreached"),
                ambiguous: word(ambiguous, "ambiguous"),
            }
        }
    };
    (kinds.unreached || kinds.ambiguous).then_some(kinds)
}
