//! Rules for the headers of a response that reach the sender.
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::Nominated;

/// Removes the headers of a response that are not for the sender. `body` says whether a body follows: a length without one would mislead.
pub fn answer(headers: HeaderMap, body: bool) -> HeaderMap {
    let removed = between_hops(&headers);
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if removed.is_empty() && (lengths == 0 || body && lengths == 1) {
        return headers;
    }
    let mut forwarded = HeaderMap::with_capacity(headers.capacity());
    // a name is given once, before the first of its values
    let mut of = None;
    for (name, value) in headers {
        of = name.or(of);
        let Some(name) = of.as_ref().filter(|name| !removed.contains(name)) else {
            continue;
        };
        if *name != header::CONTENT_LENGTH || body && !forwarded.contains_key(name) {
            forwarded.append(name.clone(), value);
        }
    }
    forwarded
}

/// Returns the names of the hop-by-hop headers of a response.
pub fn between_hops(headers: &HeaderMap) -> Vec<HeaderName> {
    let connection = headers.get_all(header::CONNECTION).iter();
    let hop = Nominated::by(connection.map(HeaderValue::as_bytes));
    headers
        .keys()
        .filter(|name| is_between_hops(name, &hop))
        .cloned()
        .collect()
}

fn is_between_hops(name: &HeaderName, nominated: &Nominated<'_>) -> bool {
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
        || nominated.has(name.as_str())
}
