//! Moving a store that has every kind of row, and the ways in which a move ends early.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::NoTls;

use super::*;
use crate::store::address_book::AddressBook as _;
use crate::store::embedded::Embedded;
use crate::store::postgres::Postgres;
use crate::store::postgres::tests::Database as Server;
use crate::store::queue::Queue as _;
use crate::store::{ClaimResult, Ledger as _, Token};

mod compare;
mod fill;

use compare::{Everything, settle_alike};
use fill::{Filled, fill, keys};

const PLACE: &str = "db:5432/hooks, schema hookgate";
const LEASE: Duration = Duration::from_secs(20);

/// A directory with a store of everything, and an empty schema, whose clocks are one.
struct Case {
    server: Server,
    directory: tempfile::TempDir,
    filled: Filled,
}

impl Case {
    async fn new() -> Self {
        let (server, directory) = (Server::new(), tempfile::tempdir().unwrap());
        let store = open(&directory.path().join("store"), &server);
        let filled = fill(&store, &server.clock).await;
        drop(store);
        server.clock.advance(Duration::from_secs(30));
        Self {
            server,
            directory,
            filled,
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn source(&self) -> Source {
        let clock: Arc<dyn Clock> = self.server.clock.clone();
        Source::open(&self.store(), &clock, false).unwrap()
    }

    async fn transfer(&self) -> Result<Moved, TransferError> {
        self.transfer_to(PLACE).await
    }

    async fn transfer_to(&self, place: &str) -> Result<Moved, TransferError> {
        let mut source = self.source();
        let options = self.server.options();
        source.transfer(&options, place, &mut |_, _| {}).await
    }

    /// Returns the count of rows that a statement gives.
    async fn count(&self, sql: &str) -> i64 {
        let (client, connection) = self.server.config.connect(NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let rows = client.query_typed(sql, &[]).await.unwrap();
        driver.abort();
        rows[0].get(0)
    }
}

fn open(path: &Path, server: &Server) -> Embedded {
    Embedded::open(path, 1000, server.clock.clone())
        .unwrap()
        .ledger
}

#[test]
fn mapping_names_each_column() {
    let (directory, clock) = (
        tempfile::tempdir().unwrap(),
        crate::store::contract::HandClock::new(),
    );
    drop(Embedded::open(directory.path(), 10, clock).unwrap());
    let database = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    let all = "select t.name || '.' || c.name from pragma_table_list t, pragma_table_info(t.name) c where t.type = 'table' and t.name <> 'sqlite_schema'
        and t.schema = 'main'";
    let mut statement = database.prepare(all).unwrap();
    let columns = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    let columns: Vec<_> = columns.map(Result::unwrap).collect();
    assert!(columns.len() > 100, "{columns:?}");
    let mapping = include_str!("../transfer.rs");
    for column in columns {
        assert!(
            mapping.contains(&format!("`{column}`")),
            "{column} goes nowhere"
        );
    }
}

#[tokio::test]
async fn moved_store_is_the_same() {
    let case = Case::new().await;
    // what a start of the gateway makes of the directory
    let copy = case.directory.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["hookgate.db", "hookgate.db-wal", "ledger-saved"] {
        std::fs::copy(case.store().join(name), copy.join(name)).ok();
    }
    let Moved::Now(counts) = case.transfer().await.unwrap() else {
        panic!("it was not moved before")
    };
    assert_eq!(counts[1], ("deliveries", case.filled.deliveries));
    let (before, after) = (open(&copy, &case.server), case.server.open().await);
    assert_eq!(before.hash_key(), after.hash_key());
    let everything = Everything::of(&before, &case.filled).await;
    everything.same_as(&Everything::of(&after, &case.filled).await);
    for (key, is_remembered) in &case.filled.keys {
        let claims = [
            before.claim(*key, Token(7), LEASE).await.unwrap(),
            after.claim(*key, Token(7), LEASE).await.unwrap(),
        ];
        let expected = if *is_remembered {
            ClaimResult::Committed
        } else {
            ClaimResult::Fresh
        };
        assert_eq!(claims, [expected; 2], "{key:?}");
    }
    settle_alike(&before, &after, &case.filled, &case.server.clock).await;
    // each number is given once
    let next = [
        before.reserve_endpoint().await.unwrap(),
        after.reserve_endpoint().await.unwrap(),
    ];
    assert!(next[0] <= next[1], "{next:?}");
    sums_are_right(&case).await;
}

/// The sums of the schema are those of its rows, to the last byte.
async fn sums_are_right(case: &Case) {
    let differences = "with s as (
            select 0 as kind, d.origin as number, count(*) as rows, sum(octet_length(d.record) + octet_length(d.body)
                + coalesce((select sum(octet_length(a.head) + octet_length(a.body) + coalesce(octet_length(a.facts), 0)) from hookgate.attempt a where a.id = d.id), 0)
                + coalesce((select sum(octet_length(v.body)) from hookgate.version v where v.id = d.id), 0)) as bytes from hookgate.delivery d group by 2),
        k as (select number, sum(rows) as rows, sum(bytes) as bytes from hookgate.counter where kind = 0 group by 1)
        select count(*) from s full join k using (number) where coalesce(s.rows, 0) <> k.rows or coalesce(s.bytes, 0) <> k.bytes";
    assert_eq!(case.count(differences).await, 0);
}

#[tokio::test]
async fn directory_is_marked_and_a_second_move_does_nothing() {
    let case = Case::new().await;
    case.transfer().await.unwrap();
    let error = Embedded::open(&case.store(), 10, case.server.clock.clone()).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, OpenError::Moved { .. }) && text.contains(PLACE),
        "{text}"
    );
    assert_eq!(case.transfer().await.unwrap(), Moved::Before);
    case.source()
        .check_target(&case.server.options(), PLACE)
        .await
        .unwrap();
    let elsewhere = case
        .transfer_to("other:5432/hooks, schema hookgate")
        .await
        .unwrap_err();
    assert!(elsewhere.to_string().contains("was moved"), "{elsewhere}");
    // by hand, as the message says
    std::fs::remove_file(case.store().join("moved-to-postgres")).unwrap();
    drop(open(&case.store(), &case.server));
    let error = case.transfer().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is not empty (it has names of routes, deliveries"),
        "{error}"
    );
}

/// A move that is cut off leaves an empty schema and a directory that a gateway can use, and is made again.
#[tokio::test]
async fn move_that_was_cut_off_is_made_again() {
    let case = Case::new().await;
    let (client, connection) = case.server.config.connect(NoTls).await.unwrap();
    let _driver = tokio::spawn(connection);
    // late in the move, it waits for this
    client
        .batch_execute("begin; lock table hookgate.health in share mode")
        .await
        .unwrap();
    let waits = "select count(*) from pg_locks where not granted";
    let is_waiting = async {
        while case.count(waits).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        moved = case.transfer() => panic!("{moved:?}"),
        () = is_waiting => {}
    }
    client.batch_execute("rollback").await.unwrap();
    drop(open(&case.store(), &case.server));
    let Moved::Now(_) = case.transfer().await.unwrap() else {
        panic!("it was not moved before")
    };
    sums_are_right(&case).await;
    // the answer to the commit was lost: the mark is there, and the rows are not
    case.server.execute("drop schema hookgate cascade");
    let (server, mark) = (Server::new(), case.store().join("moved-to-postgres"));
    assert!(mark.exists());
    let mut source = case.source();
    let moved = source
        .transfer(&server.options(), PLACE, &mut |_, _| {})
        .await;
    assert!(matches!(moved, Ok(Moved::Now(_))), "{moved:?}");
    assert!(mark.exists());
}

#[tokio::test]
async fn move_is_refused_with_its_reason() {
    let case = Case::new().await;
    let options = case.server.options();
    let refused = async |source: &mut Source| {
        let error = source
            .transfer(&options, PLACE, &mut |_, _| {})
            .await
            .unwrap_err();
        assert!(matches!(error, TransferError::Refused(_)), "{error:?}");
        error.to_string()
    };
    let running = open(&case.store(), &case.server);
    let clock: Arc<dyn Clock> = case.server.clock.clone();
    let error = Source::open(&case.store(), &clock, false).unwrap_err();
    assert!(matches!(error, TransferError::Held(_)), "{error}");
    drop(running);
    let absent = Source::open(case.directory.path(), &clock, false).unwrap_err();
    assert!(absent.to_string().contains("holds no store"), "{absent}");
    std::fs::write(case.directory.path().join("hookgate.db"), "").unwrap();
    let empty = Source::open(case.directory.path(), &clock, false).unwrap_err();
    assert!(empty.to_string().contains("holds no store"), "{empty}");
    let mut source = case.source();
    for (keys, part) in [(None, "no `store.key`"), (Some(keys(5)), "is not the key")] {
        let error = source.check_seals(keys.as_ref()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    source.check_seals(Some(&keys(1))).unwrap();
    // a gateway has used the schema
    let store: Postgres = case.server.open().await;
    store.numbers(&fill::names(&["x"])).await.unwrap();
    for error in [
        refused(&mut source).await,
        source
            .check_target(&options, PLACE)
            .await
            .unwrap_err()
            .to_string(),
    ] {
        assert!(
            error.contains("is not empty (it has names of routes)"),
            "{error}"
        );
    }
    case.server.execute("delete from hookgate.name; create role reader login; grant usage on schema hookgate to reader;
        grant select on all tables in schema hookgate to reader; grant execute on all functions in schema hookgate to reader");
    let reading = {
        let mut config = case.server.config.clone();
        config.user("reader");
        crate::store::postgres::tests::options(&config)
    };
    let error = source.check_target(&reading, PLACE).await.unwrap_err();
    assert!(error.to_string().contains("may not write"), "{error}");
    // a row that cannot be stored refuses all of it, and the directory stays usable
    case.server
        .execute("alter table hookgate.secret add constraint none check (n > 9)");
    assert!(refused(&mut source).await.contains("23514"));
    drop(source);
    drop(open(&case.store(), &case.server));
    let tables = "select count(*) from hookgate.delivery";
    assert_eq!(case.count(tables).await, 0);
}

#[tokio::test]
async fn older_store_is_upgraded_by_the_move_alone() {
    let (server, directory) = (Server::new(), tempfile::tempdir().unwrap());
    drop(open(directory.path(), &server));
    let database = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    let set = |version: i64| {
        let update = "update meta set value = ?1 where name = 'schema'";
        database.execute(update, [version]).unwrap();
    };
    let clock: Arc<dyn Clock> = server.clock;
    set(2);
    let error = Source::open(directory.path(), &clock, true).unwrap_err();
    assert!(error.to_string().contains("older version"), "{error}");
    Source::open(directory.path(), &clock, false).unwrap();
    Source::open(directory.path(), &clock, true).unwrap();
    set(99);
    for only_look in [true, false] {
        let error = Source::open(directory.path(), &clock, only_look).unwrap_err();
        assert!(error.to_string().contains("schema 99"), "{error}");
    }
}
