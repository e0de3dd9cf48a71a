//! Compiles the upstreams.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::PrivateKeyDer;

use crate::config::compile::certificates::{self, Pair};
use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::listen;
use crate::config::diagnostic::{Place, shown};
use crate::config::file;
use crate::config::snapshot::{Breaker, Identity, Upstream, UpstreamAddress, UpstreamTls};

/// Compiles all upstreams. One with an error is `None`, so that routes to it are not reported as well.
pub(super) fn upstreams(
    written: Vec<(Place, String, file::Upstream)>,
    cx: &mut Context<'_>,
) -> Upstreams {
    let mut upstreams = Upstreams::new();
    let mut places: HashMap<Arc<str>, Place> = HashMap::new();
    for (place, name, upstream) in written {
        let name: Arc<str> = name.into();
        if let Some(there) = places.get(&name) {
            cx.problems.clash(
                &place,
                there,
                format!("another file defines the upstream `{}`", shown(&name)),
                "keep one of the two".to_owned(),
            );
            continue;
        }
        places.insert(Arc::clone(&name), place.clone());
        let is_name = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_name {
            cx.problems.error_at_key(
                &place,
                "this is not a valid upstream name",
                "use at most 64 letters, digits, `.`, `_` and `-`".to_owned(),
            );
        }
        let compiled = one(Arc::clone(&name), upstream, &place, cx).map(Arc::new);
        upstreams.insert(name, compiled);
    }
    upstreams
}

/// Compiles the upstream at `place`.
fn one(
    name: Arc<str>,
    upstream: file::Upstream,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Upstream> {
    let file::Upstream {
        url,
        connect_timeout,
        timeout,
        idle_timeout,
        ca,
        certificate,
        key,
        host,
        breaker,
    } = upstream;
    let connect_timeout = cx.duration(
        connect_timeout.as_deref(),
        &place.key("connect_timeout"),
        Duration::from_secs(1),
    );
    let timeout = cx.maybe_duration(timeout.as_deref(), &place.key("timeout"));
    let idle_timeout = cx.duration(
        idle_timeout.as_deref(),
        &place.key("idle_timeout"),
        Duration::from_secs(4),
    );
    let hosts = [("original", false), ("upstream", true)];
    let own_host = cx
        .word(host.as_deref(), &place.key("host"), &hosts)
        .unwrap_or(false);
    let breaker = breaker_of(breaker, &place.key("breaker"), cx);
    let mut address = address(url.as_deref(), place, cx);
    let has_tls = address.as_ref().map(|address| address.tls().is_some());
    for (key, written) in [("ca", &ca), ("certificate", &certificate), ("key", &key)] {
        if written.is_some() && has_tls == Some(false) {
            let help = format!("write `https://` in its `url`, or leave `{key}` out");
            let message = format!("`{key}` has no effect: this upstream does not use TLS");
            cx.problems.error(&place.key(key), message, help);
        }
    }
    let label = format!("upstreams.{name}");
    let trusted = ca.map(|ca| certificates::authorities(&ca, "ca", &label, place, cx));
    let is_shown = certificate.is_some() || key.is_some();
    let pair = Pair {
        certificate: certificate.as_deref(),
        key: key.as_deref(),
        label,
    };
    let identity = is_shown.then(|| identity(&pair, place, cx));
    if let Some(UpstreamAddress::Tcp { tls: Some(tls), .. }) = &mut address {
        *tls = UpstreamTls {
            ca: trusted.flatten(),
            identity: identity.flatten(),
        };
    }
    Some(Upstream {
        name,
        address: address?,
        connect_timeout,
        timeout,
        idle_timeout,
        own_host,
        breaker,
    })
}

/// Loads the client certificate of the gateway. pingora gets nothing but the bytes of the key, so its kind must be visible in them.
fn identity(pair: &Pair<'_>, place: &Place, cx: &mut Context<'_>) -> Option<Arc<Identity>> {
    let identity = certificates::identity(pair, place, cx)?;
    let bytes = identity.key.secret_der();
    if !PrivateKeyDer::try_from(bytes).is_ok_and(|read| read == identity.key) {
        let help = "convert it to PKCS #8: `openssl pkcs8 -topk8 -nocrypt`".to_owned();
        cx.problems
            .error(&place.key("key"), "this key format is not supported", help);
        return None;
    }
    Some(identity)
}

/// Compiles `breaker`.
fn breaker_of(breaker: Option<file::Breaker>, place: &Place, cx: &mut Context<'_>) -> Breaker {
    let file::Breaker { failures, open } = breaker.unwrap_or_default();
    Breaker {
        failures: failures.unwrap_or(5),
        open: cx.duration(open.as_deref(), &place.key("open"), Duration::from_secs(5)),
    }
}

/// Parses `url`.
fn address(url: Option<&str>, place: &Place, cx: &mut Context<'_>) -> Option<UpstreamAddress> {
    let Some(url) = url else {
        cx.problems.missing(
            place,
            "url",
            "the upstream has no URL",
            "add `url: http://HOST:PORT`".to_owned(),
        );
        return None;
    };
    let place = place.key("url");
    if let Some(path) = url.strip_prefix("unix:") {
        return listen::unix(path, "unix:/run/app.sock", &place, cx).map(UpstreamAddress::Unix);
    }
    let help = "write `http://HOST:PORT` or `https://HOST`".to_owned();
    let parsed = url.parse::<http::Uri>().ok();
    let parts = parsed
        .as_ref()
        .and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri.path(), uri.query())));
    let Some((scheme @ ("http" | "https"), authority, path, query)) = parts else {
        cx.problems
            .error(&place, "this is not a valid upstream URL", help);
        return None;
    };
    if authority.as_str().contains('@') {
        cx.problems
            .error(&place, "the URL must not contain credentials", help);
        return None;
    }
    if path != "/"
        || query.is_some()
        || url.contains('#')
        || url.ends_with('/') && url.matches('/').count() > 3
    {
        cx.problems.error(
            &place,
            "the URL of an upstream must not have a path",
            "write the path in `forward`, and only scheme, host and port here".to_owned(),
        );
        return None;
    }
    let tls = (scheme == "https").then(UpstreamTls::default);
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = match authority
        .as_str()
        .rsplit_once(']')
        .map_or(authority.as_str(), |(_, port)| port)
        .rsplit_once(':')
    {
        Some((_, port)) => port.parse::<u16>().ok().filter(|port| *port > 0),
        None => Some(if tls.is_some() { 443 } else { 80 }),
    };
    if host.is_empty() || port.is_none() {
        cx.problems
            .error(&place, "this is not a valid upstream URL", help);
    }
    port.filter(|_| !host.is_empty())
        .map(|port| UpstreamAddress::Tcp { host, port, tls })
}
