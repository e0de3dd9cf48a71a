//! A disk that is full, by the gateway's own doing and by somebody else's: what was accepted is delivered, settled and deleted all the same.
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::support::app::unused_address;
use super::support::config::{self, SECRET};
use super::support::fault::{Fault, FaultServer};
use super::support::gate::{Gate, hookgate, metric, wait_at_most, wait_for};
use super::support::http;
use super::support::queue::{self, waiting};
use super::support::sign;
use super::support::small_disk::SmallDisk;

const QUICK: &str = "retry: { initial: 50ms, factor: 1, max: 50ms, max_attempts: 100000 }";
const TOKEN: &str = "An-Admin-Token-0123456789abcdef01";

/// Mounts a disk of 12 MiB.
fn small_disk(path: &Path) -> SmallDisk {
    SmallDisk::of(path, "12m")
}

fn with_token(yaml: &str) -> String {
    let admin = format!("admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: {TOKEN} }} }}");
    yaml.replace("admin: { address: 127.0.0.1:0 }", &admin)
}

fn send(gate: &Gate, id: &str) -> http::Answer {
    let body = format!("{{\"id\":\"{id}\",\"fill\":\"{}\"}}", "x".repeat(20_000));
    gate.post(
        "/webhooks/github",
        &sign::github(SECRET, id, body.as_bytes()),
        body.as_bytes(),
    )
}

#[track_caller]
fn is_full(answer: &http::Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("Retry-After").is_some());
}

/// Sends until twenty in a row are refused; the IDs that were acknowledged.
fn fill_up(gate: &Gate, prefix: &str) -> HashSet<String> {
    let (mut sent, mut refused) = (HashSet::new(), 0);
    for number in 0..3000 {
        let id = format!("{prefix}-{number}");
        let answer = send(gate, &id);
        if answer.status == 200 {
            sent.insert(id);
            refused = 0;
        } else {
            is_full(&answer);
            refused += 1;
        }
        if refused == 20 {
            return sent;
        }
    }
    panic!("nothing is ever full");
}

fn restart(mut gate: Gate, yaml: &str) -> Gate {
    let dir = gate.shared_dir();
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(15)).success());
    drop(gate);
    queue::start_process_in(dir, yaml)
}

fn ids(app: &FaultServer) -> HashSet<String> {
    app.seen().into_iter().map(|request| request.id).collect()
}

#[test]
fn full_store_still_delivers_what_it_accepted() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let disk = small_disk(&dir.path().join("store"));
    let address = unused_address();
    let yaml = config::queue(&format!("http://{address}"), QUICK);
    let gate = queue::start_process_in(Arc::clone(&dir), &yaml);
    let sent = fill_up(&gate, "id");
    assert!(sent.len() > 50, "only {} fitted", sent.len());
    let refused = || {
        metric(
            &gate,
            "hookgate_requests_total{outcome=\"store_full\",route=\"github\"}",
        )
    };
    wait_for("the last refusal to be counted", || refused() >= 20.0);
    wait_for("the status to say so", || {
        gate.admin("/-/status")["store"]["alarm"]
            .to_string()
            .contains("full")
    });
    // and then somebody else takes the rest, the reserve alone is left
    disk.fill();
    let gate = restart(gate, &yaml);
    is_full(&send(&gate, "new"));
    assert_eq!(gate.health("/readyz").status, 200);
    let app = FaultServer::at(address, |_, _| Fault::Keep(200));
    wait_at_most(Duration::from_secs(60), "all to be settled", || {
        waiting(dir.path()) == 0
    });
    assert_eq!(ids(&app), sent);
    // freed from outside, it takes new ones again
    std::fs::remove_file(disk.ballast()).unwrap();
    wait_at_most(Duration::from_secs(20), "room", || {
        send(&gate, "new").status == 200
    });
    wait_for("it to arrive", || ids(&app).contains("new"));
    drop(gate);
}

/// The first start of a gateway, on a disk that somebody else has filled.
#[test]
fn first_start_on_a_full_disk_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let disk = small_disk(&dir.path().join("store"));
    disk.fill();
    let path = dir.path().join("config.yaml");
    let yaml = config::queue(&format!("http://{}", unused_address()), QUICK);
    std::fs::write(&path, yaml.replace("STORE", disk.path().to_str().unwrap())).unwrap();
    for nearly in [false, true] {
        if nearly {
            // room for the first files alone
            let ballast = std::fs::OpenOptions::new()
                .write(true)
                .open(disk.ballast())
                .unwrap();
            ballast
                .set_len(ballast.metadata().unwrap().len() - (24 << 10))
                .unwrap();
        }
        let left = hookgate()
            .args(["run", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&left.stderr);
        assert_eq!(left.status.code(), Some(1), "{text}");
        assert!(
            text.contains("is full") && text.contains("free some space"),
            "{text}"
        );
    }
}

#[test]
fn full_store_can_be_purged_and_takes_new_deliveries_after() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let disk = small_disk(&dir.path().join("store"));
    let yaml = with_token(&config::queue(
        &format!("http://{}", unused_address()),
        QUICK,
    ));
    let gate = queue::start_process_in(Arc::clone(&dir), &yaml);
    let sent = fill_up(&gate, "id");
    let purge = || {
        let body = json!({ "filter": { "route": "github" }, "include_waiting": true, "reason": "no room" })
            .to_string();
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Authorization", &*bearer),
        ];
        let answer = http::request(
            gate.address("admin"),
            "POST",
            "/-/deliveries/purge",
            &headers,
            body.as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        waiting(dir.path()) == 0
    };
    wait_at_most(Duration::from_secs(30), "all to be purged", purge);
    // space goes back to the disk in steps, and as much fits as before
    let mut again = HashSet::new();
    wait_at_most(Duration::from_secs(60), "as many to fit again", || {
        let id = format!("again-{}", again.len());
        if send(&gate, &id).status == 200 {
            again.insert(id);
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
        again.len() >= sent.len() / 2
    });
    drop(gate);
    drop(disk);
}

/// A full disk changes no response, to forged and to authentic requests.
#[test]
fn refused_requests_are_not_kept_on_a_full_disk() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let disk = small_disk(&dir.path().join("store"));
    let app = FaultServer::start(|_, _| Fault::Keep(200));
    let action = "forward: { upstream: app }\n    quarantine: {}";
    let yaml = config::with_action(&format!("http://{}", app.address), action);
    let gate = queue::start_process_in(Arc::clone(&dir), &yaml);
    disk.fill();
    let forge = || {
        let body = vec![b'x'; 20_000];
        let forged = sign::github("forged", "id", &body);
        assert_eq!(gate.post("/webhooks/github", &forged, &body).status, 401);
    };
    forge();
    let not_kept = "hookgate_quarantine_not_kept_total{reason=\"disk\"}";
    wait_for("it not to be kept", || metric(&gate, not_kept) >= 1.0);
    let kept = || metric(&gate, "hookgate_quarantine_requests{route=\"github\"}");
    assert_eq!(kept(), 0.0);
    assert_eq!(send(&gate, "good").status, 200);
    std::fs::remove_file(disk.ballast()).unwrap();
    forge();
    wait_for("the next one to be kept", || kept() >= 1.0);
    drop(gate);
}

#[test]
fn gateway_that_only_forwards_starts_on_a_full_disk() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let disk = small_disk(&dir.path().join("store"));
    let app = FaultServer::start(|_, _| Fault::Keep(200));
    let forwards = config::forward_with_store(&app.url(), "query: drop");
    let gate = queue::start_process_in(Arc::clone(&dir), &forwards);
    disk.fill();
    for round in 0..2 {
        assert_eq!(
            send(&gate, &format!("id-{round}")).status,
            200,
            "the disk filled up under it"
        );
    }
    let mut gate = restart(gate, &forwards);
    assert_eq!(send(&gate, "id-2").status, 200);
    gate.signal("KILL");
    gate.wait(Duration::from_secs(5));
    drop(gate);
    let gate = queue::start_process_in(Arc::clone(&dir), &forwards);
    assert_eq!(send(&gate, "id-3").status, 200, "after a crash, too");
    assert_eq!(app.count(), 4);
}
