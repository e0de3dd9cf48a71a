//! The tables, and how an older file gets them.
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

/// The version of the schema that this program writes; it reads older ones, and migrates them.
pub(super) const SCHEMA: i64 = 3;

/// Bytes of the header of a database file.
const HEADER: u64 = 100;

/// Version 1 was `meta` and `ledger`; version 2 had no columns of [`COLUMNS`], and one index for first attempts and retries. Within a minor line
/// tables are only added to.
///
/// Where a unit lies is its status: in `due`, it waits; in `dead`, it is dead or cancelled (no reason); in neither, it was handed on.
/// A delivery none of whose units waits has a row in `ended`, with the time since which it is over.
/// Times are milliseconds of the store's own time, but for `due.begun`, `attempt.started` and `audit.at`, which are shown.
/// `name.name` is the name of a number's ledger, `name.owners` the names that have had the number, parted by blanks, the newest last;
/// `/` is before a name whose route had another number for its new deliveries.
/// `name.parked_at` is the time since which no route of the config has the number, `name.parked` the time that it was so before: `due.since` is
/// in the time of its target, from which both are left out.
/// `due.attempt` and `dead.attempt` are the number of the unit's last attempt, `due.begun` the time of its last lease, `delivery.lane` its lane
/// at every target. In a row of version 2 they are null: the number of the lease stands for that of the attempt.
/// `ledger.ends` is the end of an entry that is held beyond it, until `ledger.until`, while its delivery waits; null: `until` is the end.
/// `delivery` has a rowid: without it each row of more than a quarter page would lie in an overflow page of its own.
const TABLES: &str = "
    create table if not exists meta (name text primary key, value) without rowid;
    create table if not exists ledger (key blob primary key, state integer not null, token blob, delivery blob, until integer not null,
        ends integer) without rowid;
    create index if not exists ledger_until on ledger (until);
    create table if not exists name (number integer primary key autoincrement, kind integer not null, name text not null, owners text,
        parked_at integer, parked integer, unique (kind, name));
    create table if not exists delivery (row integer primary key, id blob not null, origin integer not null, at integer not null, key blob,
        delivery_id text, event_type text, record blob not null, body blob not null, lane blob);
    create unique index if not exists delivery_id on delivery (id);
    create index if not exists delivery_origin on delivery (origin, id);
    create index if not exists delivery_given on delivery (delivery_id) where delivery_id is not null;
    create table if not exists due (id blob, target integer, run_at integer not null, lease integer not null, held integer not null,
        tries integer not null, cause integer not null, since integer not null, lane blob, seq integer, attempt integer, begun integer,
        primary key (id, target)) without rowid;
    drop index if exists due_ready;
    create index if not exists due_first on due (target, run_at) where tries = 0;
    create index if not exists due_retry on due (target, run_at) where tries > 0;
    create index if not exists due_lane on due (target, lane, seq) where lane is not null;
    create table if not exists attempt (row integer primary key, id blob not null, target integer not null, n integer not null, cause integer not null,
        started integer not null, took integer not null, connect integer, first_byte integer, status integer, error text, peer text,
        late integer not null, head blob not null, body blob not null, number integer);
    create unique index if not exists attempt_unit on attempt (id, target, n);
    create table if not exists dead (id blob, target integer, at integer not null, reason integer, lease integer not null, tries integer not null,
        lane blob, attempt integer, primary key (id, target)) without rowid;
    create index if not exists dead_target on dead (target, id);
    create table if not exists ended (id blob primary key, origin integer not null, dead integer not null, at integer not null) without rowid;
    create index if not exists ended_by on ended (origin, dead, at);
    create table if not exists lane (target integer, lane blob, n integer not null, seq integer not null, primary key (target, lane)) without rowid;
    create table if not exists tally (kind integer, number integer, rows integer not null, bytes integer not null, primary key (kind, number)) without rowid;
    create table if not exists audit (row integer primary key, at integer not null, who text not null, what text not null, which text not null,
        reason text not null, done integer not null);";

/// The columns that version 3 added: table, column, type.
const COLUMNS: [(&str, &str, &str); 9] = [
    ("ledger", "ends", "integer"),
    ("name", "owners", "text"),
    ("name", "parked_at", "integer"),
    ("name", "parked", "integer"),
    ("delivery", "lane", "blob"),
    ("due", "attempt", "integer"),
    ("due", "begun", "integer"),
    ("dead", "attempt", "integer"),
    ("attempt", "number", "integer"),
];

/// Fills `ended` in a database of a version before 3. Such a version did not keep when a delivery ended: its last attempt says it by the wall clock,
/// which may have been ahead of the store's time.
const ENDED: &str = "insert into ended (id, origin, dead, at)
    select id, origin, exists (select 1 from dead where dead.id = delivery.id),
        min(coalesce((select max(dead.at) from dead where dead.id = delivery.id),
            (select max(started + took) from attempt where attempt.id = delivery.id), at),
            max(at, coalesce((select value from meta where name = 'store_time'), at)))
    from delivery where not exists (select 1 from due where due.id = delivery.id)";

/// The schema version of a database; none in an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !connection.table_exists(None, "meta")? {
        return Ok(None);
    }
    connection
        .query_row("select value from meta where name = 'schema'", [], |row| {
            row.get(0)
        })
        .optional()
}

/// Brings the schema up to date in one transaction; the hash key of the store.
pub(super) fn migrate(
    connection: &mut Connection,
    new_hash_key: [u8; 16],
) -> rusqlite::Result<[u8; 16]> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let had_ended = transaction.table_exists(None, "ended")?;
    transaction.execute_batch(TABLES)?;
    if !had_ended {
        transaction.execute_batch(ENDED)?;
    }
    for (table, column, kind) in COLUMNS {
        if !transaction.column_exists(None, table, column)? {
            transaction
                .execute_batch(&format!("alter table {table} add column {column} {kind}"))?;
        }
    }
    if version(&transaction)? != Some(SCHEMA) {
        transaction.execute(
            "insert or replace into meta (name, value) values ('schema', ?1)",
            params![SCHEMA],
        )?;
    }
    transaction.execute(
        "insert or ignore into meta (name, value) values ('hash_key', ?1)",
        params![new_hash_key],
    )?;
    let hash_key = transaction.query_row(
        "select value from meta where name = 'hash_key'",
        [],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok(hash_key)
}

/// Whether there is less than a header, and not because it was being made: SQLite would take it for an empty database.
pub(super) fn is_stub(path: &Path) -> std::io::Result<bool> {
    let length = std::fs::metadata(path)?.len();
    Ok((1..HEADER).contains(&length) && !path.with_extension("db-journal").exists())
}

/// Whether the file is shorter than it says it is: cut off by a full disk or a broken copy. Its log may hold the rest.
pub(super) fn is_short(path: &Path) -> std::io::Result<bool> {
    let mut head = [0; 32];
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(false);
    }
    if std::io::Read::read_exact(&mut file, &mut head).is_err() {
        return Ok(true);
    }
    // <https://www.sqlite.org/fileformat.html#the_database_header>: page size at 16, size in pages at 28
    let [.., p0, p1] = *head.first_chunk::<18>().unwrap_or(&[0; 18]);
    let [.., n0, n1, n2, n3] = head;
    let page = match u16::from_be_bytes([p0, p1]) {
        1 => 65_536,
        page => u64::from(page),
    };
    Ok(length < page * u64::from(u32::from_be_bytes([n0, n1, n2, n3])))
}
