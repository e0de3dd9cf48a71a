//! Gates with a queue: started, sent to, and their store read.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::config::SECRET;
use super::gate::Gate;
use super::http::Answer;
use super::sign;

/// Starts a gate in this process, with its store in its own directory, which is written `STORE` in the config.
pub fn start(yaml: &str) -> Gate {
    start_in(Arc::new(tempfile::tempdir().unwrap()), yaml)
}

/// Does the same in a directory that may hold a store already.
pub fn start_in(dir: Arc<tempfile::TempDir>, yaml: &str) -> Gate {
    let yaml = with_store(dir.path(), yaml);
    Gate::in_process_in(dir, &yaml)
}

/// Starts a gate as [`start`] does, as a process of its own.
pub fn start_process(yaml: &str) -> Gate {
    start_process_in(Arc::new(tempfile::tempdir().unwrap()), yaml)
}

/// Does the same in a directory that may hold a store already.
pub fn start_process_in(dir: Arc<tempfile::TempDir>, yaml: &str) -> Gate {
    let yaml = with_store(dir.path(), yaml);
    Gate::start_in(dir, &yaml)
}

/// Puts the store of a gate in this directory.
pub fn with_store(dir: &Path, yaml: &str) -> String {
    yaml.replace("STORE", dir.join("store").to_str().unwrap())
}

/// Sends a signed delivery to the GitHub route.
pub fn send(gate: &Gate, id: &str, body: &[u8]) -> Answer {
    gate.post("/webhooks/github", &sign::github(SECRET, id, body), body)
}

/// Sends a signed delivery to another route of that provider.
pub fn send_to(gate: &Gate, route: &str, id: &str) -> Answer {
    let body = format!("{{\"id\":\"{id}\"}}");
    let headers = sign::github(SECRET, id, body.as_bytes());
    gate.post(&format!("/webhooks/{route}"), &headers, body.as_bytes())
}

/// Returns the statuses, or error codes, of the attempts of every delivery, by its ID.
pub fn attempts(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let database = rusqlite::Connection::open(dir.join("store/hookgate.db")).unwrap();
    let all = "select d.delivery_id, coalesce(a.error, a.status) from attempt a join delivery d on d.id = a.id order by a.row";
    let mut found = BTreeMap::<String, Vec<String>>::new();
    let mut statement = database.prepare(all).unwrap();
    let rows = statement
        .query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, rusqlite::types::Value>(1)?))
        })
        .unwrap();
    for row in rows {
        let (id, came): (String, _) = row.unwrap();
        let came = match came {
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}")
                .replace("Integer(", "")
                .replace(')', ""),
        };
        found.entry(id).or_default().push(came);
    }
    found
}

/// Returns how many deliveries wait, from the store itself: the metric is a second behind.
pub fn waiting(dir: &Path) -> i64 {
    let database = rusqlite::Connection::open(dir.join("store/hookgate.db")).unwrap();
    database
        .query_row("select count(*) from due", [], |row| row.get(0))
        .unwrap()
}
