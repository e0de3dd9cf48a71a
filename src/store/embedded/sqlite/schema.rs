//! The tables of a store, and the checks of a file before SQLite opens it.
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::queue::{FIRST_ENDPOINT, FIRST_TENANT};

/// The version of the schema that this program writes.
pub(super) const SCHEMA: i64 = 3;
/// The oldest version that this program reads: it adds what is missing.
///
/// - Version 1 had no `journal`; its rows without a delivery in `ledger` stay there until they end.
/// - Version 2 had no tenants and endpoints, no `attempt.facts`, and an index of the sender's ID without the origin.
pub(super) const OLDEST: i64 = 1;
/// The application ID in the header of the database: `hook` in ASCII. Builds before 0.1.0 numbered other schemas, and left no ID.
const APPLICATION: i32 = 0x686f_6f6b;

/// Bytes of the header of a database file.
const HEADER: u64 = 100;

/// The tables. Within a minor version of the program they are only added to.
///
/// The table that holds a unit says its state: in `due` it waits; in `dead` it is dead, or cancelled (no reason); in neither it was delivered.
/// A delivery without a waiting unit has a row in `ended`, with the time at which it ended.
/// Times are milliseconds of the store's own time, except `due.leased_at`, `attempt.started`, `audit.at` and all times of tenants, endpoints,
/// secrets and `health`, which are wall-clock times.
///
/// - `name.name` is the name of a number's ledger. `name.owners` lists the names that have had the number, separated by blanks, the newest last.
///   A `/` before a name means that its route stored new deliveries under another number.
/// - `name.parked_at` is the time since which no route of the config has the number, `name.parked` the sum of earlier such times. `due.since` is
///   in the time of its target, which leaves both out.
/// - `due.last_attempt` and `dead.last_attempt` are the number of the unit's last attempt, `due.leased_at` is the time of its last lease,
///   `delivery.lane` the delivery's lane at every target.
/// - `lease` is the number of a lease: in `due` and `dead` of the last one, in `attempt` of the one under which the attempt was made.
/// - `lane.waiting` is the number of waiting units of a lane, `lane.seq` the number that its newest unit got.
/// - `ledger.ends` is the end of an entry that is held longer, until `ledger.until`, because its delivery waits. If it is null, `until` is the end.
/// - `ledger` has a row for the key of each accepted delivery, `journal` an entry for every other committed ID. `journal.entries` are those of a
///   batch, in their order, and `journal.until` is the last of their ends.
/// - `delivery` has a rowid: without one, each row of more than a quarter page would lie in an overflow page of its own.
/// - `attempt.facts` says what was sent where, for attempts to endpoints; it is null for attempts to routes, so that these cost no index row.
/// - `version` has the bodies of an event for endpoints that get another version of its type than the one in `delivery.body`.
/// - `tenant` and `endpoint` get their numbers from sequences that begin at [`FIRST_TENANT`] and [`FIRST_ENDPOINT`]: names stay below both. A
///   number is never used again. A removed row stays, because deliveries name its number; it has no `uid` of its own any more.
/// - `edition` grows by one with each change, and a change names the edition that it was computed from.
/// - `job` is the last job of an endpoint, which is not over as long as there is a `cursor`.
/// - `sealed` is encrypted by a key that the store does not have.
/// - `secret_match.key` is a keyed fingerprint of a route, and of the name and value of a secret; `since` is the time since which gateways have watched
///   it without a long gap, `seen` that of the last call about it.
/// - `health` has a row for each endpoint whose last attempts failed, `hours` is the number of different hours in which one did.
const TABLES: &str = "
    create table if not exists meta (name text primary key, value) without rowid;
    create table if not exists ledger (key blob primary key, state integer not null, token blob, delivery blob, until integer not null,
        ends integer) without rowid;
    create index if not exists ledger_until on ledger (until);
    create table if not exists journal (row integer primary key, until integer not null, entries blob not null);
    create index if not exists journal_until on journal (until);
    create table if not exists name (number integer primary key autoincrement, kind integer not null, name text not null, owners text not null,
        parked_at integer, parked integer, unique (kind, name));
    create table if not exists delivery (row integer primary key, id blob not null, origin integer not null, at integer not null, key blob,
        delivery_id text, event_type text, record blob not null, body blob not null, lane blob);
    create unique index if not exists delivery_id on delivery (id);
    create index if not exists delivery_origin on delivery (origin, id);
    create index if not exists delivery_own on delivery (delivery_id, origin) where delivery_id is not null;
    create table if not exists due (id blob, target integer, run_at integer not null, lease integer not null, leased integer not null,
        attempt_count integer not null, cause integer not null, since integer not null, lane blob, seq integer, last_attempt integer not null,
        leased_at integer, primary key (id, target)) without rowid;
    create index if not exists due_first on due (target, run_at) where attempt_count = 0;
    create index if not exists due_retry on due (target, run_at) where attempt_count > 0;
    create index if not exists due_lane on due (target, lane, seq) where lane is not null;
    create table if not exists attempt (row integer primary key, id blob not null, target integer not null, lease integer not null,
        cause integer not null, started integer not null, took integer not null, connect integer, first_byte integer, status integer, error text, peer text,
        late integer not null, head blob not null, body blob not null, number integer not null, facts blob);
    create unique index if not exists attempt_unit on attempt (id, target, lease);
    create index if not exists attempt_target on attempt (target, row) where facts is not null;
    create table if not exists dead (id blob, target integer, at integer not null, reason integer, lease integer not null,
        attempt_count integer not null, lane blob, last_attempt integer not null, primary key (id, target)) without rowid;
    create index if not exists dead_target on dead (target, id);
    create table if not exists ended (id blob primary key, origin integer not null, dead integer not null, at integer not null) without rowid;
    create index if not exists ended_by on ended (origin, dead, at);
    create table if not exists lane (target integer, lane blob, waiting integer not null, seq integer not null, primary key (target, lane)) without rowid;
    create table if not exists tally (kind integer, number integer, rows integer not null, bytes integer not null, primary key (kind, number)) without rowid;
    create table if not exists audit (row integer primary key, at integer not null, who text not null, what text not null, which text not null,
        reason text not null, done integer not null);
    create table if not exists version (row integer primary key, id blob not null, version integer not null, body blob not null);
    create unique index if not exists version_of on version (id, version);
    create table if not exists tenant (number integer primary key autoincrement, uid text not null unique, created integer not null,
        edition integer not null, removed_at integer, settings text not null);
    create table if not exists endpoint (number integer primary key autoincrement, id text not null unique, tenant integer not null, uid text,
        edition integer not null, state integer not null, since integer not null, url text not null, settings text not null, sealed blob, job text,
        cursor blob);
    create unique index if not exists endpoint_uid on endpoint (tenant, uid) where uid is not null;
    create index if not exists endpoint_tenant on endpoint (tenant, number) where state <> 6;
    create index if not exists endpoint_inactive on endpoint (number) where state <> 0 and state <> 6;
    create index if not exists endpoint_running on endpoint (number) where cursor is not null;
    create table if not exists secret (endpoint integer, n integer, name text not null, created integer not null, ends integer,
        sealed blob not null, primary key (endpoint, n)) without rowid;
    create table if not exists health (endpoint integer primary key, since integer not null, failures integer not null, hours integer not null,
        last integer not null, status integer, cause text, first blob not null, notified integer not null) without rowid;
    create table if not exists secret_match (key blob primary key, since integer not null, last integer, count integer not null,
        seen integer not null) without rowid;";

/// The change of a table that an older version made, before [`TABLES`] adds what it lacks.
const ATTEMPT_FACTS: &str = "alter table attempt add column facts blob";
/// An index of older versions, in whose place `delivery_own` is.
const OLD_INDEX: &str = "drop index if exists delivery_by_sender_id";
/// Lets a sequence begin with a number, unless it has begun.
const BEGIN_SEQUENCE: &str = "insert into sqlite_sequence (name, seq)
    select ?1, ?2 where not exists (select 1 from sqlite_sequence where name = ?1)";

/// Returns the schema version of a database, 0 if a build before 0.1.0 wrote it; `None` if it is empty.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !connection.table_exists(None, "meta")? {
        return Ok(None);
    }
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Ok(Some(0));
    }
    connection
        .query_row("select value from meta where name = 'schema'", [], |row| {
            row.get(0)
        })
        .optional()
}

/// Makes the tables of a new store, or those that an older one lacks, in one transaction. Returns the hash key of the store.
pub(super) fn create(
    connection: &mut Connection,
    new_hash_key: [u8; 16],
) -> rusqlite::Result<[u8; 16]> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if transaction.table_exists(None, "attempt")?
        && !transaction.column_exists(None, "attempt", "facts")?
    {
        transaction.execute_batch(ATTEMPT_FACTS)?;
    }
    transaction.execute_batch(OLD_INDEX)?;
    transaction.execute_batch(TABLES)?;
    for (table, first) in [("tenant", FIRST_TENANT), ("endpoint", FIRST_ENDPOINT)] {
        transaction.execute(BEGIN_SEQUENCE, params![table, first - 1])?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    let insert = "insert or ignore into meta (name, value) values ('schema', ?1), ('hash_key', ?2)";
    transaction.execute(insert, params![SCHEMA, new_hash_key])?;
    let migrate = "update meta set value = ?1 where name = 'schema' and value <> ?1";
    transaction.execute(migrate, params![SCHEMA])?;
    let find = "select value from meta where name = 'hash_key'";
    let hash_key = transaction.query_row(find, [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(hash_key)
}

/// Returns whether the file is shorter than a header, though it is not being made. SQLite would take it for an empty database.
pub(super) fn is_stub(path: &Path) -> std::io::Result<bool> {
    let length = std::fs::metadata(path)?.len();
    Ok((1..HEADER).contains(&length) && !path.with_extension("db-journal").exists())
}

/// Returns whether the file is shorter than its header says: a full disk or a broken copy cut it off. Its log may hold the rest.
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

#[cfg(test)]
mod tests;
