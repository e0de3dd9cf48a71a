//! The store under a gate that queues: full, refusing, damaged, of another version; and a clock that is set.
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hookgate::clock::{Clock, Now, SystemClock};
use hookgate::config::load::load;
use hookgate::deliver;
use hookgate::gateway::Gate;
use hookgate::gateway::serve::Server;
use hookgate::store::StoreError;
use hookgate::store::embedded::sqlite::FaultHook;
use hookgate::store::embedded::{Embedded, Opening};
use hookgate::telemetry::{LogFormat, LogPolicy, LogRequests, Telemetry};

use super::support::app::{Act, App, unused_address};
use super::support::config::{self, SECRET};
use super::support::dice::{Dice, seed};
use super::support::fault::{Fault, FaultServer, digest};
use super::support::gate::{Gate as Child, hookgate, metric, wait_at_most, wait_for};
use super::support::http::{Answer, Connection};
use super::support::queue::{self, attempts, start_process, start_process_in, waiting};
use super::support::sign;

const QUICK: &str = "retry: { initial: 20ms, factor: 1, max: 20ms, max_attempts: 1000 }";
const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// The wall clock, set by so many seconds; monotonic time runs on.
#[derive(Debug, Default)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Now {
        let (now, by) = (SystemClock.now(), self.0.load(Ordering::SeqCst));
        let by_seconds = Duration::from_secs(by.unsigned_abs());
        Now {
            wall: if by < 0 {
                now.wall - by_seconds
            } else {
                now.wall + by_seconds
            },
            mono: now.mono,
        }
    }
}

/// A gate in this process: its clock can be set, its disk can fail.
struct InProcess {
    runtime: tokio::runtime::Runtime,
    gate: Arc<Gate>,
    server: Option<Server>,
    store: Arc<Embedded>,
    address: std::net::SocketAddr,
}

impl InProcess {
    fn start(dir: &Path, yaml: &str, clock: &Arc<Set>, hook: FaultHook) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let path = dir.join("config.yaml");
        std::fs::write(
            &path,
            yaml.replace("STORE", dir.join("store").to_str().unwrap()),
        )
        .unwrap();
        let snapshot = load(&path, &|_| None, None, 1, clock.now())
            .unwrap_or_else(|refused| panic!("{}", refused.report.render(true)))
            .snapshot;
        let shared: Arc<dyn Clock> = Arc::<Set>::clone(clock);
        let policy = LogPolicy {
            format: LogFormat::Json,
            requests: LogRequests::None,
        };
        let telemetry = Telemetry::new(policy, Arc::clone(&shared), std::io::sink());
        let opened = Embedded::open_with(
            &dir.join("store"),
            100_000,
            Arc::clone(&shared),
            Opening { fault_hook: hook },
        )
        .unwrap();
        let store = Arc::new(opened.ledger);
        let gate = runtime
            .block_on(Gate::new(
                Arc::new(snapshot),
                shared,
                telemetry,
                Arc::clone(&store) as _,
                None,
            ))
            .unwrap();
        let gate = Arc::new(gate);
        let server = runtime.block_on(Server::start(Arc::clone(&gate))).unwrap();
        let address = server.addresses()[0].tcp().unwrap();
        runtime.spawn(deliver::run(gate.worker()));
        runtime.spawn(deliver::sweep(gate.worker()));
        server.ready();
        Self {
            runtime,
            gate,
            server: Some(server),
            store,
            address,
        }
    }

    fn send(&self, id: &str, body: &[u8]) -> Answer {
        Connection::open(self.address).request(
            "POST",
            "/webhooks/github",
            &sign::borrowed(&sign::github(SECRET, id, body)),
            body,
        )
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let timing = self.gate.snapshot().shutdown;
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shut_down(timing));
        }
        self.store.close();
    }
}

fn query<T: rusqlite::types::FromSql>(dir: &Path, sql: &str) -> T {
    let database = rusqlite::Connection::open(dir.join("store/hookgate.db")).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[track_caller]
fn is_whole(dir: &Path) {
    assert_eq!(query::<String>(dir, "pragma integrity_check"), "ok");
    let sums = "select (select coalesce(sum(rows), 0) from tally where kind = 0) = (select count(*) from delivery)
        and (select coalesce(sum(rows), 0) from tally where kind = 1) = (select count(*) from due)
        and (select coalesce(sum(rows), 0) from tally where kind = 2) = (select count(*) from dead)";
    assert!(query::<bool>(dir, sums), "the sums");
}

/// Each arrived with its bytes.
#[track_caller]
fn arrived(app: &FaultServer, sent: &HashMap<String, [u8; 32]>) {
    let seen: HashMap<String, [u8; 32]> = app
        .seen()
        .into_iter()
        .map(|request| (request.id, request.digest))
        .collect();
    for (id, digest) in sent {
        assert_eq!(seen.get(id), Some(digest), "{id}");
    }
}

/// One statement in thirty fails, then all for a while: each acknowledged delivery arrives, and one that arrives twice was not settled.
#[test]
fn a_disk_that_fails_now_and_then_loses_nothing() {
    let app = FaultServer::start(|number, _| {
        if number % 10 == 3 {
            Fault::Answer(500)
        } else {
            Fault::Keep(200)
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(seed("a disk that fails"));
    let (failing, dead) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (flags, of_hook) = (
        (Arc::clone(&failing), Arc::clone(&dead)),
        Mutex::new(Dice::new(dice.next())),
    );
    let hook = FaultHook::new(move || {
        let number = of_hook.lock().unwrap().below(60);
        let fails =
            flags.1.load(Ordering::SeqCst) || (flags.0.load(Ordering::SeqCst) && number < 2);
        if !fails {
            return Ok(());
        }
        Err(if number % 2 == 0 {
            StoreError::Full
        } else {
            StoreError::Unavailable("a test says so".into())
        })
    });
    let gate = InProcess::start(
        dir.path(),
        &config::queue(&app.url(), QUICK),
        &Arc::default(),
        hook,
    );
    failing.store(true, Ordering::SeqCst);
    let (mut sent, mut refused) = (HashMap::new(), 0);
    for number in 0..300 {
        dead.store((100..104).contains(&number), Ordering::SeqCst);
        let (id, body) = (format!("id-{number}"), dice.body());
        for again in 0.. {
            let answer = gate.send(&id, &body);
            match answer.status {
                200 => break,
                503 => assert!(
                    answer.header("Retry-After").is_some()
                        && answer.header("Hookgate-Status").is_none()
                ),
                status => panic!("{id}: {status} {}", answer.text()),
            }
            refused += 1;
            // nobody can write yet
            if again == 3 {
                dead.store(false, Ordering::SeqCst);
            }
        }
        sent.insert(id, digest(&body));
    }
    failing.store(false, Ordering::SeqCst);
    assert!(refused > 20, "{refused} were refused");
    wait_at_most(Duration::from_secs(30), "all to be over", || {
        waiting(dir.path()) == 0
    });
    drop(gate);
    arrived(&app, &sent);
    assert_eq!(
        query::<i64>(dir.path(), "select count(*) from delivery"),
        300,
        "each once, whatever was refused before"
    );
    assert_eq!(query::<i64>(dir.path(), "select count(*) from ledger"), 300);
    // a lease without a row is a try whose end the disk did not take
    let once: i64 = query(
        dir.path(),
        "select coalesce(sum(last), 0) from (select max(lease) as last from attempt group by id)",
    );
    assert!(
        app.count() <= usize::try_from(once).unwrap(),
        "{} tries by {once} leases",
        app.count()
    );
    is_whole(dir.path());
}

/// A file may not grow beyond a limit: the system says so to whoever writes, as it does when a quota is used up.
#[test]
fn full_disk_refuses_new_deliveries_and_loses_nothing() {
    let address = unused_address();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut limited = Command::new("sh");
    // in units of 512 bytes, or of 1024
    limited
        .args(["-c", "trap '' XFSZ; ulimit -S -f 4096; exec \"$0\" \"$@\""])
        .arg(hookgate().get_program());
    let yaml = config::queue(&format!("http://{address}"), QUICK)
        .replace("STORE", dir.path().join("store").to_str().unwrap());
    let gate = Child::start_by(limited, Arc::clone(&dir), &yaml);
    let mut dice = Dice::new(seed("a disk that is full"));
    let (mut sent, mut refused) = (HashMap::new(), Vec::new());
    while refused.len() < 20 {
        let number = sent.len() + refused.len();
        assert!(number < 2000, "nothing is ever full");
        let (id, body) = (
            format!("id-{number}"),
            [dice.body(), vec![0; 20_000]].concat(),
        );
        let answer = queue::send(&gate, &id, &body);
        match answer.status {
            200 => drop(sent.insert(id, digest(&body))),
            503 => {
                assert!(answer.header("Retry-After").is_some(), "{}", answer.text());
                refused.push((id, body));
            }
            status => panic!("{status} {}", answer.text()),
        }
    }
    assert!(sent.len() > 20, "only {} fitted", sent.len());
    let counted = ["store_full", "store_unavailable"].map(|code| {
        metric(
            &gate,
            &format!("hookgate_requests_total{{outcome=\"{code}\",route=\"github\"}}"),
        )
    });
    assert_eq!(counted.iter().sum::<f64>(), refused.len() as f64);
    assert_eq!(gate.health("/livez").status, 200);
    assert_eq!(
        query::<i64>(dir.path(), "select count(*) from delivery"),
        i64::try_from(sent.len()).unwrap(),
        "nothing half-written"
    );
    // what is there goes out as soon as its outcome can be written
    let app = FaultServer::at(address, |_, _| Fault::Keep(200));
    let more = Command::new("prlimit")
        .args(["--pid", &gate.pid().to_string(), "--fsize=unlimited:"])
        .status()
        .unwrap();
    assert!(more.success());
    for (id, body) in refused {
        wait_for("the disk to take it", || {
            queue::send(&gate, &id, &body).status == 200
        });
        sent.insert(id, digest(&body));
    }
    wait_at_most(Duration::from_secs(30), "all to be over", || {
        waiting(dir.path()) == 0
    });
    arrived(&app, &sent);
    assert!(!gate.log_lines().join("\n").contains("panicked"));
    drop(gate);
    is_whole(dir.path());
}

#[test]
fn a_clock_that_is_set_loses_nothing_and_purges_nothing() {
    let (app, dir, clock) = (
        FaultServer::start(|_, _| Fault::Keep(200)),
        tempfile::tempdir().unwrap(),
        Arc::<Set>::default(),
    );
    // set while nothing runs, it looks like a pause, of which a day counts at most: so these bounds are longer
    let yaml = config::queue(
        &app.url(),
        "retry: { initial: 50ms, factor: 1, max: 50ms, max_attempts: 100000, max_age: 3d }",
    )
    .replace("window: 24h", "window: 3d")
        + "    keep: { age: 3d, dead: 3d }\n";
    let mut gate = Some(InProcess::start(
        dir.path(),
        &yaml,
        &clock,
        FaultHook::default(),
    ));
    let send = |gate: &Option<InProcess>, id: &str, status: &str| {
        let answer = gate.as_ref().unwrap().send(id, id.as_bytes());
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (200, Some(status)),
            "{id}: {}",
            answer.text()
        );
    };
    for number in 0..10 {
        send(&gate, &format!("before-{number}"), "queued");
    }
    wait_for("all to be over", || waiting(dir.path()) == 0);
    app.go_down();
    for number in 0..10 {
        send(&gate, &format!("waits-{number}"), "queued");
    }
    let mut sent = 20;
    // a year ahead and back beyond where it was; while the gate runs, and while it does not
    for (step, (to, restart)) in [
        (YEAR, false),
        (-HOUR, false),
        (YEAR, true),
        (-HOUR, true),
        (0, false),
    ]
    .into_iter()
    .enumerate()
    {
        if restart {
            drop(gate.take());
        }
        clock.0.store(to, Ordering::SeqCst);
        if restart {
            gate = Some(InProcess::start(
                dir.path(),
                &yaml,
                &clock,
                FaultHook::default(),
            ));
        }
        send(&gate, &format!("then-{step}"), "queued");
        sent += 1;
        // two sweeps and a round of chores
        let begun = Instant::now();
        wait_for("the sweep", || {
            begun.elapsed() > Duration::from_millis(2500)
        });
        assert_eq!(
            query::<i64>(dir.path(), "select count(*) from delivery"),
            sent,
            "step {step}: nothing is purged"
        );
        assert_eq!(
            query::<i64>(dir.path(), "select count(*) from dead"),
            0,
            "step {step}: nothing is too old"
        );
        send(&gate, "before-3", "duplicate");
        send(&gate, "waits-3", "duplicate");
    }
    app.come_back();
    wait_for("all to be over", || waiting(dir.path()) == 0);
    let ids: Vec<_> = (0..10)
        .flat_map(|n| [format!("before-{n}"), format!("waits-{n}")])
        .chain((0..5).map(|n| format!("then-{n}")))
        .collect();
    arrived(
        &app,
        &ids.iter()
            .map(|id| (id.clone(), digest(id.as_bytes())))
            .collect(),
    );
    let tries = attempts(dir.path());
    assert!(
        ids.iter()
            .all(|id| tries[id].iter().filter(|came| *came == "200").count() == 1),
        "{tries:?}"
    );
    drop(gate);
    is_whole(dir.path());
}

/// A store with a delivery that waits, nobody holding it.
fn left_behind(yaml: &str) -> (Arc<tempfile::TempDir>, PathBuf) {
    let mut gate = start_process(yaml);
    for number in 0..50 {
        assert_eq!(
            queue::send(&gate, &format!("id-{number}"), &vec![b'x'; 5000 + number]).status,
            200
        );
    }
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    let dir = gate.shared_dir();
    let file = dir.path().join("store/hookgate.db");
    (dir, file)
}

/// Returns the output of a gate that does not start.
fn refuses(dir: &Path, yaml: &str) -> String {
    let config = dir.join("config.yaml");
    std::fs::write(
        &config,
        yaml.replace("STORE", dir.join("store").to_str().unwrap()),
    )
    .unwrap();
    let output = hookgate()
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

#[test]
fn damaged_store_is_refused_while_deliveries_lie_in_it() {
    let app = format!("http://{}", unused_address());
    let (queues, forwards) = (
        config::queue(&app, QUICK),
        config::forward_with_store(&app, "query: drop"),
    );
    let spills = config::forward_with_store(&app, "on_failure: queue");
    let (dir, file) = left_behind(&queues);
    let whole = std::fs::read(&file).unwrap();
    let cuts = [
        whole[..whole.len() / 2].to_vec(),
        whole[..4096].to_vec(),
        whole[..50].to_vec(),
        b"not a database ".repeat(99),
    ];
    for damaged in cuts {
        std::fs::write(&file, &damaged).unwrap();
        for yaml in [&queues, &spills] {
            let text = refuses(dir.path(), yaml);
            assert!(
                text.contains(&*file.to_string_lossy()) && text.contains(".recover"),
                "{text}"
            );
            assert!(std::fs::read(&file).unwrap() == damaged, "not touched");
        }
    }
    // what lies in the store counts, not what the config does today; the error names the command that sets it aside
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let text = refuses(dir.path(), &forwards);
    let command = format!("hookgate set-aside {}", dir.path().join("store").display());
    assert!(text.contains(&command), "{text}");
    let aside = || {
        std::fs::read_dir(dir.path().join("store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
    };
    assert_eq!(
        aside()
            .filter(|name| name.starts_with("hookgate.db.damaged-"))
            .count(),
        0
    );
    assert!(
        hookgate()
            .arg("set-aside")
            .arg(dir.path().join("store"))
            .status()
            .unwrap()
            .success()
    );
    // ended in good order, else the log would hold all that the file does
    let mut gate = start_process_in(Arc::clone(&dir), &forwards);
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    drop(gate);
    // that one held no delivery that waits or is dead, so it can be done without
    std::fs::write(&file, b"not a database ".repeat(99)).unwrap();
    let mut gate = start_process_in(Arc::clone(&dir), &queues);
    assert_eq!(
        aside()
            .filter(|name| name.starts_with("hookgate.db.damaged-")
                && !name.contains("-wal")
                && !name.contains("-shm"))
            .count(),
        2
    );
    gate.wait_for_log(&["damaged", "\"level\":\"error\""]);
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    drop(gate);
    // and what was cut off can be put back
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", file.display())).ok();
    }
    std::fs::write(&file, &whole).unwrap();
    let app = App::on(app["http://".len()..].parse().unwrap(), |_, _| {
        Act::status(200)
    });
    let gate = start_process_in(Arc::clone(&dir), &queues);
    wait_for("all to arrive", || app.count() == 50);
    drop(gate);
    is_whole(dir.path());
}

/// The store records the new names last: when it cannot, everything stays as it was, in the store and in the process.
#[test]
fn reload_refused_by_the_store_changes_no_name() {
    let app = FaultServer::start(|_, _| Fault::Keep(200));
    let (dir, fails) = (
        tempfile::tempdir().unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let flag = Arc::clone(&fails);
    let hook = FaultHook::new(move || {
        if flag.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("a test says so".into()))
        } else {
            Ok(())
        }
    });
    let yaml = config::queue(&app.url(), QUICK);
    let gate = InProcess::start(dir.path(), &yaml, &Arc::default(), hook);
    let path = dir.path().join("config.yaml");
    let written = std::fs::read_to_string(&path)
        .unwrap()
        .replace("name: github", "name: hub\n    previously: [github]");
    std::fs::write(&path, written).unwrap();
    let loaded = load(&path, &|_| None, None, 2, SystemClock.now());
    let renamed = Arc::new(
        loaded
            .unwrap_or_else(|refused| panic!("{}", refused.report.render(true)))
            .snapshot,
    );
    let names = || {
        query::<String>(
            dir.path(),
            "select group_concat(number || name || coalesce(owners, '')) from name",
        )
    };
    let before = names();
    fails.store(true, Ordering::SeqCst);
    assert!(gate.runtime.block_on(gate.gate.swap(&renamed)).is_err());
    fails.store(false, Ordering::SeqCst);
    assert_eq!((names(), gate.gate.snapshot().generation), (before, 1));
    assert_eq!(gate.send("id-1", b"{}").status, 200);
    gate.runtime.block_on(gate.gate.swap(&renamed)).unwrap();
    assert_eq!(
        (names(), gate.gate.snapshot().generation),
        ("1githubgithub hub".to_owned(), 2)
    );
    wait_for("it to arrive", || app.count() == 1);
}

#[test]
fn another_versions_store_is_refused_and_left_as_it_is() {
    let app = App::start();
    let yaml = config::queue(&app.url(), QUICK);
    let (dir, file) = left_behind(&yaml);
    let change = |sql: &str| {
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    // a later version; and a build before 0.1.0, which numbered other schemas from 1 on and left no application ID
    for (other, back, schema) in [
        (
            "update meta set value = 99 where name = 'schema'",
            "update meta set value = 1 where name = 'schema'",
            99,
        ),
        (
            "pragma application_id = 0; drop table ended",
            "pragma application_id = 1752133483",
            0,
        ),
    ] {
        change(other);
        let text = refuses(dir.path(), &yaml);
        assert!(
            text.contains(&format!("(schema {schema}, this one knows 3)"))
                && text.contains(&*file.to_string_lossy()),
            "{text}"
        );
        assert_eq!(
            query::<i64>(dir.path(), "select count(*) from delivery"),
            50,
            "not touched"
        );
        change(back);
    }
    assert_eq!(
        query::<i64>(
            dir.path(),
            "select count(*) from sqlite_schema where name = 'ended'"
        ),
        0,
        "no table was added"
    );
}

/// A process that waits for a store is alive and not ready: a liveness probe must not end it.
#[test]
fn health_is_answered_while_another_process_holds_the_store() {
    let app = App::start();
    let yaml = config::queue(&app.url(), QUICK);
    let mut first = start_process(&yaml);
    let dir = first.shared_dir();
    let health = unused_address();
    let second = yaml.replace(
        "health: { address: 127.0.0.1:0 }",
        &format!("health: {{ address: {health} }}"),
    );
    let config = dir.path().join("second.yaml");
    std::fs::write(
        &config,
        second.replace("STORE", dir.path().join("store").to_str().unwrap()),
    )
    .unwrap();
    let mut child = hookgate()
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ask = |path: &str| {
        std::net::TcpStream::connect(health).ok()?;
        Some(
            super::support::http::request(health, "GET", path, &[("Host", "localhost")], b"")
                .status,
        )
    };
    wait_for("the health listener", || ask("/livez") == Some(200));
    assert_eq!((ask("/readyz"), ask("/metrics")), (Some(503), Some(503)));
    first.signal("TERM");
    assert!(first.wait(Duration::from_secs(10)).success());
    wait_at_most(Duration::from_secs(20), "the second to be ready", || {
        ask("/readyz") == Some(200)
    });
    assert_eq!(ask("/metrics"), Some(200));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The store is opened once. A config that adds one is taken all the same, and what needs the store waits for the restart.
#[test]
fn a_store_added_by_reload_waits_for_a_restart_and_the_rest_applies() {
    let app = App::start();
    let with_store = config::queue(&app.url(), QUICK);
    let without = config::forward_with_store(&app.url(), "query: drop")
        .replace("store: { path: STORE }\n", "");
    let gate = start_process(&without);
    let route = with_store
        .split_once("routes:\n")
        .unwrap()
        .1
        .replace("github", "queued")
        .replace("provider: queued", "provider: github");
    let store = gate.dir().join("store");
    let both = without.replace("/webhooks/github", "/elsewhere").replace(
        "upstreams:",
        &format!("store: {{ path: {} }}\nupstreams:", store.display()),
    );
    std::fs::write(gate.config_path(), format!("{both}{route}")).unwrap();
    let post = |path: &str, id: &str| gate.post(path, &sign::github(SECRET, id, b"{}"), b"{}");
    wait_for("the new path", || post("/elsewhere", "id-1").status == 200);
    let refused = post("/webhooks/queued", "id-2");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("Retry-After").is_some());
    let status = gate.admin("/-/status");
    assert!(
        status["config"]["needs_restart"]
            .to_string()
            .contains("store"),
        "{status}"
    );
    assert!(status["last_error"].is_null(), "{status}");
    let dir = gate.shared_dir();
    let written = std::fs::read_to_string(gate.config_path()).unwrap();
    drop(gate);
    let gate = Child::start_in(dir, &written);
    let queued = gate.post(
        "/webhooks/queued",
        &sign::github(SECRET, "id-2", b"{}"),
        b"{}",
    );
    assert_eq!(
        queued.header("Hookgate-Status"),
        Some("queued"),
        "after the restart"
    );
}
