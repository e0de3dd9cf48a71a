//! The file of the embedded store: SQLite in WAL mode, in a directory that one process holds. Takes and gives rows; what they mean is said elsewhere.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use crate::store::{Key, StoreError};

/// The file in the store's directory.
const FILE: &str = "hookgate.db";
/// The version of the schema that this program writes; it reads older ones, and migrates them.
const SCHEMA: i64 = 1;
/// `ledger.state` of an ID that was handed on.
const COMMITTED: i64 = 1;
const TABLES: &str = "
    create table if not exists meta (name text primary key, value) without rowid;
    create table if not exists ledger (key blob primary key, state integer not null, token blob, delivery blob, until integer not null) without rowid;
    create index if not exists ledger_until on ledger (until);";

/// Why a store cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{path} is held by {holder}: one store belongs to one process", path = path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// `process 123`, or that it did not say.
        holder: String,
    },
    /// A newer hookgate wrote it.
    #[error("{path} has schema version {found}, this hookgate knows {SCHEMA}: run the version that wrote it, or a newer one", path = path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: i64,
    },
    /// Locks and crash safety do not hold on a network.
    #[error("{path} lies on a network file system ({kind}): the store needs a local disk", path = path.display())]
    Network {
        /// The directory.
        path: PathBuf,
        /// What the system calls it.
        kind: String,
    },
    /// The file system says no.
    #[error("{path}: {cause}", path = path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The database says no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store's directory, held by this process until dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes the directory for this process; makes it (mode 0700) if it is missing.
    ///
    /// # Errors
    /// Another process has it, it lies on a network, or the file system says no.
    pub fn hold(path: &Path) -> Result<Self, OpenError> {
        let io = |error: std::io::Error| OpenError::Io { path: path.to_owned(), cause: error.to_string() };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        if let Some(kind) = network(&path.canonicalize().map_err(io)?, &std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
        {
            return Err(OpenError::Network { path: path.to_owned(), kind });
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("hookgate.lock"))
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let told = lock.read_to_string(&mut pid).is_ok() && pid.trim().parse::<u32>().is_ok();
                let holder = if told { format!("process {}", pid.trim()) } else { "another process".to_owned() };
                return Err(OpenError::Held { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Puts a damaged database aside, its log with it, under a name that says when; the name.
    ///
    /// # Errors
    /// The file system says no.
    pub fn set_aside(&self, unix_seconds: u64) -> Result<PathBuf, OpenError> {
        let aside = self.path.join(format!("{FILE}.damaged-{unix_seconds}"));
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (self.path.join(format!("{FILE}{suffix}")), self.path.join(format!("{FILE}.damaged-{unix_seconds}{suffix}")));
            if let Err(error) = std::fs::rename(&from, to)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(OpenError::Io { path: from, cause: error.to_string() });
            }
        }
        Ok(aside)
    }
}

/// The kind of file system that `path` lies on, if it is a network's. `mounts` is Linux's list; elsewhere there is none, and nothing is refused.
fn network(path: &Path, mounts: &str) -> Option<String> {
    const NETWORK: [&str; 12] =
        ["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"];
    let kinds = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point).then(|| (point.len(), right.split(' ').next().unwrap_or_default()))
    });
    // Of two mounts on the same point the later one counts, and that is the one `max_by_key` takes.
    kinds.max_by_key(|(length, _)| *length).map(|(_, kind)| kind).filter(|kind| NETWORK.contains(kind)).map(str::to_owned)
}

/// A change of the `ledger` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `key` was handed on and is remembered until then, in milliseconds of wall time.
    Remember(Key, u64),
    /// `key` was forgotten.
    Forget(Key),
}

/// The open database. One thread writes.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that is open.
    file: (u64, u64),
    hash_key: [u8; 16],
}

impl Database {
    /// Opens the database of a directory (mode 0600); makes it if it is missing, with `new_hash_key`.
    ///
    /// # Errors
    /// A newer hookgate wrote it; it is damaged ([`StoreError::Corrupted`]); the file system says no.
    pub fn open(directory: &Directory, new_hash_key: [u8; 16]) -> Result<Self, OpenError> {
        let path = directory.path.join(FILE);
        let io = |error: std::io::Error| OpenError::Io { path: path.clone(), cause: error.to_string() };
        // SQLite gives its log the mode of the database.
        drop(OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?);
        let mut connection = Connection::open(&path).map_err(told)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(told)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(told)?;
        connection.pragma_update(None, "synchronous", "full").map_err(told)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(told)?;
        if let Some(found) = schema(&connection).map_err(told)?
            && found > SCHEMA
        {
            return Err(OpenError::NewerSchema { path, found });
        }
        let hash_key = migrate(&mut connection, new_hash_key).map_err(told)?;
        let file = identity(&path).map_err(io)?;
        Ok(Self { connection, path, file, hash_key })
    }

    /// The key that ledger keys of this store are hashed with.
    pub fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    /// Checks that the open file still stands at its path: SQLite writes to a deleted one without a word.
    ///
    /// # Errors
    /// It was removed or replaced.
    pub fn in_place(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(found) if found == self.file => Ok(()),
            Ok(_) => Err(StoreError::Unavailable("the database file was replaced under a running gate: restart it".into())),
            Err(error) => Err(StoreError::Unavailable(format!("the database file was removed under a running gate: {error}").into())),
        }
    }

    /// Gives every ID remembered past `now` (milliseconds of wall time) to `each`, one by one, with the time until then.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub fn load(&self, now: u64, mut each: impl FnMut(Key, Duration)) -> Result<(), StoreError> {
        let mut rows = self.connection.prepare("select key, until from ledger where state = ?1").map_err(told)?;
        let mut rows = rows.query(params![COMMITTED]).map_err(told)?;
        while let Some(row) = rows.next().map_err(told)? {
            let (Ok(key), Ok(until)) = (row.get::<_, [u8; 16]>(0), row.get::<_, i64>(1)) else { continue };
            let left = u64::try_from(until).unwrap_or(0).saturating_sub(now);
            if left > 0 {
                each(Key(key), Duration::from_millis(left));
            }
        }
        Ok(())
    }

    /// Writes `changes` in one transaction; they are on the disk when it returns.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn save(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction().map_err(told)?;
        {
            let mut remember = transaction
                .prepare_cached(
                    "insert into ledger (key, state, until) values (?1, ?2, ?3)
                    on conflict (key) do update set state = excluded.state, until = excluded.until",
                )
                .map_err(told)?;
            let mut forget = transaction.prepare_cached("delete from ledger where key = ?1").map_err(told)?;
            for change in changes {
                match change {
                    Change::Remember(key, until) => {
                        remember.execute(params![key.0, COMMITTED, i64::try_from(*until).unwrap_or(i64::MAX)]).map_err(told)?
                    }
                    Change::Forget(key) => forget.execute(params![key.0]).map_err(told)?,
                };
            }
        }
        transaction.commit().map_err(told)
    }

    /// Deletes at most `step` rows that had expired at `now` (milliseconds of wall time); how many it were.
    ///
    /// # Errors
    /// Nothing was deleted.
    pub fn purge(&mut self, now: u64, step: usize) -> Result<usize, StoreError> {
        let purge = "delete from ledger where key in (select key from ledger where until <= ?1 limit ?2)";
        let (now, step) = (i64::try_from(now).unwrap_or(i64::MAX), i64::try_from(step).unwrap_or(i64::MAX));
        self.connection.prepare_cached(purge).and_then(|mut purge| purge.execute(params![now, step])).map_err(told)
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The schema version of a database; none in an empty one.
fn schema(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !connection.table_exists(None, "meta")? {
        return Ok(None);
    }
    connection.query_row("select value from meta where name = 'schema'", [], |row| row.get(0)).optional()
}

/// Brings the schema up to date in one transaction; the hash key of the store.
fn migrate(connection: &mut Connection, new_hash_key: [u8; 16]) -> rusqlite::Result<[u8; 16]> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute("insert or replace into meta (name, value) values ('schema', ?1)", params![SCHEMA])?;
    transaction.execute("insert or ignore into meta (name, value) values ('hash_key', ?1)", params![new_hash_key])?;
    let hash_key = transaction.query_row("select value from meta where name = 'hash_key'", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(hash_key)
}

/// What an error of SQLite means for a caller.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn told(error: rusqlite::Error) -> StoreError {
    let cause = error.to_string().into();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupted(cause),
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Unavailable(cause),
    }
}

#[cfg(test)]
mod tests;
