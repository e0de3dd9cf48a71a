//! The bytes of a body as they arrive.
//!
//! A large body has a mapping of its own: a page of it takes memory when it is written to, and all of it is given back the moment the body ends.
//! The allocator would keep it for a second, and a flood of large bodies fills that second.
use bytes::Bytes;
use memmap2::MmapMut;

/// More than this is mapped.
const MAPPED: usize = 128 * 1024;

/// The system has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Bytes one after the other, with room for more.
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
    /// Nothing, with room for nothing.
    pub(super) const fn new() -> Self {
        Self::Heap(Vec::new())
    }

    /// Bytes that are here.
    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Bytes that there is room for, those that are here included.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Mapped(mapped) => mapped.map.len(),
        }
    }

    /// Makes room for `capacity` bytes in all.
    ///
    /// # Errors
    /// The system has none; nothing has changed.
    pub(super) fn make_room(&mut self, capacity: usize) -> Result<(), NoRoom> {
        if capacity <= self.capacity() {
            return Ok(());
        }
        match self {
            Self::Heap(bytes) if capacity <= MAPPED => {
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

    /// Appends `piece`, for which there must be room.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        match self {
            Self::Heap(bytes) => bytes.extend_from_slice(piece),
            Self::Mapped(mapped) => mapped.push(piece)?,
        }
        Ok(())
    }

    /// The bytes, without a copy.
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
    fn push(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        let end = self.filled.saturating_add(piece.len());
        self.map
            .get_mut(self.filled..end)
            .ok_or(NoRoom)?
            .copy_from_slice(piece);
        self.filled = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_what_they_are_wherever_they_lie() {
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
                    buffer.make_room(buffer.len() + piece.len() + step).unwrap();
                }
                buffer.push(piece).unwrap();
            }
            assert_eq!(buffer.len(), some.len());
            assert!(buffer.into_bytes() == some);
        }
    }

    #[test]
    fn what_has_no_room_is_said() {
        let mut buffer = Buffer::new();
        buffer.push(b"x").unwrap();
        assert_eq!(buffer.make_room(usize::MAX / 2), Err(NoRoom));
        assert_eq!(&buffer.into_bytes()[..], b"x");
    }
}
