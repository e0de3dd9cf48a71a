//! Computes what a request would have to present, for the explanation of a refusal. Nothing here decides about a request.
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::AUTHORIZATION;

use super::authentic::NotAuthentic;
use super::content::{RequestView, Span};
use super::hmac::{Algorithm, Mac, Tag, TagEncoding};
use super::scheme::Scheme;
use super::scheme::signed_time::SignedTime;
use super::shape::Shape;
use super::source::{Layout, SourcePlace};
use super::timestamp::Format;
use crate::request::RequestHead;

/// The most texts of one header that are looked at.
const MAX_PIECES: usize = 64;
/// The bytes at which the value of a header is split into texts that may be signatures.
const SEPARATORS: &[u8] = b",; &";
/// The bytes that end a label before a signature, as in `sha256=` or `v1:`.
const LABEL_ENDS: &[u8] = b"=:";

/// A request as it might have been signed.
#[derive(Clone, Copy, Debug)]
pub struct Spelling<'r> {
    /// The head.
    pub head: &'r RequestHead,
    /// The body.
    pub body: &'r [u8],
    /// The URL that senders use, without query; `None` for that of the request.
    pub public_url: Option<&'r str>,
}

/// A text of a request that could be a signature, or the token of a route.
pub struct Found<'r> {
    /// The header that holds it; `None` for the query or the body.
    pub header: Option<&'r str>,
    /// The text before it in the header, such as `sha1=`.
    pub label: &'r [u8],
    /// The encoding by which it has the length of a signature.
    pub encoding: TagEncoding,
    tag: Tag,
}

impl Found<'_> {
    /// Returns the hash function that gives signatures of this length.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self.tag.bytes().len() {
            20 => Some(Algorithm::Sha1),
            32 => Some(Algorithm::Sha256),
            64 => Some(Algorithm::Sha512),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("header", &self.header)
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

/// The signature that a key gives.
pub struct Computed {
    /// The index of the key.
    pub key: usize,
    /// The hash function.
    pub algorithm: Algorithm,
    tag: Tag,
}

impl std::fmt::Debug for Computed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Computed")
            .field("key", &self.key)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Computed {
    /// Returns its text.
    #[cfg(test)]
    pub(crate) fn text(&self, encoding: TagEncoding) -> String {
        encoding.encode(&self.tag)
    }

    /// Returns whether a text of the request is this signature. Compares in constant time.
    pub fn is(&self, found: &Found<'_>) -> bool {
        self.tag.same(&found.tag).into()
    }
}

impl Shape {
    /// Returns the hash function of its signatures; `None` if it compares tokens.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match &self.scheme {
            Scheme::Hmac(scheme) => Some(scheme.algorithm),
            Scheme::Token(_) | Scheme::Basic => None,
        }
    }

    /// Returns the encoding of its signatures; `None` if it compares tokens.
    pub fn tag_encoding(&self) -> Option<TagEncoding> {
        match &self.scheme {
            Scheme::Hmac(scheme) => Some(scheme.encoding),
            Scheme::Token(_) | Scheme::Basic => None,
        }
    }

    /// Returns the headers that hold its signature or token.
    pub fn signature_headers(&self) -> &[HeaderName] {
        match &self.scheme {
            Scheme::Hmac(scheme) => scheme.source.headers(),
            Scheme::Token(source) => source.headers(),
            Scheme::Basic => &[AUTHORIZATION],
        }
    }

    /// Returns the text that stands before each of its signatures.
    pub fn signature_label(&self) -> String {
        let source = match &self.scheme {
            Scheme::Hmac(scheme) => &scheme.source,
            Scheme::Token(source) => source,
            Scheme::Basic => return "Basic ".to_owned(),
        };
        match &source.layout {
            Layout::Pairs { key, .. } => format!("{key}={}", source.prefix),
            Layout::Whole | Layout::List { .. } => source.prefix.to_string(),
        }
    }

    /// Returns whether the time of the request is in milliseconds where the scheme expects seconds, or the other way round.
    pub fn time_is_in_other_unit(&self, head: &RequestHead, body: &[u8]) -> bool {
        let Scheme::Hmac(scheme) = &self.scheme else {
            return false;
        };
        let Some(time) = &scheme.time else {
            return false;
        };
        let other = match time.format {
            Format::Unix => Format::UnixMs,
            Format::UnixMs => Format::Unix,
            Format::Rfc3339 | Format::Utc | Format::ImfFixdate => return false,
        };
        let read = SignedTime {
            format: other,
            ..time.clone()
        };
        read.read(&scheme.source, head, body).is_ok()
    }

    /// Returns whether the signature covers the URL, the path or the query.
    pub fn covers_address(&self) -> bool {
        let covers = self.covers();
        covers.url || covers.path || covers.query
    }

    /// Returns whether it reads a field of a JSON body: a signature, a time or a part of the signed content.
    pub fn reads_json(&self) -> bool {
        let Scheme::Hmac(scheme) = &self.scheme else {
            return false;
        };
        let content = scheme.content.parts().iter();
        let in_content = content
            .into_iter()
            .any(|part| matches!(part, super::content::Part::Json(_)));
        in_content
            || matches!(scheme.source.place, SourcePlace::Json(_))
            || scheme.time.as_ref().is_some_and(|time| time.in_body())
    }

    /// Returns the text of the time that the request presents, if the scheme signs one. It need not be a valid time.
    ///
    /// # Errors
    /// It is missing, or not in the format of the scheme.
    pub fn presented_time(
        &self,
        head: &RequestHead,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, NotAuthentic> {
        let Scheme::Hmac(scheme) = &self.scheme else {
            return Ok(None);
        };
        let time = scheme.time.as_ref();
        let read = time.map(|time| time.read(&scheme.source, head, body));
        Ok(read.transpose()?.map(|time| time.text.into_owned()))
    }

    /// Returns the time at which the request claims to be signed.
    pub fn signed_at(&self, head: &RequestHead, body: &[u8]) -> Option<SystemTime> {
        let Scheme::Hmac(scheme) = &self.scheme else {
            return None;
        };
        let time = scheme.time.as_ref()?;
        let presented = time.read(&scheme.source, head, body).ok()?;
        Some(presented.at)
    }

    /// Returns the signatures that keys give for a request, each with each of `algorithms`.
    ///
    /// # Errors
    /// The request lacks a part of the signed content.
    pub fn compute<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        algorithms: &[Algorithm],
        request: Spelling<'_>,
        time: &[u8],
    ) -> Result<Vec<Computed>, NotAuthentic> {
        let Scheme::Hmac(scheme) = &self.scheme else {
            return Ok(Vec::new());
        };
        let mut macs = Vec::with_capacity(keys.len().saturating_mul(algorithms.len()));
        for (index, key) in keys.iter().enumerate() {
            for algorithm in algorithms {
                let mac = Mac::new(*algorithm, key.as_ref());
                macs.extend(mac.map(|mac| (index, *algorithm, mac)));
            }
        }
        let view = RequestView {
            time,
            ..self.view(request.head, request.body, request.public_url)
        };
        scheme.content.feed(Span::All, &view, &mut |bytes| {
            macs.iter_mut().for_each(|(_, _, mac)| mac.update(bytes));
        })?;
        let finished = macs.into_iter().map(|(key, algorithm, mac)| Computed {
            key,
            algorithm,
            tag: mac.finish(),
        });
        Ok(finished.collect())
    }

    /// Returns the signatures that the request presents where the scheme expects them, in the encoding that it expects.
    pub fn presented<'r>(&self, head: &'r RequestHead, body: &[u8]) -> Vec<Found<'r>> {
        let Scheme::Hmac(scheme) = &self.scheme else {
            return Vec::new();
        };
        let tags = scheme.source.tags(head, body, scheme.encoding);
        let found = tags.unwrap_or_default().into_iter().map(|tag| Found {
            header: None,
            label: b"",
            encoding: scheme.encoding,
            tag,
        });
        found.collect()
    }

    /// Returns whether the request presents one of `texts` as its token, where the scheme expects it; the index of the first that it presents.
    pub fn presents_token<K: AsRef<[u8]>>(&self, head: &RequestHead, texts: &[K]) -> Option<usize> {
        let mut presented = Vec::new();
        match &self.scheme {
            Scheme::Hmac(_) => return None,
            Scheme::Token(source) => {
                source
                    .each(head, &[], |text| presented.push(text.to_vec()))
                    .ok()?;
            }
            Scheme::Basic => {
                let value = head.headers.single(&AUTHORIZATION).ok()??;
                let (_, text) = value.split_at_checked(6)?;
                presented.push(STANDARD.decode(text.trim_ascii_start()).ok()?);
            }
        }
        same_text(&presented, texts)
    }
}

/// Returns the index of the first of `texts` that equals one of `presented`. Compares digests, in constant time.
fn same_text<K: AsRef<[u8]>>(presented: &[Vec<u8>], texts: &[K]) -> Option<usize> {
    use sha2::{Digest as _, Sha256};
    use subtle::ConstantTimeEq as _;
    let presented: Vec<[u8; 32]> = presented
        .iter()
        .map(|text| Sha256::digest(text).into())
        .collect();
    texts.iter().position(|text| {
        let digest: [u8; 32] = Sha256::digest(text.as_ref()).into();
        presented
            .iter()
            .any(|presented| presented.ct_eq(&digest).into())
    })
}

/// Returns all texts of the headers and the query that have the length of a signature.
pub fn signatures_anywhere(head: &RequestHead) -> Vec<Found<'_>> {
    let mut all = Vec::new();
    for (name, value) in head.headers.iter() {
        collect(Some(name), value, &mut all);
    }
    if let Some(query) = head.query() {
        collect(None, query, &mut all);
    }
    all
}

/// Adds the texts of one value that have the length of a signature.
fn collect<'r>(header: Option<&'r str>, value: &'r [u8], all: &mut Vec<Found<'r>>) {
    let pieces = value.split(|byte| SEPARATORS.contains(byte));
    for piece in pieces.take(MAX_PIECES) {
        let labels = piece
            .iter()
            .enumerate()
            .filter(|(_, byte)| LABEL_ENDS.contains(byte))
            .map(|(at, _)| at + 1);
        for start in std::iter::once(0).chain(labels) {
            let Some((label, text)) = piece.split_at_checked(start) else {
                continue;
            };
            for encoding in [
                TagEncoding::Hex,
                TagEncoding::Base64,
                TagEncoding::Base64Url,
            ] {
                if let Some(tag) = encoding.decode(text)
                    && matches!(tag.bytes().len(), 20 | 32 | 64)
                {
                    all.push(Found {
                        header,
                        label,
                        encoding,
                        tag,
                    });
                }
            }
        }
    }
}
