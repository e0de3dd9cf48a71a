//! Compiles the action of a webhook route: `forward` or `queue`, and `keep`.
use http::StatusCode;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::forward_action::forward_action;
use crate::config::compile::outgoing::{CompiledAction, Delivery, outgoing};
use crate::config::compile::{forward, rate};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Action, Keep, LimitScope, RateKey, RateLimit};
use crate::limit::Quota;

/// The default number of attempts at the same time.
const DEFAULT_CONCURRENCY: u32 = 8;

/// The action of a route, as written.
pub(super) enum Written {
    Forward(file::Forward),
    Queue(file::Queue),
}

/// The other keys of the route that matter to its action.
pub(super) struct Given<'a> {
    pub(super) forward: forward::Given<'a>,
    /// The status that the provider wants for success.
    pub(super) success_status: Option<StatusCode>,
    pub(super) has_dedupe: bool,
    pub(super) keep: Option<file::Keep>,
    /// The limits of the route, each with its place.
    pub(super) rate_limits: Vec<(Place, RateLimit)>,
}

/// Compiles the action of the route at `place`.
pub(super) fn compile(
    written: Written,
    given: Given<'_>,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<CompiledAction> {
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
            forward_action(
                written,
                forward,
                (status, has_dedupe),
                upstreams,
                &place.key("forward"),
                cx,
            )
            .map(|compiled| CompiledAction {
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
        .is_none_or(|compiled| compiled.action.keeps())
        || ["on_failure", "record"]
            .iter()
            .any(|key| cx.problems.is_faulty(&place.key("forward").key(key)));
    let keep = keep.map_or(Keep::DEFAULT, |keep| {
        keeping(keep, keeps, &place.key("keep"), cx)
    });
    compiled.map(|compiled| CompiledAction { keep, ..compiled })
}

/// Compiles `queue`.
fn queue(
    written: file::Queue,
    given: forward::Given<'_>,
    success_status: StatusCode,
    rate_limits: Vec<(Place, RateLimit)>,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<CompiledAction> {
    let file::Queue { outgoing: written } = written;
    cx.needs_store(place, "`queue`");
    let own = rate::quota(written.rate.as_deref(), written.burst, place, cx);
    let has_rate = written.rate.is_some() || cx.problems.is_spoiled(&place.key("rate"));
    let scope = rate::scope(written.scope.as_deref(), &place.key("scope"), cx);
    let (rate_limits, shaped) = shaping(rate_limits, has_rate, own.map(|own| (own, scope)), cx);
    let (rate, rate_scope) = shaped.map_or((None, scope), |(rate, scope)| (Some(rate), scope));
    let unused = [
        ("burst", written.burst.is_some()),
        ("scope", written.scope.is_some()),
    ];
    for (key, _) in unused
        .iter()
        .filter(|(_, is_written)| *is_written && !has_rate)
    {
        cx.problems.error_at_key(
            &place.key(key),
            format!("`{key}` has no effect without `rate`"),
            format!("add `rate: 50/s`, or leave `{key}` out"),
        );
    }
    let delivery = Delivery {
        action: "queue",
        rate,
        rate_scope,
        concurrency: DEFAULT_CONCURRENCY,
        success_status,
    };
    // the provider does not wait for the upstream here
    let given = forward::Given {
        answer_within: None,
        ..given
    };
    let compiled = outgoing(written, &delivery, given, upstreams, place, cx);
    Some(CompiledAction {
        forward: compiled.forward?,
        action: Action::Queue,
        answer: compiled.answer?,
        deliver: compiled.deliver?,
        keep: Keep::DEFAULT,
        rate_limits,
    })
}

/// Returns the limits that refuse requests, and the delivery rate. A limit after verification would refuse deliveries that can wait.
fn shaping(
    limits: Vec<(Place, RateLimit)>,
    is_written: bool,
    own: Option<(Quota, LimitScope)>,
    cx: &mut Context<'_>,
) -> (Vec<RateLimit>, Option<(Quota, LimitScope)>) {
    let (mut refusing, mut shaping, mut is_written) = (Vec::new(), own, is_written);
    for (place, limit) in limits {
        match limit.key {
            RateKey::ClientIp => refusing.push(limit),
            RateKey::Route if is_written => {
                let help = "keep one: on a route with `queue`, a `rate_limit` by `route` sets the delivery rate, like `queue.rate`".to_owned();
                cx.problems
                    .error(&place.key("rate"), "the delivery rate is set twice", help);
            }
            RateKey::Route => {
                is_written = true;
                shaping = Some((limit.quota, limit.scope));
            }
            RateKey::Value(_) => {
                let help =
                    "use the key `client_ip` or `route`; to deliver in order by a value, use `queue.fifo`".to_owned();
                cx.problems.error(
                    &place.key("key"),
                    "a route with `queue` cannot limit by a value of the request",
                    help,
                );
            }
        }
    }
    (refusing, shaping)
}

/// Compiles `keep`. `keeps` says whether the route stores deliveries.
fn keeping(keep: file::Keep, keeps: bool, place: &Place, cx: &mut Context<'_>) -> Keep {
    let file::Keep { age, dead, bytes } = keep;
    if !keeps {
        let help = "add `record: all` to `forward`, or leave `keep` out".to_owned();
        cx.problems.error_at_key(
            place,
            "`keep` has no effect: this route stores no deliveries",
            help,
        );
    }
    let bytes = bytes.map(|text| cx.size(Some(&text), &place.key("bytes"), 1));
    Keep {
        age: cx.duration(age.as_deref(), &place.key("age"), Keep::DEFAULT.age),
        dead: cx.duration(dead.as_deref(), &place.key("dead"), Keep::DEFAULT.dead),
        bytes: bytes.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX)),
    }
}
