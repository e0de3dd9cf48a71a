//! Connections to the database: how they are opened, and how rows, numbers and errors of SQLite are read.
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Params, Row};

use crate::store::StoreError;

/// Statements that a connection caches.
const STATEMENTS: usize = 128;

/// The result of a checkpoint: frames in the log, and the number of them that are in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpointed {
    pub(crate) log: i64,
    pub(crate) done: i64,
}

/// Opens a connection with the settings that all have.
pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(store_error)?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(store_error)?;
    connection
        .pragma_update(None, "journal_mode", "wal")
        .map_err(store_error)?;
    connection
        .pragma_update(None, "synchronous", "full")
        .map_err(store_error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(store_error)?;
    Ok(connection)
}

/// Copies the log into the database, as far as that is possible without waiting.
pub(crate) fn checkpoint(connection: &Connection) -> Result<Checkpointed, StoreError> {
    let read = |row: &Row<'_>| {
        Ok(Checkpointed {
            log: row.get(1)?,
            done: row.get(2)?,
        })
    };
    connection
        .query_row("pragma wal_checkpoint(passive)", [], read)
        .map_err(store_error)
}

/// Converts a number to SQLite's type.
pub(super) fn int(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Reads a number that is not negative from a row.
pub(super) fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at)
        .map(|number| u64::try_from(number).unwrap_or(0))
}

/// Milliseconds as SQLite has them.
pub(crate) fn ms(duration: Duration) -> i64 {
    int(duration.as_millis())
}

/// Reads a time in milliseconds of wall time.
pub(super) fn at(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Converts an error of SQLite to the error for a caller.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    let cause = error.to_string().into();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupted(cause),
        Some(ErrorCode::DiskFull) => StoreError::Full,
        // the index of the log cannot grow
        _ if error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
        {
            StoreError::Full
        }
        _ => StoreError::Unavailable(cause),
    }
}

/// Returns the first row of a query, or of a statement with `RETURNING`.
pub(super) fn row<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(params, read).optional())
        .map_err(store_error)
}

/// Returns all rows of a query.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let rows = statement.query_map(params, read).map_err(store_error)?;
    rows.collect::<Result<_, _>>().map_err(store_error)
}
