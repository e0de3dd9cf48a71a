//! Whether all commits in memory are on the disk. A start must know this of the process before it: the ledger lacks the commits that were
//! not saved.
//!
//! A kill loses the commits of its last moment, which is allowed (a duplicate passes). A disk that accepts nothing loses those of hours,
//! and cannot be written to record it: a file that existed beforehand is removed then. If even that fails, the time of the last save shows
//! it.
use rusqlite::{OptionalExtension as _, params};

use super::writing::Writing;
use super::{Database, ledger, store_error};
use crate::store::StoreError;

/// The longest time between the last save and a start for which a kill, not a dead disk, is assumed to be the reason.
const MAX_RESTART_TIME: i64 = 60_000;

impl Database {
    /// Begins the use of the ledger by a new process. Returns whether it holds what the process before committed.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub(crate) fn begin(&mut self, now: i64, wall: i64) -> Result<bool, StoreError> {
        let is_whole = self.is_whole(now)?;
        // before anything is committed: from here on, an end is clean only if it is recorded
        let saved = self.transaction(now, |writing| {
            ledger::keep_time(writing, wall)?;
            writing
                .execute("delete from meta where name = 'clean_end'", [])
                .map(drop)
        });
        if !is_whole || saved.is_err() {
            self.commits_are_lost();
        }
        Ok(is_whole)
    }

    /// Returns whether the ledger holds what the last process committed, if another begins at `now`.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub(crate) fn is_whole(&self, now: i64) -> Result<bool, StoreError> {
        let end = "select value from meta where name = 'clean_end'";
        let end: Option<i64> = self
            .connection
            .query_row(end, [], |row| row.get(0))
            .optional()
            .map_err(store_error)?;
        let last = self.last_open()?.map(|last| last.store);
        let is_recent =
            |last: i64| end == Some(last) || now.saturating_sub(last) <= MAX_RESTART_TIME;
        Ok(self.saved.is_there() && last.is_some_and(is_recent))
    }

    /// Notes that commits are not on the disk which should be.
    pub(crate) fn commits_are_lost(&self) {
        if self.saved.is_there()
            && let Err(error) = self.saved.remove()
        {
            tracing::debug!(%error, "the mark that commits are saved is not removed");
        }
    }

    /// Notes that all commits are on the disk.
    pub(crate) fn commits_are_saved(&self) {
        if let Err(error) = self.saved.put() {
            tracing::debug!(%error, "the mark that commits are saved is not made");
        }
    }
}

/// Keeps the time of an orderly end, at which all commits are saved: the pause until the next start loses none.
pub(crate) fn end(writing: &Writing<'_>, wall: i64) -> Result<(), StoreError> {
    ledger::keep_time(writing, wall)?;
    writing
        .execute(
            "insert or replace into meta (name, value) values ('clean_end', ?1)",
            params![writing.now],
        )
        .map(drop)
}
