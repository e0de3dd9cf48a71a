//! Queries that a reader makes, and a write before it changes anything.
use rusqlite::{Connection, Params, Row};

use super::connection::{row, rows};
use super::look::Reading;
use super::writing::Writing;
use crate::store::StoreError;

/// A connection that can be queried.
pub(super) trait Query {
    /// Returns the connection, for one more statement.
    fn statement(&self) -> Result<&Connection, StoreError>;

    /// Returns the first row of a query.
    fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        row(self.statement()?, sql, params, read)
    }

    /// Returns all rows of a query.
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        rows(self.statement()?, sql, params, read)
    }
}

impl Query for Reading<'_> {
    fn statement(&self) -> Result<&Connection, StoreError> {
        Ok(self.connection)
    }
}

impl Query for Writing<'_> {
    fn statement(&self) -> Result<&Connection, StoreError> {
        self.begin_statement()
    }
}
