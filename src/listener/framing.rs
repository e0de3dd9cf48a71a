//! Scans the bytes of an HTTP/1 connection, and stops at the first that two parsers could read in different ways.
//!
//! pingora's parser is lenient: it accepts bare line feeds, repairs targets, drops a length beside a coding, reads an empty chunk size as
//! the last chunk, and does not report any of it. So it gets only bytes in strict normal form: the stream in front of it runs this scanner
//! over every byte, and cuts at the first violation. A head that is cut is completed, so that the request filter answers and records it like
//! any other; a body that is cut ends in an error.
//!
//! Each byte of a head is looked at once. The data of a body is skipped by count.
mod chunks;
mod classes;
mod head;
mod known;

use chunks::Chunks;
use head::Head;

use crate::refusal::Refusal;

pub(crate) use classes::is_target;

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

/// The place where the bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number of bytes of this chunk before the violation.
    pub valid: usize,
    /// The bytes that complete the head. Empty in a body.
    pub ending: &'static [u8],
    /// The violation.
    pub why: Violation,
}

/// A violation, and its place in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bad {
    at: usize,
    why: Violation,
}

/// The number of bytes of a chunk up to the end of a part of a message; `None` if the part goes on after the chunk.
type Scanned = Result<Option<usize>, Bad>;

/// The scanner of the messages of one connection. It must not be used after a cut.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    max_head: usize,
    messages: u64,
}

#[derive(Debug)]
enum State {
    /// Before the first byte of a message.
    Between,
    Head(Head),
    /// A body with a length, with the number of bytes that have not arrived yet.
    Sized(u64),
    Chunks(Chunks),
}

impl Scanner {
    /// Returns the scanner of a connection whose heads may have `max_head` bytes.
    pub fn new(max_head: usize) -> Self {
        Self {
            state: State::Between,
            max_head,
            messages: 0,
        }
    }

    /// Returns the number of messages that have begun.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns whether the last message has ended.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Scans the next bytes of the connection, however they are split into chunks.
    ///
    /// # Errors
    /// The first violation.
    pub fn scan(&mut self, chunk: &[u8]) -> Result<(), Cut> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let scanned = match &mut self.state {
                State::Between => {
                    self.messages += 1;
                    self.state = State::Head(Head::new(self.max_head));
                    continue;
                }
                State::Head(head) => head.scan(rest),
                State::Sized(left) => Ok(skip(left, rest.len())),
                State::Chunks(chunks) => chunks.scan(rest),
            };
            let ended = scanned.map_err(|bad| {
                let ending = if let State::Head(head) = &self.state {
                    head.ending()
                } else {
                    b""
                };
                Cut {
                    valid: (chunk.len() - rest.len()).saturating_add(bad.at),
                    ending,
                    why: bad.why,
                }
            })?;
            let Some(used) = ended else { return Ok(()) };
            rest = rest.get(used..).unwrap_or_default();
            self.state = match &self.state {
                State::Head(head) if head.is_chunked() => State::Chunks(Chunks::new()),
                State::Head(head) if head.length() > 0 => State::Sized(head.length()),
                State::Between | State::Head(_) | State::Sized(_) | State::Chunks(_) => {
                    State::Between
                }
            };
        }
        Ok(())
    }
}

/// Subtracts `available` bytes from the ones left. Returns how many were left if they end within the available ones.
fn skip(left: &mut u64, available: usize) -> Option<usize> {
    let ends = usize::try_from(*left)
        .ok()
        .filter(|left| *left <= available);
    *left = left.saturating_sub(u64::try_from(available).unwrap_or(u64::MAX));
    ends
}

#[cfg(test)]
mod tests;
