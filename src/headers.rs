//! Rules for the headers that are forwarded to the upstream: pure, without socket and clock.
//!
//! An app may see a name other than the one that was sent: CGI, WSGI and their like upper-case it, turn `-` into `_` and put `HTTP_`
//! in front, so `Hookgate_Verified` and `Hookgate-Verified` are one variable to them. Names are therefore judged by what is left
//! when only letters and digits count (see [`Folded`]), and a name that is spelled otherwise than the header it folds to never passes
//! for it. `rules` is the table of names.
use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::clock::rfc3339;
use crate::request::{Folded, FoldedNames, HeaderLines, RequestHead};
use crate::verify::{Covers, SecretLocations};

mod answers;
pub(crate) mod hops;
mod lines;
mod lookup;
mod rules;

pub use crate::request::REQUEST_ID;
pub use answers::{answer, between_hops};
pub use lines::Lines;
use lookup::treatment;
use rules::{Treatment, is_exact};

const VERIFIED: HeaderName = HeaderName::from_static("hookgate-verified");
const ROUTE: HeaderName = HeaderName::from_static("hookgate-route");
const PROVIDER: HeaderName = HeaderName::from_static("hookgate-provider");
const DELIVERY_ID: HeaderName = HeaderName::from_static("hookgate-delivery-id");
const ATTEMPT: HeaderName = HeaderName::from_static("hookgate-attempt");
const SECRET: HeaderName = HeaderName::from_static("hookgate-secret");
const RECEIVED_AT: HeaderName = HeaderName::from_static("hookgate-received-at");
const COVERS: HeaderName = HeaderName::from_static("hookgate-covers");
const DEDUPE: HeaderName = HeaderName::from_static("hookgate-dedupe");
/// The gateway's own ID of a request, in every request and every answer.
pub const OWN_REQUEST_ID: HeaderName = HeaderName::from_static("hookgate-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The room for the lines of a request, in bytes: few need more.
const ROOM: usize = 1536;

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
    /// Whether the store could not be asked for the delivery's ID.
    pub id_unchecked: bool,
}

/// Returns the options that `Connection` lists.
fn options<'v>(connection: impl Iterator<Item = &'v [u8]>) -> impl Iterator<Item = &'v [u8]> {
    connection
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// The names that `Connection` declares to be hop-by-hop, sorted: a sender may list thousands.
struct Nominated<'v>(Vec<&'v [u8]>);

impl<'v> Nominated<'v> {
    fn by(connection: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut names: Vec<_> = options(connection).collect();
        names.sort_unstable_by(|one, other| without_case(one).cmp(without_case(other)));
        Self(names)
    }

    fn has(&self, name: &str) -> bool {
        let compare = |other: &&[u8]| without_case(other).cmp(without_case(name.as_bytes()));
        self.0.binary_search_by(compare).is_ok()
    }
}

fn without_case(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

/// Returns whether `Connection` lists an option.
pub(crate) fn lists_option<'v>(connection: impl Iterator<Item = &'v [u8]>, option: &str) -> bool {
    options(connection).any(|listed| listed.eq_ignore_ascii_case(option.as_bytes()))
}

/// The policy of a route for the header lines of its senders.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The secrets that are removed.
    pub dropped: &'a SecretLocations,
    /// The headers that the scheme of the route reads. Their values are proved, or judged by the upstream.
    pub scheme: &'a FoldedNames,
    /// The other headers of which the route reads one value.
    pub keys: &'a FoldedNames,
    /// The headers that the gateway sends in place of the sender's.
    pub replaced: &'a FoldedNames,
    /// Whether the upstream may take the method from another header.
    pub keeps_override: bool,
}

/// Returns the headers that an upstream gets instead of the sender's.
///
/// `host` is the upstream's own host name. With `proof` the headers say that the delivery is authentic, without it that it is not.
pub fn upstream(
    head: &RequestHead,
    host: &HeaderValue,
    policy: Policy<'_>,
    body: &Bytes,
    proof: Option<&Proof<'_>>,
) -> Lines {
    let (mut lines, forwarded) = sender_lines(head, host, policy);
    let without_body = matches!(
        head.method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE
    );
    if !body.is_empty() || !without_body {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        lines.push_number(&header::CONTENT_LENGTH, length);
    }
    add_gateway_lines(head, proof, forwarded, &mut lines);
    lines
}

/// Returns the headers that an upstream gets of a request that is streamed through.
///
/// The same rules hold. The framing stays as declared, and so do the hop-by-hop headers of an interim response or a WebSocket.
pub fn passed(head: &RequestHead, host: &HeaderValue, keeps_override: bool) -> Lines {
    let (mut lines, forwarded) = sender_lines(
        head,
        host,
        Policy {
            dropped: &SecretLocations::default(),
            scheme: &FoldedNames::NONE,
            keys: &FoldedNames::NONE,
            replaced: &FoldedNames::NONE,
            keeps_override,
        },
    );
    if let Some(size) = head
        .declared_size
        .filter(|_| head.headers.contains(&header::CONTENT_LENGTH))
    {
        lines.push_number(&header::CONTENT_LENGTH, size);
    }
    if head
        .headers
        .get(&header::EXPECT)
        .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    {
        lines.push_text(&header::EXPECT, "100-continue");
    }
    if asks_for_a_websocket(head) {
        lines.push_text(&header::CONNECTION, "Upgrade");
        lines.push_text(&header::UPGRADE, "websocket");
    }
    add_gateway_lines(head, None, forwarded, &mut lines);
    lines
}

/// The policy of a route for the lines of one request.
struct Filter<'a> {
    policy: Policy<'a>,
    /// Whether a trusted proxy sent the request.
    is_trusted: bool,
    /// The names that `Connection` declares to be hop-by-hop.
    hop: Nominated<'a>,
}

impl<'a> Filter<'a> {
    fn new(policy: Policy<'a>, head: &'a RequestHead) -> Self {
        Self {
            is_trusted: head.client.behind_trusted_proxy,
            hop: Nominated::by(head.headers.get_all(&header::CONNECTION)),
            policy,
        }
    }

    /// Returns whether the route reads the header of a line that is forwarded; `None` if it is not forwarded.
    fn passes(&self, name: &str) -> Option<bool> {
        let is_read = self.policy.scheme.has(name) || self.policy.keys.has(name);
        self.is_forwarded(name, is_read).then_some(is_read)
    }

    fn is_forwarded(&self, name: &str, is_read: bool) -> bool {
        let policy = &self.policy;
        let folded = Folded::new(name);
        let is_replaced = policy.replaced.folds_to(&folded);
        // in another spelling, an app could read its value instead of the judged one
        let is_respelled =
            !is_read && (policy.scheme.folds_to(&folded) || policy.keys.folds_to(&folded));
        if is_replaced || is_respelled || policy.dropped.has_header(name) || self.hop.has(name) {
            return false;
        }
        match treatment(name, &folded) {
            Treatment::Keep => true,
            Treatment::Remove => false,
            _ if policy.scheme.has(name) => true,
            Treatment::RemoveUncovered => false,
            Treatment::FromTrustedProxy | Treatment::RequestId => self.is_trusted && is_exact(name),
            Treatment::MethodOverride => policy.keeps_override && is_exact(name),
            Treatment::IfExact => is_exact(name),
        }
    }
}

/// Returns whether the request asks for a WebSocket as RFC 6455 requires.
fn asks_for_a_websocket(head: &RequestHead) -> bool {
    let asks = lists_option(head.headers.get_all(&header::CONNECTION), "upgrade");
    let mut protocols = head.headers.get_all(&header::UPGRADE);
    let websocket = protocols
        .next()
        .is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
    head.method == Method::GET
        && head.declared_size == Some(0)
        && asks
        && websocket
        && protocols.next().is_none()
}

/// The headers that are the sender's if they are forwarded, and the gateway's otherwise.
#[derive(Clone, Copy, Default)]
struct Forwarded {
    client: bool,
    proto: bool,
    host: bool,
    request_id: bool,
}

impl Forwarded {
    fn note(&mut self, name: &str) {
        self.client |= name == FORWARDED_FOR;
        self.proto |= name == FORWARDED_PROTO;
        self.host |= name == FORWARDED_HOST;
        self.request_id |= name == REQUEST_ID;
    }
}

/// Returns the sender's lines that an upstream may see, after the `Host` line.
fn sender_lines(head: &RequestHead, host: &HeaderValue, policy: Policy<'_>) -> (Lines, Forwarded) {
    let mut lines = Lines::with_capacity(ROOM);
    lines.push(&header::HOST, host);
    let (filter, mut forwarded) = (Filter::new(policy, head), Forwarded::default());
    let (mut read, mut has_cookie) = (Read::default(), false);
    for (name, value) in head.headers.iter() {
        let Some(is_read) = filter.passes(name) else {
            continue;
        };
        forwarded.note(name);
        if name == header::COOKIE {
            if !has_cookie {
                lines.copy(name, &one_cookie(&head.headers));
            }
            has_cookie = true;
        } else if !is_read || read.is_new(name, value) {
            lines.copy(name, value);
        }
    }
    (lines, forwarded)
}

/// The last values of the headers that the route reads. An app may join several lines to one value, so an equal one is not sent again.
#[derive(Default)]
struct Read<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Read<'a> {
    /// Notes a value. Returns whether the last one of this header was another.
    fn is_new(&mut self, name: &'a str, value: &'a [u8]) -> bool {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, last)) => std::mem::replace(last, value) != value,
            None => {
                self.0.push((name, value));
                true
            }
        }
    }
}

/// Adds the headers that only the gateway may set, and `X-Forwarded-For`, `-Proto` and `-Host` unless a trusted proxy sent them.
fn add_gateway_lines(
    head: &RequestHead,
    proof: Option<&Proof<'_>>,
    forwarded: Forwarded,
    lines: &mut Lines,
) {
    if !forwarded.client {
        lines.push_ip(&FORWARDED_FOR, head.client.ip.to_canonical());
    }
    if !forwarded.proto {
        lines.push_text(&FORWARDED_PROTO, if head.tls { "https" } else { "http" });
    }
    if !forwarded.host && !head.authority.is_empty() {
        lines.push_text(&FORWARDED_HOST, &head.authority);
    }
    if !forwarded.request_id {
        lines.push_text(&REQUEST_ID, head.request_id.as_str());
    }
    lines.push_text(&OWN_REQUEST_ID, head.request_id.as_str());
    lines.push(&hops::CDN_LOOP, hops::entry());
    let Some(proof) = proof else {
        lines.push_text(&VERIFIED, "false");
        return;
    };
    lines.push_text(&VERIFIED, "true");
    lines.push_text(&ROUTE, proof.route);
    if let Some(provider) = proof.provider {
        lines.push_text(&PROVIDER, provider);
    }
    if let Some(id) = proof.delivery_id {
        lines.push_text(&DELIVERY_ID, &shown_id(id));
    }
    lines.push_number(&ATTEMPT, u64::from(proof.attempt));
    lines.push_text(&SECRET, proof.secret);
    lines.push_text(&RECEIVED_AT, &rfc3339(proof.received_at));
    lines.push_text(&COVERS, &proof.covers.header_value());
    if proof.id_unchecked {
        lines.push_text(&DEDUPE, "unavailable");
    }
}

/// Joins several `Cookie` lines to one: HTTP/2 splits them, and HTTP/1 apps read the first alone.
fn one_cookie(headers: &HeaderLines) -> Vec<u8> {
    let all: Vec<_> = headers.get_all(&header::COOKIE).collect();
    all.join(&b"; "[..])
}

/// Returns a delivery ID for a header or a log: unchanged if it is visible ASCII of up to 256 bytes, else `sha256:` and its hash.
pub fn shown_id(id: &str) -> Cow<'_, str> {
    // not stopping at the first other byte lets the compiler look at many at once
    let graphic = |all, byte: u8| all & byte.is_ascii_graphic();
    if !id.is_empty() && id.len() <= 256 && id.bytes().fold(true, graphic) {
        return id.into();
    }
    format!("sha256:{}", hex::encode(Sha256::digest(id.as_bytes()))).into()
}

#[cfg(test)]
mod tests;
