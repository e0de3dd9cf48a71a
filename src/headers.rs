//! Rules for the headers that are forwarded to the upstream: pure, without socket and clock.
//!
//! An app may see a name other than the one that was sent: CGI, WSGI and their like upper-case it, turn `-` into `_` and put `HTTP_`
//! in front, so `Hookgate_Verified` and `Hookgate-Verified` are one variable to them. Names are therefore judged by what is left
//! when only letters and digits count (see [`Folded`]), and a name that is spelled otherwise than the header it folds to never passes
//! for it. `rules` is the table of names.
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use sha2::{Digest, Sha256};

use crate::clock::rfc3339;
use crate::request::{Folded, RequestHead};
use crate::verify::{Covers, SecretLocations};

mod answers;
pub(crate) mod hops;
mod rules;

pub use crate::request::REQUEST_ID;
pub use answers::{answer, between_hops};
use rules::{Treatment, is_exact, treatment};

/// Header lines in the order they are sent.
pub type Lines = Vec<(HeaderName, HeaderValue)>;

const VERIFIED: HeaderName = HeaderName::from_static("hookgate-verified");
const ROUTE: HeaderName = HeaderName::from_static("hookgate-route");
const PROVIDER: HeaderName = HeaderName::from_static("hookgate-provider");
const DELIVERY_ID: HeaderName = HeaderName::from_static("hookgate-delivery-id");
const ATTEMPT: HeaderName = HeaderName::from_static("hookgate-attempt");
const SECRET: HeaderName = HeaderName::from_static("hookgate-secret");
const RECEIVED_AT: HeaderName = HeaderName::from_static("hookgate-received-at");
const COVERS: HeaderName = HeaderName::from_static("hookgate-covers");
/// The gateway's own ID of a request, in every request and every answer.
pub const OWN_REQUEST_ID: HeaderName = HeaderName::from_static("hookgate-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The facts that the upstream gets about an authentic delivery.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The preset's name, if it has one.
    pub provider: Option<&'a str>,
    /// The provider's ID of the delivery, if it has one.
    pub delivery_id: Option<&'a str>,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// The name of the secret that matched.
    pub secret: &'a str,
    /// The time at which the gateway received it.
    pub received_at: SystemTime,
    /// The facts that the signature covers.
    pub covers: Covers,
}

/// Returns the names that `Connection` declares to be hop-by-hop.
fn nominated(headers: &HeaderMap) -> Vec<&[u8]> {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .collect()
}

fn is_nominated(name: &HeaderName, nominated: &[&[u8]]) -> bool {
    nominated
        .iter()
        .any(|other| name.as_str().as_bytes().eq_ignore_ascii_case(other))
}

/// The policy of a route for the header lines of its senders.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The secrets that are removed.
    pub dropped: &'a SecretLocations,
    /// The headers that the scheme of the route reads. Their values are proved, or judged by the upstream.
    pub scheme: &'a [HeaderName],
    /// The other headers of which the route reads one value.
    pub keys: &'a [&'a HeaderName],
    /// Whether the upstream may take the method from another header.
    pub keeps_override: bool,
}

/// Returns the headers that an upstream gets instead of the sender's.
///
/// `host` is the upstream's own host name. With `proof` the headers say that the delivery is authentic, without it that it is not.
pub fn upstream(
    head: &RequestHead,
    host: HeaderValue,
    policy: Policy<'_>,
    body: &Bytes,
    proof: Option<&Proof<'_>>,
) -> Lines {
    let mut lines = sender_lines(head, host, policy);
    let without_body = matches!(
        head.method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE
    );
    if !body.is_empty() || !without_body {
        lines.push((header::CONTENT_LENGTH, HeaderValue::from(body.len())));
    }
    add_gateway_lines(head, proof, &mut lines);
    lines
}

/// Returns the headers that an upstream gets of a request that is streamed through.
///
/// The same rules hold. The framing stays as declared, and so do the hop-by-hop headers of an interim response or a WebSocket.
pub fn passed(head: &RequestHead, host: HeaderValue, keeps_override: bool) -> Lines {
    let mut lines = sender_lines(
        head,
        host,
        Policy {
            dropped: &SecretLocations::default(),
            scheme: &[],
            keys: &[],
            keeps_override,
        },
    );
    if let Some(size) = head
        .declared_size
        .filter(|_| head.headers.contains_key(header::CONTENT_LENGTH))
    {
        lines.push((header::CONTENT_LENGTH, HeaderValue::from(size)));
    }
    if head
        .headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        lines.push((header::EXPECT, HeaderValue::from_static("100-continue")));
    }
    if asks_for_a_websocket(head) {
        lines.push((header::CONNECTION, HeaderValue::from_static("Upgrade")));
        lines.push((header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    add_gateway_lines(head, None, &mut lines);
    lines
}

impl Policy<'_> {
    /// Returns whether a line is forwarded.
    fn passes(&self, name: &HeaderName, trusted: bool) -> bool {
        if self.dropped.has_header(name) || self.is_respelled(name) {
            return false;
        }
        match treatment(name.as_str()) {
            Treatment::Keep => true,
            Treatment::Remove => false,
            _ if self.scheme.contains(name) => true,
            Treatment::RemoveUncovered => false,
            Treatment::FromTrustedProxy | Treatment::RequestId => {
                trusted && is_exact(name.as_str())
            }
            Treatment::MethodOverride => self.keeps_override && is_exact(name.as_str()),
            Treatment::IfExact => is_exact(name.as_str()),
        }
    }

    /// Returns whether the route reads this header.
    fn reads(&self, name: &HeaderName) -> bool {
        self.scheme.contains(name) || self.keys.contains(&name)
    }

    /// Returns whether this is another spelling of a header that the route reads: an app could read its value instead of the judged one.
    fn is_respelled(&self, name: &HeaderName) -> bool {
        let folded = Folded::new(name.as_str());
        let mut read = self.scheme.iter().chain(self.keys.iter().copied());
        !self.reads(name) && read.any(|known| Folded::new(known.as_str()) == folded)
    }
}

/// Returns whether the request asks for a WebSocket as RFC 6455 requires.
fn asks_for_a_websocket(head: &RequestHead) -> bool {
    let asks = nominated(&head.headers)
        .iter()
        .any(|name| name.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    let websocket = protocols
        .next()
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    head.method == Method::GET
        && head.declared_size == Some(0)
        && asks
        && websocket
        && protocols.next().is_none()
}

/// Returns the sender's lines that an upstream may see, after the `Host` line.
fn sender_lines(head: &RequestHead, host: HeaderValue, policy: Policy<'_>) -> Lines {
    let mut lines = Lines::with_capacity(head.headers.len() + 16);
    lines.push((header::HOST, host));
    let hop = nominated(&head.headers);
    // a name with several values comes several times in a row
    let mut before: Option<(&HeaderName, bool)> = None;
    for (name, value) in &head.headers {
        let again = before
            .filter(|(known, _)| *known == name)
            .map(|(_, passed)| passed);
        let passing = again.unwrap_or_else(|| {
            !is_nominated(name, &hop) && policy.passes(name, head.client.behind_trusted_proxy)
        });
        before = Some((name, passing));
        match (passing, *name == header::COOKIE) {
            (false, _) => {}
            // one value is read: an app may join several lines to one value
            (true, false)
                if again.is_some()
                    && policy.reads(name)
                    && lines.last().is_some_and(|(_, last)| last == value) => {}
            (true, false) => lines.push((name.clone(), value.clone())),
            (true, true) if again.is_some() => {}
            (true, true) => lines.extend(
                one_cookie(head.headers.get_all(name).iter()).map(|value| (header::COOKIE, value)),
            ),
        }
    }
    lines
}

/// Adds the headers that only the gateway may set, and `X-Forwarded-For`, `-Proto` and `-Host` unless a trusted proxy sent them.
fn add_gateway_lines(head: &RequestHead, proof: Option<&Proof<'_>>, lines: &mut Lines) {
    let [r#for, proto, host] = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST]
        .map(|name| !lines.iter().any(|(known, _)| *known == name));
    if r#for {
        push(
            lines,
            FORWARDED_FOR,
            &head.client.ip.to_canonical().to_string(),
        );
    }
    if proto {
        lines.push((
            FORWARDED_PROTO,
            HeaderValue::from_static(if head.tls { "https" } else { "http" }),
        ));
    }
    if host && !head.authority.is_empty() {
        push(lines, FORWARDED_HOST, &head.authority);
    }
    if !lines.iter().any(|(known, _)| *known == REQUEST_ID) {
        push(lines, REQUEST_ID, head.request_id.as_str());
    }
    push(lines, OWN_REQUEST_ID, head.request_id.as_str());
    lines.push((hops::CDN_LOOP, hops::entry()));
    let Some(proof) = proof else {
        lines.push((VERIFIED, HeaderValue::from_static("false")));
        return;
    };
    lines.push((VERIFIED, HeaderValue::from_static("true")));
    push(lines, ROUTE, proof.route);
    if let Some(provider) = proof.provider {
        push(lines, PROVIDER, provider);
    }
    if let Some(id) = proof.delivery_id {
        push(lines, DELIVERY_ID, &shown_id(id));
    }
    lines.push((ATTEMPT, HeaderValue::from(proof.attempt)));
    push(lines, SECRET, proof.secret);
    push(lines, RECEIVED_AT, &rfc3339(proof.received_at));
    push(lines, COVERS, &proof.covers.header_value());
}

/// Replaces all lines that an app could take for one of `names`.
pub fn replace(
    lines: &mut Lines,
    names: &[HeaderName],
    by: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) {
    let names: Vec<Folded> = names
        .iter()
        .map(|name| Folded::new(name.as_str()))
        .collect();
    lines.retain(|(name, _)| {
        !names
            .iter()
            .any(|own| own.as_bytes() == Folded::new(name.as_str()).as_bytes())
    });
    lines.extend(by);
}

/// Adds a line, unless a header cannot hold the value.
fn push(lines: &mut Lines, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        lines.push((name, value));
    }
}

/// Joins several `Cookie` lines to one: HTTP/2 splits them, and HTTP/1 apps read the first alone.
fn one_cookie<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(first.clone());
    };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&joined).ok()
}

/// Returns a delivery ID for a header or a log: unchanged if it is visible ASCII of up to 256 bytes, else `sha256:` and its hash.
pub fn shown_id(id: &str) -> String {
    if !id.is_empty() && id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id.to_owned();
    }
    format!("sha256:{}", hex::encode(Sha256::digest(id.as_bytes())))
}

#[cfg(test)]
mod tests;
