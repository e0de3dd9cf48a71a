//! Connections that fail, and calls that fail on them.
use std::time::Instant;

use super::super::call::{Call, column};
use super::super::link::{Lane, Link};
use super::*;
use crate::clock::SystemClock;
use crate::store::{ClaimResult, Key, Ledger as _, Ownership, Store as _, StoreError, Token};

/// Makes a function of the schema that does `body`, and returns a call of it.
fn function(database: &Database, name: &'static str, body: &str) -> Call {
    let sql = format!(
        "create or replace function hookgate.{name}() returns int language plpgsql as $$ begin {body} return 1; end $$"
    );
    database.execute(&sql);
    Call::write(name)
}

fn fast(database: &Database) -> Options {
    Options {
        timeout: Duration::from_millis(500),
        ..database.options()
    }
}

async fn call(link: &Link, call: &Call) -> Result<i32, StoreError> {
    let rows = link.call(Lane::Writes, call.clone()).await?;
    column(&rows[0], 0)
}

fn now() -> Instant {
    SystemClock.mono()
}

#[tokio::test]
async fn call_without_an_answer_is_unknown_and_the_next_one_connects_anew() {
    let database = Database::new();
    let link = Link::new(fast(&database));
    let slow = function(&database, "slow", "perform pg_sleep(3);");
    let begun = now();
    let answer = call(&link, &slow).await;
    assert!(matches!(answer, Err(StoreError::Unknown(_))), "{answer:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let quick = function(&database, "quick", "");
    assert_eq!(call(&link, &quick).await.unwrap(), 1);
    let look = Call {
        writes: false,
        ..slow
    };
    let answer = call(&link, &look).await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
}

/// The server ends the wait for a standby with a warning, and then answers as if all were well.
#[tokio::test]
async fn warning_makes_the_answer_unknown() {
    let database = Database::new();
    let link = Link::new(database.options());
    let warns = function(
        &database,
        "warns",
        "raise warning 'canceling wait for synchronous replication due to user request';",
    );
    let answer = call(&link, &warns).await;
    assert!(matches!(answer, Err(StoreError::Unknown(_))), "{answer:?}");
    let quick = function(&database, "quick", "raise notice 'all is well';");
    assert_eq!(call(&link, &quick).await.unwrap(), 1);
}

#[tokio::test]
async fn errors_of_the_server_are_answered_by_their_codes() {
    let database = Database::new();
    let link = Link::new(database.options());
    for (code, is_right) in [
        (
            "53100",
            (|error| matches!(error, StoreError::Full)) as fn(&StoreError) -> bool,
        ),
        ("XX001", |error| matches!(error, StoreError::Corrupted(_))),
        ("22021", |error| matches!(error, StoreError::Unavailable(_))),
        ("42883", |error| matches!(error, StoreError::Unavailable(_))),
        ("40P01", |error| matches!(error, StoreError::Unavailable(_))),
        ("25006", |error| matches!(error, StoreError::Unavailable(_))),
        ("57P01", |error| matches!(error, StoreError::Unknown(_))),
    ] {
        let body = format!(
            "raise exception 'it is so' using errcode = '{code}', detail = 'a secret value';"
        );
        let fails = function(&database, "fails", &body);
        let error = call(&link, &fails).await.unwrap_err();
        assert!(is_right(&error), "{code}: {error:?}");
        assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
    }
    let trouble = link.trouble().map(|trouble| trouble.to_string());
    assert!(
        trouble.is_some_and(|trouble| trouble.contains("(42883)")),
        "the last write that was refused"
    );
    let quick = function(&database, "quick", "");
    assert_eq!(call(&link, &quick).await.unwrap(), 1);
    assert!(link.trouble().is_none());
}

#[tokio::test]
async fn call_that_was_rolled_back_is_made_once_more() {
    let database = Database::new();
    let link = Link::new(database.options());
    database.execute("create sequence hookgate.calls");
    let again = function(
        &database,
        "again",
        "if nextval('hookgate.calls') = 1 then raise exception 'x' using errcode = '40001'; end if;",
    );
    assert_eq!(call(&link, &again).await.unwrap(), 1);
    // a sequence is not rolled back
    let calls = Call::look("calls_made");
    database.execute("create function hookgate.calls_made() returns bigint language sql as 'select last_value from hookgate.calls'");
    let rows = link.call(Lane::Looks, calls).await.unwrap();
    assert_eq!(column::<i64>(&rows[0], 0).unwrap(), 2);
}

#[tokio::test]
async fn killed_connections_are_made_anew() {
    let database = Database::new();
    let store = database.open().await;
    let name = database.config.get_dbname().unwrap().to_owned();
    for round in 0..20_u8 {
        let (key, lease) = (Key([round; 16]), Duration::from_secs(60));
        let claim = || store.claim(key, Token(1), lease);
        assert_eq!(
            crate::store::repeated(claim).await.unwrap(),
            ClaimResult::Fresh
        );
        database.execute(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and application_name like 'hookgate/%'"
        ));
        let commit = || store.commit(key, Token(1), lease);
        assert_eq!(
            crate::store::repeated(commit).await.unwrap(),
            Ownership::Owned
        );
    }
    assert!(store.health().trouble.is_none());
}

/// A server that is away is tried once a second; calls do not wait for it.
#[tokio::test]
async fn calls_fail_at_once_while_the_server_is_away() {
    let server = server::Server::start("-c fsync=off");
    server.execute("postgres", "create database gate");
    let options = Options {
        timeout: Duration::from_millis(400),
        ..options(&server.database("gate"))
    };
    migrate(&options, &Migration::default()).await.unwrap();
    let store = Postgres::open(options, Arc::new(SystemClock))
        .await
        .unwrap();
    let claim = async |byte| {
        let claimed = store.claim(Key([byte; 16]), Token(1), Duration::from_secs(60));
        claimed.await
    };
    claim(1).await.unwrap();
    server.end();
    let begun = now();
    while claim(2).await.is_ok() && begun.elapsed() < Duration::from_secs(10) {}
    while begun.elapsed() < Duration::from_secs(2) {
        let error = claim(2).await.unwrap_err();
        assert!(!matches!(error, StoreError::Corrupted(_)), "{error}");
    }
    let begun = now();
    for _ in 0..100 {
        let error = claim(2).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(store.health().trouble.is_some());
    store.close().await.unwrap();
}

#[tokio::test]
async fn password_is_read_at_each_connect_and_never_shown() {
    let database = Database::new();
    let reads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let options = {
        let (reads, config) = (Arc::clone(&reads), database.config.clone());
        Options {
            servers: Arc::new(move || {
                reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(config.clone().password("geheim").clone())
            }),
            ..database.options()
        }
    };
    assert!(!format!("{options:?}").contains("geheim"));
    let store = Postgres::open(options, Arc::new(SystemClock))
        .await
        .unwrap();
    let before = reads.load(std::sync::atomic::Ordering::Relaxed);
    store
        .commit(Key([1; 16]), Token(1), Duration::from_secs(9))
        .await
        .unwrap();
    store
        .claim(Key([2; 16]), Token(1), Duration::from_secs(9))
        .await
        .unwrap();
    assert!(reads.load(std::sync::atomic::Ordering::Relaxed) > before);
    assert!(!format!("{store:?}").contains("geheim"));
}

#[tokio::test]
async fn schema_that_is_not_there_is_named() {
    let database = Database::new();
    let options = Options {
        schema: "nowhere".into(),
        ..database.options()
    };
    let error = Postgres::open(options, Arc::new(SystemClock))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("run `hookgate migrate`"), "{text}");
    database.execute("update hookgate.meta set value = '2.0' where name = 'schema'");
    let error = Postgres::open(database.options(), Arc::new(SystemClock))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("has version 2.0"), "{error}");
}

/// After a crash of the server everything that was acknowledged is there, and calls go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_crashed_is_used_again() {
    use crate::store::contract::queue::{delivery, new};
    use crate::store::queue::{Dedupe, Queue as _, Start};

    // with fsync: without it nothing is promised
    let server = server::Server::start("");
    server.execute("postgres", "create database gate");
    let options = options(&server.database("gate"));
    migrate(&options, &Migration::default()).await.unwrap();
    let store = Postgres::open(options, Arc::new(SystemClock))
        .await
        .unwrap();
    let mut accepted = 0;
    for _ in 0..3 {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let store = Arc::clone(&store);
            callers.spawn(async move {
                let offered = Arc::new(delivery(7, Start::Anyone));
                let accept = || store.accept(Arc::clone(&offered), Dedupe::None);
                // a gateway's sender repeats what failed
                while crate::store::repeated(accept).await.map(new).is_err() {}
            });
        }
        server.crash();
        while let Some(done) = callers.join_next().await {
            done.unwrap();
            accepted += 1;
        }
    }
    let request = crate::store::queue::LeaseRequest::of(crate::store::queue::TargetId(7), 999);
    let lease = Duration::from_secs(60);
    let leased = store.lease(&[request], lease, 0).await.unwrap();
    assert_eq!(leased.len(), accepted);
    store.close().await.unwrap();
}

/// A server may warn of things while it is connected to: they are about no call.
#[tokio::test]
async fn warning_at_the_connect_is_ignored() {
    let database = Database::new();
    let name = database.config.get_dbname().unwrap();
    database.execute(&format!(
        "insert into pg_db_role_setting select oid, 0, '{{work_mem=synchronous replication}}' from pg_database where datname = '{name}'"
    ));
    let link = Link::new(database.options());
    link.open().await.unwrap();
    let quick = function(&database, "quick", "");
    for _ in 0..5 {
        assert_eq!(call(&link, &quick).await.unwrap(), 1);
    }
}

/// A server that takes connections and says nothing does not hide the next one.
#[tokio::test]
async fn silent_server_is_passed_over() {
    let database = Database::new();
    let silent = tempfile::tempdir().unwrap();
    let _listener = tokio::net::UnixListener::bind(silent.path().join(".s.PGSQL.5432")).unwrap();
    let mut config = Config::new();
    config
        .host_path(silent.path())
        .host_path(server::server().directory())
        .user("hookgate")
        .dbname(database.config.get_dbname().unwrap());
    let link = Link::new(Options {
        timeout: Duration::from_millis(1500),
        ..options(&config)
    });
    link.open().await.unwrap();
}
