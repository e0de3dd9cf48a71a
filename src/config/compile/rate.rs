//! Compiles the rate limits of a route.
use std::num::NonZeroU32;

use http::HeaderName;

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file::{self, OneOrMany};
use crate::config::snapshot::{LimitScope, RateKey, RateLimit};
use crate::limit::Quota;
use crate::verify::Locator;

/// Compiles the limits, each with its place.
pub(super) fn limits(
    written: Option<OneOrMany<file::RateLimit>>,
    place: &Place,
    has_proxies: bool,
    cx: &mut Context<'_>,
) -> Vec<(Place, RateLimit)> {
    let (limits, is_list) = match written {
        None => return Vec::new(),
        Some(OneOrMany::One(limit)) => (vec![limit], false),
        Some(OneOrMany::Many(limits)) => (limits, true),
    };
    let mut compiled = Vec::with_capacity(limits.len());
    for (index, limit) in limits.into_iter().enumerate() {
        let place = if is_list {
            place.index(index)
        } else {
            place.clone()
        };
        compiled.extend(one(limit, &place, has_proxies, cx).map(|limit| (place, limit)));
    }
    compiled
}

/// Compiles one limit.
fn one(
    limit: file::RateLimit,
    place: &Place,
    has_proxies: bool,
    cx: &mut Context<'_>,
) -> Option<RateLimit> {
    let file::RateLimit {
        rate,
        burst,
        key,
        scope,
    } = limit;
    let scope = self::scope(scope.as_deref(), &place.key("scope"), cx);
    let key = match key.as_deref() {
        None => Some(RateKey::Route),
        Some(text) => parse_key(text, &place.key("key"), cx),
    };
    if key == Some(RateKey::ClientIp) && !has_proxies {
        let help = "if a proxy is in front of the gateway, add it to `trusted_proxies`; otherwise all senders count as one client".to_owned();
        cx.problems.warning(
            &place.key("key"),
            "this limit counts by client address, but there are no trusted proxies",
            help,
        );
    }
    if rate.is_none() {
        cx.problems.missing(
            place,
            "rate",
            "the limit has no rate",
            "add `rate: 100/s`".to_owned(),
        );
    }
    let quota = quota(rate.as_deref(), burst, place, cx)?;
    Some(RateLimit {
        quota,
        key: key?,
        scope,
    })
}

/// Compiles `scope`.
pub(super) fn scope(written: Option<&str>, place: &Place, cx: &mut Context<'_>) -> LimitScope {
    let words = [
        ("gateway", LimitScope::Gateway),
        ("fleet", LimitScope::Fleet),
    ];
    let scope = cx.word(written, place, &words).unwrap_or_default();
    if scope == LimitScope::Fleet && !cx.is_shared {
        let help = "add `store: { postgres: { url: … } }` to the config, or write `gateway`";
        cx.problems.error(
            place,
            "`scope: fleet` needs a store that gateways share",
            help.to_owned(),
        );
    }
    scope
}

/// Compiles `rate` and `burst` of the block at `place`, if there is a rate.
pub(super) fn quota(
    rate: Option<&str>,
    burst: Option<u32>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Quota> {
    if burst == Some(0) {
        cx.problems
            .error(&place.key("burst"), "this must be at least 1", None);
    }
    let rate = cx.rate(rate?, &place.key("rate"))?;
    Some(Quota {
        rate,
        burst: burst.and_then(NonZeroU32::new).unwrap_or(rate.count),
    })
}

/// Parses the key of a limit.
fn parse_key(text: &str, place: &Place, cx: &mut Context<'_>) -> Option<RateKey> {
    let key = match text {
        "client_ip" => Some(RateKey::ClientIp),
        "route" => Some(RateKey::Route),
        text => locator(text).map(RateKey::Value),
    };
    if key.is_none() {
        cx.problems.error(
            place,
            "this is not a valid key of a limit",
            "write `client_ip`, `route`, `header:NAME` or `json:/pointer`".to_owned(),
        );
    }
    key
}

/// Parses `header:NAME` or `json:/pointer`.
pub(super) fn locator(text: &str) -> Option<Locator> {
    match text.split_once(':')? {
        ("header", name) => HeaderName::try_from(name.trim())
            .ok()
            .map(|name| Locator::Header(name.into())),
        ("json", pointer) if pointer.starts_with('/') => Some(Locator::Json(pointer.into())),
        _ => None,
    }
}
