//! The file of the quarantine: one table in an SQLite database of its own, or the same in memory. Takes and gives rows.
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Params, params};

use super::bounds::{Owner, Sum};
use super::kept::{Entry, Row};
use crate::clock::unix_ms;
use crate::units::saturating;

/// The version of the table.
const VERSION: i64 = 1;
/// The columns come before the bodies, so that a list reads no page of a body. The order of IDs is that of receipt.
const SCHEMA: &str = "
    create table kept (
        id text primary key, route text not null, code text not null, client text not null, network text,
        received_at integer not null, until integer not null, bytes integer not null, record blob not null, body blob not null
    );
    create index kept_route on kept (route, id);
    create index kept_until on kept (until);
    pragma user_version = 1;";
/// The columns of an [`Entry`].
const ENTRY: &str = "id, route, code, received_at, until, client, bytes";

/// The reason why the file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It is damaged, or of another version.
    #[error("the file of the quarantine is damaged: {0}")]
    Damaged(String),
    /// The disk is full, or the system refuses.
    #[error("the quarantine cannot be read or written: {0}")]
    Failed(String),
}

/// The open file.
#[derive(Debug)]
pub(super) struct Table(Connection);

/// A stored request.
pub(super) type Stored = (Entry, Bytes, Bytes);

impl Table {
    /// Opens the file (mode 0600), or a database in memory. Makes the table if it is missing.
    ///
    /// # Errors
    /// The file is damaged, or the system refuses.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, TableError> {
        let connection = match file {
            None => Connection::open_in_memory(),
            Some(path) => {
                // SQLite gives its journal the mode of the database
                let made = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    .open(path);
                made.map_err(|error| TableError::Failed(error.to_string()))?;
                Connection::open(path)
            }
        };
        let connection = connection.map_err(failed)?;
        // what is removed leaves the file at once, and its bytes are overwritten
        connection
            .execute_batch(
                "pragma auto_vacuum = full; pragma secure_delete = on; pragma synchronous = normal; pragma temp_store = memory;",
            )
            .map_err(failed)?;
        let table = Self(connection);
        let version: i64 = table
            .one("pragma user_version", (), |row| row.get(0))?
            .unwrap_or(0);
        let tables: i64 = table
            .one("select count(*) from sqlite_schema", (), |row| row.get(0))?
            .unwrap_or(0);
        match (version, tables) {
            (VERSION, _) => {}
            (0, 0) => table.make()?,
            (other, _) => {
                let message = format!("it has version {other}, this program knows {VERSION}");
                return Err(TableError::Damaged(message));
            }
        }
        Ok(table)
    }

    fn make(&self) -> Result<(), TableError> {
        self.0
            .execute_batch(&format!("begin;{SCHEMA}commit;"))
            .map_err(failed)
    }

    /// Returns what each owner holds.
    pub(super) fn sums(&self) -> Result<Vec<(Owner, Sum)>, TableError> {
        self.all(
            "select route, network, count(*), sum(bytes) from kept group by route, network",
            (),
            |row| {
                let sum = Sum {
                    requests: saturating(row.get::<_, i64>(2)?),
                    bytes: saturating(row.get::<_, i64>(3)?),
                };
                Ok((owner(row)?, sum))
            },
        )
    }

    /// Writes rows in one transaction: all of them, or none.
    pub(super) fn keep<'r>(
        &mut self,
        rows: impl Iterator<Item = &'r Row>,
    ) -> Result<(), TableError> {
        let transaction = self.0.transaction().map_err(failed)?;
        for row in rows {
            transaction
                .prepare_cached(
                    "insert or ignore into kept values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        row.id,
                        row.owner.route,
                        row.code,
                        row.client.to_string(),
                        row.owner.client.map(|client| client.to_string()),
                        ms(row.received_at),
                        ms(row.until),
                        signed(row.bytes),
                        &row.record[..],
                        &row.body[..],
                    ])
                })
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Gives the rows of a route another name, and another age.
    pub(super) fn follow(
        &self,
        route: &str,
        previously: &[Box<str>],
        max_age: Option<Duration>,
    ) -> Result<(), TableError> {
        for before in previously {
            self.change(
                "update kept set route = ?1 where route = ?2",
                params![route, before],
            )?;
        }
        if let Some(max_age) = max_age {
            let age = signed(saturating(max_age.as_millis()));
            self.change(
                "update kept set until = received_at + ?2 where route = ?1 and until <> received_at + ?2",
                params![route, age],
            )?;
        }
        Ok(())
    }

    /// Removes at most `most` rows whose time is over at `now`. Returns what each counted.
    pub(super) fn sweep(
        &self,
        now: SystemTime,
        most: u16,
    ) -> Result<Vec<(Owner, u64)>, TableError> {
        let over = "select 1 from kept where until <= ?1 limit 1";
        // most of the time there is nothing to remove, and a query does not write
        if self.one(over, params![ms(now)], |_| Ok(()))?.is_none() {
            return Ok(Vec::new());
        }
        self.all(
            "delete from kept where id in (select id from kept where until <= ?1 limit ?2) returning route, network, bytes",
            params![ms(now), most],
            removed,
        )
    }

    /// Removes a row. Returns what it counted; `None` if there is none.
    pub(super) fn remove(&self, id: &str) -> Result<Option<(Owner, u64)>, TableError> {
        let sql = "delete from kept where id = ?1 returning route, network, bytes";
        // read to its end: an error of the commit comes last
        Ok(self.all(sql, params![id], removed)?.pop())
    }

    /// Returns a whole row, unless its time is over at `now`.
    pub(super) fn get(&self, id: &str, now: SystemTime) -> Result<Option<Stored>, TableError> {
        self.one(
            &format!("select {ENTRY}, record, body from kept where id = ?1 and until > ?2"),
            params![id, ms(now)],
            |row| {
                let blob = |at| row.get::<_, Vec<u8>>(at).map(Bytes::from);
                Ok((entry(row)?, blob(7)?, blob(8)?))
            },
        )
    }

    /// Returns the newest rows, of one route or of all.
    pub(super) fn newest(&self, route: Option<&str>, limit: u16) -> Result<Vec<Entry>, TableError> {
        match route {
            Some(route) => self.all(
                &format!("select {ENTRY} from kept where route = ?1 order by id desc limit ?2"),
                params![route, limit],
                entry,
            ),
            None => self.all(
                &format!("select {ENTRY} from kept order by id desc limit ?1"),
                params![limit],
                entry,
            ),
        }
    }

    /// Returns the IDs of a route's rows after one ID, oldest first.
    pub(super) fn ids_after(
        &self,
        route: &str,
        after: &str,
        limit: u16,
    ) -> Result<Vec<String>, TableError> {
        self.all(
            "select id from kept where route = ?1 and id > ?2 order by id limit ?3",
            params![route, after, limit],
            |row| row.get(0),
        )
    }

    /// Returns the time at which a row is removed.
    pub(super) fn until(&self, id: &str) -> Result<Option<SystemTime>, TableError> {
        self.one("select until from kept where id = ?1", params![id], |row| {
            row.get(0).map(at)
        })
    }

    fn change(&self, sql: &str, params: impl Params) -> Result<(), TableError> {
        self.0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map(drop)
            .map_err(failed)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, TableError> {
        self.0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params, read).optional())
            .map_err(failed)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, TableError> {
        let mut statement = self.0.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params, read).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Bounds the file, as a full disk does.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        let set = format!("pragma max_page_count = {pages}");
        self.one(&set, (), |_| Ok(())).unwrap();
    }
}

/// Renames a damaged file, over one that was renamed before. Returns the new name.
///
/// # Errors
/// The file system refuses.
pub(super) fn set_aside(file: &Path) -> std::io::Result<PathBuf> {
    let named = |ending: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let aside = named(".damaged");
    std::fs::rename(file, &aside)?;
    match std::fs::remove_file(named("-journal")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(aside),
    }
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let client: String = row.get(5)?;
    Ok(Entry {
        id: row.get(0)?,
        route: row.get::<_, String>(1)?.into(),
        code: row.get::<_, String>(2)?.into(),
        received_at: row.get(3).map(at)?,
        until: row.get(4).map(at)?,
        client: address(&client).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        bytes: saturating(row.get::<_, i64>(6)?),
    })
}

fn owner(row: &rusqlite::Row<'_>) -> rusqlite::Result<Owner> {
    let client: Option<String> = row.get(1)?;
    Ok(Owner {
        route: row.get::<_, String>(0)?.into(),
        client: client.as_deref().and_then(address),
    })
}

fn removed(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Owner, u64)> {
    Ok((owner(row)?, saturating(row.get::<_, i64>(2)?)))
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn ms(time: SystemTime) -> i64 {
    signed(unix_ms(time))
}

fn at(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: rusqlite::Error) -> TableError {
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => TableError::Damaged(message),
        _ => TableError::Failed(message),
    }
}
