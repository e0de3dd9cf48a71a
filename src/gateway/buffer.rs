//! A buffer for the bytes of a body as they arrive.
//!
//! A large body has a mapping of its own: a page costs memory only once it is written to, and all of it is freed the moment the body ends. The
//! allocator would hold it for a second, and a flood of large bodies could fill that second.
use bytes::Bytes;
use memmap2::MmapMut;

/// The largest buffer on the heap; a larger one is mapped.
const MAX_ON_HEAP: usize = 128 * 1024;

/// An error: the system has no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// A growing buffer of bytes.
#[derive(Debug)]
pub(super) enum Buffer {
    Heap(Vec<u8>),
    Mapped(Mapped),
}

/// The first `filled` bytes of a mapping.
#[derive(Debug)]
pub(super) struct Mapped {
    map: MmapMut,
    filled: usize,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.map.get(..self.filled).unwrap_or_default()
    }
}

impl Buffer {
    /// Returns an empty buffer without capacity.
    pub(super) const fn new() -> Self {
        Self::Heap(Vec::new())
    }

    /// Returns the number of bytes in the buffer.
    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns the number of bytes that fit into the buffer in all.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Mapped(mapped) => mapped.map.len(),
        }
    }

    /// Grows the buffer to `capacity` bytes in all.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(super) fn reserve(&mut self, capacity: usize) -> Result<(), NoRoom> {
        if capacity <= self.capacity() {
            return Ok(());
        }
        match self {
            Self::Heap(bytes) if capacity <= MAX_ON_HEAP => {
                bytes
                    .try_reserve_exact(capacity.saturating_sub(bytes.len()))
                    .map_err(|_| NoRoom)?;
            }
            Self::Heap(_) | Self::Mapped(_) => {
                let mut mapped = Mapped {
                    map: MmapMut::map_anon(capacity).map_err(|_| NoRoom)?,
                    filled: 0,
                };
                mapped.push(self.as_slice())?;
                *self = Self::Mapped(mapped);
            }
        }
        Ok(())
    }

    /// Appends `chunk`, for which there must be room.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), NoRoom> {
        match self {
            Self::Heap(bytes) => bytes.extend_from_slice(chunk),
            Self::Mapped(mapped) => mapped.push(chunk)?,
        }
        Ok(())
    }

    /// Returns the bytes, without a copy.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.into(),
            Self::Mapped(mapped) => Bytes::from_owner(mapped),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(mapped) => mapped.as_ref(),
        }
    }
}

impl Mapped {
    fn push(&mut self, chunk: &[u8]) -> Result<(), NoRoom> {
        let end = self.filled.saturating_add(chunk.len());
        self.map
            .get_mut(self.filled..end)
            .ok_or(NoRoom)?
            .copy_from_slice(chunk);
        self.filled = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_on_the_heap_and_mapped() {
        let whole: Vec<u8> = (0..3_000_000_u32)
            .map(|at| at.wrapping_mul(31).to_be_bytes()[2])
            .collect();
        for (piece, step) in [
            (10, 100),
            (1000, 50_000),
            (70_000, 4_000_000),
            (3_000_000, 3_000_000),
        ] {
            let mut buffer = Buffer::new();
            let some = &whole[..whole.len().min(piece * 500)];
            for piece in some.chunks(piece) {
                if buffer.len() + piece.len() > buffer.capacity() {
                    buffer.reserve(buffer.len() + piece.len() + step).unwrap();
                }
                buffer.push(piece).unwrap();
            }
            assert_eq!(buffer.len(), some.len());
            assert!(buffer.into_bytes() == some);
        }
    }

    #[test]
    fn lack_of_memory_is_an_error() {
        let mut buffer = Buffer::new();
        buffer.push(b"x").unwrap();
        assert_eq!(buffer.reserve(usize::MAX / 2), Err(NoRoom));
        assert_eq!(&buffer.into_bytes()[..], b"x");
    }
}
