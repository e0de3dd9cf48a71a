//! The store of a stopped gateway, opened to be moved into a database.
use std::sync::Arc;

use rusqlite::Connection;

use super::continuity::Continuity;
use super::sqlite::{Database, Directory, OpenError, connect_reader, orphan};
use super::time::StoreTime;
use crate::clock::Clock;
use crate::store::{Key, StoreError};

/// A directory that is held as a gateway holds it, with its database. Nothing runs on it.
#[derive(Debug)]
pub(crate) struct StoppedStore {
    directory: Directory,
    database: Database,
    reader: Connection,
    now: i64,
}

impl StoppedStore {
    /// Opens the store of a directory that is held. Adds what a store of an older version lacks, as each start of a gateway does.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(directory: Directory, clock: &Arc<dyn Clock>) -> Result<Self, OpenError> {
        // there is a database already, and it keeps its hash key
        let database = Database::open(&directory, [0; 16])?;
        let reader = connect_reader(&directory.file())?;
        let time = StoreTime::resume(Arc::clone(clock), clock.now(), database.last_open()?);
        Ok(Self {
            directory,
            database,
            reader,
            now: time.now(),
        })
    }

    /// Returns the directory.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns a connection that only reads.
    pub(crate) fn reader(&self) -> &Connection {
        &self.reader
    }

    /// Returns the key with which ledger keys of the store are hashed.
    pub(crate) fn hash_key(&self) -> [u8; 16] {
        self.database.hash_key()
    }

    /// Returns the time of the store when it was opened, in milliseconds.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// Releases the leases of the last process, and records their attempts as cut off.
    ///
    /// # Errors
    /// The database is damaged or cannot be written.
    pub(crate) fn release_leases(&mut self) -> Result<(), StoreError> {
        self.database
            .transaction(self.now, orphan::give_back)
            .map(drop)
    }

    /// Returns the time since which the ledger of each route is complete, with the inputs of its keys. Of a ledger that lacks commits of the last
    /// process, no route is complete.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub(crate) fn complete_routes(&self) -> Result<Vec<(Arc<str>, Key, i64)>, StoreError> {
        if !self.database.is_whole(self.now)? {
            return Ok(Vec::new());
        }
        let saved = self.database.saved_continuity()?.unwrap_or_default();
        let routes = Continuity::parse(&saved);
        let routes = routes.routes();
        Ok(routes
            .map(|(route, policy, since)| (Arc::clone(route), policy, since))
            .collect())
    }
}
