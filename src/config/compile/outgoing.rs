//! Compiles the keys that the actions `forward` and `queue` share.
use http::{HeaderValue, StatusCode};

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::forward::{self, Target, forward};
use crate::config::compile::{rate, retry};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{
    Acknowledgement, Action, Deliver, Forward, Keep, LimitScope, RateLimit,
};
use crate::limit::Quota;
use crate::verify::Locator;

/// The longest body of an acknowledgement, in bytes.
const MAX_ANSWER: usize = 4 * 1024;
/// The largest `concurrency`: each attempt holds a body in memory.
const MAX_CONCURRENCY: u32 = 1_000;

/// The properties of stored deliveries that depend on the action.
pub(super) struct Delivery {
    /// The name of the action.
    pub(super) action: &'static str,
    pub(super) rate: Option<Quota>,
    pub(super) rate_scope: LimitScope,
    /// The default of `concurrency`.
    pub(super) concurrency: u32,
    /// The default of `answer.status`.
    pub(super) success_status: StatusCode,
}

/// The compiled keys; `None` where one has an error.
pub(super) struct Outgoing {
    pub(super) forward: Option<Forward>,
    pub(super) answer: Option<Acknowledgement>,
    pub(super) deliver: Option<Deliver>,
}

/// The compiled action of a route.
pub(super) struct CompiledAction {
    pub(super) forward: Forward,
    pub(super) action: Action,
    pub(super) answer: Acknowledgement,
    pub(super) deliver: Deliver,
    pub(super) keep: Keep,
    pub(super) rate_limits: Vec<RateLimit>,
}

/// Compiles the keys of the action at `place`. `rate`, `burst` and `scope` are compiled by the caller.
pub(super) fn outgoing(
    written: file::Outgoing,
    delivery: &Delivery,
    given: forward::Given<'_>,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Outgoing {
    // No `..`: a new field must be dealt with here.
    let file::Outgoing {
        upstream,
        path,
        query,
        keep_token,
        answer,
        retry,
        rate: _,
        burst: _,
        scope: _,
        concurrency,
        fifo,
        resign,
        sign,
    } = written;
    let answer = acknowledgement(
        answer.unwrap_or_default(),
        delivery.success_status,
        &place.key("answer"),
        cx,
    );
    let max_attempts = retry.as_ref().and_then(|retry| retry.max_attempts);
    let schedule = retry::schedule(retry.unwrap_or_default(), &place.key("retry"), cx);
    let concurrency = concurrency.unwrap_or(delivery.concurrency);
    if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
        cx.problems.error(
            &place.key("concurrency"),
            "`concurrency` is out of range",
            format!("write 1 to {MAX_CONCURRENCY}"),
        );
    }
    let fifo = match fifo {
        None => Some(None),
        Some(text) => fifo_key(&text, &place.key("fifo"), cx).map(Some),
    };
    let deliver = schedule.zip(fifo).map(|(schedule, fifo)| Deliver {
        schedule,
        rate: delivery.rate,
        rate_scope: delivery.rate_scope,
        concurrency,
        fifo,
    });
    let target = Target {
        upstream,
        path,
        query,
        keep_token,
        resign,
        sign,
    };
    let forward = forward(target, delivery.action, given, upstreams, place, cx);
    if let (Some(max_attempts), Some(forward)) = (max_attempts, &forward) {
        retry::note_few_attempts(max_attempts, &forward.upstream, &place.key("retry"), cx);
    }
    Outgoing {
        forward,
        answer,
        deliver,
    }
}

/// Parses `fifo`.
fn fifo_key(text: &str, place: &Place, cx: &mut Context<'_>) -> Option<Locator> {
    let locator = rate::locator(text);
    if locator.is_none() {
        cx.problems.error(
            place,
            "`fifo` must name a header or a JSON pointer",
            "write `header:NAME` or `json:/pointer`".to_owned(),
        );
    }
    locator
}

/// Compiles `answer`. `default` is the status if none is written.
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
                    "the sender would treat this status as a failure and retry",
                    help,
                );
            }
            valid
        }
    };
    if body.len() > MAX_ANSWER {
        cx.problems.error(
            &place.key("body"),
            "the body must not be longer than 4 KiB",
            "write a shorter body, or leave it out".to_owned(),
        );
        return None;
    }
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT];
    if let Some(status) = status.filter(|status| bodiless.contains(status) && !body.is_empty()) {
        let help = "leave it out, or write `status: 200`".to_owned();
        cx.problems.error(
            &place.key("body"),
            format!(
                "a response with status {} cannot have a body",
                status.as_u16()
            ),
            help,
        );
        return None;
    }
    let content_type = match content_type {
        None => (!body.is_empty()).then(|| HeaderValue::from_static("text/plain; charset=utf-8")),
        Some(text) => Some(media_type(&text, &place.key("content_type"), cx)?),
    };
    Some(Acknowledgement {
        status: status?,
        body: body.into(),
        content_type,
    })
}

/// Parses a content type.
fn media_type(text: &str, place: &Place, cx: &mut Context<'_>) -> Option<HeaderValue> {
    let valid = HeaderValue::from_str(text)
        .ok()
        .filter(|_| text.contains('/'));
    if valid.is_none() {
        let help = "write a media type, such as `application/json`".to_owned();
        cx.problems
            .error(place, "this is not a valid content type", help);
    }
    valid
}
