//! The bytes of an HTTP/1 connection as they come. What two readers could read differently goes no further.
//!
//! pingora's parser is lenient: it takes bare line feeds, mends targets, takes out a length beside a coding, reads an empty chunk size as
//! the last chunk, and what it mended it does not tell. So it gets to see nothing that is not in strict normal form: the stream before it
//! runs this scanner over every byte, and cuts at the first that is in the wrong place. A head that is cut is brought to a proper end, so
//! that it comes to our filter and is answered and recorded like any other; a body that is cut ends in an error.
//!
//! A head costs a look at each of its bytes, a body none: the data of chunks is skipped by count.
mod chunks;
mod head;

use chunks::Chunks;
use head::Head;

use crate::refusal::Refusal;

pub(crate) use head::is_target;

/// What was in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// The method is no token, empty or long.
    Method,
    /// The target does not begin with `/`, or holds what no URI holds: blanks, controls, quotes, `#`, `<`, `>`, non-ASCII, or a backtick outside the query.
    Target,
    /// Neither `HTTP/1.1` nor `HTTP/1.0`, one blank before it.
    Version,
    /// A carriage return or a line feed without the other.
    LineEnd,
    /// A line that goes on in the next.
    Fold,
    /// A header name that is no token, a blank before the colon, or a spelling that some take for a header of framing.
    Name,
    /// A control byte in a value.
    Value,
    /// A second `Content-Length`, one beside a coding, or one that is not a plain number.
    Length,
    /// A second `Transfer-Encoding`, one beside a length, in HTTP/1.0, or anything but `chunked`.
    Coding,
    /// No `Host`, or two.
    Host,
    /// An `Expect` that is not `100-continue`, or two.
    Expect,
    /// More bytes or lines than a head may have.
    TooLarge,
    /// A target that is longer than a head may be.
    TargetTooLong,
    /// A chunk size or the end of a chunk.
    Chunk,
    /// A chunk extension that is odd or long.
    Extension,
    /// A trailer that is odd, long, or a header of framing.
    Trailer,
}

impl Violation {
    /// Returns how a request is refused whose head is in violation.
    pub(crate) const fn refusal(self) -> Refusal {
        if matches!(self, Self::TooLarge) {
            Refusal::HeadTooLarge
        } else if matches!(self, Self::TargetTooLong) {
            Refusal::TargetTooLong
        } else {
            Refusal::Malformed
        }
    }

    /// What the log says of it.
    pub(crate) const fn words(self) -> &'static str {
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

/// Where the bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes of this piece that are good.
    pub(crate) kept: usize,
    /// What follows them instead: brings a head to its end. Empty in a body.
    pub(crate) instead: &'static [u8],
    /// Why.
    pub(crate) why: Violation,
}

/// A byte in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bad {
    at: usize,
    why: Violation,
}

/// How far a part of a message went: `None` through the whole piece, otherwise to its own end after so many bytes of it.
type Scanned = Result<Option<usize>, Bad>;

/// Follows the messages of one connection. Nothing is fed to it after a cut.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    max_head: usize,
    messages: u64,
}

#[derive(Debug)]
enum State {
    /// Before the first byte of a message.
    Between,
    Head(Head),
    /// A body with a length, of which so much is missing.
    Sized(u64),
    Chunks(Chunks),
}

impl Scanner {
    /// A connection whose heads may have `max_head` bytes.
    pub(crate) fn new(max_head: usize) -> Self {
        Self {
            state: State::Between,
            max_head,
            messages: 0,
        }
    }

    /// How many messages have begun.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the last message has come to its end.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Looks at the next bytes of the connection, cut into pieces anyhow.
    ///
    /// # Errors
    /// At the first byte in the wrong place.
    pub(crate) fn scan(&mut self, piece: &[u8]) -> Result<(), Cut> {
        let mut rest = piece;
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
                let instead = if let State::Head(head) = &self.state {
                    head.ending()
                } else {
                    b""
                };
                Cut {
                    kept: (piece.len() - rest.len()).saturating_add(bad.at),
                    instead,
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

/// Takes `there` bytes off what is left; how many it took if that was the rest.
fn skip(left: &mut u64, there: usize) -> Option<usize> {
    let ends = usize::try_from(*left).ok().filter(|left| *left <= there);
    *left = left.saturating_sub(u64::try_from(there).unwrap_or(u64::MAX));
    ends
}

#[cfg(test)]
mod tests;
