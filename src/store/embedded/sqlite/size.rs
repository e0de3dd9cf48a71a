//! The size of the database file: what is used of it, what its log will add, and how it gives space back.
use rusqlite::{Connection, params};

use super::look::Reading;
use super::writing::{CANCELLED, DEAD, DELIVERIES, WAITING};
use super::{Database, store_error, unsigned};
use crate::store::StoreError;
use crate::store::archive::TenantCounts;
use crate::store::queue::OriginId;
use crate::units::saturating;

/// Free pages that stay in the file, at least and at most: they are used again soon.
const FREE_PAGES_KEPT: (u64, u64) = (64, 1024);

/// Pages of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    /// The size of one.
    size: u64,
    all: u64,
    free: u64,
}

impl Pages {
    fn of(connection: &Connection) -> Result<Self, StoreError> {
        let number = |pragma: &str| {
            let mut statement = connection.prepare_cached(pragma).map_err(store_error)?;
            statement
                .query_row([], |row| unsigned(row, 0))
                .map_err(store_error)
        };
        Ok(Self {
            size: number("pragma page_size")?,
            all: number("pragma page_count")?,
            free: number("pragma freelist_count")?,
        })
    }

    /// Returns the bytes that are in use.
    pub(crate) fn used(self) -> u64 {
        self.all.saturating_sub(self.free).saturating_mul(self.size)
    }

    /// Returns whether enough is free that some goes back to the disk.
    fn has_excess(self) -> bool {
        self.free > (self.all / 8).clamp(FREE_PAGES_KEPT.0, FREE_PAGES_KEPT.1)
    }
}

/// Returns the sums of one tenant.
pub(crate) fn sums(reading: &Reading<'_>, tenant: OriginId) -> Result<TenantCounts, StoreError> {
    let sums = "select kind, rows, bytes from tally where kind in (?2, ?3, ?4, ?5) and number = ?1";
    let kinds = params![tenant.0, DELIVERIES, WAITING, DEAD, CANCELLED];
    let rows = reading.rows(sums, kinds, |row| {
        Ok((row.get::<_, i64>(0)?, unsigned(row, 1)?, unsigned(row, 2)?))
    })?;
    let of = |kind| {
        let found = rows.iter().find(|(known, ..)| *known == kind);
        found.map_or((0, 0), |(_, rows, bytes)| (*rows, *bytes))
    };
    let (deliveries, bytes) = of(DELIVERIES);
    Ok(TenantCounts {
        deliveries,
        bytes,
        waiting: of(WAITING).0,
        dead: of(DEAD).0.saturating_sub(of(CANCELLED).0),
    })
}

impl Database {
    pub(crate) fn pages(&self) -> Result<Pages, StoreError> {
        Pages::of(&self.connection)
    }

    /// Returns the bytes that the file will grow by once the log is copied into it.
    pub(crate) fn growth(&self, pages: Pages) -> u64 {
        let length = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        pages.size.saturating_mul(pages.all).saturating_sub(length)
    }

    /// Sets the size that the log is cut to when it begins again.
    pub(crate) fn bound_log(&self, bytes: u64) -> Result<(), StoreError> {
        self.connection
            .pragma_update(None, "journal_size_limit", super::int(bytes))
            .map_err(store_error)
    }

    /// Gives at most `bytes` of free pages back to the disk. `None` if there is nothing to give, else whether there is more.
    pub(crate) fn give_back(&self, bytes: usize) -> Result<Option<bool>, StoreError> {
        let pages = self.pages()?;
        if !pages.has_excess() || !gives_back(&self.connection)? {
            return Ok(None);
        }
        self.fault_hook.call()?;
        let step = saturating(bytes) / pages.size.max(1);
        let mut statement = self
            .connection
            .prepare(&format!("pragma incremental_vacuum({})", step.max(1)))
            .map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        // each row is a page
        while rows.next().map_err(store_error)?.is_some() {}
        drop(rows);
        Ok(Some(self.pages()?.has_excess()))
    }
}

/// Returns whether the file was created such that it can return free pages to the disk.
fn gives_back(connection: &Connection) -> Result<bool, StoreError> {
    connection
        .query_row("pragma auto_vacuum", [], |row| row.get::<_, i64>(0))
        .map(|mode| mode == 2)
        .map_err(store_error)
}
