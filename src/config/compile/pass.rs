//! Routes that stream other traffic of the app through.
use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::forward::upstream_of;
use crate::config::compile::{Context, Upstreams, rate, routes};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Pass, RateKey, RateLimit};

/// From the end of the request to the head of the answer, if neither route nor upstream says.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may come from either side, if the route does not say.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Keys that only mean something where requests are verified, and what is wrong with each here.
const FOR_WEBHOOKS: [&str; 9] = [
    "verify",
    "refused_status",
    "refused_body",
    "handshake",
    "dedupe",
    "public_url",
    "mode",
    "until",
    "keep",
];

pub(super) fn pass(
    name: String,
    route: file::Route,
    pass: file::Pass,
    upstreams: &Upstreams,
    has_proxies: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Pass> {
    // No `..`: a new field must be dealt with here.
    let file::Route {
        name: _,
        previously,
        host,
        path,
        methods,
        public_url,
        max_body,
        allow,
        verify,
        refused_status,
        refused_body,
        handshake,
        rate_limit,
        dedupe,
        forward: _,
        queue: _,
        pass: _,
        mode,
        until,
        keep,
    } = route;
    let given = [
        verify.is_some(),
        refused_status.is_some(),
        refused_body.is_some(),
        handshake.is_some(),
        dedupe.is_some(),
        public_url.is_some(),
        mode.is_some(),
        until.is_some(),
        keep.is_some(),
    ];
    for (key, _) in FOR_WEBHOOKS.iter().zip(given).filter(|(_, given)| *given) {
        let help = format!("leave `{key}` out; a route for webhooks says `forward` or `queue`");
        cx.problems.error_at_key(
            &place.key(key),
            format!("`{key}` means nothing on a route that passes traffic through unverified"),
            help,
        );
    }
    let file::Pass {
        upstream,
        timeout,
        idle_timeout,
    } = pass;
    let here = place.key("pass");
    let methods = routes::methods_of(&methods, &place.key("methods"), cx);
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
        path: path.unwrap_or_default(),
        methods,
        max_body: max_body.map(|size| u64::try_from(size).unwrap_or(u64::MAX)),
        allow,
        rate_limits,
        timeout: timeout.or(upstream.timeout).unwrap_or(TIMEOUT),
        idle_timeout,
        upstream: Arc::clone(&upstream),
    })
}

/// Whether the key of a limit is one that a stream has: a value in a header or body is nobody's proven word here.
fn is_known_before_the_body(limit: &RateLimit, place: &Place, cx: &mut Context<'_>) -> bool {
    let known = matches!(limit.key, RateKey::ClientIp | RateKey::Route);
    if !known {
        let help = "write `client_ip` or `route`".to_owned();
        cx.problems.error(
            &place.key("key"),
            "a route that passes traffic through has no such key to count by",
            help,
        );
    }
    known
}
