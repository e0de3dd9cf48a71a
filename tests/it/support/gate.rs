//! A gateway that runs on a config in a directory of its own: the real binary, or the same gateway in this process.
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hookgate::clock::{Clock, SystemClock};

use super::http;
use super::in_process::InProcess;

/// The variable that names another binary to test than the one that was built with the tests.
const BINARY: &str = "HOOKGATE_BINARY";

/// The binary under test: `HOOKGATE_BINARY`, or the one that was built with the tests.
pub fn hookgate() -> Command {
    Command::new(std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_hookgate").into()))
}

/// Waits until `condition` holds, and fails after a minute: a slow machine is no failure.
#[track_caller]
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_at_most(Duration::from_secs(60), what, condition);
}

/// Waits until `condition` holds, and fails after `limit`.
#[track_caller]
pub fn wait_at_most(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running gate; killed on drop.
pub struct Gate {
    run: Run,
    dir: Arc<tempfile::TempDir>,
    /// The lines of its log.
    log_lines: Arc<Mutex<Vec<String>>>,
    /// Its request lines.
    lines: Arc<Mutex<Vec<String>>>,
}

/// How a gate runs.
enum Run {
    Process(Child),
    InProcess(InProcess),
}

impl Gate {
    /// Starts a gate on `yaml` in this process, for tests that are about no process of its own (see [`InProcess`]).
    /// Listeners should be on port 0.
    pub fn in_process(yaml: &str) -> Self {
        Self::in_process_in(Arc::new(tempfile::tempdir().unwrap()), yaml)
    }

    /// Starts a gate on `yaml` in this process, in a directory that may hold secrets and state already.
    pub fn in_process_in(dir: Arc<tempfile::TempDir>, yaml: &str) -> Self {
        if std::env::var_os(BINARY).is_some() {
            return Self::start_in(dir, yaml);
        }
        Self::in_process_at(Arc::new(SystemClock), dir, yaml)
    }

    /// Starts a gate on `yaml` in this process, by a clock of the test.
    pub fn in_process_at(clock: Arc<dyn Clock>, dir: Arc<tempfile::TempDir>, yaml: &str) -> Self {
        let config = dir.path().join("config.yaml");
        std::fs::write(&config, yaml).unwrap();
        let (log_lines, lines) = (Arc::default(), Arc::default());
        let run = InProcess::start(&config, clock, Arc::clone(&log_lines), Arc::clone(&lines));
        let run = Run::InProcess(run);
        let gate = Self {
            run,
            dir,
            log_lines,
            lines,
        };
        wait_for("the gate to be ready", || gate.is_ready());
        gate
    }

    /// Starts a gate on `yaml` as a process. Listeners should be on port 0.
    pub fn start(yaml: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), yaml)
    }

    /// Starts a gate on `yaml` in a directory that may hold secrets and state already.
    pub fn start_in(dir: Arc<tempfile::TempDir>, yaml: &str) -> Self {
        Self::start_by(hookgate(), dir, yaml)
    }

    /// Starts a gate by a command that becomes it, given its arguments.
    pub fn start_by(command: Command, dir: Arc<tempfile::TempDir>, yaml: &str) -> Self {
        let mut gate = Self::spawn(command, dir, yaml);
        gate.wait_until_ready();
        gate
    }

    /// Starts a gate as [`Gate::start_by`] does, and does not wait until it is ready.
    pub fn spawn(mut command: Command, dir: Arc<tempfile::TempDir>, yaml: &str) -> Self {
        let config = dir.path().join("config.yaml");
        std::fs::write(&config, yaml).unwrap();
        let mut child = command
            .args(["run", "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let log_lines = collect(child.stderr.take().unwrap());
        let lines = collect(child.stdout.take().unwrap());
        Self {
            run: Run::Process(child),
            dir,
            log_lines,
            lines,
        }
    }

    /// Waits until it serves senders.
    pub fn wait_until_ready(&mut self) {
        wait_at_most(Duration::from_secs(60), "the gate to be ready", || {
            if let Some(status) = self.child().try_wait().unwrap() {
                panic!(
                    "the gate left with {status}: {}",
                    self.log_lines().join("\n")
                );
            }
            self.is_ready()
        });
    }

    fn is_ready(&self) -> bool {
        // one that waits for its store says that it is not ready
        let is_ready = |line: &String| {
            line.contains("\"ready\"") || line.contains(" ready") && !line.contains("not ready")
        };
        self.log_lines().iter().any(is_ready)
    }

    fn child(&mut self) -> &mut Child {
        match &mut self.run {
            Run::Process(child) => child,
            Run::InProcess(_) => panic!("this gate has no process of its own"),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn shared_dir(&self) -> Arc<tempfile::TempDir> {
        Arc::clone(&self.dir)
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("config.yaml")
    }

    pub fn pid(&self) -> u32 {
        match &self.run {
            Run::Process(child) => child.id(),
            Run::InProcess(_) => panic!("this gate has no process of its own"),
        }
    }

    /// Returns the lines of its log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log_lines.lock().unwrap().clone()
    }

    /// Waits until a line of its log has all of `parts`. The log comes over a pipe: what is logged before an answer may come after it.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) {
        wait_for(&format!("a line of the log with {parts:?}"), || {
            let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
            self.log_lines().iter().any(has_all)
        });
    }

    /// Returns its request lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Returns the address it bound for `what`: `senders`, `health` or `admin`; the first of several.
    pub fn address(&self, what: &str) -> SocketAddr {
        self.addresses(what)
            .first()
            .copied()
            .unwrap_or_else(|| panic!("no {what} among {:?}", self.log_lines()))
    }

    /// Returns all addresses it bound for `what`.
    pub fn addresses(&self, what: &str) -> Vec<SocketAddr> {
        let of_line = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            (line.get("msg")? == "listening" && line.get("for")? == what)
                .then(|| line["address"].as_str()?.parse().ok())?
        };
        self.log_lines().iter().filter_map(of_line).collect()
    }

    /// Posts to the gate on a connection of its own.
    pub fn post(&self, target: &str, headers: &[(String, String)], body: &[u8]) -> http::Answer {
        http::request(
            self.address("senders"),
            "POST",
            target,
            &super::sign::borrowed(headers),
            body,
        )
    }

    /// GETs from the health listener.
    pub fn health(&self, path: &str) -> http::Answer {
        http::request(
            self.address("health"),
            "GET",
            path,
            &[("Host", "localhost")],
            b"",
        )
    }

    /// GETs JSON from the admin listener.
    pub fn admin(&self, path: &str) -> serde_json::Value {
        let answer = http::request(
            self.address("admin"),
            "GET",
            path,
            &[("Host", "localhost")],
            b"",
        );
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|e| panic!("{e}: {} {}", answer.status, answer.text()))
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Lets it read its config again.
    pub fn reload(&self) {
        match &self.run {
            Run::Process(_) => self.signal("HUP"),
            Run::InProcess(gateway) => gateway.reload(),
        }
    }

    /// Stops it gracefully, and fails if that takes longer than `limit`.
    #[track_caller]
    pub fn stop(&mut self, limit: Duration) {
        match &self.run {
            Run::Process(_) => {
                self.signal("TERM");
                assert!(self.wait(limit).success());
            }
            Run::InProcess(gateway) => {
                gateway.stop();
                wait_at_most(limit, "the gate to stop", || gateway.has_stopped());
            }
        }
    }

    /// Waits for it to leave.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut left = None;
        wait_at_most(limit, "the gate to leave", || {
            left = self.child().try_wait().unwrap();
            left.is_some()
        });
        left.unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Run::Process(child) = &mut self.run {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn collect(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}

/// Returns a metric of the gate, 0 if it is not there.
pub fn metric(gate: &Gate, name: &str) -> f64 {
    let text = gate.health("/metrics").text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}
