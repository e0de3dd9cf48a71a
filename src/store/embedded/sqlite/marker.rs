//! Files beside the database, for facts that the database cannot hold: a damaged one cannot be read, and one on a full disk cannot be
//! written. A file can be removed even then.
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// The file that says that deliveries may lie in the store, whatever the config says today.
pub(super) const FILE: &str = "has-deliveries";
/// The file that says that all commits have reached the disk, but for those of the last moment.
pub(super) const SAVED: &str = "ledger-saved";

/// The file that says where the store was moved to, in its first line.
pub(super) const MOVED: &str = "moved-to-postgres";

/// A file that says something by being there.
#[derive(Debug)]
pub(super) struct Marker {
    directory: PathBuf,
    name: &'static str,
    is_there: Cell<bool>,
}

impl Marker {
    pub(super) fn of(directory: &Path, name: &'static str) -> Self {
        Self {
            directory: directory.to_owned(),
            name,
            is_there: Cell::new(directory.join(name).exists()),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there.get()
    }

    /// Makes the file, and returns once it is on the disk.
    pub(super) fn put(&self) -> Result<(), StoreError> {
        if self.is_there.get() {
            return Ok(());
        }
        let path = self.directory.join(self.name);
        let made = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .and_then(|file| file.sync_all());
        made.and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(|error| {
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) {
                    StoreError::Full
                } else {
                    StoreError::Unavailable(format!("{}: {error}", self.name).into())
                }
            })?;
        self.is_there.set(true);
        Ok(())
    }

    /// Removes the file.
    pub(super) fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.directory.join(self.name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => self.is_there.set(false),
        }
        File::open(&self.directory)?.sync_all()
    }
}
