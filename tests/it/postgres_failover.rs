//! Servers that crash, are lost or hang under load: what a gateway acknowledged is in the store, and service goes on.
//!
//! `HOOKGATE_TORTURE=1` runs the long form.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::fault::{Fault, FaultServer};
use super::support::fleet::{self, DATABASE, Load, size};
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::postgres_server::Server;
use super::support::queue::send_to;

const SENDERS: usize = 16;
/// The time in which a gateway must serve again once the server does.
const BACK: Duration = Duration::from_secs(2);
/// The time that a busy machine may add to it in the short form.
const BUSY: Duration = Duration::from_secs(8);

/// A gateway, the file with the URL of its servers, and its app.
struct Setup {
    app: FaultServer,
    gate: Gate,
    url: PathBuf,
}

impl Setup {
    fn new(servers: &[&Server]) -> Self {
        servers[0].execute("postgres", &format!("create database {DATABASE}"));
        let app = FaultServer::start(|_, _| Fault::Keep(200));
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let url = dir.path().join("url");
        write(&url, servers);
        let gate = Gate::start_in(dir, &fleet::config(&url, &app.url(), ""));
        Self { app, gate, url }
    }

    fn load(&self, prefix: &str) -> Load {
        let address = self.gate.address("senders");
        Load::start(&[address], SENDERS, "/webhooks/queued", prefix)
    }

    /// Waits until all is delivered, and checks that the app has what was acknowledged.
    fn all_arrive(&self, server: &Server, acknowledged: &BTreeSet<String>) {
        let database = server.database(DATABASE);
        let due = "select count(*) from hookgate.due";
        wait_at_most(Duration::from_secs(600), "all to be delivered", || {
            fleet::number(&database, due) == 0
        });
        let seen = self.app.seen();
        let seen: BTreeSet<_> = seen.into_iter().map(|request| request.id).collect();
        assert!(acknowledged.is_subset(&seen));
    }
}

fn write(url: &Path, servers: &[&Server]) {
    // as a secret is replaced: at once
    let new = url.with_extension("new");
    std::fs::write(&new, fleet::url(servers)).unwrap();
    std::fs::rename(new, url).unwrap();
}

#[test]
fn server_that_is_killed_again_and_again_loses_nothing() {
    let kills = size(3, 50);
    let server = Server::start("");
    let setup = Setup::new(&[&server]);
    let load = setup.load("kill");
    let mut longest = Duration::ZERO;
    for _ in 0..kills {
        load.wait_for(size(50, 100));
        server.crash();
        longest = longest.max(load.first_since(Instant::now()));
    }
    load.wait_for(50);
    let refused = load.refused();
    let acknowledged = load.stop();
    let config = server.database(DATABASE);
    let stored = fleet::nothing_is_lost(&config, &acknowledged);
    eprintln!(
        "{kills} crashes of the server: {} acknowledged, {stored} stored, 0 lost, refused {refused:?}; service at most {longest:?} after the server",
        acknowledged.len()
    );
    assert!(longest < BACK + size(BUSY, Duration::ZERO), "{longest:?}");
    setup.all_arrive(&server, &acknowledged);
}

/// A standby has each commit before it is acknowledged, so the loss of the primary loses none.
#[test]
fn primary_that_is_lost_loses_nothing_that_was_acknowledged() {
    let (rounds, each) = size((1, 400), (5, 10_500));
    let more = "-c wal_keep_size=64MB";
    let mut primary = Server::start(more);
    let setup = Setup::new(&[&primary]);
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let standby = Server::standby_of(&primary, more);
        let attached = "select count(*) from pg_stat_replication where state = 'streaming'";
        wait_for("the standby", || {
            fleet::number(&primary.database("postgres"), attached) == 1
        });
        primary.set("synchronous_standby_names", "ANY 1 (*)");
        let waits = "select count(*) from pg_stat_replication where sync_state = 'quorum'";
        wait_for("the server to wait for it", || {
            fleet::number(&primary.database("postgres"), waits) == 1
        });
        write(&setup.url, &[&primary, &standby]);
        let load = setup.load(&format!("loss-{round}"));
        load.wait_for(each / 2);
        primary.lose();
        let begun = Instant::now();
        standby.promote();
        let promoted = Instant::now();
        let service = load.first_since(promoted);
        load.wait_for(each - each / 2);
        let refused = load.refused();
        let of_round = load.stop();
        eprintln!(
            "loss {round}: {} acknowledged, promotion {:?}, service {service:?} after it, refused {refused:?}",
            of_round.len(),
            promoted - begun
        );
        assert!(service < BACK + size(BUSY, Duration::ZERO), "{service:?}");
        acknowledged.extend(of_round);
        fleet::nothing_is_lost(&standby.database(DATABASE), &acknowledged);
        primary = standby;
    }
    let stored = fleet::nothing_is_lost(&primary.database(DATABASE), &acknowledged);
    eprintln!(
        "{rounds} primaries lost: {} acknowledged, {stored} stored, 0 lost",
        acknowledged.len()
    );
    setup.all_arrive(&primary, &acknowledged);
}

/// While the standby hangs nothing is acknowledged, forwarding goes on, and the server is not filled with processes that wait.
#[test]
fn standby_that_hangs_delays_commits_and_nothing_else() {
    let time = Duration::from_secs(size(4, 60));
    let primary = Server::start("-c fsync=off");
    let standby = Server::standby_of(&primary, "-c fsync=off");
    let setup = Setup::new(&[&primary]);
    primary.set("synchronous_standby_names", "ANY 1 (*)");
    let load = setup.load("hang");
    load.wait_for(50);
    standby.freeze(true);
    let frozen = Instant::now();
    let config = primary.database("postgres");
    let processes =
        "select count(*) from pg_stat_activity where application_name like 'hookgate/%'";
    let (begun, mut most, mut forwarded, mut slowest) = (Instant::now(), 0, 0, Duration::ZERO);
    while begun.elapsed() < time {
        most = most.max(fleet::number(&config, processes));
        let sent = Instant::now();
        let answer = send_to(&setup.gate, "forwarded", &format!("id-{forwarded}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        slowest = slowest.max(sent.elapsed());
        forwarded += 1;
    }
    let refused = load.refused();
    let without = load.begun_since(frozen);
    assert_eq!(without, 0, "acknowledged without the standby");
    assert!(refused.keys().all(|status| *status == 503), "{refused:?}");
    assert!(most <= 15, "{most} processes for 6 connections");
    let thawed = Instant::now();
    standby.freeze(false);
    let service = load.first_since(thawed);
    load.wait_for(50);
    let acknowledged = load.stop();
    eprintln!(
        "standby hung for {time:?}: at most {most} processes, {forwarded} forwarded in at most {slowest:?}, refused {refused:?}; service {service:?} after it"
    );
    fleet::nothing_is_lost(&primary.database(DATABASE), &acknowledged);
    setup.all_arrive(&primary, &acknowledged);
}
