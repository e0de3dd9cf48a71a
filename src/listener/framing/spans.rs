//! The places of the parts of a head in its bytes.
use std::ops::Range;

use bytes::Bytes;

/// A part of the bytes of a message, counted from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The position of its first byte.
    pub start: usize,
    /// The position after its last byte.
    pub end: usize,
}

impl Span {
    /// Returns the span as a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the bytes of the span, which share the memory of all.
    pub fn share(self, bytes: &Bytes) -> Bytes {
        bytes.slice_ref(self.of(bytes))
    }

    /// Returns the bytes of the span.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// The parts of a head, as far as it was scanned. A part that has not ended has an end before its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadSpans {
    /// The method.
    pub method: Span,
    /// The target.
    pub target: Span,
    /// Whether the version is HTTP/1.0.
    pub is_1_0: bool,
    /// The name and the value of each header line that has ended. Values are without the blanks around them once they are read by
    /// [`value`](Self::value).
    pub lines: Vec<(Span, Span)>,
}

impl HeadSpans {
    /// Returns a value without the blanks around it.
    ///
    /// A value of blanks alone is empty.
    pub fn value(span: Span, bytes: &[u8]) -> Span {
        let value = span.of(bytes);
        let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let Some(first) = value.iter().position(is_text) else {
            return Span {
                start: span.start,
                end: span.start,
            };
        };
        let last = value.iter().rposition(is_text).unwrap_or(first);
        Span {
            start: span.start + first,
            end: span.start + last + 1,
        }
    }
}
