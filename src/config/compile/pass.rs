//! Compiles a pass route.
use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::forward::upstream_of;
use crate::config::compile::methods::methods_of;
use crate::config::compile::rate;
use crate::config::compile::route_keys::{Common, WebhookKeys};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Pass, RateKey, RateLimit};

/// The default of `timeout`, if the upstream has none.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The default of `idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Compiles a pass route at `place`.
pub(super) fn pass(
    common: Common,
    keys: &WebhookKeys,
    pass: file::Pass,
    upstreams: &Upstreams,
    has_proxies: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Pass> {
    for key in keys.written() {
        let help = format!("leave `{key}` out, or use `forward` or `queue` instead of `pass`");
        cx.problems.error_at_key(
            &place.key(key),
            format!("`{key}` has no effect on a pass route"),
            help,
        );
    }
    let Common {
        name,
        previously,
        host,
        path,
        methods,
        max_body,
        allow,
        rate_limit,
    } = common;
    let file::Pass {
        upstream,
        timeout,
        idle_timeout,
    } = pass;
    let here = place.key("pass");
    let methods = methods_of(&methods, &place.key("methods"), cx);
    let max_body = max_body.map(|written| cx.size(Some(&written), &place.key("max_body"), 1));
    let allow = cx.allow(&allow, &place.key("allow"));
    let rate_limits = rate::limits(rate_limit, &place.key("rate_limit"), has_proxies, cx);
    let rate_limits = rate_limits
        .into_iter()
        .filter(|(place, limit)| is_known_before_the_body(limit, place, cx))
        .map(|(_, limit)| limit);
    let rate_limits = rate_limits.collect();
    let timeout = cx.maybe_duration(timeout.as_deref(), &here.key("timeout"));
    let idle_timeout = cx.duration(
        idle_timeout.as_deref(),
        &here.key("idle_timeout"),
        IDLE_TIMEOUT,
    );
    let upstream = upstream_of(upstream, "pass", upstreams, &here, cx)?;
    Some(Pass {
        name: name.into(),
        previously: previously.into_iter().map(String::into_boxed_str).collect(),
        host,
        path,
        methods,
        max_body: max_body.map(|size| u64::try_from(size).unwrap_or(u64::MAX)),
        allow,
        rate_limits,
        timeout: timeout.or(upstream.timeout).unwrap_or(TIMEOUT),
        idle_timeout,
        upstream: Arc::clone(&upstream),
    })
}

/// Returns whether a pass route can use the limit. A value of an unverified request cannot be its key.
fn is_known_before_the_body(limit: &RateLimit, place: &Place, cx: &mut Context<'_>) -> bool {
    let known = matches!(limit.key, RateKey::ClientIp | RateKey::Route);
    if !known {
        let help = "write `client_ip` or `route`".to_owned();
        cx.problems.error(
            &place.key("key"),
            "a pass route cannot limit by a value of the request",
            help,
        );
    }
    known
}
