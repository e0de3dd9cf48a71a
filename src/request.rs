//! One request as received: the head, the body and the sender. Only `gateway::edge` makes it, and tests and the CLI from recorded bytes.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, Method};
use parking_lot::Mutex;

use crate::clock::Now;

mod folded;
mod header_lines;
mod span;
mod written;

pub use folded::{Folded, FoldedNames};
pub use header_lines::{HeaderLines, Repeated};
pub use span::Span;
pub use written::{put_ip, put_number};

/// The header with the ID of a request: the sender's, the upstream's, or else the gateway's.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The head of a request. Routing, guard, verification and forwarding read these values and no others.
#[derive(Clone)]
pub struct RequestHead {
    /// The request's own ID, made by the gateway.
    pub request_id: RequestId,
    /// The method as sent.
    pub method: Method,
    /// The target byte for byte as received, path and query. It begins with `/`.
    pub target: Bytes,
    /// The authority of the request (`Host` or `:authority`), as sent; empty if there was none.
    pub authority: String,
    /// Whether the connection of the sender is TLS.
    pub tls: bool,
    /// The headers as sent.
    pub headers: HeaderLines,
    /// The declared size of the body, in bytes; `None` if it is chunked or HTTP/2 without a length.
    pub declared_size: Option<u64>,
    /// The sender.
    pub client: Client,
    /// The verified client certificate of its connection.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The time at which the head was complete.
    pub received: Now,
}

impl RequestHead {
    /// Returns the target up to the first `?`, raw.
    pub fn path(&self) -> &[u8] {
        self.split().0
    }

    /// Returns the target after the first `?`, raw; `None` without one.
    pub fn query(&self) -> Option<&[u8]> {
        self.split().1
    }

    fn split(&self) -> (&[u8], Option<&[u8]>) {
        let mut halves = self.target.splitn(2, |byte| *byte == b'?');
        (halves.next().unwrap_or_default(), halves.next())
    }
}

impl fmt::Debug for RequestHead {
    /// Shows no header value and no query: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("request_id", &self.request_id)
            .field("method", &self.method)
            .field("path", &String::from_utf8_lossy(self.path()))
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Returns the parameters of a query, byte for byte, except those called `name`.
pub fn without<'q>(query: &'q [u8], name: &str) -> impl Iterator<Item = &'q [u8]> {
    let is_it = move |parameter: &[u8]| {
        form_urlencoded::parse(parameter)
            .next()
            .is_some_and(|(other, _)| other == name)
    };
    query
        .split(|byte| *byte == b'&')
        .filter(move |parameter| !is_it(parameter))
}

/// Appends a query of these parameters to a path, with its `?`; nothing without a parameter.
pub fn put_query<'q>(target: &mut BytesMut, parameters: impl IntoIterator<Item = &'q [u8]>) {
    let mut separator = b'?';
    for parameter in parameters {
        target.put_u8(separator);
        target.put_slice(parameter);
        separator = b'&';
    }
}

/// The gateway's own ID of a request. Sender and upstream get it as `X-Request-Id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; Self::LEN]);

impl RequestId {
    const LEN: usize = 26;
    /// Crockford's base 32: no I, L, O, U.
    const DIGITS: &'static [u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// Writes the 26 digits of a 128-bit number, most significant first. They sort by time if the number does (UUIDv7).
    pub fn from_u128(number: u128) -> Self {
        let mut text = [b'0'; Self::LEN];
        for (digit, position) in text.iter_mut().rev().zip(0_u32..) {
            let index = usize::try_from((number >> (5 * position)) & 31).unwrap_or(0);
            *digit = Self::DIGITS.get(index).copied().unwrap_or(b'0');
        }
        Self(text)
    }

    /// Parses the digits; `None` if [`Self::from_u128`] cannot have written them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        digits
            .iter()
            .all(|digit| Self::DIGITS.contains(digit))
            .then_some(Self(digits))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names in the verified certificate of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its common name, then its DNS, URI and email names.
    names: Vec<String>,
}

impl ClientCertificate {
    /// Takes the names of a certificate, the common name first.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Returns its first name, which is shown to people.
    pub fn subject(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Returns whether one of its names is exactly this one.
    pub fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }
}

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address: the peer's, or the one that a trusted proxy forwarded.
    pub ip: IpAddr,
    /// Whether the address is the client's own (public, or forwarded by a trusted proxy), so that a limit by address affects no other client.
    pub own: bool,
    /// Whether the direct peer is a trusted proxy, whose `X-Forwarded-*` count.
    pub behind_trusted_proxy: bool,
}

/// The path parameters of a matched route: names from the config, raw segments from the target, in the order of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(Box<str>, Box<str>)>);

impl Params {
    /// Returns the value of one parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| &**value)
    }
}

/// A complete request.
#[derive(Debug)]
pub struct Received {
    /// Its head.
    pub head: RequestHead,
    /// Its body.
    pub body: Body,
}

impl Received {
    /// Takes a request that did not come through the gateway. Its sender is unknown, and it came over TLS unless its URI says `http`.
    pub fn from_http<B: Into<Bytes>>(request: http::Request<B>, received: Now) -> Self {
        let (parts, body) = request.into_parts();
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(Authority::as_str).or(host);
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let body = Body::from(body.into());
        let head = RequestHead {
            request_id: RequestId::from_u128(0),
            method: parts.method,
            target: Bytes::copy_from_slice(target.as_bytes()),
            authority: authority.unwrap_or_default().to_owned(),
            tls: parts.uri.scheme() != Some(&Scheme::HTTP),
            headers: HeaderLines::from(&parts.headers),
            declared_size: u64::try_from(body.bytes().len()).ok(),
            client: Client {
                ip: Ipv4Addr::UNSPECIFIED.into(),
                own: false,
                behind_trusted_proxy: false,
            },
            certificate: None,
            received,
        };
        Self { head, body }
    }
}

/// The bytes of a body exactly as received, with their share of `in_flight_bytes`, which is released when the body is dropped.
pub struct Body {
    bytes: Bytes,
    share: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Body {
    /// Makes a body that holds `share` until it is dropped.
    pub fn new(bytes: Bytes, share: Option<Box<dyn Send + Sync>>) -> Self {
        Self {
            bytes,
            share: Mutex::new(share),
        }
    }

    /// Releases its share of `in_flight_bytes`: its memory is accounted for elsewhere from now on.
    pub fn release_share(&self) {
        drop(self.share.lock().take());
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes, None)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.bytes.len())
    }
}
