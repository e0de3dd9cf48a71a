use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::directory::network;
use super::*;
use crate::mount;
use crate::store::Key;

#[test]
fn network_file_systems_are_recognised() {
    let mounts = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /var/lib/hookgate rw shared:2 - nfs4 nas:/vol rw,vers=4.2
31 22 0:41 / /var/lib/hook rw shared:3 - cifs //nas/x rw
32 30 0:42 / /var/lib/hookgate/local rw - xfs /dev/sdb rw
33 22 0:43 / /mnt/with\\040blank rw - fuse.sshfs host: rw";
    let mounts = mount::parse(mounts.as_bytes());
    let kind = |path: &str| network(Path::new(path), &mounts);
    assert_eq!(kind("/srv"), None);
    assert_eq!(kind("/var/lib/hookgate"), Some("nfs4".to_owned()));
    assert_eq!(kind("/var/lib/hookgate/data"), Some("nfs4".to_owned()));
    assert_eq!(kind("/var/lib/hookgate/local"), None);
    assert_eq!(kind("/var/lib/hook"), Some("cifs".to_owned()));
    assert_eq!(kind("/mnt/with blank/x"), Some("fuse.sshfs".to_owned()));
    assert_eq!(network(Path::new("/srv"), &[]), None);
}

fn key(byte: u8) -> Key {
    Key([byte; 16])
}

fn load(database: &Database, now: i64) -> Vec<(u8, u128)> {
    let mut rows = BTreeMap::new();
    let each = |key: Key, left: Option<Duration>| match left {
        None => drop(rows.remove(&key.0)),
        Some(left) => {
            let known = rows.entry(key.0).or_insert(left);
            *known = left.max(*known);
        }
    };
    database.load(now, each).unwrap();
    rows.into_iter()
        .map(|(key, left)| (key[0], left.as_millis()))
        .collect()
}

/// Returns the steps of the query plan.
fn plan(database: &Database, sql: &str) -> String {
    let mut statement = database
        .connection
        .prepare(&format!("explain query plan {sql}"))
        .unwrap();
    let steps = statement
        .query_map([], |row| row.get::<_, String>(3))
        .unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

#[test]
fn rows_are_saved_loaded_and_purged_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let directory = Directory::hold(directory.path()).unwrap();
    let mut database = Database::open(&directory, [1; 16]).unwrap();
    let changes: Vec<_> = (0..10)
        .map(|byte| Change::Remember(key(byte), 1000 + i64::from(byte)))
        .collect();
    let mut save = |changes: &[Change]| {
        database
            .transaction(0, |writing| journal::save(writing, changes))
            .unwrap()
    };
    for change in changes {
        save(&[change]);
    }
    save(&[
        Change::Remember(key(0), 5000),
        Change::Erase(key(9)),
        Change::Erase(key(77)),
    ]);
    assert_eq!(load(&database, 1006), [(0, 3994), (7, 1), (8, 2)]);
    let mut purge = || {
        database
            .transaction(1006, |writing| journal::purge(writing, 4))
            .unwrap()
            .0
    };
    assert_eq!((purge(), purge()), ((4, true), (3, false)));
    assert_eq!(load(&database, 0).len(), 3);
    drop(database);
    let database = Database::open(&directory, [2; 16]).unwrap();
    assert_eq!(
        database.hash_key(),
        [1; 16],
        "the store's, not the process's"
    );
}

#[test]
fn frequent_queries_use_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let directory = Directory::hold(directory.path()).unwrap();
    let database = Database::open(&directory, [1; 16]).unwrap();
    let check = |sql: &str, index: &str| {
        let plan = plan(&database, sql);
        assert!(
            plan.contains(index) && !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"),
            "{sql}: {plan}"
        );
    };
    check(
        "select key, until from ledger where (until, key) > (1, x'00') and until <= 5 order by until, key limit 9",
        "ledger_until",
    );
    check(
        "select row from journal where until <= 5 order by until, row limit 9",
        "journal_until",
    );
    check(
        "select target, run_at from due where attempt_count = 0 and target > 3 order by target, run_at limit 1",
        "due_first",
    );
    check(
        "select target, run_at from due where attempt_count > 0 and target > 3 order by target, run_at limit 1",
        "due_retry",
    );
    check(
        "select due.id from due cross join delivery on delivery.id = due.id
            where due.attempt_count = 0 and due.target = 1 and run_at <= 9 order by run_at limit 3",
        "due_first",
    );
    check(
        "select id from due where target = 1 and lane = x'00' order by seq limit 1",
        "due_lane",
    );
    check(
        "select id from delivery where origin = 1 and id > x'00' order by id limit 3",
        "delivery_origin",
    );
    check(
        "select id from ended where origin = 1 and dead = 0 and at >= 1 and at < 5 order by at limit 3",
        "ended_by",
    );
    check(
        "select distinct id from dead where target = 1 and id > x'00' order by id limit 3",
        "dead_target",
    );
    check(
        "select 1 from attempt where id = x'00' and target = 1 and lease = 2 and late = 0",
        "attempt_unit",
    );
    check(
        "select id from delivery where delivery_id = 'a' and origin = 1",
        "delivery_own",
    );
    check(
        "select id from attempt where target = 1 and facts is not null and row < 9 order by row desc limit 3",
        "attempt_target",
    );
    check(
        "select body from version where id = x'00' and version = 1",
        "version_of",
    );
}

#[test]
fn queries_of_the_address_book_use_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let directory = Directory::hold(directory.path()).unwrap();
    let database = Database::open(&directory, [1; 16]).unwrap();
    for (sql, index) in [
        (tenant::BY_NAME, "sqlite_autoindex_tenant_1 (uid>?)"),
        (tenant::BY_UID, "sqlite_autoindex_tenant_1 (uid=?)"),
        (tenant::BY_NUMBER, "PRIMARY KEY (rowid=?)"),
        (
            endpoint::OF_TENANT,
            "endpoint_tenant (tenant=? AND number>?)",
        ),
        (endpoint::BY_ID, "sqlite_autoindex_endpoint_1 (id=?)"),
        (endpoint::BY_UID, "endpoint_uid (tenant=? AND uid=?)"),
        (endpoint::BY_NUMBER, "PRIMARY KEY (rowid=?)"),
        (endpoint::WITH_JOB, "endpoint_running (number>?)"),
        (endpoint::INACTIVE, "endpoint_inactive (number>?)"),
        (
            endpoint::WAITING_FOR_INACTIVE[0],
            "endpoint_inactive (number>?)",
        ),
        (
            endpoint::WAITING_FOR_INACTIVE[0],
            "COVERING INDEX due_first (target=?)",
        ),
        (
            endpoint::WAITING_FOR_INACTIVE[1],
            "INDEX due_retry (target=?)",
        ),
        (endpoint::SECRETS, "PRIMARY KEY (endpoint=?)"),
        (health::HEALTH, "PRIMARY KEY (endpoint=?)"),
        (endpoint::UNHEALTHY, "PRIMARY KEY (endpoint>?)"),
        (endpoint_save::COUNT, "endpoint_tenant (tenant=?)"),
        (
            endpoint_save::SAME_NAME,
            "endpoint_uid (tenant=? AND uid=?)",
        ),
        (sealed::HEADERS, "PRIMARY KEY (rowid>?)"),
        (sealed::SECRETS, "PRIMARY KEY (endpoint=?)"),
    ] {
        let literal = (1..=3).fold(sql.to_owned(), |sql, n| sql.replace(&format!("?{n}"), "1"));
        let plan = plan(&database, &literal);
        assert!(
            plan.contains(index)
                && !plan.lines().any(|step| step.starts_with("SCAN"))
                && !plan.contains("TEMP B-TREE"),
            "{sql}: {plan}"
        );
    }
}

#[test]
fn another_schema_is_refused_with_its_version() {
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let database = Database::open(&directory, [1; 16]).unwrap();
    database
        .connection
        .execute("update meta set value = 9 where name = 'schema'", [])
        .unwrap();
    drop(database);
    let error = Database::open(&directory, [1; 16]).unwrap_err();
    assert!(matches!(error, OpenError::OtherSchema { found: 9, .. }));
    assert!(
        error.to_string().contains("(schema 9, this one knows 3)"),
        "{error}"
    );
}

#[test]
fn truncated_file_is_noticed_on_open() {
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let mut database = Database::open(&directory, [1; 16]).unwrap();
    let changes = (0..5000_u32).map(|n| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
        Change::Remember(Key(bytes), 1000)
    });
    let changes: Vec<_> = changes.collect();
    database
        .transaction(0, |writing| journal::save(writing, &changes))
        .unwrap();
    drop(database);
    let file = held.path().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    for cut in [
        whole.len() - 1,
        whole.len() - 4096,
        whole.len() / 2,
        4096,
        100,
        99,
        1,
    ] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        let error = Database::open(&directory, [1; 16]).unwrap_err();
        assert!(
            matches!(error, OpenError::Store(StoreError::Corrupted(_))),
            "cut at {cut}: {error}"
        );
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(
        load(&Database::open(&directory, [1; 16]).unwrap(), 0).len(),
        5000
    );
}

/// A full disk accepts nothing, keeps its deliveries, and accepts again once there is room.
#[test]
fn full_disk_stores_a_delivery_whole_or_not_at_all() {
    use crate::store::contract::queue::delivery;
    use crate::store::queue::{OnDead, Start};
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let mut database = Database::open(&directory, [1; 16]).unwrap();
    let accept = |database: &mut Database, number: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let commit = accept::Commit {
            key: Key(bytes),
            window: 1000,
            dead: OnDead::Keep,
            known: false,
        };
        let one = crate::store::queue::Accept {
            body: vec![7; 3000].into(),
            ..delivery(1, Start::Anyone)
        };
        database
            .transaction(0, |writing| {
                accept::accept(
                    writing,
                    &one,
                    &one.record.encode(),
                    accept::Unique::ByKey(commit),
                )
            })
            .map(drop)
    };
    let pages: i64 = database
        .connection
        .query_row("pragma page_count", [], |row| row.get(0))
        .unwrap();
    database
        .connection
        .execute_batch(&format!("pragma max_page_count = {}", pages + 40))
        .unwrap();
    let (mut taken, mut number) = (0_i64, 0);
    let error = loop {
        match accept(&mut database, number) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        number += 1;
    };
    assert!(
        matches!(error, StoreError::Full) && taken > 5,
        "{error} after {taken}"
    );
    let count = |database: &Database| {
        let count = |table: &str| {
            database
                .connection
                .query_row(&format!("select count(*) from {table}"), [], |row| {
                    row.get::<_, i64>(0)
                })
                .unwrap()
        };
        [count("delivery"), count("due"), count("ledger")]
    };
    assert_eq!(count(&database), [taken; 3]);
    database
        .connection
        .execute_batch(&format!("pragma max_page_count = {}", pages + 400))
        .unwrap();
    accept(&mut database, number).unwrap();
    assert_eq!(count(&database), [taken + 1; 3]);
    assert_eq!(
        database.tally().unwrap()[&(writing::WAITING, 1)],
        (taken + 1, 0)
    );
}
