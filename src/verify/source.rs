//! The place of the signatures in a request, and their text form.
use http::{HeaderName, HeaderValue};

use super::authentic::NotAuthentic;
use super::hmac::{Tag, TagEncoding};
use super::json;
use super::locator::{self, ReadHeader};
use crate::request::RequestHead;

/// The most signatures that one request may present.
pub(super) const MAX_SIGNATURES: usize = 32;

/// The place and the text form of a signature or token.
#[derive(Clone, Debug)]
pub struct Source {
    /// The place in the request.
    pub place: SourcePlace,
    /// Required text in front of each signature.
    pub prefix: Box<str>,
    /// The arrangement of several signatures in one value.
    pub layout: Layout,
    /// Whether the header may occur several times. Then any of its values may match.
    pub repeated: bool,
    /// Other headers with the exact values that they must have for this scheme, such as its version or algorithm.
    pub expect: Box<[(HeaderName, Box<str>)]>,
}

/// The place of a signature or token.
#[derive(Clone, Debug)]
pub enum SourcePlace {
    /// Any of these headers. Each occurs at most once unless [`Source::repeated`].
    Headers(Box<[HeaderName]>),
    /// A query parameter.
    Query(Box<str>),
    /// A field of the body, by JSON pointer.
    Json(Box<str>),
}

/// The arrangement of several signatures in one value.
#[derive(Clone, Debug)]
pub enum Layout {
    /// One signature, nothing else.
    Whole,
    /// A list. Items without the prefix belong to other versions and are skipped.
    List {
        /// The exact text between two items.
        separator: Box<str>,
        /// The index of the item that is the time, counted from 0.
        time: Option<usize>,
    },
    /// `key=value` pairs.
    Pairs {
        /// The exact text between two pairs.
        separator: Box<str>,
        /// The key of a signature. All pairs with it count.
        key: Box<str>,
    },
}

impl Source {
    /// Reads and decodes the signatures that the request presents.
    pub(super) fn tags(
        &self,
        head: &RequestHead,
        body: &[u8],
        encoding: TagEncoding,
    ) -> Result<Vec<Tag>, NotAuthentic> {
        let mut tags = Vec::new();
        let mut count = 0_usize;
        self.each(head, body, |text| {
            count += 1;
            if count <= MAX_SIGNATURES
                && let Some(tag) = encoding.decode(text)
            {
                tags.push(tag);
            }
        })?;
        if tags.is_empty() || count > MAX_SIGNATURES {
            Err(NotAuthentic::SignatureMalformed)
        } else {
            Ok(tags)
        }
    }

    /// Calls `take` with the text of each signature or token, without the prefix.
    pub(super) fn each(
        &self,
        head: &RequestHead,
        body: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), NotAuthentic> {
        self.expected(head)?;
        match &self.place {
            SourcePlace::Headers(names) => {
                let mut present = false;
                for name in names {
                    let single = head.headers.single(name);
                    if !self.repeated && single.is_err() {
                        return Err(NotAuthentic::SignatureMalformed);
                    }
                    // one of several equal values is enough
                    let all = if self.repeated { usize::MAX } else { 1 };
                    for value in head.headers.get_all(name).take(all) {
                        present = true;
                        self.split(value, &mut take);
                    }
                }
                if present {
                    Ok(())
                } else {
                    Err(NotAuthentic::SignatureMissing)
                }
            }
            SourcePlace::Query(name) => match locator::query(head, name)? {
                Some(value) => {
                    self.split(value.as_bytes(), &mut take);
                    Ok(())
                }
                None => Err(NotAuthentic::SignatureMissing),
            },
            SourcePlace::Json(pointer) => {
                let value =
                    json::find(body, pointer).map_err(|_| NotAuthentic::SignatureMalformed)?;
                self.split(
                    value.ok_or(NotAuthentic::SignatureMissing)?.as_bytes(),
                    &mut take,
                );
                Ok(())
            }
        }
    }

    /// Checks the headers that must have exact values.
    fn expected(&self, head: &RequestHead) -> Result<(), NotAuthentic> {
        for (name, expected) in &self.expect {
            let value = head
                .headers
                .single(name)
                .map_err(|_| NotAuthentic::SignatureMalformed)?
                .ok_or(NotAuthentic::SignatureMissing)?;
            if value != expected.as_bytes() {
                return Err(NotAuthentic::SignatureMalformed);
            }
        }
        Ok(())
    }

    fn split(&self, value: &[u8], take: &mut impl FnMut(&[u8])) {
        let mut prefixed = |text: &[u8]| {
            if let Some(text) = text.strip_prefix(self.prefix.as_bytes()) {
                take(text);
            }
        };
        match &self.layout {
            Layout::Whole => prefixed(value),
            Layout::List { separator, time } => {
                for (index, item) in items(value, separator).enumerate() {
                    if *time != Some(index) {
                        prefixed(item);
                    }
                }
            }
            Layout::Pairs { separator, key } => {
                for item in items(value, separator) {
                    if let Some(text) = under(item, key) {
                        prefixed(text);
                    }
                }
            }
        }
    }

    /// Returns the text of the time in the signature header: the value of `pair`, or the item of the list.
    pub(super) fn time<'r>(
        &self,
        head: &'r RequestHead,
        pair: Option<&str>,
    ) -> Result<&'r [u8], NotAuthentic> {
        let SourcePlace::Headers(names) = &self.place else {
            return Err(NotAuthentic::TimestampMissing);
        };
        let name = names.first().ok_or(NotAuthentic::TimestampMissing)?;
        let value = head
            .headers
            .single(name)
            .map_err(|_| NotAuthentic::SignatureMalformed)?
            .ok_or(NotAuthentic::TimestampMissing)?;
        match (&self.layout, pair) {
            (Layout::Pairs { separator, .. }, Some(pair)) => {
                let mut found = items(value, separator).filter_map(|item| under(item, pair));
                let first = found.next().ok_or(NotAuthentic::TimestampMissing)?;
                if found.next().is_some() {
                    Err(NotAuthentic::TimestampMalformed)
                } else {
                    Ok(first)
                }
            }
            (
                Layout::List {
                    separator,
                    time: Some(index),
                },
                None,
            ) => items(value, separator)
                .nth(*index)
                .ok_or(NotAuthentic::TimestampMissing),
            _ => Err(NotAuthentic::TimestampMissing),
        }
    }

    /// Returns the headers that hold it.
    pub fn headers(&self) -> &[HeaderName] {
        match &self.place {
            SourcePlace::Headers(names) => names,
            SourcePlace::Query(_) | SourcePlace::Json(_) => &[],
        }
    }

    /// Returns all headers that are read: those that hold it, and those with exact values.
    pub(super) fn read_headers(&self) -> Vec<ReadHeader> {
        let signatures = self.headers().iter().map(|name| ReadHeader {
            names: name.clone().into(),
            is_single: !self.repeated,
        });
        let expected = self
            .expect
            .iter()
            .map(|(name, _)| ReadHeader::single(name.clone()));
        signatures.chain(expected).collect()
    }

    /// Returns the query parameter that holds it.
    pub fn query(&self) -> Option<&str> {
        match &self.place {
            SourcePlace::Headers(_) | SourcePlace::Json(_) => None,
            SourcePlace::Query(name) => Some(name),
        }
    }

    /// Writes the value of the header or query parameter: `signature`, and `time` if the layout has one.
    pub(super) fn write(&self, signature: &[u8], time: Option<(Option<&str>, &str)>) -> Vec<u8> {
        let signature = [self.prefix.as_bytes(), signature].concat();
        match (&self.layout, time) {
            (Layout::Whole, _) => signature,
            (
                Layout::List {
                    separator,
                    time: Some(index),
                },
                Some((_, text)),
            ) => {
                let mut items: Vec<&[u8]> = vec![&signature; (*index).clamp(1, MAX_SIGNATURES)];
                items.insert((*index).min(items.len()), text.as_bytes());
                items.join(separator.as_bytes())
            }
            (Layout::List { .. }, _) => signature,
            (Layout::Pairs { separator, key }, time) => {
                let signed = [key.as_bytes(), b"=", &signature].concat();
                match time {
                    Some((Some(pair), text)) => [
                        pair.as_bytes(),
                        b"=",
                        text.as_bytes(),
                        separator.as_bytes(),
                        &signed,
                    ]
                    .concat(),
                    _ => signed,
                }
            }
        }
    }

    /// Returns the header with this value; `None` if a header cannot hold the value.
    pub(super) fn header(&self, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let mut value = HeaderValue::from_bytes(value).ok()?;
        value.set_sensitive(true);
        Some((self.headers().first()?.clone(), value))
    }
}

/// Splits a value at each `separator`.
fn items<'v, 's>(
    value: &'v [u8],
    separator: &'s str,
) -> impl Iterator<Item = &'v [u8]> + use<'v, 's> {
    let mut rest = Some(value);
    let separator = separator.as_bytes();
    std::iter::from_fn(move || {
        let current = rest?;
        let at = if separator.is_empty() {
            None
        } else {
            current
                .windows(separator.len())
                .position(|window| window == separator)
        };
        let (item, next) = match at {
            Some(at) => {
                let (item, tail) = current.split_at_checked(at)?;
                (item, tail.get(separator.len()..))
            }
            None => (current, None),
        };
        rest = next;
        Some(item)
    })
}

/// Returns the value of a `key=value` item.
fn under<'v>(item: &'v [u8], key: &str) -> Option<&'v [u8]> {
    item.strip_prefix(key.as_bytes())?.strip_prefix(b"=")
}
