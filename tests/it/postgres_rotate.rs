//! A password and an authority that rotate, and a schema that a later version extends, while gateways work.
//!
//! `HOOKGATE_TORTURE=1` runs the long form.
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_postgres::Config;

use super::support::fault::{Fault, FaultServer};
use super::support::fleet::{self, DATABASE, Load, number, size};
use super::support::gate::{Gate, hookgate, wait_at_most};
use super::support::postgres_server::{Server, give};

const SENDERS: usize = 4;

/// Returns an address of this process alone.
fn address() -> IpAddr {
    let [high, low] = [std::process::id() / 250 % 250, std::process::id() % 250];
    format!("127.78.{high}.{}", low + 1).parse().unwrap()
}

/// Replaces a file at once, as a mounted secret is.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Makes an authority, and a certificate of it for the server. Writes the three files.
fn certify(directory: &Path, address: IpAddr) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write(
        &directory.join("ca.pem"),
        &params.self_signed(&key).unwrap().pem(),
    );
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![address.to_string()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    write(&directory.join("server.pem"), &certificate.pem());
    let file = directory.join("key.of-server");
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    give(&file);
    std::fs::rename(file, directory.join("server.key")).unwrap();
}

/// Ends all connections of gateways, as a server does that is restarted.
fn disconnect(server: &Server) {
    server.execute(
        "postgres",
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'hookgate/%'",
    );
}

#[test]
fn rotated_password_and_authority_are_used_without_a_restart() {
    let rounds = size(2, 20);
    let files = tempfile::tempdir().unwrap();
    std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let address = address();
    certify(files.path(), address);
    let directory = files.path().display();
    let server = Server::start(&format!(
        "-c fsync=off -c listen_addresses={address} -c ssl=on -c ssl_cert_file={directory}/server.pem -c ssl_key_file={directory}/server.key"
    ));
    let rules = server.directory().join("data/pg_hba.conf");
    std::fs::write(
        &rules,
        "hostssl all gateway all scram-sha-256\nlocal all all trust\n",
    )
    .unwrap();
    server.execute("postgres", "create role gateway login password 'word-0'");
    server.execute(
        "postgres",
        &format!("create database {DATABASE} owner gateway"),
    );
    server.set("log_connections", "on");
    let app = FaultServer::start(|_, _| Fault::Keep(200));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let (url, password) = (dir.path().join("url"), dir.path().join("password"));
    write(&url, &format!("postgres://gateway@{address}/{DATABASE}"));
    write(&password, "word-0\n");
    let store = format!(
        ", password: {{ file: {} }}, tls: {{ ca: {directory}/ca.pem }}",
        password.display()
    );
    let gate = Gate::start_in(dir, &fleet::config(&url, &app.url(), &store));
    let load = Load::start(
        &[gate.address("senders")],
        SENDERS,
        "/webhooks/queued",
        "rotate",
    );
    let connected = "select count(*) from pg_stat_activity where usename = 'gateway'";
    let config = server.database("postgres");
    for round in 1..=rounds {
        load.wait_for(20);
        write(&password, &format!("word-{round}\n"));
        server.execute(
            "postgres",
            &format!("alter role gateway password 'word-{round}'"),
        );
        disconnect(&server);
        load.wait_for(20);
        // the old authority is trusted no longer
        certify(files.path(), address);
        server.execute("postgres", "select pg_reload_conf()");
        disconnect(&server);
        load.wait_for(20);
        assert!(number(&config, connected) > 0);
    }
    let (refused, longest) = (load.refused(), load.longest());
    let acknowledged = load.stop();
    eprintln!(
        "{rounds} passwords and authorities: {} acknowledged, refused {refused:?}, longest answer {longest:?}",
        acknowledged.len()
    );
    let log = gate.log_lines().join("\n");
    // all connections end twice in a round, and the repeats of a call may each meet one that has just ended: its sender comes again
    let only_503 = refused.keys().all(|status| *status == 503);
    let count: usize = refused.values().sum();
    assert!(only_503 && count <= 2 * rounds, "{refused:?}: {log}");
    let secret = ["word-0", &format!("word-{rounds}")].map(str::to_owned);
    assert!(secret.iter().all(|word| !log.contains(word)));
    fleet::nothing_is_lost(&server.database(DATABASE), &acknowledged);
}

/// The additions of a later minor version: a table, a column, and a function that accepts with it.
const LATER: &str = "
    create table hookgate.note (id uuid primary key, note text not null);
    alter table hookgate.due add column priority int not null default 0;
    create function hookgate.accept_2(like_id text, new_id uuid, note text) returns void language plpgsql as $$
    begin
        insert into hookgate.delivery (id, origin, at, delivery_id, event_type, record, body)
            select new_id, origin, now(), 'later-' || new_id, event_type, record, body from hookgate.delivery where delivery_id = like_id;
        insert into hookgate.note values (new_id, note);
        insert into hookgate.due (id, target, origin, run_at, lease, leased, attempt_count, cause, since, last_attempt, priority)
            select new_id, origin, origin, now(), 0, false, 0, 0, now(), 0, 7 from hookgate.delivery where id = new_id;
    end $$;
    update hookgate.meta set value = '1.1' where name = 'schema';
    update hookgate.meta set value = 'of 1.1' where name = 'sql'";

fn migrate(gate: &Gate) -> String {
    let mut command = hookgate();
    command
        .args(["migrate", "--config"])
        .arg(gate.config_path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// During a rollout gateways of two versions share a schema of the later one.
#[test]
fn gateways_go_on_beside_a_later_version_of_the_schema() {
    let more = size(60, 2000);
    let server = Server::start("-c fsync=off");
    server.execute("postgres", &format!("create database {DATABASE}"));
    let app = FaultServer::start(|_, _| Fault::Keep(200));
    let urls = tempfile::tempdir().unwrap();
    let url = urls.path().join("url");
    write(&url, &fleet::url(&[&server]));
    let yaml = fleet::config(&url, &app.url(), "");
    let mut first = Gate::start(&yaml);
    let load = Load::start(
        &[first.address("senders")],
        SENDERS,
        "/webhooks/queued",
        "first",
    );
    load.wait_for(more);
    let config: Config = server.database(DATABASE);
    server.execute(DATABASE, &format!("begin; {LATER}; commit"));
    load.wait_for(more);
    // one that restarts meanwhile finds the later version
    let second = Gate::start(&yaml);
    let other = Load::start(
        &[second.address("senders")],
        SENDERS,
        "/webhooks/queued",
        "second",
    );
    server.execute(
        DATABASE,
        "select hookgate.accept_2('first-0-0', overlay(gen_random_uuid()::text placing left(hookgate.first_id((now() at time zone 'UTC')::date)::text, 13) from 1 for 13)::uuid, 'a note')
            from generate_series(1, 50)",
    );
    other.wait_for(more);
    for _ in 0..2 {
        assert!(migrate(&second).contains("nothing to do"));
    }
    let version = fleet::column(
        &config,
        "select value from hookgate.meta where name = 'schema'",
    );
    assert_eq!(version, ["1.1"]);
    let refused = [load.refused(), other.refused()];
    let mut acknowledged = load.stop();
    first.stop(Duration::from_secs(30));
    other.wait_for(more);
    acknowledged.extend(other.stop());
    assert!(
        refused.iter().all(|refused| refused.is_empty()),
        "{refused:?}"
    );
    wait_at_most(Duration::from_secs(120), "all to be delivered", || {
        number(&config, "select count(*) from hookgate.due") == 0
    });
    // its record is that of another, whose ID it is sent with
    let later = app.seen();
    let later = later.iter().filter(|request| request.id == "first-0-0");
    assert_eq!(later.count(), 51, "accepted by the later version");
    let stored = fleet::nothing_is_lost(&config, &acknowledged);
    eprintln!(
        "two versions: {} acknowledged, {stored} stored, none refused",
        acknowledged.len()
    );
}
