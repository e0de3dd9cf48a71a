//! Which headers reach the app, and which reach eyes: pure rules, no socket and no clock.
//!
//! An app may see a name other than the one that was sent: CGI, WSGI and their like upper-case it, turn `-` into `_` and put `HTTP_`
//! in front, so `Hookgate_Verified` and `Hookgate-Verified` are one variable to them. Names are therefore judged by what is left
//! when only letters and digits count (see [`Folded`]), and a name that is spelled otherwise than the header it folds to never passes
//! for it.
use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use sha2::{Digest, Sha256};

use crate::request::RequestHead;
use crate::verify::Covers;

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
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What the app is told of an authentic delivery.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The preset's name, if it has one.
    pub provider: Option<&'a str>,
    /// The provider's ID of the delivery, if it has one.
    pub delivery_id: Option<&'a str>,
    /// Counted from 1.
    pub attempt: u32,
    /// The name of the secret that matched.
    pub secret: &'a str,
    /// When the gate received it.
    pub received_at: SystemTime,
    /// What the signature covers.
    pub covers: Covers,
}

/// What becomes of a header line of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// Kept if the direct peer is a trusted proxy and spelled it exactly so, dropped otherwise.
    FromTrustedProxy,
    /// Kept if it is spelled exactly so: another spelling is one name too many for the app.
    IfExact,
}

/// A header name as CGI-like apps see it: letters and digits alone, lower-cased, leading `http` cut.
struct Folded {
    kept: [u8; Self::ROOM],
    len: usize,
}

impl Folded {
    /// Longer than any name below; of a longer one the beginning decides.
    const ROOM: usize = 32;

    fn new(name: &str) -> Self {
        let mut folded = Self { kept: [0; Self::ROOM], len: 0 };
        for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
            let Some(slot) = folded.kept.get_mut(folded.len) else { break };
            *slot = byte.to_ascii_lowercase();
            folded.len += 1;
            if folded.as_bytes() == b"http" {
                folded.len = 0;
            }
        }
        folded
    }

    fn as_bytes(&self) -> &[u8] {
        self.kept.get(..self.len).unwrap_or_default()
    }
}

/// The fate of one line, by its name alone.
fn fate(name: &HeaderName) -> Fate {
    let folded = Folded::new(name.as_str());
    match folded.as_bytes() {
        // The gate's own word, and what would have an app route, rewrite or re-read the request otherwise than the gate did.
        name if name.starts_with(b"hookgate") => Fate::Drop,
        b"xoriginalurl" | b"xrewriteurl" | b"xhttpmethodoverride" | b"xhttpmethod" | b"xmethodoverride" => Fate::Drop,
        // To a CGI app it is the variable that names its own proxy.
        b"proxy" => Fate::Drop,
        // Ours to set.
        b"host" | b"contentlength" | b"xrequestid" | b"expect" => Fate::Drop,
        // Hop by hop.
        b"connection" | b"keepalive" | b"proxyconnection" | b"te" | b"trailer" | b"transferencoding" | b"upgrade" | b"2settings" => {
            Fate::Drop
        }
        b"proxyauthenticate" | b"proxyauthorization" => Fate::Drop,
        // Who called, and how.
        name if name.starts_with(b"xforwarded") => Fate::FromTrustedProxy,
        b"forwarded" | b"xrealip" | b"xclientip" | b"trueclientip" | b"cfconnectingip" => Fate::FromTrustedProxy,
        // Which path and host were asked for before a proxy changed them: some apps route by it.
        b"xoriginaluri" | b"xoriginalhost" | b"xenvoyoriginalpath" | b"xscriptname" | b"xwawsunencodedurl" => Fate::FromTrustedProxy,
        // Whose trace it is.
        b"traceparent" | b"tracestate" | b"baggage" => Fate::FromTrustedProxy,
        b"contenttype" | b"contentencoding" | b"cookie" | b"authorization" => Fate::IfExact,
        _ => Fate::Keep,
    }
}

/// Whether `name` is written as the header that it folds to: words joined by single `-`, no `http` in front.
fn is_exact(name: &str) -> bool {
    !name.starts_with("http-")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.contains("--")
        && !name.ends_with('-')
}

fn passes(name: &HeaderName, behind_trusted_proxy: bool) -> bool {
    match fate(name) {
        Fate::Keep => true,
        Fate::Drop => false,
        Fate::FromTrustedProxy => behind_trusted_proxy && is_exact(name.as_str()),
        Fate::IfExact => is_exact(name.as_str()),
    }
}

/// The names that `Connection` declares to be between two hops only.
fn nominated(headers: &HeaderMap) -> Vec<&[u8]> {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()).collect()
}

fn is_nominated(name: &HeaderName, nominated: &[&[u8]]) -> bool {
    nominated.iter().any(|other| name.as_str().as_bytes().eq_ignore_ascii_case(other))
}

/// The headers that an upstream gets instead of the sender's. `host` is what it is addressed by, `dropped` is what the route takes
/// off; with `proof` it is told that the delivery is authentic, without it that it is not.
pub fn upstream(head: &RequestHead, host: HeaderValue, dropped: &[HeaderName], body: &Bytes, proof: Option<&Proof<'_>>) -> Lines {
    let mut lines = theirs(head, host, dropped);
    let without_body = matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE);
    if !body.is_empty() || !without_body {
        lines.push((header::CONTENT_LENGTH, HeaderValue::from(body.len())));
    }
    ours(head, proof, &mut lines);
    lines
}

/// The headers that an upstream gets of a request that is streamed through: the same rules, the framing as it was declared, and what
/// only two neighbours say to each other about an interim answer or a WebSocket.
pub fn passed(head: &RequestHead, host: HeaderValue) -> Lines {
    let mut lines = theirs(head, host, &[]);
    if let Some(size) = head.declared_size.filter(|_| head.headers.contains_key(header::CONTENT_LENGTH)) {
        lines.push((header::CONTENT_LENGTH, HeaderValue::from(size)));
    }
    if head.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        lines.push((header::EXPECT, HeaderValue::from_static("100-continue")));
    }
    if asks_for_a_websocket(head) {
        lines.push((header::CONNECTION, HeaderValue::from_static("Upgrade")));
        lines.push((header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    ours(head, None, &mut lines);
    lines
}

/// Whether the request wants to go on as a WebSocket, and does it as RFC 6455 says.
fn asks_for_a_websocket(head: &RequestHead) -> bool {
    let asks = nominated(&head.headers).iter().any(|name| name.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    let websocket = protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    head.method == Method::GET && head.declared_size == Some(0) && asks && websocket && protocols.next().is_none()
}

/// The sender's lines that an upstream may see, `Host` before them.
fn theirs(head: &RequestHead, host: HeaderValue, dropped: &[HeaderName]) -> Lines {
    let mut lines = Lines::with_capacity(head.headers.len() + 14);
    lines.push((header::HOST, host));
    let hop = nominated(&head.headers);
    // a name with several values comes several times in a row
    let mut before: Option<(&HeaderName, bool)> = None;
    for (name, value) in &head.headers {
        let again = before.filter(|(known, _)| *known == name).map(|(_, passed)| passed);
        let passing =
            again.unwrap_or_else(|| !is_nominated(name, &hop) && !dropped.contains(name) && passes(name, head.client.behind_trusted_proxy));
        before = Some((name, passing));
        match (passing, *name == header::COOKIE) {
            (false, _) => {}
            (true, false) => lines.push((name.clone(), value.clone())),
            (true, true) if again.is_some() => {}
            (true, true) => lines.extend(one_cookie(head.headers.get_all(name).iter()).map(|value| (header::COOKIE, value))),
        }
    }
    lines
}

/// Adds what only the gate may say, and those of `X-Forwarded-For`, `-Proto` and `-Host` that nobody it trusts has said.
fn ours(head: &RequestHead, proof: Option<&Proof<'_>>, lines: &mut Lines) {
    let [r#for, proto, host] = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST].map(|name| !lines.iter().any(|(kept, _)| *kept == name));
    if r#for {
        push(lines, FORWARDED_FOR, &head.client.ip.to_canonical().to_string());
    }
    if proto {
        lines.push((FORWARDED_PROTO, HeaderValue::from_static(if head.tls { "https" } else { "http" })));
    }
    if host && !head.authority.is_empty() {
        push(lines, FORWARDED_HOST, &head.authority);
    }
    push(lines, REQUEST_ID, head.request_id.as_str());
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

/// Puts lines in place of all that an app could take for one of `names`.
pub fn replace(lines: &mut Lines, names: &[HeaderName], by: impl IntoIterator<Item = (HeaderName, HeaderValue)>) {
    let names: Vec<Folded> = names.iter().map(|name| Folded::new(name.as_str())).collect();
    lines.retain(|(name, _)| !names.iter().any(|own| own.as_bytes() == Folded::new(name.as_str()).as_bytes()));
    lines.extend(by);
}

/// Adds a line; a value that no header can carry is left out.
fn push(lines: &mut Lines, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        lines.push((name, value));
    }
}

/// One `Cookie` line of several: HTTP/2 splits them, HTTP/1 apps read the first.
fn one_cookie<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.clone()) };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&joined).ok()
}

/// A delivery ID as it may stand in a header or a log: itself if it is visible ASCII up to 256, else `sha256:` and its hash.
pub fn shown_id(id: &str) -> String {
    if !id.is_empty() && id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id.to_owned();
    }
    format!("sha256:{}", hex::encode(Sha256::digest(id.as_bytes())))
}

/// UTC to the millisecond: `2026-11-24T02:01:00.000Z`.
fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// The end-to-end headers of an answer. `body` says whether one follows: a length without one would mislead.
pub fn answer(headers: &HeaderMap, body: bool) -> HeaderMap {
    let hop = nominated(headers);
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if is_between_hops(name, &hop) {
            continue;
        }
        if *name == header::CONTENT_LENGTH && (!body || kept.contains_key(name)) {
            continue;
        }
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// The names in an answer that are said between two neighbours only.
pub fn between_hops(headers: &HeaderMap) -> Vec<HeaderName> {
    let hop = nominated(headers);
    headers.keys().filter(|name| is_between_hops(name, &hop)).cloned().collect()
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
    known.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection") || is_nominated(name, nominated)
}

/// Whether the values of a header are not for everybody's eyes.
pub fn is_sensitive(name: &HeaderName) -> bool {
    is_secret(name) || is_signature(name)
}

/// A header as it may be shown: secrets not at all, of a signature enough to recognise it, everything else with unprintable bytes escaped.
pub fn redact(name: &HeaderName, value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    if is_secret(name) {
        return "[redacted]".to_owned();
    }
    if !is_signature(name) {
        return escaped(bytes);
    }
    match (bytes.len() >= 32, bytes.get(..12), bytes.last_chunk::<4>()) {
        (true, Some(start), Some(end)) => format!("{}…{}", escaped(start), escaped(end)),
        _ => format!("[{} bytes]", bytes.len()),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter.is_control() {
                true => text.extend(letter.escape_default()),
                false => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string can't fail.
            write!(text, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    text
}

fn contains_any(name: &HeaderName, parts: &[&[u8]]) -> bool {
    let letters: Vec<u8> = name.as_str().bytes().filter(u8::is_ascii_alphanumeric).collect();
    parts.iter().any(|part| letters.windows(part.len()).any(|window| window == *part))
}

fn is_secret(name: &HeaderName) -> bool {
    const PARTS: &[&[u8]] =
        &[b"authorization", b"cookie", b"token", b"secret", b"apikey", b"password", b"passwd", b"credential", b"xauth", b"session"];
    // the gate's own header with the name of a secret is no secret
    contains_any(name, PARTS) && name.as_str() != "hookgate-secret"
}

fn is_signature(name: &HeaderName) -> bool {
    contains_any(name, &[b"signature", b"hmac", b"xhubsig"])
}

#[cfg(test)]
mod tests;
