//! The file of the embedded store: SQLite in WAL mode, in a directory that one process holds, with the threads that write, read and tidy up.
//! Takes and gives rows; what they mean is said elsewhere.
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _};

use crate::store::StoreError;
use crate::store::agenda::Agenda;

pub(crate) mod accept;
pub(crate) mod act;
mod attempt;
pub(crate) mod batch;
mod checkpoint;
mod columns;
mod connection;
mod directory;
pub(crate) mod disk;
mod ended;
pub(crate) mod endpoint;
pub(crate) mod endpoint_save;
mod erase;
pub(crate) mod health;
pub(crate) mod journal;
mod lane;
pub(crate) mod lease;
pub(crate) mod ledger;
pub(crate) mod look;
mod marker;
mod moved;
pub(crate) mod name;
pub(crate) mod orphan;
pub(crate) mod page;
mod park;
mod query;
mod reader;
pub(crate) mod reschedule;
pub(crate) mod room;
pub(crate) mod saved;
mod schema;
pub(crate) mod sealed;
pub(crate) mod secret_match;
pub(crate) mod settle;
pub(crate) mod shown;
pub(crate) mod size;
pub(crate) mod sweep;
pub(crate) mod tenant;
mod unit;
pub(crate) mod waiting;
pub(crate) mod writing;

pub(crate) use connection::{Checkpointed, checkpoint, connect, connect_reader, ms, store_error};
use connection::{int, row, rows, unsigned};
use directory::FILE;
pub use directory::{Directory, OpenError};
pub use journal::Change;
use marker::Marker;
pub use writing::FaultHook;
use writing::{ALL_TENANTS, Tally, Writing};

/// The open database. One thread writes.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that is open.
    file: (u64, u64),
    hash_key: [u8; 16],
    fault_hook: FaultHook,
    /// The targets with waiting units, which each transaction notes.
    agenda: Arc<Mutex<Agenda>>,
    marker: Marker,
    /// The file that says that all commits are saved.
    saved: Marker,
}

/// The time at which the store was last open, in its own time and by the wall clock, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastOpen {
    pub(crate) store: i64,
    pub(crate) wall: i64,
}

impl Database {
    /// Opens the database of a directory (mode 0600); makes it if it is missing, with `new_hash_key`.
    ///
    /// # Errors
    /// A newer hookgate wrote it; it is damaged ([`StoreError::Corrupted`]); the file system says no.
    pub fn open(directory: &Directory, new_hash_key: [u8; 16]) -> Result<Self, OpenError> {
        let path = directory.path.join(FILE);
        let io = |error: std::io::Error| OpenError::io(&path, &error);
        // SQLite gives its log the mode of the database.
        drop(
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(io)?,
        );
        if schema::is_stub(&path).map_err(io)? {
            return Err(StoreError::Corrupted("the file is cut short".into()).into());
        }
        let short = schema::is_short(&path).map_err(io)?;
        if std::fs::metadata(&path).map_err(io)?.len() == 0 {
            // before anything is in it; an older file needs a VACUUM
            let new = Connection::open(&path).map_err(store_error)?;
            new.execute_batch("pragma auto_vacuum = incremental; pragma journal_mode = wal")
                .map_err(store_error)?;
        }
        let mut connection = connect(&path)?;
        // another thread makes checkpoints, so that no commit waits for one
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .map_err(store_error)?;
        if let Some(found) = schema::version(&connection).map_err(store_error)?
            && !(schema::OLDEST..=schema::SCHEMA).contains(&found)
        {
            return Err(OpenError::OtherSchema { path, found });
        }
        if short {
            whole(&connection, &path)?;
        }
        let hash_key = schema::create(&mut connection, new_hash_key).map_err(store_error)?;
        let file = identity(&path).map_err(io)?;
        let database = Self {
            connection,
            path,
            file,
            hash_key,
            fault_hook: FaultHook::default(),
            agenda: Arc::default(),
            marker: Marker::of(&directory.path, marker::FILE),
            saved: Marker::of(&directory.path, marker::SAVED),
        };
        if database.holds_deliveries()? {
            database.marker.put()?;
        }
        Ok(database)
    }

    /// Returns the version of the schema of a directory's database, and the one that [`Self::open`] makes of it. None: it is empty.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub(crate) fn versions(directory: &Directory) -> Result<Option<(i64, i64)>, StoreError> {
        let connection = connect_reader(&directory.file())?;
        let found = schema::version(&connection).map_err(store_error)?;
        Ok(found.map(|found| (found, schema::SCHEMA)))
    }

    /// Calls `hook` before each statement that writes, for tests of what fails there.
    pub(crate) fn set_fault_hook(&mut self, fault_hook: FaultHook) {
        self.fault_hook = fault_hook;
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the key with which ledger keys of this store are hashed.
    pub fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    /// Checks that the open file is still the one at its path: SQLite writes to a deleted one without an error.
    ///
    /// # Errors
    /// It was removed or replaced.
    pub fn in_place(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(found) if found == self.file => Ok(()),
            Ok(_) => Err(StoreError::Unavailable(
                "the database file was replaced while the gateway runs: restart the gateway".into(),
            )),
            Err(error) => Err(StoreError::Unavailable(
                format!("the database file was removed while the gateway runs: {error}").into(),
            )),
        }
    }

    /// Returns the time at which this store was last open; none for a new store, and for one of an older version.
    pub(crate) fn last_open(&self) -> Result<Option<LastOpen>, StoreError> {
        let of = |name: &str| {
            let value = self
                .connection
                .query_row("select value from meta where name = ?1", [name], |row| {
                    row.get(0)
                })
                .optional();
            value.map_err(store_error)
        };
        let (store, wall): (Option<i64>, Option<i64>) = (of("store_time")?, of("wall_time")?);
        Ok(store
            .zip(wall)
            .map(|(store, wall)| LastOpen { store, wall }))
    }

    /// Returns the time since which the ledger of each route is complete, as [`Change::Continuity`] wrote it.
    pub(crate) fn saved_continuity(&self) -> Result<Option<String>, StoreError> {
        self.connection
            .query_row(
                "select value from meta where name = 'continuity'",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(store_error)
    }

    /// Returns the sums of the store, those of all tenants in one: see [`Tally`].
    pub(crate) fn tally(&self) -> Result<Tally, StoreError> {
        let mut rows = self
            .connection
            .prepare("select kind, min(number, ?1), sum(rows), sum(bytes) from tally group by 1, 2")
            .map_err(store_error)?;
        let rows = rows
            .query_map([ALL_TENANTS], |row| {
                Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
            })
            .map_err(store_error)?;
        rows.collect::<Result<_, _>>().map_err(store_error)
    }

    /// Runs `write` in one transaction at `now` (the store's time); it is on the disk when this returns. With what it changed of the sums.
    ///
    /// # Errors
    /// Nothing was written; or [`StoreError::Unknown`].
    pub(crate) fn transaction<T>(
        &mut self,
        now: i64,
        write: impl FnOnce(&Writing<'_>) -> Result<T, StoreError>,
    ) -> Result<(T, Tally), StoreError> {
        self.in_place()?;
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(store_error)?;
        let writing = Writing::new(&transaction, now, &self.fault_hook, &self.marker);
        let done = write(&writing)?;
        let tally = writing.keep_tally()?;
        let noted = writing.take_noted();
        self.fault_hook.call()?;
        let committed = transaction.commit();
        // readers see the units by now, be the outcome known or not
        let mut agenda = self.agenda.lock();
        for (target, run_at) in noted {
            agenda.note(target, run_at);
        }
        drop(agenda);
        // a commit that fails half-way may be found done after a crash
        committed.map_err(|error| match store_error(error) {
            StoreError::Unavailable(cause) => StoreError::Unknown(cause),
            error @ (StoreError::Unknown(_) | StoreError::Full | StoreError::Corrupted(_)) => error,
        })?;
        Ok((done, tally))
    }

    /// Returns whether a delivery waits or is dead, or there is a tenant: what nobody can send again.
    fn holds_deliveries(&self) -> Result<bool, StoreError> {
        let any = "select exists (select 1 from due) or exists (select 1 from dead) or exists (select 1 from tenant)";
        self.connection
            .query_row(any, [], |row| row.get(0))
            .map_err(store_error)
    }

    /// Ends the use of the database: without a delivery that waits or is dead, and without a tenant, a damaged file would lose none.
    pub(crate) fn unmark(&self) -> Result<(), StoreError> {
        if self.marker.is_there() && !self.holds_deliveries()? {
            self.marker
                .remove()
                .map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        }
        Ok(())
    }

    /// Copies all of the log into the database and gives its bytes back to the disk. If a reader is in the way, the next call does.
    pub(crate) fn empty_log(&self) {
        if let Err(error) = self
            .connection
            .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
        {
            tracing::debug!(%error, "the log is not emptied");
        }
    }

    /// Copies what the log holds into the database, as far as that is possible without waiting.
    pub(crate) fn checkpoint(&self) -> Result<Checkpointed, StoreError> {
        checkpoint(&self.connection)
    }
}

/// Checks a file that is shorter than it says: its log may hold the rest, if a crash cut a checkpoint off.
fn whole(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let cause = "the file is cut short";
    checkpoint(connection)?;
    let still = schema::is_short(path).map_err(|error| OpenError::Io {
        path: path.to_owned(),
        cause: error.to_string(),
    })?;
    let result: String = connection
        .query_row("pragma quick_check(1)", [], |row| row.get(0))
        .map_err(store_error)?;
    if still || result != "ok" {
        Err(StoreError::Corrupted(cause.into()).into())
    } else {
        Ok(())
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
