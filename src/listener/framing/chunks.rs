//! Scans the framing of a chunked body: sizes, extensions, the ends of chunks, the trailer.
use super::head::Head;
use super::violation::{Bad, Scanned, Violation};

/// The most hexadecimal digits of a size, with leading zeros.
const MAX_DIGITS: u8 = 16;
/// The largest size: one that no parser's number overflows at.
const MAX_SIZE: u64 = 1 << 62;
/// The most bytes of one chunk's extensions. They are read and dropped.
const MAX_EXTENSION: usize = 256;
/// The most bytes of all extensions of a body.
const MAX_EXTENSIONS: usize = 64 * 1024;

/// The position of the next byte in the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After this many digits of a size.
    Size(u8),
    /// After this many bytes of an extension.
    Extension(usize),
    /// After the carriage return that follows a size.
    SizeLineFeed,
    Data,
    /// After the data of a chunk.
    DataEnd,
    DataLineFeed,
    Trailer,
}

/// The scan of a chunked body.
#[derive(Debug)]
pub(crate) struct Chunks {
    at: At,
    /// The size, then the number of bytes of data that have not arrived yet.
    left: u64,
    /// The bytes of extensions that may still arrive.
    room: usize,
    trailer: Head,
}

impl Chunks {
    /// Returns a scan before the first size.
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size(0),
            left: 0,
            room: MAX_EXTENSIONS,
            trailer: Head::trailer(),
        }
    }

    /// Scans the next bytes, and gives the data among them to `data`.
    pub(crate) fn scan(&mut self, bytes: &[u8], data: &mut dyn FnMut(&[u8])) -> Scanned {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            let before = bytes.len() - rest.len();
            match self.at {
                At::Data => {
                    let Some(used) = skip(&mut self.left, rest.len()) else {
                        data(rest);
                        return Ok(None);
                    };
                    let (piece, after) = rest.split_at_checked(used).unwrap_or((rest, b""));
                    data(piece);
                    self.at = At::DataEnd;
                    rest = after;
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

/// Reports the scan of a trailer, before which `before` bytes arrived. Every violation in it is a `Trailer`.
fn in_trailer(scanned: Scanned, before: usize) -> Scanned {
    match scanned {
        Ok(ended) => Ok(ended.map(|used| before.saturating_add(used))),
        Err(bad) => Err(Bad {
            at: before.saturating_add(bad.at),
            why: Violation::Trailer,
        }),
    }
}

/// Subtracts `available` bytes from the ones left. Returns how many were left if they end within the available ones.
pub(super) fn skip(left: &mut u64, available: usize) -> Option<usize> {
    let ends = usize::try_from(*left)
        .ok()
        .filter(|left| *left <= available);
    *left = left.saturating_sub(u64::try_from(available).unwrap_or(u64::MAX));
    ends
}
