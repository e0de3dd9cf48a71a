//! The directory of the embedded store: held by one process, on a local disk.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::marker;
use super::schema::SCHEMA;
use crate::mount::{self, Mount};
use crate::store::StoreError;

/// The file of the database in the store's directory.
pub(super) const FILE: &str = "hookgate.db";
/// The line of the lock's file that means that its holder maintains [`marker::FILE`].
const MAINTAINS_MARKER: &str = "marks deliveries";

/// The reason for which a store cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{path} is held by {holder}: one store belongs to one process", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// `process 123`, or that it did not say.
        holder: String,
    },
    /// Another version of hookgate wrote it.
    #[error("{path} was written by another version of hookgate (schema {found}, this one knows {SCHEMA}): run the version that wrote it until its deliveries are delivered", path = path.display())]
    OtherSchema {
        /// The file.
        path: PathBuf,
        /// The version it has; 0 if a build before 0.1.0 wrote it.
        found: i64,
    },
    /// Locks and crash safety do not hold on a network.
    #[error("{path} is on a network file system ({kind}): the store needs a local disk", path = path.display())]
    Network {
        /// The directory.
        path: PathBuf,
        /// The system's name of the file system.
        kind: String,
    },
    /// The system does not tell the mounts of this process.
    #[error(
        "cannot tell whether {path} is on a network file system, because /proc/self/mountinfo cannot be read: mount /proc",
        path = path.display()
    )]
    MountsUnknown {
        /// The directory.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("{path}: {cause}", path = path.display())]
    Io {
        /// The path that was opened.
        path: PathBuf,
        /// The system's error.
        cause: String,
    },
    /// The disk has no room for what opening a store writes.
    #[error(
        "the disk of {path} is full, and opening the store writes up to 1 MiB: free some space on this disk, then start the gateway again",
        path = path.display()
    )]
    Full {
        /// The directory, or a file in it.
        path: PathBuf,
    },
    /// It is damaged, and deliveries may lie in it.
    #[error("{path} is damaged ({cause}), and may contain acknowledged deliveries. \
        `hookgate set-aside {directory}` renames the files, so that the gateway starts with a new store; \
        `sqlite3 {path} .recover | sqlite3 salvaged.db` first saves all that can still be read",
        path = path.display(), directory = path.parent().unwrap_or(path).display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error.
        cause: String,
    },
    /// It was moved to a PostgreSQL database, which has its deliveries now.
    #[error(
        "the store in {path} was moved to PostgreSQL ({to}), and a gateway that used both would deliver twice: use `store.postgres`. \
        To go back to the directory, stop all gateways of the database, then remove {path}/{file}: the directory does not know what happened since the move",
        path = path.display(),
        file = marker::MOVED
    )]
    Moved {
        /// The directory.
        path: PathBuf,
        /// The database and the schema.
        to: String,
    },
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Makes the error of a file operation.
    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        if matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ) {
            Self::Full { path }
        } else {
            let cause = error.to_string();
            Self::Io { path, cause }
        }
    }
}

/// The store's directory, held by this process until dropped.
#[derive(Debug)]
pub struct Directory {
    pub(super) path: PathBuf,
    lock: File,
    /// Whether the database was last written by a version that left no [`marker::FILE`].
    older: bool,
}

impl Directory {
    /// Locks the directory for this process. Creates it (mode 0700) if it is missing.
    ///
    /// # Errors
    /// Another process has it, it is or may be on a network, or the file system refuses.
    pub fn hold(path: &Path) -> Result<Self, OpenError> {
        let io = |error: std::io::Error| OpenError::io(path, &error);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)?;
        let mounts = mount::own();
        if cfg!(target_os = "linux") && mounts.is_empty() {
            return Err(OpenError::MountsUnknown {
                path: path.to_owned(),
            });
        }
        if let Some(kind) = network(&path.canonicalize().map_err(io)?, &mounts) {
            return Err(OpenError::Network {
                path: path.to_owned(),
                kind,
            });
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("hookgate.lock"))
            .map_err(io)?;
        let mut text = String::new();
        let content = lock.read_to_string(&mut text).map(|_| text);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = content
                    .ok()
                    .and_then(|content| content.lines().next()?.trim().parse::<u32>().ok());
                let holder = pid.map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {pid}"),
                );
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let older =
            content.is_ok_and(|content| !content.is_empty() && !content.contains(MAINTAINS_MARKER));
        let mut directory = Self {
            path: path.to_owned(),
            lock,
            older,
        };
        directory.sign().map_err(io)?;
        Ok(directory)
    }

    /// Writes the number of this process into the lock's file, and whether the marker can be relied on.
    fn sign(&mut self) -> std::io::Result<()> {
        let (lock, marks) = (
            &mut self.lock,
            if self.older { "" } else { MAINTAINS_MARKER },
        );
        let written = lock
            .rewind()
            .and_then(|()| write!(lock, "{}\n{marks}\n", std::process::id()));
        match written
            .and_then(|()| lock.stream_position())
            .and_then(|end| lock.set_len(end))
        {
            // the number is for people, and the rest was there before the disk was full
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
            written => written,
        }
    }

    /// Records that the database was opened, so that the marker is right from now on.
    pub(crate) fn trust_marker(&mut self) {
        self.older = false;
        if let Err(error) = self.sign() {
            tracing::debug!(%error, "cannot write the lock file");
        }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the database may have waiting or dead deliveries, even if it is damaged.
    pub fn may_hold_deliveries(&self) -> bool {
        self.older || self.path.join(marker::FILE).exists()
    }

    /// Returns the path of the database's file.
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Returns the bytes of the database and its log.
    pub fn bytes(&self) -> u64 {
        let size = |suffix: &str| {
            std::fs::metadata(self.path.join(format!("{FILE}{suffix}")))
                .map_or(0, |file| file.len())
        };
        size("") + size("-wal")
    }

    /// Renames a damaged database and its log, with the time in the new name. Returns that name.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_aside(&self, unix_seconds: u64) -> Result<PathBuf, OpenError> {
        let named = |seconds: u64| self.path.join(format!("{FILE}.damaged-{seconds}"));
        // never over one that was set aside before
        let unix_seconds = (unix_seconds..)
            .find(|seconds| !named(*seconds).exists())
            .unwrap_or(unix_seconds);
        let aside = named(unix_seconds);
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (
                self.path.join(format!("{FILE}{suffix}")),
                self.path
                    .join(format!("{FILE}.damaged-{unix_seconds}{suffix}")),
            );
            if let Err(error) = std::fs::rename(&from, to)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(OpenError::Io {
                    path: from,
                    cause: error.to_string(),
                });
            }
        }
        if let Err(error) = std::fs::remove_file(self.path.join(marker::FILE))
            && error.kind() != ErrorKind::NotFound
        {
            return Err(OpenError::Io {
                path: self.path.join(marker::FILE),
                cause: error.to_string(),
            });
        }
        Ok(aside)
    }
}

/// Returns the kind of file system that `path` is on, if it is a network file system that is known to fail a store.
pub(super) fn network(path: &Path, mounts: &[Mount]) -> Option<String> {
    const NETWORK: [&str; 12] = [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "lustre",
        "glusterfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.s3fs",
    ];
    mount::of(path, mounts)
        .map(|mount| &mount.kind)
        .filter(|kind| NETWORK.contains(&kind.as_str()))
        .cloned()
}
