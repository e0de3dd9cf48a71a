use super::*;

#[test]
fn a_network_is_told_from_a_disk() {
    let mounts = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /var/lib/hookgate rw shared:2 - nfs4 nas:/vol rw,vers=4.2
31 22 0:41 / /var/lib/hook rw shared:3 - cifs //nas/x rw
32 30 0:42 / /var/lib/hookgate/local rw - xfs /dev/sdb rw
33 22 0:43 / /mnt/with\\040blank rw - fuse.sshfs host: rw";
    let kind = |path: &str| network(Path::new(path), mounts);
    assert_eq!(kind("/srv"), None);
    assert_eq!(kind("/var/lib/hookgate"), Some("nfs4".to_owned()));
    assert_eq!(kind("/var/lib/hookgate/data"), Some("nfs4".to_owned()));
    assert_eq!(kind("/var/lib/hookgate/local"), None);
    assert_eq!(kind("/var/lib/hook"), Some("cifs".to_owned()));
    assert_eq!(kind("/mnt/with blank/x"), Some("fuse.sshfs".to_owned()));
    assert_eq!(network(Path::new("/srv"), ""), None);
}

#[test]
fn rows_are_saved_loaded_and_purged_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let directory = Directory::hold(directory.path()).unwrap();
    let mut database = Database::open(&directory, [1; 16]).unwrap();
    let key = |byte| Key([byte; 16]);
    let changes: Vec<_> = (0..10).map(|byte| Change::Remember(key(byte), 1000 + u64::from(byte))).collect();
    database.save(&changes).unwrap();
    database.save(&[Change::Remember(key(0), 5000), Change::Forget(key(9)), Change::Forget(key(77))]).unwrap();
    let load = |database: &Database, now| {
        let mut rows = Vec::new();
        database.load(now, |key, left| rows.push((key.0[0], left.as_millis()))).unwrap();
        rows.sort_unstable();
        rows
    };
    assert_eq!(load(&database, 1006), [(0, 3994), (7, 1), (8, 2)]);
    assert_eq!(database.purge(1006, 4).unwrap(), 4);
    assert_eq!(database.purge(1006, 4).unwrap(), 2);
    assert_eq!(load(&database, 0).len(), 3);
    drop(database);
    let database = Database::open(&directory, [2; 16]).unwrap();
    assert_eq!(database.hash_key(), [1; 16], "the store's, not the process's");
    let plan: String =
        database.connection.query_row("explain query plan select key from ledger where until <= 5 limit 9", [], |row| row.get(3)).unwrap();
    assert!(plan.contains("ledger_until"), "{plan}");
}

#[test]
fn a_newer_schema_is_refused_with_its_version() {
    let held = tempfile::tempdir().unwrap();
    let directory = Directory::hold(held.path()).unwrap();
    let database = Database::open(&directory, [1; 16]).unwrap();
    database.connection.execute("update meta set value = 9 where name = 'schema'", []).unwrap();
    drop(database);
    let error = Database::open(&directory, [1; 16]).unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 9, .. }));
    assert!(error.to_string().contains("schema version 9, this hookgate knows 1"), "{error}");
}
