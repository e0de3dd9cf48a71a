//! The apps behind the gate.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::compile::{Context, Upstreams, listen};
use crate::config::diagnostic::{Place, shown};
use crate::config::file;
use crate::config::snapshot::{Breaker, Upstream};

pub(super) fn upstreams(written: Vec<(Place, String, file::Upstream)>, cx: &mut Context<'_>) -> Upstreams {
    let mut upstreams = Upstreams::new();
    let mut places: HashMap<Arc<str>, Place> = HashMap::new();
    for (place, name, upstream) in written {
        let name: Arc<str> = name.into();
        if let Some(there) = places.get(&name) {
            cx.problems.clash(&place, there, format!("another file has an upstream `{}`", shown(&name)), "keep one of the two".to_owned());
            continue;
        }
        places.insert(Arc::clone(&name), place.clone());
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_name {
            cx.problems.error_at_key(
                &place,
                "this is not a name for an upstream",
                "use letters, digits, `.`, `_` and `-`, at most 64".to_owned(),
            );
        }
        let compiled = one(Arc::clone(&name), upstream, &place, cx).map(Arc::new);
        upstreams.insert(name, compiled);
    }
    upstreams
}

fn one(name: Arc<str>, upstream: file::Upstream, place: &Place, cx: &mut Context<'_>) -> Option<Upstream> {
    let file::Upstream { url, connect_timeout, timeout, idle_timeout, ca, host, breaker } = upstream;
    let connect_timeout = cx.duration(connect_timeout.as_deref(), &place.key("connect_timeout"), Duration::from_secs(1));
    let timeout = cx.maybe_duration(timeout.as_deref(), &place.key("timeout"));
    let idle_timeout = cx.duration(idle_timeout.as_deref(), &place.key("idle_timeout"), Duration::from_secs(4));
    let hosts = [("original", false), ("upstream", true)];
    let own_host = cx.word(host.as_deref(), &place.key("host"), &hosts).unwrap_or(false);
    let breaker = breaker_of(breaker, &place.key("breaker"), cx);
    let target = target(url.as_deref(), place, cx);
    if let Some(ca) = &ca {
        listen::pem(Some(ca), "ca", place, cx, authorities);
        if target.as_ref().is_some_and(|target| !target.tls) {
            cx.problems.error(
                &place.key("ca"),
                "there is no TLS to this upstream",
                "write `https://` in its `url`, or leave `ca` out".to_owned(),
            );
        }
    }
    let Target { tls, host, port } = target?;
    let ca = ca.map(|ca| cx.loader.base.join(ca));
    Some(Upstream { name, tls, host, port, connect_timeout, timeout, idle_timeout, ca, own_host, breaker })
}

/// The file holds certificates, and nothing in it is broken.
fn authorities(bytes: &[u8]) -> Option<()> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(())
}

fn breaker_of(breaker: Option<file::Breaker>, place: &Place, cx: &mut Context<'_>) -> Breaker {
    let file::Breaker { failures, open } = breaker.unwrap_or_default();
    Breaker { failures: failures.unwrap_or(5), open: cx.duration(open.as_deref(), &place.key("open"), Duration::from_secs(5)) }
}

struct Target {
    tls: bool,
    host: String,
    port: u16,
}

fn target(url: Option<&str>, place: &Place, cx: &mut Context<'_>) -> Option<Target> {
    let Some(url) = url else {
        cx.problems.missing(place, "url", "the upstream has no URL", "add `url: http://HOST:PORT`".to_owned());
        return None;
    };
    let place = place.key("url");
    let help = "write `http://HOST:PORT` or `https://HOST`".to_owned();
    let parsed = url.parse::<http::Uri>().ok();
    let parts = parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri.path(), uri.query())));
    let Some((scheme @ ("http" | "https"), authority, path, query)) = parts else {
        cx.problems.error(&place, "this is not the URL of an app", help);
        return None;
    };
    if authority.as_str().contains('@') {
        cx.problems.error(&place, "a URL with credentials is not taken", help);
        return None;
    }
    if path != "/" || query.is_some() || url.contains('#') || url.ends_with('/') && url.matches('/').count() > 3 {
        cx.problems.error(
            &place,
            "the URL of an upstream has no path",
            "write the path in `forward`, and here only host and port".to_owned(),
        );
        return None;
    }
    let tls = scheme == "https";
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = match authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, port)| port).rsplit_once(':') {
        Some((_, port)) => port.parse::<u16>().ok().filter(|port| *port > 0),
        None => Some(if tls { 443 } else { 80 }),
    };
    if host.is_empty() || port.is_none() {
        cx.problems.error(&place, "this is not the URL of an app", help);
    }
    port.filter(|_| !host.is_empty()).map(|port| Target { tls, host, port })
}
