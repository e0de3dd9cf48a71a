//! Parses the head of an answer. Pure.
//!
//! Apps are read leniently where the meaning is certain: space before a colon, folded lines, `\n` for `\r\n`, a length that is repeated.
use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use httparse::{ParserConfig, Status};

use super::answer_body::{Framing, Malformed};
use crate::headers::lists_option;

/// The most header lines of an answer.
const MAX_LINES: usize = 256;
/// The largest head of an upstream's answer, in bytes.
pub(super) const MAX_HEAD: usize = 256 * 1024;
/// The lines that are added before the answer is sent on.
const MORE_LINES: usize = 3;
/// The beginning of each answer, up to the minor version.
const BEGINNING: &[u8] = b"HTTP/1.";

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The status.
    pub(super) status: StatusCode,
    /// Whether the version is HTTP/1.0.
    pub(super) is_1_0: bool,
    /// The header lines. Where there is a transfer coding, the length that does not count is left out.
    pub(super) headers: HeaderMap,
    /// Whether there were a transfer coding and a length: another reader could have found another end.
    pub(super) is_ambiguous: bool,
}

/// The reason for which bytes are not the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    /// They are no head of HTTP/1.
    Malformed,
    /// They are too many.
    TooLarge,
}

impl From<Malformed> for BadHead {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Finds the ends of heads in bytes that arrive piece by piece.
#[derive(Debug)]
pub(super) struct Search {
    /// The bytes that the heads may still have together.
    left: usize,
    /// The bytes that are known to hold no end.
    searched: usize,
}

impl Search {
    /// Makes a search for heads that have at most `max` bytes together.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            left: max,
            searched: 0,
        }
    }

    /// Takes the head of an answer off `bytes`; nothing if the rest of it has not arrived. The next call looks for the next head.
    ///
    /// # Errors
    /// The bytes are not the head of an answer, or it is too large.
    pub(super) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Head>, BadHead> {
        if self.searched == 0 {
            // some apps send an empty line after each answer
            let skipped = bytes
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            bytes.advance(skipped);
            self.pass(skipped)?;
        }
        let known = bytes.len().min(BEGINNING.len());
        if bytes.get(..known) != BEGINNING.get(..known) {
            return Err(BadHead::Malformed);
        }
        if let Some(end) = end_of_head(bytes, self.searched) {
            self.searched = 0;
            self.pass(end)?;
            return Ok(Some(parse(&bytes.split_to(end).freeze())?));
        }
        // an end can begin in the last two bytes
        self.searched = bytes.len().saturating_sub(2);
        if bytes.len() > self.left {
            return Err(BadHead::TooLarge);
        }
        Ok(None)
    }

    fn pass(&mut self, bytes: usize) -> Result<(), BadHead> {
        self.left = self.left.checked_sub(bytes).ok_or(BadHead::TooLarge)?;
        Ok(())
    }
}

/// Returns where the first empty line ends.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|byte| *byte == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// Parses a whole head.
fn parse(bytes: &Bytes) -> Result<Head, Malformed> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let end = parser.parse_response_with_uninit_headers(&mut parsed, bytes, &mut lines);
    if end != Ok(Status::Complete(bytes.len())) {
        return Err(Malformed);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + MORE_LINES);
    for line in &*parsed.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed)?;
        headers.append(name, value(bytes, line.value)?);
    }
    let is_ambiguous = headers.contains_key(TRANSFER_ENCODING)
        // RFC 9112, section 6.3: it must not reach the sender, whose response has another framing
        && headers.remove(CONTENT_LENGTH).is_some();
    Ok(Head {
        status: status.ok_or(Malformed)?,
        is_1_0: parsed.version == Some(0),
        headers,
        is_ambiguous,
    })
}

/// Returns the value of a line. The ends of folded lines become spaces, as RFC 9112, section 5.2 asks.
fn value(head: &Bytes, value: &[u8]) -> Result<HeaderValue, Malformed> {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let value = if value.iter().any(is_end) {
        value
            .iter()
            .map(|byte| if is_end(byte) { b' ' } else { *byte })
            .collect()
    } else {
        head.slice_ref(value)
    };
    HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)
}

impl Head {
    /// Returns how the body ends, by RFC 9112, section 6.3.
    ///
    /// # Errors
    /// Two lengths differ, or one is no number.
    pub(super) fn framing(&self, method: &Method) -> Result<Framing, Malformed> {
        if *method == Method::HEAD || has_no_content(self.status) {
            return Ok(Framing::Sized(0));
        }
        let codings = self.headers.get_all(TRANSFER_ENCODING);
        if let Some(coding) = codings.iter().next_back() {
            let last = coding.as_bytes().rsplit(|byte| *byte == b',').next();
            return Ok(match last {
                Some(last) if last.trim_ascii().eq_ignore_ascii_case(b"chunked") => {
                    Framing::ChunkSize
                }
                _ => Framing::UntilClose,
            });
        }
        let mut length = None;
        let values = self.headers.get_all(CONTENT_LENGTH);
        for value in values
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        {
            let value = number(value.trim_ascii()).ok_or(Malformed)?;
            if *length.get_or_insert(value) != value {
                return Err(Malformed);
            }
        }
        Ok(length.map_or(Framing::UntilClose, Framing::Sized))
    }

    /// Returns whether the app keeps the connection open after the answer.
    pub(super) fn keeps_alive(&self) -> bool {
        let lists = |option: &str| {
            let lines = self.headers.get_all(CONNECTION).iter();
            lists_option(lines.map(HeaderValue::as_bytes), option)
        };
        // RFC 9112, section 6.1: HTTP/1.0 has no transfer codings, so an app that sends one may mean another end
        let by_version =
            !self.is_1_0 || lists("keep-alive") && !self.headers.contains_key(TRANSFER_ENCODING);
        by_version && !self.is_ambiguous && !lists("close")
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

/// Returns whether answers with this status have no content, whatever they announce.
pub fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Returns whether a head announces content: a length above 0, or a transfer coding.
pub fn announces_content(headers: &HeaderMap) -> bool {
    let is_zero = |length: &HeaderValue| {
        length
            .as_bytes()
            .trim_ascii()
            .iter()
            .all(|digit| *digit == b'0')
    };
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| !is_zero(length))
}

#[cfg(test)]
mod tests;
