//! A refused request, with the rules that refused it.
use std::time::SystemTime;

use crate::clock::Dates;
use crate::request::RequestHead;
use crate::verify::scheme::Scheme;
use crate::verify::secret::{Candidates, KeyedBy};
use crate::verify::shape::Shape;
use crate::verify::source::Source;

/// The largest body that is searched for a field, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The bytes at the start of a body that are searched for its first character.
const START_BYTES: usize = 64;

/// A refused request, with the rules that refused it.
pub(super) struct Question<'a> {
    pub(super) shape: &'a Shape,
    pub(super) head: &'a RequestHead,
    pub(super) body: &'a [u8],
    pub(super) candidates: &'a Candidates<'a>,
    pub(super) keyed_by: Option<&'a KeyedBy>,
    pub(super) public_url: Option<&'a str>,
    pub(super) now: SystemTime,
    pub(super) dates: &'a Dates,
}

impl<'a> Question<'a> {
    /// Returns the body if it is small enough to be searched for a field.
    pub(super) fn small_body(&self) -> Option<&'a [u8]> {
        (self.body.len() <= MAX_BODY_BYTES).then_some(self.body)
    }

    /// Returns the place that the scheme reads its signature or token from; `None` for `basic`.
    pub(super) fn source(&self) -> Option<&'a Source> {
        match &self.shape.scheme {
            Scheme::Hmac(scheme) => Some(&scheme.source),
            Scheme::Token(source) => Some(source),
            Scheme::Basic => None,
        }
    }

    /// Returns whether the first character of the body begins a JSON document.
    pub(super) fn starts_like_json(&self) -> bool {
        let start = self.body.get(..START_BYTES).unwrap_or(self.body);
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
        first.is_none_or(|byte| matches!(byte, b'{' | b'['))
    }
}
