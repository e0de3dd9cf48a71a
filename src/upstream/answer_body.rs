//! Finds the body of an answer in the bytes of its connection. Pure.
use bytes::{Buf as _, Bytes, BytesMut};
use httparse::Status;

/// The longest line between chunks and of the trailers, in bytes.
const MAX_LINE: usize = 8 * 1024;
/// The most bytes of the trailers, which are dropped.
const MAX_TRAILERS: usize = 64 * 1024;

/// The bytes are not an answer of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// How the body ends: what is left of it, and what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes follow.
    Sized(u64),
    /// The line with the size of a chunk follows.
    ChunkSize,
    /// This many bytes of a chunk follow.
    Chunk(u64),
    /// The line end after a chunk follows.
    ChunkEnd,
    /// Trailers follow, up to an empty line. The number is that of their bytes so far.
    Trailers(usize),
    /// The body ends with the connection.
    UntilClose,
}

impl Framing {
    /// Returns whether the body is over.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Sized(0))
    }

    /// Returns how many bytes may follow, as far as it is known.
    pub(super) fn expected(self) -> usize {
        match self {
            Self::Sized(left) | Self::Chunk(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Self::ChunkSize | Self::ChunkEnd | Self::Trailers(_) | Self::UntilClose => usize::MAX,
        }
    }

    /// Takes the next piece of the body off `bytes`, and the framing around it. Returns nothing if the body is over or more bytes must be
    /// read.
    ///
    /// # Errors
    /// The chunks are not those of HTTP/1.1, or their lines are too long.
    pub(super) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        self.pass_framing(bytes)?;
        let available = bytes.len().min(self.expected());
        if available == 0 || matches!(self, Self::ChunkSize | Self::ChunkEnd | Self::Trailers(_)) {
            return Ok(None);
        }
        let piece = bytes.split_to(available).freeze();
        if let Self::Sized(left) | Self::Chunk(left) = self {
            *left = left.saturating_sub(piece.len() as u64);
        }
        // so that the end is known together with the last piece; an error is found again when the next one is taken
        self.pass_framing(bytes).unwrap_or_default();
        Ok(Some(piece))
    }

    /// Takes the lines between chunks off `bytes`, as far as they are there.
    fn pass_framing(&mut self, bytes: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            *self = match *self {
                // httparse takes a line without digits for the last chunk
                Self::ChunkSize if bytes.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) => {
                    return Err(Malformed);
                }
                Self::ChunkSize => match httparse::parse_chunk_size(bytes) {
                    Ok(Status::Complete((line, size))) => {
                        bytes.advance(line);
                        if size == 0 {
                            Self::Trailers(0)
                        } else {
                            Self::Chunk(size)
                        }
                    }
                    Ok(Status::Partial) if bytes.len() <= MAX_LINE => return Ok(()),
                    _ => return Err(Malformed),
                },
                Self::Chunk(0) => Self::ChunkEnd,
                Self::ChunkEnd => match &bytes[..] {
                    [b'\r', b'\n', ..] => {
                        bytes.advance(2);
                        Self::ChunkSize
                    }
                    [] | [b'\r'] => return Ok(()),
                    _ => return Err(Malformed),
                },
                Self::Trailers(read) => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let line = end.map_or(bytes.len(), |end| end + 1);
                    if line > MAX_LINE || read + line > MAX_TRAILERS {
                        return Err(Malformed);
                    }
                    let Some(end) = end else { return Ok(()) };
                    let is_empty = matches!(bytes.get(..end), Some([b'\r']));
                    bytes.advance(line);
                    if is_empty {
                        Self::Sized(0)
                    } else {
                        Self::Trailers(read + line)
                    }
                }
                Self::Sized(_) | Self::Chunk(_) | Self::UntilClose => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
