//! A process is killed while it accepts: what it acknowledged is there, and the file is whole.
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use uuid::Uuid;

use super::*;
use crate::clock::SystemClock;
use crate::store::archive::{Scope, Status, UnitsShown};
use crate::store::contract::queue::{attempt, delivery, new};
use crate::store::queue::{Accept, Dedupe, DeliveryRef, Next, OnDead, Queue as _, Start};

/// The variable with the directory of the child's store. Without it the child has nothing to do.
const DIRECTORY: &str = "HOOKGATE_TEST_CRASH_DIRECTORY";

fn key_of(id: DeliveryRef) -> Key {
    Key(*id.0.as_bytes())
}

fn body_of(id: DeliveryRef) -> Vec<u8> {
    id.0.as_bytes().repeat(64)
}

fn open_real(path: &Path) -> Embedded {
    let opening = Opening::default();
    Embedded::open_with(path, 1_000_000, Arc::new(SystemClock), opening)
        .unwrap()
        .ledger
}

/// The child: accepts and delivers until it is killed, and prints each step once it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_of_the_crash_test() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let store = Arc::new(open_real(Path::new(&directory)));
    let workers: Vec<_> = (0..16_u32)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..u64::MAX {
                    let mut one = delivery(number % 3, Start::Mine(LEASE));
                    one = Accept {
                        body: body_of(one.id).into(),
                        ..one
                    };
                    let (id, dedupe) = (
                        one.id,
                        Dedupe::Key {
                            key: key_of(one.id),
                            window: WINDOW,
                            dead: OnDead::Revive,
                        },
                    );
                    let lease = new(store.accept(Arc::new(one), dedupe).await.unwrap()).remove(0);
                    say("accepted", id);
                    if number % 2 == 0 {
                        assert_eq!(
                            store
                                .settle(lease, Some(attempt(200)), Next::Delivered)
                                .await
                                .unwrap(),
                            Ownership::Owned
                        );
                        say("delivered", id);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

fn say(what: &str, id: DeliveryRef) {
    let mut out = std::io::stdout().lock();
    // the test harness may have written something without an end of line
    writeln!(out, "\n{what} {id}")
        .and_then(|()| out.flush())
        .unwrap();
}

/// Starts the child, kills it after `lines` lines, and gives what it said.
fn killed(directory: &Path, lines: usize) -> Vec<(bool, DeliveryRef)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::embedded::tests::crash::child_process_of_the_crash_test",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut events, mut line) = (Vec::new(), String::new());
    let mut dead = false;
    while out.read_line(&mut line).unwrap() > 0 {
        // what was being written when it died ends without an end of line
        if let Some((what, id)) = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once(' '))
            && let (true, Ok(id)) = (
                ["accepted", "delivered"].contains(&what),
                id.parse::<Uuid>(),
            )
        {
            events.push((what == "delivered", DeliveryRef(id)));
        }
        line.clear();
        if events.len() >= lines && !dead {
            child.kill().unwrap();
            dead = true;
        }
    }
    child.wait().unwrap();
    assert!(
        dead,
        "the child ended by itself after {} lines",
        events.len()
    );
    events
}

#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..20_usize {
        let path = directory.path().to_owned();
        all.extend(
            tokio::task::spawn_blocking(move || killed(&path, 1 + round * 37 % 400))
                .await
                .unwrap(),
        );
        let store = open_real(directory.path());
        for (delivered, id) in &all {
            let shown = store
                .get(Scope::All, *id, UnitsShown::All)
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("round {round}: {id} is lost"));
            assert_eq!(shown.stored.body, body_of(*id), "round {round}");
            let status = shown.units[0].status;
            assert!(matches!(status, Status::Pending | Status::Delivered));
            assert!(
                !delivered || status == Status::Delivered,
                "round {round}: {id} would be handed on again"
            );
            assert_eq!(
                store.claim(key_of(*id), Token(1), LEASE).await.unwrap(),
                ClaimResult::Committed,
                "round {round}"
            );
        }
        drop(store);
        let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
        assert_eq!(
            other
                .query_row("pragma integrity_check", [], |row| row.get::<_, String>(0))
                .unwrap(),
            "ok"
        );
        let sums = "select (select sum(rows) from tally where kind = 0) = (select count(*) from delivery)
            and (select sum(rows) from tally where kind = 1) = (select count(*) from due)
            and (select sum(bytes) from tally where kind = 0) = (select sum(length(record) + length(body)) from delivery)
                + (select coalesce(sum(length(head) + length(body)), 0) from attempt)";
        assert!(
            other
                .query_row(sums, [], |row| row.get::<_, bool>(0))
                .unwrap(),
            "round {round}: the sums"
        );
        if all.len() > 2000 {
            all.drain(..1000);
        }
    }
}
