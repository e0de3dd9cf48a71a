//! Room on the disk of the store: new deliveries stop before the disk is full, so that those accepted can still be leased, settled and deleted.
//!
//! A floor must stay free for a new delivery to be accepted. A reserve file beside the database gives its bytes back when even those are used up,
//! by whomever: it is removed when a write that finishes what was begun finds no room, and made again once there is room. While it is gone nothing
//! new is accepted.
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::mount::Space;
use crate::store::StoreError;
use crate::units::saturating;

/// The file that holds the reserve.
const RESERVE: &str = "reserve";
/// Bytes that opening a store needs: the log and its index.
const BYTES_TO_OPEN: u64 = 1 << 20;
/// Bytes that a new delivery needs beside its own: pages of indexes and small tables.
const OVERHEAD: u64 = 32 << 10;

/// The bounds that follow from the size of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The bytes that new deliveries must leave free.
    pub(crate) floor: u64,
    /// The size of the reserve file.
    pub(crate) reserve: u64,
    /// The bytes written to the log before it is copied into the database.
    pub(crate) checkpoint: usize,
    /// The size that the log is cut to.
    pub(crate) log: u64,
}

impl Bounds {
    pub(crate) fn of(total: u64) -> Self {
        let share = |most: u64, part: u64, least: u64| (total / part).clamp(least, most);
        Self {
            floor: share(64 << 20, 8, 0),
            reserve: share(16 << 20, 16, 0),
            checkpoint: usize::try_from(share(4 << 20, 32, 256 << 10)).unwrap_or(4 << 20),
            log: share(64 << 20, 16, 1 << 20),
        }
    }
}

/// The reserve file is there; it was removed; or this file system has none, which says nothing about room.
const RESERVE_EXISTS: u8 = 0;
const RESERVE_REMOVED: u8 = 1;
const NONE: u8 = 2;

/// The room of one store, shared by the writer thread and its callers.
#[derive(Debug)]
pub(crate) struct Room {
    directory: PathBuf,
    bounds: Bounds,
    reserve: AtomicU8,
    /// Bytes that new deliveries may take.
    left: AtomicU64,
    /// Bytes that new deliveries take that are not on the disk yet.
    admitted: AtomicU64,
    /// A new delivery was refused since the last look.
    refused: AtomicBool,
    full: AtomicBool,
}

impl Room {
    /// Looks at the disk of a store. Gives the reserve back if there is no room to open the database in.
    pub(crate) fn of(directory: &Path) -> Arc<Self> {
        let disk = Space::of(directory).unwrap_or(Space {
            free: u64::MAX,
            total: 0,
        });
        let bounds = Bounds::of(disk.total);
        let is_there = std::fs::metadata(directory.join(RESERVE))
            .is_ok_and(|file| file.len() == bounds.reserve);
        let reserve = if bounds.reserve == 0 {
            NONE
        } else if is_there {
            RESERVE_EXISTS
        } else {
            RESERVE_REMOVED
        };
        let (left, admitted) = (AtomicU64::new(u64::MAX), AtomicU64::default());
        let (refused, full) = (AtomicBool::default(), AtomicBool::default());
        let room = Self {
            directory: directory.to_owned(),
            bounds,
            reserve: AtomicU8::new(reserve),
            left,
            admitted,
            refused,
            full,
        };
        if disk.free < BYTES_TO_OPEN {
            room.release();
        }
        Arc::new(room)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Looks again. `growth` is what the database file has yet to grow by for what its log holds. `makes` says whether the reserve is made again, if
    /// there is room for it: that is some work, and so not done with each batch.
    pub(crate) fn measure(&self, growth: u64, makes: bool) {
        let Some(disk) = Space::of(&self.directory) else {
            return;
        };
        let free = disk.free.saturating_sub(growth);
        let Bounds { floor, reserve, .. } = self.bounds;
        let mut left = free.saturating_sub(floor);
        if makes && self.reserve.load(Ordering::Relaxed) == RESERVE_REMOVED && left >= reserve {
            self.reserve.store(self.make(), Ordering::Relaxed);
            left -= reserve;
        }
        self.left.store(left, Ordering::Relaxed);
        let refused = if makes {
            self.refused.swap(false, Ordering::Relaxed)
        } else {
            self.refused.load(Ordering::Relaxed)
        };
        let was_full = self.full.load(Ordering::Relaxed);
        // once it is full, a little room ends that no more: it would be full again at once
        let full = left == 0
            || refused
            || self.reserve.load(Ordering::Relaxed) == RESERVE_REMOVED
            || (was_full && left < reserve);
        self.full.store(full, Ordering::Relaxed);
        match (was_full, full) {
            (false, true) => tracing::error!(
                free = disk.free,
                floor,
                "the disk of the store is full, new deliveries are refused"
            ),
            (true, false) => {
                tracing::info!(free = disk.free, "the disk of the store has room again");
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Takes the disk for full until the next look.
    #[cfg(test)]
    pub(crate) fn fill(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// Returns whether new deliveries are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Lets a new delivery of so many bytes in. Its bytes are written twice: to the log, and from there to the database.
    ///
    /// # Errors
    /// [`StoreError::Full`]: it would take what others need.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Admitted, StoreError> {
        let bytes = saturating(bytes).saturating_mul(2).saturating_add(OVERHEAD);
        let before = self.admitted.fetch_add(bytes, Ordering::Relaxed);
        let admitted = Admitted {
            room: Arc::clone(self),
            bytes,
        };
        let full = self.is_full();
        let fits = !full && before.saturating_add(bytes) <= self.left.load(Ordering::Relaxed);
        // a refusal by a full disk says nothing new: under steady traffic it would keep the disk full for good
        if !fits && !full {
            self.refused.store(true, Ordering::Relaxed);
        }
        if fits {
            Ok(admitted)
        } else {
            Err(StoreError::Full)
        }
    }

    /// Gives the reserve back to the disk; whether it was there.
    pub(crate) fn release(&self) -> bool {
        if self.reserve.load(Ordering::Relaxed) != RESERVE_EXISTS {
            return false;
        }
        let removed = std::fs::remove_file(self.directory.join(RESERVE)).is_ok();
        if removed {
            self.reserve.store(RESERVE_REMOVED, Ordering::Relaxed);
            tracing::warn!(
                "the disk is full: using the reserve of the store to finish accepted deliveries"
            );
        }
        removed
    }

    /// Makes the reserve: real bytes, not a hole.
    fn make(&self) -> u8 {
        let path = self.directory.join(RESERVE);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        let Err(error) = opened.and_then(|file| fill(file, self.bounds.reserve)) else {
            return RESERVE_EXISTS;
        };
        // half a reserve holds room that is needed
        std::fs::remove_file(&path).ok();
        tracing::debug!(%error, "cannot make the reserve");
        if matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ) {
            RESERVE_REMOVED
        } else {
            NONE
        }
    }
}

/// Gives a file so many bytes of its own.
fn fill(mut file: File, bytes: u64) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    match nix::fcntl::posix_fallocate(&file, 0, i64::try_from(bytes).unwrap_or(i64::MAX)) {
        Err(nix::errno::Errno::EOPNOTSUPP) => {}
        done => return done.map_err(std::io::Error::from),
    }
    let (zeros, mut left) = ([0_u8; 64 << 10], bytes);
    while left > 0 {
        let piece = zeros
            .get(
                ..usize::try_from(left)
                    .unwrap_or(zeros.len())
                    .min(zeros.len()),
            )
            .unwrap_or(&zeros);
        file.write_all(piece)?;
        left -= u64::try_from(piece.len()).unwrap_or(left);
    }
    file.sync_all()
}

/// A new delivery on its way to the disk; its bytes are free again on drop, when the disk has been looked at since.
#[derive(Debug)]
pub(crate) struct Admitted {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.room.admitted.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_from_the_size_of_the_disk() {
        const MIB: u64 = 1 << 20;
        let of = |total| {
            let Bounds {
                floor,
                reserve,
                checkpoint,
                log,
            } = Bounds::of(total);
            (floor, reserve, checkpoint as u64, log)
        };
        assert_eq!(
            of(12 * MIB),
            (12 * MIB / 8, 12 * MIB / 16, 12 * MIB / 32, MIB)
        );
        assert_eq!(of(512 * MIB), (64 * MIB, 16 * MIB, 4 * MIB, 32 * MIB));
        assert_eq!(of(1 << 40), (64 * MIB, 16 * MIB, 4 * MIB, 64 * MIB));
        assert_eq!(
            of(0),
            (0, 0, 256 << 10, MIB),
            "a file system that does not say"
        );
    }

    #[test]
    fn admitted_bytes_count_until_they_are_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let room = Room::of(directory.path());
        room.measure(0, true);
        room.left
            .store(2 * (2 * 1000 + OVERHEAD), Ordering::Relaxed);
        let (first, second) = (room.admit(1000), room.admit(1000));
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(room.admit(0), Err(StoreError::Full)));
        drop(first);
        assert!(room.admit(1000).is_ok());
        assert!(
            matches!(room.admit(1001), Err(StoreError::Full)),
            "what was refused holds nothing, and this is too much"
        );
    }

    #[test]
    fn reserve_is_released_once_and_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(RESERVE);
        let room = Room::of(directory.path());
        room.measure(0, true);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), room.bounds.reserve);
        assert!(room.admit(1).is_ok() && !room.is_full());
        assert_eq!(
            Room::of(directory.path()).reserve.load(Ordering::Relaxed),
            RESERVE_EXISTS,
            "it outlives the process"
        );
        assert_eq!(
            (room.release(), room.release(), file.exists()),
            (true, false, false)
        );
        room.measure(u64::MAX, true);
        assert!(
            room.is_full() && room.admit(1).is_err() && !file.exists(),
            "no room"
        );
        room.measure(0, true);
        assert!(!room.is_full() && room.admit(1).is_ok() && file.exists());
        // one that does not fit is as good as a full disk, until there is more than a little room
        assert!(room.admit(usize::MAX).is_err());
        room.measure(0, false);
        assert!(room.is_full());
        room.measure(0, true);
        room.measure(0, true);
        assert!(!room.is_full());
        room.release();
        room.measure(0, false);
        assert!(room.is_full() && !file.exists(), "not with each batch");
    }
}
