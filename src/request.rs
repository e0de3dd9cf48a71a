//! One request as it came: the head, the body, who sent it. Made by `gateway::edge` alone (and by tests and the CLI from recorded bytes).
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::clock::Now;

mod folded;

pub use folded::Folded;

/// The head of a request. Routing, guard, verification and forwarding all read these values and no others.
#[derive(Clone)]
pub struct RequestHead {
    /// The request's own ID, made by the gate.
    pub request_id: RequestId,
    /// The method as sent.
    pub method: Method,
    /// The target byte for byte as it came, path and query; begins with `/`.
    pub target: Bytes,
    /// The authority the sender asked for (`Host`, or `:authority`), as sent; empty if there was none.
    pub authority: String,
    /// Whether the sender's side of the gate is TLS.
    pub tls: bool,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// What the body's framing declared, in bytes; `None` if it is chunked or HTTP/2 without a length.
    pub declared_size: Option<u64>,
    /// Who sent it.
    pub client: Client,
    /// The certificate that its connection has shown and the gate has verified.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// When the head was complete.
    pub received: Now,
}

impl RequestHead {
    /// The target up to the first `?`, raw.
    pub fn path(&self) -> &[u8] {
        self.split().0
    }

    /// The target after the first `?`, raw; `None` without one.
    pub fn query(&self) -> Option<&[u8]> {
        self.split().1
    }

    /// Returns the value of a header that is read as single. Equal values count once.
    ///
    /// # Errors
    /// [`Repeated`] if it occurs with different values: two readers could take different ones.
    pub fn single(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, Repeated> {
        let mut values = self.headers.get_all(name).iter();
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.all(|value| value == first) {
            Ok(Some(first))
        } else {
            Err(Repeated)
        }
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

/// The pieces between the `&` of a query, byte for byte, but for those that say the parameter `name`.
pub fn without<'q>(query: &'q [u8], name: &str) -> impl Iterator<Item = &'q [u8]> {
    let is_it = move |piece: &[u8]| {
        form_urlencoded::parse(piece)
            .next()
            .is_some_and(|(other, _)| other == name)
    };
    query
        .split(|byte| *byte == b'&')
        .filter(move |piece| !is_it(piece))
}

/// Puts a query of these pieces, with its `?`, behind a path; none without a piece.
pub fn put_query<'q>(target: &mut BytesMut, pieces: impl IntoIterator<Item = &'q [u8]>) {
    let mut separator = b'?';
    for piece in pieces {
        target.put_u8(separator);
        target.put_slice(piece);
        separator = b'&';
    }
}

/// A header that is read as single occurs with different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// The gate's own ID of a request: sender and app get it as `X-Request-Id`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; Self::LEN]);

impl RequestId {
    const LEN: usize = 26;
    /// Crockford's base 32: no I, L, O, U.
    const DIGITS: &'static [u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// The 26 digits of a 128-bit number, most significant first; sorted by time if the number is (UUIDv7).
    pub fn from_u128(number: u128) -> Self {
        let mut text = [b'0'; Self::LEN];
        for (digit, place) in text.iter_mut().rev().zip(0_u32..) {
            let index = usize::try_from((number >> (5 * place)) & 31).unwrap_or(0);
            *digit = Self::DIGITS.get(index).copied().unwrap_or(b'0');
        }
        Self(text)
    }

    /// Reads the digits; none if they are not ones that [`Self::from_u128`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        digits
            .iter()
            .all(|digit| Self::DIGITS.contains(digit))
            .then_some(Self(digits))
    }

    /// The digits.
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
    /// A certificate with these names, the common name first.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// How people are shown it: its first name.
    pub fn subject(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether one of its names is exactly this one.
    pub fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address: the peer's, or the one a trusted proxy told.
    pub ip: IpAddr,
    /// Whether the address is the client's own (public, or told by a trusted proxy), so that a limit by it hits nobody else.
    pub own: bool,
    /// Whether the direct peer is a trusted proxy, whose `X-Forwarded-*` count.
    pub behind_trusted_proxy: bool,
}

/// The path parameters of a matched route: names from the config, raw segments from the target, in the order of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(Box<str>, Box<str>)>);

impl Params {
    /// The value of one parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| &**value)
    }
}

/// A request that is wholly here.
#[derive(Debug)]
pub struct Received {
    /// Its head.
    pub head: RequestHead,
    /// Its body.
    pub body: Body,
}

/// The bytes of a body exactly as received, with what must live as long as they do: its share of `in_flight_bytes`.
pub struct Body {
    bytes: Bytes,
    share: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Body {
    /// A body that holds `share` until it is dropped.
    pub fn new(bytes: Bytes, share: Option<Box<dyn Send + Sync>>) -> Self {
        Self {
            bytes,
            share: Mutex::new(share),
        }
    }

    /// Gives back its share of `in_flight_bytes`: its memory is accounted for elsewhere from now on.
    pub fn release_share(&self) {
        drop(
            self.share
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// The bytes.
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
