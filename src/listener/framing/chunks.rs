//! The framing of a body in chunks: sizes, extensions, the ends of chunks, the trailer.
use super::head::Head;
use super::{Bad, Scanned, Violation, skip};

/// Hexadecimal digits of a size, leading zeros included.
const MAX_DIGITS: u8 = 16;
/// A size that no reader's number overflows by.
const MAX_SIZE: u64 = 1 << 62;
/// Bytes of the extensions of one chunk, and of a whole body: they are read and dropped.
const MAX_EXTENSION: usize = 256;
const MAX_EXTENSIONS: usize = 64 * 1024;

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After so many digits of a size.
    Size(u8),
    /// After so many bytes of an extension.
    Extension(usize),
    /// After the carriage return behind a size.
    SizeLineFeed,
    Data,
    /// Behind the data of a chunk.
    DataEnd,
    DataLineFeed,
    Trailer,
}

/// A body in chunks on its way.
#[derive(Debug)]
pub(crate) struct Chunks {
    at: At,
    /// What the size says, then what is missing of the data.
    left: u64,
    /// Bytes of extensions that may still come.
    room: usize,
    trailer: Head,
}

impl Chunks {
    /// Before the first size.
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size(0),
            left: 0,
            room: MAX_EXTENSIONS,
            trailer: Head::trailer(),
        }
    }

    /// Looks at the next bytes.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            let before = bytes.len() - rest.len();
            match self.at {
                At::Data => {
                    let Some(used) = skip(&mut self.left, rest.len()) else {
                        return Ok(None);
                    };
                    self.at = At::DataEnd;
                    rest = rest.get(used..).unwrap_or_default();
                }
                At::Trailer => return in_trailer(self.trailer.scan(rest), before),
                At::Size(_)
                | At::Extension(_)
                | At::SizeLineFeed
                | At::DataEnd
                | At::DataLineFeed => {
                    self.at = self.step(*byte).map_err(|why| Bad { at: before, why })?;
                    rest = after;
                }
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<At, Violation> {
        match (self.at, byte) {
            (At::Size(1..), b';') => Ok(At::Extension(0)),
            (At::Size(1..) | At::Extension(_), b'\r') => Ok(At::SizeLineFeed),
            (At::Size(digits), _) => self.size_step(digits, byte),
            (At::Extension(len), b'\t' | b' '..=b'~') if len < MAX_EXTENSION => {
                self.room = self.room.checked_sub(1).ok_or(Violation::Extension)?;
                Ok(At::Extension(len + 1))
            }
            (At::Extension(_), _) => Err(Violation::Extension),
            (At::SizeLineFeed, b'\n') => Ok(if self.left == 0 {
                At::Trailer
            } else {
                At::Data
            }),
            (At::DataEnd, b'\r') => Ok(At::DataLineFeed),
            (At::DataLineFeed, b'\n') => Ok(At::Size(0)),
            (At::SizeLineFeed | At::Data | At::DataEnd | At::DataLineFeed | At::Trailer, _) => {
                Err(Violation::Chunk)
            }
        }
    }

    fn size_step(&mut self, digits: u8, byte: u8) -> Result<At, Violation> {
        let digit = char::from(byte)
            .to_digit(16)
            .filter(|_| digits < MAX_DIGITS)
            .ok_or(Violation::Chunk)?;
        let shifted = self
            .left
            .checked_mul(16)
            .filter(|size| *size < MAX_SIZE)
            .ok_or(Violation::Chunk)?;
        self.left = shifted + u64::from(digit);
        Ok(At::Size(digits + 1))
    }
}

/// What a trailer breaks is told as such, and `before` bytes came before it.
fn in_trailer(scanned: Scanned, before: usize) -> Scanned {
    match scanned {
        Ok(ended) => Ok(ended.map(|used| before.saturating_add(used))),
        Err(bad) => Err(Bad {
            at: before.saturating_add(bad.at),
            why: Violation::Trailer,
        }),
    }
}
