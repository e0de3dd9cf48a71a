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
mod violation;

use chunks::{Chunks, skip};
pub(crate) use classes::is_target;
use head::Head;
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

#[cfg(test)]
mod tests;
