//! Rules for the headers of a response that reach the sender.
use http::header::{self, HeaderMap, HeaderName};

use super::{is_nominated, nominated};

/// Returns the end-to-end headers of a response. `body` says whether a body follows: a length without one would mislead.
pub fn answer(headers: &HeaderMap, body: bool) -> HeaderMap {
    let hop = nominated(headers);
    let mut forwarded = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if is_between_hops(name, &hop) {
            continue;
        }
        if *name == header::CONTENT_LENGTH && (!body || forwarded.contains_key(name)) {
            continue;
        }
        forwarded.append(name.clone(), value.clone());
    }
    forwarded
}

/// Returns the names of the hop-by-hop headers of a response.
pub fn between_hops(headers: &HeaderMap) -> Vec<HeaderName> {
    let hop = nominated(headers);
    headers
        .keys()
        .filter(|name| is_between_hops(name, &hop))
        .cloned()
        .collect()
}

fn is_between_hops(name: &HeaderName, nominated: &[&[u8]]) -> bool {
    let known = [
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
    ];
    known.contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        || is_nominated(name, nominated)
}
