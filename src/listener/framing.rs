//! Scans the bytes of an HTTP/1 connection, and stops at the first that two parsers could read in different ways.
//!
//! pingora's parser is lenient: it accepts bare line feeds, repairs targets, drops a length beside a coding, reads an empty chunk size as
//! the last chunk, and does not report any of it. So it gets only bytes in strict normal form: the stream in front of it runs this scanner
//! over every byte, and cuts at the first violation. A head that is cut is completed, so that the request filter answers and records it like
//! any other; a body that is cut ends in an error.
//!
//! Each byte of a head is looked at two or three times, however it is split. While the scanner judges a head, it also notes where its parts are ([`HeadSpans`]): the gateway's
//! own server reads a head by these spans alone, and so uses exactly what was judged. The data of a body is skipped by count.
mod chunks;
mod classes;
mod head;
mod known;
mod spans;
mod violation;

use chunks::{Chunks, skip};
pub(crate) use classes::is_target;
use head::Head;
pub use spans::HeadSpans;
pub use violation::Violation;

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
            let before = chunk.len() - rest.len();
            let step = self.advance(rest, &mut |_| {}).map_err(|cut| Cut {
                valid: before.saturating_add(cut.valid),
                ..cut
            })?;
            rest = rest.get(step.used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Scans the next bytes up to the end of a head or a body, or to their own end. `data` gets the data of a chunked body.
    ///
    /// # Errors
    /// The first violation. The scanner must not be used after it.
    pub fn advance(&mut self, bytes: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<Step, Cut> {
        if matches!(self.state, State::Between) && !bytes.is_empty() {
            self.messages += 1;
            self.state = State::Head(Head::new(self.max_head));
        }
        let scanned = match &mut self.state {
            State::Between => Ok(None),
            State::Head(head) => head.scan(bytes),
            State::Sized(left) => Ok(skip(left, bytes.len())),
            State::Chunks(chunks) => chunks.scan(bytes, data),
        };
        let ended = scanned.map_err(|bad| Cut {
            valid: bad.at,
            ending: match &self.state {
                State::Head(head) => head.ending(),
                State::Between | State::Sized(_) | State::Chunks(_) => b"",
            },
            why: bad.why,
        })?;
        let Some(used) = ended else {
            return Ok(Step {
                used: bytes.len(),
                head: None,
            });
        };
        let (next, head) = match std::mem::replace(&mut self.state, State::Between) {
            State::Head(head) if head.is_chunked() => {
                (State::Chunks(Chunks::new()), Some(head.into_spans()))
            }
            State::Head(head) if head.length() > 0 => {
                (State::Sized(head.length()), Some(head.into_spans()))
            }
            State::Head(head) => (State::Between, Some(head.into_spans())),
            State::Between | State::Sized(_) | State::Chunks(_) => (State::Between, None),
        };
        self.state = next;
        Ok(Step { used, head })
    }

    /// Returns the parts of an unfinished head that were noted so far.
    pub(crate) fn spans_so_far(&self) -> Option<&HeadSpans> {
        match &self.state {
            State::Head(head) => Some(head.spans()),
            State::Between | State::Sized(_) | State::Chunks(_) => None,
        }
    }

    /// Notes that bytes of a body of declared size were read, at most as many as it still has.
    pub(crate) fn skip_body(&mut self, bytes: usize) {
        if let State::Sized(left) = &mut self.state {
            *left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            if *left == 0 {
                self.state = State::Between;
            }
        }
    }

    /// Returns the number of bytes that the body being scanned still has, if it has a declared size.
    pub(crate) fn sized_left(&self) -> Option<u64> {
        match self.state {
            State::Sized(left) => Some(left),
            State::Between | State::Head(_) | State::Chunks(_) => None,
        }
    }
}

/// The progress of one call of [`Scanner::advance`].
#[derive(Debug)]
pub struct Step {
    /// The number of bytes that were scanned.
    pub used: usize,
    /// The parts of the head that ended with them.
    pub head: Option<HeadSpans>,
}

#[cfg(test)]
mod tests;
