//! The request that an upstream gets for a delivery. Pure.
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, HeaderValue};

use super::Outgoing;
use crate::config::snapshot::{Forward, Upstream, UpstreamAddress, WebhookRoute};
use crate::delivery::{AttemptContext, Delivery};
use crate::headers::{self, Proof};
use crate::request::{FoldedNames, Params, RequestHead};
use crate::route::template::PathPart;
use crate::verify::{Authentic, CannotSign, Cleared, standard};

/// The headers that the scheme of a route without verification reads.
static NO_NAMES: FoldedNames = FoldedNames::NONE;

/// Renders the request that forwards `delivery`. If the route signs it anew and that is impossible, returns the reason; it then keeps its
/// signature.
pub fn delivery(
    delivery: &Delivery,
    webhook: &WebhookRoute,
    attempt: &AttemptContext,
) -> (Outgoing, Option<CannotSign>) {
    let WebhookRoute { forward, .. } = webhook;
    let (fresh, stale) = match resigned(delivery, webhook, attempt) {
        Some(Ok(head)) => (Some(head), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let head = fresh.as_ref().unwrap_or(delivery.head());
    let authentic = authentic(delivery);
    let proof = authentic.map(|authentic| Proof {
        route: &webhook.name,
        provider: webhook.provider.as_deref(),
        delivery_id: authentic.delivery_id(),
        attempt: attempt.number,
        secret: authentic.secret(),
        received_at: attempt.received_at,
        covers: authentic.covers(),
        id_unchecked: attempt.id_unchecked,
    });
    let scheme = webhook
        .verifier
        .as_ref()
        .map_or(&NO_NAMES, |verifier| verifier.shape().headers());
    let keys: FoldedNames = webhook.key_headers().cloned().collect();
    // the answer goes into the log of attempts alone, where people read it
    let asks_for_plain = !attempt.inline && !scheme.has(ACCEPT_ENCODING.as_str());
    let mut replaced = Vec::new();
    if asks_for_plain {
        replaced.push(ACCEPT_ENCODING);
    }
    if forward.sign.is_some() {
        replaced.extend(standard::NAMES);
    }
    let replaced: FoldedNames = replaced.into_iter().collect();
    let policy = headers::Policy {
        dropped: &forward.dropped,
        scheme,
        keys: &keys,
        replaced: &replaced,
        keeps_override: false,
    };
    let host = host(head, &forward.upstream);
    let mut headers = headers::upstream(head, &host, policy, delivery.body(), proof.as_ref());
    if asks_for_plain {
        headers.push_text(&ACCEPT_ENCODING, "identity");
    }
    if let Some(keys) = &forward.sign {
        let signed = authentic.and_then(|authentic| {
            // a receiver takes two messages with one ID for one
            let id = authentic.delivery_id().filter(|_| !webhook.id_with_body);
            let id = id.map_or_else(|| head.request_id.as_str().into(), headers::shown_id);
            standard::sign_all(keys, &id, attempt.at, delivery.body())
        });
        headers.extend(signed.into_iter().flatten());
    }
    let target = target(head, delivery.params(), forward);
    (
        Outgoing {
            method: head.method.clone(),
            target,
            headers,
            body: delivery.body().clone(),
        },
        stale,
    )
}

fn authentic(delivery: &Delivery) -> Option<&Authentic> {
    match delivery.cleared() {
        Cleared::Authentic(authentic) => Some(authentic),
        Cleared::Unverified(_) => None,
    }
}

/// Renders the head of a delivery that is signed anew. Returns nothing if it goes on as it came: only authentic deliveries are signed.
fn resigned(
    delivery: &Delivery,
    webhook: &WebhookRoute,
    attempt: &AttemptContext,
) -> Option<Result<RequestHead, CannotSign>> {
    let authentic = authentic(delivery)?;
    let verifier = webhook
        .verifier
        .as_ref()
        .filter(|_| webhook.forward.resign && !attempt.inline)?;
    Some(verifier.resign(authentic, delivery.params(), attempt.at, &attempt.dates))
}

/// Returns the `Host` for the upstream: the sender's, unless the upstream wants its own or the sender sent none.
pub fn host(head: &RequestHead, upstream: &Upstream) -> HeaderValue {
    let theirs = HeaderValue::from_str(&head.authority)
        .ok()
        .filter(|value| !value.is_empty() && !upstream.own_host);
    theirs.unwrap_or_else(|| authority(upstream))
}

/// Returns `Host` as in the URL of the upstream; a unix socket has `localhost`.
pub fn authority(upstream: &Upstream) -> HeaderValue {
    let UpstreamAddress::Tcp { host, port, tls } = &upstream.address else {
        return HeaderValue::from_static("localhost");
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let default = if tls.is_some() { 443 } else { 80 };
    let text = if *port == default {
        host
    } else {
        format!("{host}:{port}")
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns the URL of the upstream, for showing.
pub fn url(upstream: &Upstream) -> String {
    match &upstream.address {
        UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
        UpstreamAddress::Tcp { tls, .. } => {
            let scheme = if tls.is_some() { "https" } else { "http" };
            format!(
                "{scheme}://{}",
                authority(upstream).to_str().unwrap_or_default()
            )
        }
    }
}

/// Returns path and query for the upstream.
fn target(head: &RequestHead, params: &Params, forward: &Forward) -> Bytes {
    let query = if forward.keep_query {
        head.query()
    } else {
        None
    };
    let Some(template) = &forward.path else {
        return match forward.dropped.without_parameters(&head.target) {
            Some(target) if query.is_some() => target.freeze(),
            None if query.is_some() => head.target.clone(),
            Some(_) | None => head.target.slice_ref(head.path()),
        };
    };
    let mut target = BytesMut::with_capacity(head.target.len() + 64);
    for piece in &template.0 {
        match piece {
            PathPart::Literal(text) => target.put_slice(text.as_bytes()),
            PathPart::Parameter(name) => {
                target.put_slice(params.get(name).unwrap_or_default().as_bytes());
            }
        }
    }
    if query.is_some() {
        let left = forward
            .dropped
            .without_parameters(&head.target)
            .map_or_else(|| head.target.clone(), BytesMut::freeze);
        target.put_slice(left.get(head.path().len()..).unwrap_or_default());
    }
    target.freeze()
}

#[cfg(test)]
mod tests;
