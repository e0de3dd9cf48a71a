//! Rules for the headers of a response that reach the sender.
use http::header::{self, HeaderMap, HeaderName};

use super::{is_nominated, nominated};

/// Removes the headers of a response that end here. `body` says whether a body follows: a length without one would mislead.
pub fn answer(mut headers: HeaderMap, body: bool) -> HeaderMap {
    for name in between_hops(&headers) {
        headers.remove(name);
    }
    if !body {
        headers.remove(header::CONTENT_LENGTH);
    } else if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
        && let Some(first) = headers.remove(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, first);
    }
    headers
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
