//! Making the schema.
use tokio_postgres::NoTls;

use super::super::errors::NoConnection;
use super::super::migrate::MigrateError;
use super::*;

async fn migrated(options: &Options) -> Vec<String> {
    migrate(options, &Migration::default()).await.unwrap()
}

async fn text(config: &Config, sql: &str) -> String {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let rows = client.query_typed(sql, &[]).await.unwrap();
    driver.abort();
    rows[0].get(0)
}

#[tokio::test]
async fn schema_is_made_once_under_any_name() {
    let config = server::server().empty();
    let options = Options {
        schema: "other_1".into(),
        ..options(&config)
    };
    let dry = Migration {
        dry_run: true,
        grant: None,
    };
    for _ in 0..2 {
        let done = migrate(&options, &dry).await.unwrap();
        assert_eq!(
            done,
            [
                "create schema other_1, version 1.0",
                "create 27 tables for the next days"
            ]
        );
    }
    let done = migrated(&options).await;
    assert_eq!(
        done,
        [
            "created schema other_1, version 1.0",
            "created 27 tables for the next days"
        ]
    );
    let key = "select value from other_1.meta where name = 'hash_key'";
    let first = text(&config, key).await;
    assert_eq!(first.len(), 32);
    assert!(migrated(&options).await.is_empty());
    assert_eq!(text(&config, key).await, first);
    server::server().execute(
        config.get_dbname().unwrap(),
        "update other_1.meta set value = 'old' where name = 'sql'; drop function other_1.store_1()",
    );
    assert_eq!(
        migrated(&options).await,
        ["renewed the functions of schema other_1, version 1.0"]
    );
    assert_eq!(
        text(&config, "select schema from other_1.store_1()").await,
        "1.0"
    );
    // removed, it leaves nothing that is in the way of another
    server::server().execute(config.get_dbname().unwrap(), "drop schema other_1 cascade");
    assert_eq!(migrated(&options).await.len(), 2);
}

#[tokio::test]
async fn processes_that_migrate_at_once_wait_for_each_other() {
    let config = server::server().empty();
    let options = options(&config);
    let all: Vec<_> = (0..4)
        .map(|_| {
            let options = options.clone();
            tokio::spawn(async move { migrated(&options).await.len() })
        })
        .collect();
    let mut lines = 0;
    for one in all {
        lines += one.await.unwrap();
    }
    assert_eq!(lines, 2, "one did it");
}

#[tokio::test]
async fn another_major_version_is_refused_and_a_newer_minor_one_is_left_alone() {
    let config = server::server().empty();
    let options = options(&config);
    migrated(&options).await;
    let set = |version: &str| {
        let sql = format!(
            "update hookgate.meta set value = '{version}' where name = 'schema'; update hookgate.meta set value = '' where name = 'sql'"
        );
        server::server().execute(config.get_dbname().unwrap(), &sql);
    };
    set("1.7");
    assert!(migrated(&options).await.is_empty());
    set("2.0");
    let refused = migrate(&options, &Migration::default()).await.unwrap_err();
    assert!(
        matches!(&refused, MigrateError::Refused(text) if text.contains("has version 2.0")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn granted_role_can_make_calls_and_no_tables() {
    let server = server::server();
    let config = server.empty();
    server.execute("postgres", "create role \"gate-way\" login");
    let migration = Migration {
        dry_run: false,
        grant: Some("gate-way".to_owned()),
    };
    let done = migrate(&options(&config), &migration).await.unwrap();
    assert_eq!(done[2], "granted the rights of a gateway to role gate-way");
    let mut role = config.clone();
    role.user("gate-way");
    assert_eq!(
        text(&role, "select schema from hookgate.store_1()").await,
        "1.0"
    );
    assert_eq!(
        text(&role, "select hookgate.days_make_1(9)::text").await,
        "6"
    );
    let options = Options {
        schema: "other".into(),
        ..options(&role)
    };
    let refused = migrate(&options, &Migration::default()).await.unwrap_err();
    assert!(
        matches!(&refused, MigrateError::Refused(text) if text.contains("42501")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn server_that_is_away_is_not_reachable() {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(1)
        .user("nobody")
        .password("geheim");
    let error = migrate(&options(&config), &Migration::default())
        .await
        .unwrap_err();
    let is_away = matches!(error, MigrateError::NoConnection(NoConnection::Away(_)));
    assert!(is_away, "{error:?}");
    assert!(!format!("{error:?} {error}").contains("geheim"));
}

/// The self-test of the schema is the first thing that runs on a new version of PostgreSQL.
#[tokio::test]
async fn self_test_of_the_schema_holds() {
    let server = server::server();
    let config = server.empty();
    migrated(&options(&config)).await;
    let whole = include_str!("../self_test.sql");
    // lines that begin with a backslash are for psql, and so is the end
    let lines = whole.lines().filter(|line| !line.starts_with('\\'));
    let text: Vec<_> = lines.collect();
    let text = text.join("\n");
    let (begin, _) = text
        .split_once("select 'self-test: ' || last_value")
        .unwrap();
    server.execute(config.get_dbname().unwrap(), begin);
}

#[tokio::test]
async fn first_of_several_servers_that_takes_writes_is_used() {
    let config = server::server().empty();
    migrated(&options(&config)).await;
    let mut several = Config::new();
    several
        .host_path("/nowhere")
        .host_path(server::server().directory())
        .user("hookgate")
        .dbname(config.get_dbname().unwrap());
    assert!(migrated(&options(&several)).await.is_empty());
    let name = config.get_dbname().unwrap();
    server::server().execute(
        "postgres",
        &format!("alter database {name} set default_transaction_read_only = on"),
    );
    let error = Postgres::connect(options(&several), HandClock::new())
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("cannot be reached: /nowhere: error connecting"),
        "{error}"
    );
    assert!(
        error.contains("the server does not allow writes"),
        "{error}"
    );
}

/// A wrong database or role is told apart from a server that is away.
#[tokio::test]
async fn refused_login_is_told_apart() {
    let server = server::server();
    let mut config = server.database("no_such_database");
    let login = async |config: &Config| {
        let error = migrate(&options(config), &Migration::default()).await;
        match error.unwrap_err() {
            MigrateError::NoConnection(NoConnection::Login(why)) => why,
            MigrateError::Refused(why) => panic!("{why}"),
            error @ MigrateError::NoConnection(_) => panic!("{error:?}"),
        }
    };
    assert!(login(&config).await.contains("3D000"));
    config.dbname("postgres").user("no_such_role");
    assert!(login(&config).await.contains("28000"));
    let wrong = Options {
        servers: Arc::new(|| Err("/run/secrets/uri does not exist".into())),
        ..options(&config)
    };
    let error = migrate(&wrong, &Migration::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "/run/secrets/uri does not exist");
}
