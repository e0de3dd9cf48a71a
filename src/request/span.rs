//! Places in the bytes of a message.
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

    /// Returns the number of its bytes.
    pub(super) fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Returns the bytes of the span, which share the memory of all.
    pub fn share(self, bytes: &Bytes) -> Bytes {
        bytes.slice_ref(self.of(bytes))
    }

    /// Returns the bytes of the span.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    /// Returns the span without the blanks around its bytes. Blanks alone are empty.
    #[must_use]
    pub fn trimmed(self, bytes: &[u8]) -> Self {
        let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let value = self.of(bytes);
        let first = value.iter().position(is_text);
        let last = value.iter().rposition(is_text);
        let (start, end) = first
            .zip(last)
            .map_or((0, 0), |(first, last)| (first, last + 1));
        Self {
            start: self.start + start,
            end: self.start + end,
        }
    }
}
