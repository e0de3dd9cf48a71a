//! Facts of a request: their places, and how strictly they are read.
use std::borrow::Cow;

use http::HeaderName;

use super::authentic::NotAuthentic;
use super::json;
use crate::request::{Received, RequestHead};

/// The longest header that may be part of signed content, in bytes.
const MAX_HEADER_BYTES: usize = 4 << 10;
/// The longest delivery ID that may be part of signed content, in bytes.
const MAX_ID_BYTES: usize = 256;

/// A header that may have several names. The first that occurs counts; if another occurs too, both must have the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames(Box<[HeaderName]>);

/// The reason why a header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderConflict {
    /// One name occurs with different values.
    Repeated,
    /// Two names occur with different values.
    Contradicted,
}

impl HeaderNames {
    /// Takes the names, the preferred one first. Without a name, nothing is ever found.
    pub fn new(names: impl Into<Box<[HeaderName]>>) -> Self {
        Self(names.into())
    }

    /// Returns the names, the preferred one first.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// Returns whether two readers could take different values: a name occurs with different values, or two names contradict each other.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        self.read(head).is_err()
    }

    /// Returns the value under the first name that occurs.
    pub(super) fn read<'r>(
        &self,
        head: &'r RequestHead,
    ) -> Result<Option<&'r [u8]>, HeaderConflict> {
        let mut found: Option<&[u8]> = None;
        for name in &self.0 {
            match (
                head.headers
                    .single(name)
                    .map_err(|_| HeaderConflict::Repeated)?,
                found,
            ) {
                (Some(value), Some(first)) if value != first => {
                    return Err(HeaderConflict::Contradicted);
                }
                (Some(value), None) => found = Some(value),
                (Some(_) | None, _) => {}
            }
        }
        Ok(found)
    }
}

impl From<HeaderName> for HeaderNames {
    fn from(name: HeaderName) -> Self {
        Self(Box::new([name]))
    }
}

/// A header that a scheme reads or covers.
pub(super) struct ReadHeader {
    pub(super) names: HeaderNames,
    /// Whether it must occur once.
    pub(super) is_single: bool,
}

impl ReadHeader {
    /// Describes a header that must occur once.
    pub(super) fn single(names: impl Into<HeaderNames>) -> Self {
        Self {
            names: names.into(),
            is_single: true,
        }
    }
}

/// The place of a fact in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locator {
    /// A header that occurs once.
    Header(HeaderNames),
    /// A field of the body, by JSON pointer.
    Json(String),
    /// A query parameter, percent-decoded.
    Query(String),
}

impl Locator {
    /// Returns the value as text; numbers and booleans of JSON as they are written. `None` if it is absent, repeated,
    /// contradicted by another of its names, empty, or not a scalar.
    pub fn find(&self, received: &Received) -> Option<String> {
        self.look(&received.head, received.body.bytes())
    }

    /// Finds the value like [`Self::find`].
    pub(super) fn look(&self, head: &RequestHead, body: &[u8]) -> Option<String> {
        let value = match self {
            Self::Header(names) => {
                let value = names.read(head).ok()??;
                Cow::Borrowed(std::str::from_utf8(value).ok()?)
            }
            Self::Json(pointer) => json::find(body, pointer).ok()??,
            Self::Query(name) => query(head, name).ok()??,
        };
        if value.is_empty() {
            None
        } else {
            Some(value.into_owned())
        }
    }

    /// Returns the value as a part of signed content: visible ASCII up to 256 bytes.
    pub(super) fn strict<'r>(
        &self,
        head: &'r RequestHead,
        body: &'r [u8],
    ) -> Result<Cow<'r, [u8]>, NotAuthentic> {
        let value = match self {
            Self::Header(names) => names
                .read(head)
                .map_err(|_| NotAuthentic::SignatureMalformed)?
                .map(Cow::Borrowed),
            Self::Json(pointer) => json::find(body, pointer)
                .map_err(|_| NotAuthentic::SignatureMalformed)?
                .map(bytes),
            Self::Query(name) => query(head, name)?.map(bytes),
        };
        let value = value.ok_or(NotAuthentic::SignatureMissing)?;
        let visible =
            (1..=MAX_ID_BYTES).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        if visible {
            Ok(value)
        } else {
            Err(NotAuthentic::SignatureMalformed)
        }
    }

    /// Returns the names of its header; none if it is not a header.
    pub fn headers(&self) -> &[HeaderName] {
        match self {
            Self::Header(names) => names.names(),
            Self::Json(_) | Self::Query(_) => &[],
        }
    }

    /// Returns whether it is a header that two readers could read differently.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        matches!(self, Self::Header(names) if names.is_ambiguous(head))
    }

    /// Returns whether the fact is in the body.
    pub(super) fn in_body(&self) -> bool {
        matches!(self, Self::Json(_))
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Returns a header as a part of signed content: it occurs once and holds visible ASCII and spaces, at most 4 KiB.
pub(super) fn strict_header<'r>(
    head: &'r RequestHead,
    name: &HeaderName,
) -> Result<&'r [u8], NotAuthentic> {
    let value = head
        .headers
        .single(name)
        .map_err(|_| NotAuthentic::SignatureMalformed)?
        .ok_or(NotAuthentic::SignatureMissing)?;
    let plain = (1..=MAX_HEADER_BYTES).contains(&value.len())
        && value.iter().all(|byte| (b' '..=b'~').contains(byte));
    if plain {
        Ok(value)
    } else {
        Err(NotAuthentic::SignatureMalformed)
    }
}

/// Returns a query parameter, decoded. It must occur at most once. One that is not UTF-8 is malformed: its bytes would be lost,
/// and two different values would read the same.
pub(super) fn query<'r>(
    head: &'r RequestHead,
    name: &str,
) -> Result<Option<Cow<'r, str>>, NotAuthentic> {
    let Some(query) = head.query() else {
        return Ok(None);
    };
    let mut values = form_urlencoded::parse(query)
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value);
    let first = values.next();
    let lossy = first
        .as_ref()
        .is_some_and(|value| value.contains(char::REPLACEMENT_CHARACTER));
    if lossy || values.next().is_some() {
        Err(NotAuthentic::SignatureMalformed)
    } else {
        Ok(first)
    }
}
