//! Where the signatures stand in a request, and how they are taken apart.
use http::{HeaderName, HeaderValue};

use super::hmac::{Tag, TagEncoding};
use super::{NotAuthentic, json, locator};
use crate::request::RequestHead;

/// How many signatures one request may present.
const MAX_SIGNATURES: usize = 32;

/// Where the signature or token stands, and how it is written.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where.
    pub place: SourcePlace,
    /// What stands before each signature, and must.
    pub prefix: Box<str>,
    /// How several stand side by side.
    pub layout: Layout,
    /// Whether a header may stand there several times; any may match.
    pub repeated: bool,
    /// What other headers must say, to the letter, for this scheme to be meant: its version, its algorithm.
    pub expect: Box<[(HeaderName, Box<str>)]>,
}

/// Where the signature or token stands.
#[derive(Clone, Debug)]
pub enum SourcePlace {
    /// In any of these headers, each there at most once unless [`Source::repeated`].
    Headers(Box<[HeaderName]>),
    /// In a query parameter.
    Query(Box<str>),
    /// In the body, by JSON pointer.
    Json(Box<str>),
}

/// How several signatures stand side by side.
#[derive(Clone, Debug)]
pub enum Layout {
    /// One signature, nothing else.
    Whole,
    /// A list. Items without the prefix are of other versions and are skipped.
    List {
        /// Exactly this text between two items.
        separator: Box<str>,
        /// The item that is the time, counted from 0.
        time: Option<usize>,
    },
    /// `key=value` pairs.
    Pairs {
        /// Exactly this text between two pairs.
        separator: Box<str>,
        /// The key of a signature; all that have it count.
        key: Box<str>,
    },
}

impl Source {
    /// The signatures that the request presents, decoded.
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

    /// Calls `take` with the text of each signature or token, prefix removed.
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
                    let single = head.single(name);
                    if !self.repeated && single.is_err() {
                        return Err(NotAuthentic::SignatureMalformed);
                    }
                    // of equal values one is enough
                    let all = if self.repeated { usize::MAX } else { 1 };
                    for value in head.headers.get_all(name).iter().take(all) {
                        present = true;
                        self.split(value.as_bytes(), &mut take);
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

    fn expected(&self, head: &RequestHead) -> Result<(), NotAuthentic> {
        for (name, due) in &self.expect {
            let value = head
                .single(name)
                .map_err(|_| NotAuthentic::SignatureMalformed)?
                .ok_or(NotAuthentic::SignatureMissing)?;
            if value.as_bytes() != due.as_bytes() {
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

    /// The item of the one signature header that is the time.
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
            .single(name)
            .map_err(|_| NotAuthentic::SignatureMalformed)?
            .ok_or(NotAuthentic::TimestampMissing)?
            .as_bytes();
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

    /// The names of the headers it is read from.
    pub fn headers(&self) -> &[HeaderName] {
        match &self.place {
            SourcePlace::Headers(names) => names,
            SourcePlace::Query(_) | SourcePlace::Json(_) => &[],
        }
    }

    /// The query parameter it is read from.
    pub fn query(&self) -> Option<&str> {
        match &self.place {
            SourcePlace::Headers(_) | SourcePlace::Json(_) => None,
            SourcePlace::Query(name) => Some(name),
        }
    }

    /// One header or query parameter with `signature`, and `time` where the layout has one.
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

    /// The header to write to, with a value; `None` if the text cannot stand in a header.
    pub(super) fn header(&self, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let mut value = HeaderValue::from_bytes(value).ok()?;
        value.set_sensitive(true);
        Some((self.headers().first()?.clone(), value))
    }
}

/// The pieces between exactly `separator`.
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

fn under<'v>(item: &'v [u8], key: &str) -> Option<&'v [u8]> {
    item.strip_prefix(key.as_bytes())?.strip_prefix(b"=")
}
