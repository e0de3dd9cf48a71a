//! Reads the head of an HTTP/1 request by the spans that the scanner noted. It is not parsed again.
use http::header::CONNECTION;
use http::{Method, Version};

use crate::gateway::Gate;
use crate::gateway::active_config::ActiveConfig;
use crate::gateway::head::{self, HeadParts, Origin};
use crate::headers::lists_option;
use crate::listener::client_address;
use crate::listener::framing::Violation;
use crate::listener::h1_connection::{ArrivedHead, H1Connection};
use crate::refusal::Refusal;
use crate::request::{HeaderLines, RequestHead};
use crate::telemetry::Facts;

/// The facts about a request that its response depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestForm {
    /// Whether the response has no body, since the method is `HEAD`.
    pub(super) is_head: bool,
    /// Whether the version is HTTP/1.0.
    pub(super) is_1_0: bool,
    /// Whether the connection is closed after the response.
    pub(super) closes: bool,
}

/// Returns the facts for the record of a request, its head or its refusal, and the form that its response must have.
pub(super) fn receive(
    gate: &Gate,
    active: &ActiveConfig,
    connection: &H1Connection,
    arrived: &mut ArrivedHead,
) -> (Facts, Result<RequestHead, Refusal>, RequestForm) {
    let method = arrived.method();
    // a name longer than any parser's limit
    let (headers, violation) = match arrived.take_headers() {
        Some(headers) => (headers, arrived.violation),
        None => (HeaderLines::default(), Some(Violation::TooLarge)),
    };
    let is_1_0 = arrived.spans.is_1_0;
    let form = RequestForm {
        is_head: method == Method::HEAD,
        is_1_0,
        closes: closes(&headers, is_1_0),
    };
    let parts = HeadParts {
        method,
        version: if is_1_0 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        },
        target: arrived.target(),
        authority: None,
        headers,
    };
    let origin = Origin {
        connection: Some(connection.info()),
        tls: connection.is_tls(),
        violation,
    };
    let (mut facts, head) = head::receive(gate, active, parts, origin);
    if arrived.violation.is_some() {
        // a proxy appends its own entry to `X-Forwarded-For`: the cut may have taken that away, and left what the sender wrote
        let trusted = &active.snapshot.trusted_proxies;
        facts.client =
            client_address::client(connection.info().peer, &HeaderLines::default(), trusted);
    }
    (facts, head, form)
}

/// Returns whether the sender wants the connection to be closed: HTTP/1.0 does, unless it says otherwise.
fn closes(headers: &HeaderLines, is_1_0: bool) -> bool {
    let lists = |option: &str| lists_option(headers.get_all(&CONNECTION), option);
    lists("close") || is_1_0 && !lists("keep-alive")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn connection_is_closed_where_the_sender_says_so() {
        let wants_close = |values: &[&'static str], is_1_0| {
            let mut headers = HeaderLines::default();
            for value in values {
                headers.append(&CONNECTION, &HeaderValue::from_static(value));
            }
            closes(&headers, is_1_0)
        };
        assert!(!wants_close(&[], false) && wants_close(&[], true));
        assert!(wants_close(&["close"], false) && wants_close(&["x, Close"], false));
        assert!(wants_close(&["keep-alive", "close"], true));
        assert!(!wants_close(&["Keep-Alive"], true) && !wants_close(&["closed"], false));
    }
}
