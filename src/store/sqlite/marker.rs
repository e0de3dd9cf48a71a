//! The file that says whether deliveries may lie in a store. A damaged database cannot be asked, and the config says only what happens today.
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// The file beside the database.
pub(super) const FILE: &str = "has-deliveries";

/// Whether deliveries may lie in the store; on the disk before the first that waits or is dead.
#[derive(Debug)]
pub(super) struct Marker {
    directory: PathBuf,
    is_there: Cell<bool>,
}

impl Marker {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), is_there: Cell::new(directory.join(FILE).exists()) }
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there.get()
    }

    /// Makes the file, and returns once it is on the disk.
    pub(super) fn put(&self) -> Result<(), StoreError> {
        if self.is_there.get() {
            return Ok(());
        }
        let path = self.directory.join(FILE);
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).and_then(|file| file.sync_all());
        made.and_then(|()| File::open(&self.directory)?.sync_all()).map_err(|error| {
            if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                StoreError::Full
            } else {
                StoreError::Unavailable(format!("{FILE}: {error}").into())
            }
        })?;
        self.is_there.set(true);
        Ok(())
    }

    /// Removes the file: nothing in the store waits or is dead.
    pub(super) fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.directory.join(FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => self.is_there.set(false),
        }
        File::open(&self.directory)?.sync_all()
    }
}
