//! A buffer for the bytes of a body as they arrive.
//!
//! A large body has a mapping of its own: a page costs memory only once it is written to. When a whole body is not needed any more, its mapping
//! is spare for the next one for a moment (see [`Budget::put_spare`]); every other mapping is freed at once. The allocator would hold it for a
//! second, and a flood of large bodies could fill that second.
use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapMut;

use crate::gateway::budget::Budget;

/// The largest buffer on the heap; a larger one is mapped.
const MAX_ON_HEAP: usize = 128 * 1024;

/// An error: the system has no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// A growing buffer of bytes.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Memory,
    budget: Arc<Budget>,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped(Mapped),
}

/// The first `filled` bytes of a mapping.
#[derive(Debug)]
struct Mapped {
    map: MmapMut,
    filled: usize,
}

/// The mapping of a whole body, which is spare once it is dropped. The mapping of a body that broke off is freed: most of its
/// pages may never have been written to.
#[derive(Debug)]
struct WholeBody {
    /// `Some` until it is dropped.
    mapped: Option<Mapped>,
    budget: Arc<Budget>,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.map.get(..self.filled).unwrap_or_default()
    }
}

impl AsRef<[u8]> for WholeBody {
    fn as_ref(&self) -> &[u8] {
        self.mapped.as_ref().map_or(&[], Mapped::as_ref)
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        if let Some(Mapped { map, .. }) = self.mapped.take() {
            self.budget.put_spare(map);
        }
    }
}

/// The room behind the bytes of a buffer.
#[derive(Debug)]
pub(super) enum Room<'a> {
    /// Behind the bytes of this buffer, up to its capacity.
    Heap(&'a mut Vec<u8>),
    /// These bytes.
    Mapped(&'a mut [u8]),
}

impl Buffer {
    /// Returns an empty buffer without capacity, whose mapping goes back to `budget`.
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            memory: Memory::Heap(Vec::new()),
            budget,
        }
    }

    /// Returns the number of bytes in the buffer.
    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns the number of bytes that fit into the buffer in all.
    pub(super) fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Heap(bytes) => bytes.capacity(),
            Memory::Mapped(mapped) => mapped.map.len(),
        }
    }

    /// Takes a spare mapping of at least `capacity` bytes for an empty buffer. Returns its size.
    pub(super) fn take_spare(&mut self, capacity: usize) -> Option<usize> {
        if capacity <= MAX_ON_HEAP || self.len() > 0 {
            return None;
        }
        let map = self.budget.spare().take(capacity)?;
        let size = map.len();
        self.memory = Memory::Mapped(Mapped { map, filled: 0 });
        Some(size)
    }

    /// Grows the buffer to `capacity` bytes in all.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(super) fn reserve(&mut self, capacity: usize) -> Result<(), NoRoom> {
        if capacity <= self.capacity() {
            return Ok(());
        }
        match &mut self.memory {
            Memory::Heap(bytes) if capacity <= MAX_ON_HEAP => {
                let more = capacity.saturating_sub(bytes.len());
                bytes.try_reserve_exact(more).map_err(|_| NoRoom)?;
            }
            Memory::Heap(_) | Memory::Mapped(_) => {
                let mut mapped = Mapped {
                    map: MmapMut::map_anon(capacity).map_err(|_| NoRoom)?,
                    filled: 0,
                };
                mapped.push(self.as_slice())?;
                self.memory = Memory::Mapped(mapped);
            }
        }
        Ok(())
    }

    /// Appends `chunk`, for which there must be room.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), NoRoom> {
        match &mut self.memory {
            Memory::Heap(bytes) => bytes.extend_from_slice(chunk),
            Memory::Mapped(mapped) => mapped.push(chunk)?,
        }
        Ok(())
    }

    /// Returns the room behind the bytes.
    pub(super) fn room(&mut self) -> Room<'_> {
        match &mut self.memory {
            Memory::Heap(bytes) => Room::Heap(bytes),
            Memory::Mapped(Mapped { map, filled }) => {
                Room::Mapped(map.get_mut(*filled..).unwrap_or_default())
            }
        }
    }

    /// Notes that `bytes` were written to [`Room::Mapped`]. Bytes in [`Room::Heap`] are in the buffer already.
    pub(super) fn advance_mapped(&mut self, bytes: usize) {
        if let Memory::Mapped(mapped) = &mut self.memory {
            mapped.filled = mapped.filled.saturating_add(bytes).min(mapped.map.len());
        }
    }

    /// Returns the bytes from a position on.
    pub(super) fn since(&self, position: usize) -> &[u8] {
        self.as_slice().get(position..).unwrap_or_default()
    }

    /// Returns the bytes, without a copy.
    pub(super) fn into_bytes(self) -> Bytes {
        match self.memory {
            Memory::Heap(bytes) => bytes.into(),
            Memory::Mapped(mapped) => Bytes::from_owner(WholeBody {
                mapped: Some(mapped),
                budget: self.budget,
            }),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match &self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(mapped) => mapped.as_ref(),
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
            let mut buffer = Buffer::new(Budget::new(usize::MAX / 2));
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
        let mut buffer = Buffer::new(Budget::new(usize::MAX / 2));
        buffer.push(b"x").unwrap();
        assert_eq!(buffer.reserve(usize::MAX / 2), Err(NoRoom));
        assert_eq!(&buffer.into_bytes()[..], b"x");
    }
}
