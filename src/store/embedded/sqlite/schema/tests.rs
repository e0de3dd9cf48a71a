use super::*;
use crate::store::embedded::sqlite::{Database, Directory, FILE, OpenError};

/// The tables of version 2. Version 1 lacked `journal`.
const VERSION_2: &str = "
    create table meta (name text primary key, value) without rowid;
    create table ledger (key blob primary key, state integer not null, token blob, delivery blob, until integer not null,
        ends integer) without rowid;
    create index ledger_until on ledger (until);
    create table journal (row integer primary key, until integer not null, entries blob not null);
    create index journal_until on journal (until);
    create table name (number integer primary key autoincrement, kind integer not null, name text not null, owners text not null,
        parked_at integer, parked integer, unique (kind, name));
    create table delivery (row integer primary key, id blob not null, origin integer not null, at integer not null, key blob,
        delivery_id text, event_type text, record blob not null, body blob not null, lane blob);
    create unique index delivery_id on delivery (id);
    create index delivery_origin on delivery (origin, id);
    create index delivery_by_sender_id on delivery (delivery_id) where delivery_id is not null;
    create table due (id blob, target integer, run_at integer not null, lease integer not null, leased integer not null,
        attempt_count integer not null, cause integer not null, since integer not null, lane blob, seq integer, last_attempt integer not null,
        leased_at integer, primary key (id, target)) without rowid;
    create index due_first on due (target, run_at) where attempt_count = 0;
    create index due_retry on due (target, run_at) where attempt_count > 0;
    create index due_lane on due (target, lane, seq) where lane is not null;
    create table attempt (row integer primary key, id blob not null, target integer not null, lease integer not null,
        cause integer not null, started integer not null, took integer not null, connect integer, first_byte integer, status integer, error text, peer text,
        late integer not null, head blob not null, body blob not null, number integer not null);
    create unique index attempt_unit on attempt (id, target, lease);
    create table dead (id blob, target integer, at integer not null, reason integer, lease integer not null,
        attempt_count integer not null, lane blob, last_attempt integer not null, primary key (id, target)) without rowid;
    create index dead_target on dead (target, id);
    create table ended (id blob primary key, origin integer not null, dead integer not null, at integer not null) without rowid;
    create index ended_by on ended (origin, dead, at);
    create table lane (target integer, lane blob, waiting integer not null, seq integer not null, primary key (target, lane)) without rowid;
    create table tally (kind integer, number integer, rows integer not null, bytes integer not null, primary key (kind, number)) without rowid;
    create table audit (row integer primary key, at integer not null, who text not null, what text not null, which text not null,
        reason text not null, done integer not null);";

/// Makes a store as version `version` left it, with a row in each table that a migration changes.
fn store_of(version: i64, directory: &Path) {
    let connection = Connection::open(directory.join(FILE)).unwrap();
    connection
        .execute_batch(&format!(
            "pragma auto_vacuum = incremental; pragma journal_mode = wal; pragma application_id = {APPLICATION}; {VERSION_2};
            insert into meta (name, value) values ('schema', {version}), ('hash_key', x'07070707070707070707070707070707');
            insert into name (kind, name, owners) values (0, 'github', 'github');
            insert into delivery (id, origin, at, delivery_id, record, body) values (x'01', 1, 5, 'evt_1', x'', x'7b7d');
            insert into attempt (id, target, lease, cause, started, took, late, head, body, number)
                values (x'01', 1, 1, 0, 5, 6, 0, x'', x'', 1);"
        ))
        .unwrap();
    if version == 1 {
        connection
            .execute_batch("drop index journal_until; drop table journal")
            .unwrap();
    }
}

/// Returns the columns of each table and index, by name.
fn shape(connection: &Connection) -> Vec<(String, String)> {
    let columns = "select s.type || ' ' || s.name || ' of ' || s.tbl_name, group_concat(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk)
        from sqlite_schema s join pragma_table_info(s.tbl_name) c group by s.name order by s.name";
    let indexes = "select s.name, coalesce(s.sql, '') from sqlite_schema s where s.type = 'index' order by s.name";
    let mut found = Vec::new();
    for sql in [columns, indexes] {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        found.extend(rows.map(Result::unwrap));
    }
    found
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn older_stores_get_the_tables_of_this_version_and_keep_their_rows() {
    let new = tempfile::tempdir().unwrap();
    drop(Database::open(&Directory::hold(new.path()).unwrap(), [1; 16]).unwrap());
    let expected = shape(&Connection::open(new.path().join(FILE)).unwrap());
    for version in OLDEST..SCHEMA {
        let held = tempfile::tempdir().unwrap();
        store_of(version, held.path());
        let directory = Directory::hold(held.path()).unwrap();
        let database = Database::open(&directory, [1; 16]).unwrap();
        assert_eq!(database.hash_key(), [7; 16]);
        drop(database);
        // and again: nothing is left to change
        drop(Database::open(&directory, [1; 16]).unwrap());
        let connection = Connection::open(held.path().join(FILE)).unwrap();
        assert_eq!(shape(&connection), expected, "version {version}");
        for (sql, value) in [
            ("select value from meta where name = 'schema'", SCHEMA),
            (
                "select count(*) from delivery where delivery_id = 'evt_1'",
                1,
            ),
            ("select count(*) from attempt where facts is null", 1),
            ("select number from name where name = 'github'", 1),
        ] {
            assert_eq!(number(&connection, sql), value, "version {version}: {sql}");
        }
    }
}

#[test]
fn numbers_of_tenants_and_endpoints_begin_at_theirs() {
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let tenant = "insert into tenant (uid, created, edition, settings) values (?1, 0, 1, '') returning number";
    let endpoint = "insert into endpoint (id, tenant, edition, state, since, url, settings) values (?1, 0, 1, 0, 0, '', '') returning number";
    for round in 0..3 {
        let database = Database::open(&directory, [1; 16]).unwrap();
        let connection = &database.connection;
        for (sql, first) in [(tenant, FIRST_TENANT), (endpoint, FIRST_ENDPOINT)] {
            let given: u32 = connection
                .query_row(sql, [round], |row| row.get(0))
                .unwrap();
            assert_eq!(given, first + round, "a restart begins no sequence again");
        }
        let name: u32 = connection
            .query_row(
                "insert into name (kind, name, owners) values (0, ?1, '') returning number",
                [round],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(name, round + 1);
        connection
            .execute_batch("delete from tenant; delete from endpoint")
            .unwrap();
    }
}

/// An upgrade that fails leaves the store to the version that wrote it.
#[test]
fn a_failed_upgrade_changes_nothing() {
    for version in OLDEST..SCHEMA {
        let held = tempfile::tempdir().unwrap();
        store_of(version, held.path());
        let file = held.path().join(FILE);
        let before = {
            let connection = Connection::open(&file).unwrap();
            // in the way of one of the last indexes
            connection
                .execute_batch("create table endpoint_running (x)")
                .unwrap();
            shape(&connection)
        };
        let directory = Directory::hold(held.path()).unwrap();
        let error = Database::open(&directory, [1; 16]).unwrap_err();
        assert!(matches!(error, OpenError::Store(_)), "{error}");
        let connection = Connection::open(&file).unwrap();
        assert_eq!(shape(&connection), before);
        let schema = "select value from meta where name = 'schema'";
        assert_eq!(number(&connection, schema), version);
        connection
            .execute_batch("drop table endpoint_running")
            .unwrap();
        drop(Database::open(&directory, [1; 16]).unwrap());
        assert_eq!(number(&connection, schema), SCHEMA);
    }
}
