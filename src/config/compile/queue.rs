//! What a route does with its deliveries: hands them on at once, or keeps them on the disk and delivers later.
use std::num::NonZeroU32;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::config::compile::forward::{self, Target, forward};
use crate::config::compile::{Context, Upstreams, rate, retry};
use crate::config::diagnostic::{Place, unknown};
use crate::config::file::{self, OnFailure};
use crate::config::snapshot::{
    Acknowledgement, Action, Deliver, Forward, Inline, Keep, RateKey, RateLimit, Recording, Spill,
};
use crate::limit::Quota;
use crate::units::Rate;

/// The longest body that a sender is answered with, in bytes.
const MAX_ANSWER: usize = 4 * 1024;
/// Tries at the same time at most: each holds a body in memory.
const MOST_AT_ONCE: u32 = 1_000;
/// Tries at the same time on a route that queues, if nobody says.
const AT_ONCE: u32 = 8;
/// Tries at the same time of what was spilled, beside new deliveries.
const SPILLED_AT_ONCE: u32 = 4;
/// Tries of what was spilled, beside new deliveries.
const SPILLED: Rate = Rate {
    count: NonZeroU32::MIN.saturating_add(19),
    per: Duration::from_secs(1),
};

/// The action of a route, as written.
pub(super) enum Written {
    Forward(file::Forward),
    Queue(file::Queue),
}

/// What the rest of the route says.
pub(super) struct Given<'a> {
    pub(super) forward: forward::Given<'a>,
    /// The status that the provider wants for success.
    pub(super) success_status: Option<StatusCode>,
    pub(super) has_dedupe: bool,
    pub(super) keep: Option<file::Keep>,
    /// The limits of the route, each with its place.
    pub(super) rate_limits: Vec<(Place, RateLimit)>,
}

/// What the action comes to.
pub(super) struct Compiled {
    pub(super) forward: Forward,
    pub(super) action: Action,
    pub(super) answer: Acknowledgement,
    pub(super) deliver: Deliver,
    pub(super) keep: Keep,
    pub(super) rate_limits: Vec<RateLimit>,
}

/// How those that wait are delivered, as written.
struct Delivering {
    retry: Option<file::Retry>,
    concurrency: Option<u32>,
    fifo: Option<String>,
}

/// `place` is the route's.
pub(super) fn compile(
    written: Written,
    given: Given<'_>,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Compiled> {
    let Given {
        forward,
        success_status,
        has_dedupe,
        keep,
        rate_limits,
    } = given;
    let status = success_status.unwrap_or(StatusCode::OK);
    let compiled = match written {
        Written::Forward(written) => {
            let rate_limits = rate_limits.into_iter().map(|(_, limit)| limit).collect();
            inline(
                written,
                forward,
                (status, has_dedupe),
                upstreams,
                &place.key("forward"),
                cx,
            )
            .map(|compiled| Compiled {
                rate_limits,
                ..compiled
            })
        }
        Written::Queue(written) => queue(
            written,
            forward,
            status,
            rate_limits,
            upstreams,
            &place.key("queue"),
            cx,
        ),
    };
    let keeps = compiled
        .as_ref()
        .is_none_or(|compiled| compiled.action.keeps());
    let keep = keep.map_or(Keep::DEFAULT, |keep| {
        keeping(keep, keeps, &place.key("keep"), cx)
    });
    compiled.map(|compiled| Compiled { keep, ..compiled })
}

/// A route that acknowledges.
fn queue(
    written: file::Queue,
    given: forward::Given<'_>,
    success_status: StatusCode,
    rate_limits: Vec<(Place, RateLimit)>,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Compiled> {
    // No `..`: a new field must be dealt with here.
    let file::Queue {
        upstream,
        path,
        query,
        keep_token,
        answer,
        retry,
        rate,
        burst,
        concurrency,
        fifo,
        resign,
        sign,
    } = written;
    cx.needs_store(place, "`queue`");
    let answer = acknowledgement(
        answer.unwrap_or_default(),
        success_status,
        &place.key("answer"),
        cx,
    );
    let own = rate::quota(rate.as_deref(), burst, place, cx);
    let has_rate = rate.is_some() || cx.problems.is_spoiled(&place.key("rate"));
    let (rate_limits, rate) = shaping(rate_limits, has_rate, own, cx);
    if burst.is_some() && !has_rate {
        cx.problems.error_at_key(
            &place.key("burst"),
            "there is no rate that this could belong to",
            "add `rate: 50/s`".to_owned(),
        );
    }
    let deliver = delivering(
        Delivering {
            retry,
            concurrency,
            fifo,
        },
        rate,
        AT_ONCE,
        place,
        cx,
    );
    // nobody waits for the app here, however long the provider would
    let given = forward::Given {
        answer_within: None,
        ..given
    };
    let target = Target {
        upstream,
        path,
        query,
        keep_token,
        resign,
        sign,
    };
    let forward = forward(target, "queue", given, upstreams, place, cx);
    Some(Compiled {
        forward: forward?,
        action: Action::Queue,
        answer: answer?,
        deliver: deliver?,
        keep: Keep::DEFAULT,
        rate_limits,
    })
}

/// Those limits that refuse, and the rate of delivery: a limit after authentication would refuse what can as well wait.
fn shaping(
    limits: Vec<(Place, RateLimit)>,
    is_written: bool,
    own: Option<Quota>,
    cx: &mut Context<'_>,
) -> (Vec<RateLimit>, Option<Quota>) {
    let (mut refusing, mut shaping, mut is_written) = (Vec::new(), own, is_written);
    for (place, limit) in limits {
        match limit.key {
            RateKey::ClientIp => refusing.push(limit),
            RateKey::Route if is_written => {
                let help = "keep one: on a route with `queue` it shapes delivery, as `queue.rate` does, and refuses nobody".to_owned();
                cx.problems.error(
                    &place.key("rate"),
                    "the route says twice how often it delivers",
                    help,
                );
            }
            RateKey::Route => {
                is_written = true;
                shaping = Some(limit.quota);
            }
            RateKey::Value(_) => {
                let help =
                    "write `client_ip` or `route`; for order by a value, `queue.fifo`".to_owned();
                cx.problems.error(
                    &place.key("key"),
                    "a route with `queue` refuses nobody who is authentic, and delivers by no such key",
                    help,
                );
            }
        }
    }
    (refusing, shaping)
}

fn acknowledgement(
    answer: file::Acknowledgement,
    default: StatusCode,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Acknowledgement> {
    let file::Acknowledgement {
        status,
        body,
        content_type,
    } = answer;
    let body = body.unwrap_or_default();
    let status = match status {
        None => Some(default),
        Some(status) => {
            let valid = StatusCode::from_u16(status)
                .ok()
                .filter(StatusCode::is_success);
            if valid.is_none() {
                let help = "write a status from 200 to 299".to_owned();
                cx.problems.error(
                    &place.key("status"),
                    "the sender would take this for a failure, and send again",
                    help,
                );
            }
            valid
        }
    };
    if body.len() > MAX_ANSWER {
        cx.problems.error(
            &place.key("body"),
            "this is more than 4 KiB",
            "senders want a status, and hardly a word".to_owned(),
        );
        return None;
    }
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT];
    if let Some(status) = status.filter(|status| bodiless.contains(status) && !body.is_empty()) {
        let help = "leave it out, or write `status: 200`".to_owned();
        cx.problems.error(
            &place.key("body"),
            format!("an answer with status {} has no body", status.as_u16()),
            help,
        );
        return None;
    }
    let content_type = match content_type {
        None => (!body.is_empty()).then(|| HeaderValue::from_static("text/plain; charset=utf-8")),
        Some(text) => {
            let valid = HeaderValue::from_str(&text)
                .ok()
                .filter(|_| text.contains('/'));
            if valid.is_none() {
                let help = "write a media type, such as `application/json`".to_owned();
                cx.problems.error(
                    &place.key("content_type"),
                    "this is not a content type",
                    help,
                );
            }
            Some(valid?)
        }
    };
    Some(Acknowledgement {
        status: status?,
        body: body.into(),
        content_type,
    })
}

/// A route that forwards, and what it does when the app does not take a delivery.
fn inline(
    written: file::Forward,
    given: forward::Given<'_>,
    (success_status, has_dedupe): (StatusCode, bool),
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Compiled> {
    // No `..`: a new field must be dealt with here.
    let file::Forward {
        upstream,
        path,
        query,
        keep_token,
        on_failure,
        answer,
        budget,
        record,
        retry,
        rate,
        burst,
        concurrency,
        fifo,
        resign,
        sign,
    } = written;
    let resend = !matches!(&on_failure, Some(OnFailure::Table(file::Failures { ambiguous: Some(word), .. })) if word == "fail");
    let kinds = on_failure.and_then(|written| spilling(written, &place.key("on_failure"), cx));
    let words = [
        ("all", Recording::All),
        ("failures", Recording::Failures),
        ("none", Recording::None),
    ];
    let record_written = record.is_some();
    let record = cx
        .word(record.as_deref(), &place.key("record"), &words)
        .unwrap_or(Recording::None);
    if kinds.is_some() {
        cx.needs_store(&place.key("on_failure"), "`on_failure: queue`");
    } else if record_written && record != Recording::None {
        cx.needs_store(&place.key("record"), "`record`");
    }
    let given_keys = [
        ("budget", budget.is_some()),
        ("retry", retry.is_some()),
        ("rate", rate.is_some()),
        ("burst", burst.is_some()),
        ("concurrency", concurrency.is_some()),
        ("fifo", fifo.is_some()),
    ];
    if kinds.is_none() && !cx.problems.has_error_at(&place.key("on_failure")) {
        for (key, _) in given_keys.iter().filter(|(_, given)| *given) {
            let help = format!("add `on_failure: queue`, or leave `{key}` out");
            cx.problems.error_at_key(
                &place.key(key),
                format!("`{key}` is about the queue, into which nothing of this route goes"),
                help,
            );
        }
    }
    if answer.is_some() && kinds.is_none() && !has_dedupe && !cx.problems.has_error_at(place) {
        let help = "add `on_failure: queue` or `dedupe: {}`, or leave `answer` out".to_owned();
        cx.problems.error_at_key(
            &place.key("answer"),
            "`answer` has no effect: the sender gets the app's answer to every delivery",
            help,
        );
    }
    let answer = acknowledgement(
        answer.unwrap_or_default(),
        success_status,
        &place.key("answer"),
        cx,
    );
    let budget = cx.maybe_duration(budget.as_deref(), &place.key("budget"));
    let quota = rate::quota(rate.as_deref(), burst, place, cx);
    let default = Quota {
        rate: SPILLED,
        burst: burst.and_then(NonZeroU32::new).unwrap_or(SPILLED.count),
    };
    let deliver = delivering(
        Delivering {
            retry,
            concurrency,
            fifo,
        },
        Some(quota.unwrap_or(default)),
        SPILLED_AT_ONCE,
        place,
        cx,
    );
    if resign == Some(true)
        && kinds.is_none()
        && record == Recording::None
        && !cx.problems.has_error_at(place)
    {
        let help = "add `on_failure: queue` or `record: all`, or leave it out".to_owned();
        cx.problems.error_at_key(
            &place.key("resign"),
            "nothing of this route is handed on later than within its request",
            help,
        );
    }
    let target = Target {
        upstream,
        path,
        query,
        keep_token,
        resign,
        sign,
    };
    let forward = forward(target, "forward", given, upstreams, place, cx)?;
    if let Some(budget) = budget
        && budget > forward.timeout
    {
        let all = humantime::format_duration(forward.timeout)
            .to_string()
            .replace(' ', "");
        let help = format!("write {all} or less, or a longer `timeout` at the upstream");
        cx.problems.error(
            &place.key("budget"),
            format!("the app has only {all} in all"),
            help,
        );
    }
    let budget = budget.unwrap_or(forward.timeout);
    let spill = kinds.map(|(unreached, ambiguous)| Spill {
        unreached,
        ambiguous,
        budget,
    });
    // without a spill: for what the route spilled under an older config, and for replays
    let action = Action::Forward(Inline {
        spill,
        record,
        resend,
    });
    Some(Compiled {
        forward,
        action,
        answer: answer?,
        deliver: deliver?,
        keep: Keep::DEFAULT,
        rate_limits: Vec::new(),
    })
}

/// Which kinds of failures go into the queue: those that never reached the app, those that did and were not answered. `None`: neither.
fn spilling(written: OnFailure, place: &Place, cx: &mut Context<'_>) -> Option<(bool, bool)> {
    let words = [("queue", true), ("fail", false)];
    let kinds = match written {
        OnFailure::Word(word) => match words.iter().find(|(known, _)| *known == word) {
            Some((_, queues)) => (*queues, *queues),
            None => {
                let help =
                    "write `queue`, `fail`, or `{ unreached: queue, ambiguous: fail }`".to_owned();
                cx.problems.error(
                    place,
                    format!("`{}` is not known here", unknown(&word)),
                    help,
                );
                return None;
            }
        },
        OnFailure::Table(file::Failures {
            unreached: None,
            ambiguous: None,
        }) => {
            // a key that is not known is told already
            if !cx.problems.has_error_at(place) {
                let help = "write `{ unreached: queue, ambiguous: fail }`".to_owned();
                cx.problems
                    .error(place, "this says nothing of any failure", help);
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
            (word(unreached, "unreached"), word(ambiguous, "ambiguous"))
        }
    };
    (kinds != (false, false)).then_some(kinds)
}

fn delivering(
    written: Delivering,
    rate: Option<Quota>,
    at_once: u32,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Deliver> {
    let Delivering {
        retry,
        concurrency,
        fifo,
    } = written;
    let schedule = retry::schedule(retry.unwrap_or_default(), &place.key("retry"), cx);
    let concurrency = concurrency.unwrap_or(at_once);
    if !(1..=MOST_AT_ONCE).contains(&concurrency) {
        let help = format!("write 1 to {MOST_AT_ONCE}");
        cx.problems.error(
            &place.key("concurrency"),
            "this is no number of tries at the same time",
            help,
        );
    }
    let is_fifo = fifo.is_some();
    let fifo = fifo.and_then(|text| {
        let locator = rate::locator(&text);
        if locator.is_none() {
            cx.problems.error(
                &place.key("fifo"),
                "this is no place of a value",
                "write `header:NAME` or `json:/pointer`".to_owned(),
            );
        }
        locator
    });
    if is_fifo && fifo.is_none() {
        return None;
    }
    Some(Deliver {
        schedule: schedule?,
        rate,
        concurrency,
        fifo,
    })
}

fn keeping(keep: file::Keep, keeps: bool, place: &Place, cx: &mut Context<'_>) -> Keep {
    let file::Keep { age, dead, bytes } = keep;
    if !keeps {
        let help = "add `record: all` to `forward`, or leave `keep` out".to_owned();
        cx.problems
            .error_at_key(place, "nothing of this route's deliveries is kept", help);
    }
    let bytes = bytes.map(|text| cx.size(Some(&text), &place.key("bytes"), 1));
    Keep {
        age: cx.duration(age.as_deref(), &place.key("age"), Keep::DEFAULT.age),
        dead: cx.duration(dead.as_deref(), &place.key("dead"), Keep::DEFAULT.dead),
        bytes: bytes.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX)),
    }
}
