//! The violations of the strict form of HTTP/1, and their places in a scan.
use crate::refusal::Refusal;

/// A violation of the strict form of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The method is not a token, empty or too long.
    Method,
    /// The target does not begin with `/`, or has a byte that no URI may have: a blank, a control, a quote, `#`, `<`, `>`, non-ASCII, or a
    /// backtick outside the query.
    Target,
    /// The version is neither `HTTP/1.1` nor `HTTP/1.0`, or not one blank is before it.
    Version,
    /// A carriage return or a line feed without the other.
    LineEnd,
    /// A line that continues in the next.
    Fold,
    /// A header name that is not a token, a blank before the colon, or a spelling that some parsers read as a header of framing.
    Name,
    /// A control byte in a value.
    Value,
    /// A second `Content-Length`, one beside a `Transfer-Encoding`, or one that is not a plain number.
    Length,
    /// A second `Transfer-Encoding`, one beside a `Content-Length`, one in HTTP/1.0, or any but `chunked`.
    Coding,
    /// No `Host`, or two.
    Host,
    /// An `Expect` that is not `100-continue`, or two.
    Expect,
    /// More bytes or lines than a head may have.
    TooLarge,
    /// A target that is longer than a head may be.
    TargetTooLong,
    /// A malformed chunk size or end of a chunk.
    Chunk,
    /// A chunk extension that is malformed or too long.
    Extension,
    /// A trailer that is malformed, too long, or a header of framing.
    Trailer,
}

impl Violation {
    /// Returns the refusal for a request with this violation in its head.
    pub const fn refusal(self) -> Refusal {
        if matches!(self, Self::TooLarge) {
            Refusal::HeadTooLarge
        } else if matches!(self, Self::TargetTooLong) {
            Refusal::TargetTooLong
        } else {
            Refusal::Malformed
        }
    }

    /// Returns the part of the request that the log names.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Method => "the method",
            Self::Target => "the target",
            Self::Version => "the version",
            Self::LineEnd => "the end of a line",
            Self::Fold => "a folded line",
            Self::Name => "the name of a header",
            Self::Value => "the value of a header",
            Self::Length => "content-length",
            Self::Coding => "transfer-encoding",
            Self::Host => "host",
            Self::Expect => "expect",
            Self::TooLarge => "the size of the head",
            Self::TargetTooLong => "the length of the target",
            Self::Chunk => "the framing of a chunk",
            Self::Extension => "a chunk extension",
            Self::Trailer => "a trailer",
        }
    }
}

/// A violation, and its place in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) at: usize,
    pub(super) why: Violation,
}

/// The number of bytes of a chunk up to the end of a part of a message; `None` if the part goes on after the chunk.
pub(super) type Scanned = Result<Option<usize>, Bad>;
