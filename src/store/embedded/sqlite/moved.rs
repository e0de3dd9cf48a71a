//! The mark of a directory whose store was moved to a PostgreSQL database. A gateway that used the directory again would deliver everything a second time.
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::directory::{Directory, OpenError};
use super::marker::MOVED;

impl Directory {
    /// Returns the database and the schema to which the store was moved, if it was.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn moved_to(&self) -> Result<Option<String>, OpenError> {
        let path = self.path().join(MOVED);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.lines().next().unwrap_or_default().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io(&path, &error)),
        }
    }

    /// Returns the error for a store that was moved.
    ///
    /// # Errors
    /// [`OpenError::Moved`], or the file system refuses.
    pub(crate) fn refuse_moved(&self) -> Result<(), OpenError> {
        match self.moved_to()? {
            None => Ok(()),
            Some(to) => Err(OpenError::Moved {
                path: self.path().to_owned(),
                to,
            }),
        }
    }

    /// Marks the store as moved. The mark is on the disk when this returns.
    ///
    /// # Errors
    /// The file system refuses, for example because the disk is full. Then there is no mark.
    pub(crate) fn mark_moved(&self, to: &str) -> Result<(), OpenError> {
        let path = self.path().join(MOVED);
        let written = self.write_mark(&path.with_extension("new"), &path, to);
        written.map_err(|error| OpenError::io(&path, &error))
    }

    /// Writes the mark under another name first: half a mark would keep gateways from a store that was not moved.
    fn write_mark(&self, new: &Path, path: &Path, to: &str) -> std::io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(new)
            .and_then(|mut file| {
                writeln!(file, "{to}")?;
                writeln!(file, "`hookgate migrate --from` moved the store there. No gateway starts on this directory while this file is here.")?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(new, path))
            .and_then(|()| File::open(self.path())?.sync_all())
    }

    /// Removes the mark: the store was not moved after all.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn unmark_moved(&self) -> Result<(), OpenError> {
        let path = self.path().join(MOVED);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(OpenError::io(&path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
