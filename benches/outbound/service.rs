//! The gateways under test: hookgate, and qhook as its peer.
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::TENANTS;
use crate::client::Client;

const TOKEN: &str = "token-of-the-bench-0123456789-0123456789";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The attempts at the same time that an endpoint gets unless the config says otherwise.
pub(crate) const CONCURRENCY: u32 = 4;

/// A program that sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Hookgate,
    Qhook,
}

/// A running gateway; it ends when dropped.
pub(crate) struct Service {
    program: Program,
    child: Child,
    pub(crate) address: SocketAddr,
    directory: PathBuf,
}

/// Returns the path of hookgate: `HOOKGATE_BINARY`, or the build of this bench.
fn hookgate() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_hookgate").map(Into::into);
    let named = std::env::var_os("HOOKGATE_BINARY").or(built);
    PathBuf::from(named.expect("set HOOKGATE_BINARY"))
}

/// Returns the path of qhook: `QHOOK_BINARY`, or where `benches/outbound/install-peer` puts it; none if it is not there.
pub(crate) fn qhook() -> Option<PathBuf> {
    let named = std::env::var_os("QHOOK_BINARY").map(PathBuf::from);
    let path = named.unwrap_or_else(|| "target/peers/bin/qhook".into());
    // it is started in another directory
    path.canonicalize().ok()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Service {
    /// Starts a gateway on a directory that may have a store already, and waits until it is ready. `ports` are those of endpoints.
    pub(crate) fn start(program: Program, directory: &Path, ports: &[u16]) -> Self {
        Self::start_with(program, directory, ports, CONCURRENCY)
    }

    /// Starts a gateway whose endpoints get this many attempts at the same time, as [`Self::start`] does.
    pub(crate) fn start_with(
        program: Program,
        directory: &Path,
        ports: &[u16],
        concurrency: u32,
    ) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = directory.join("config.yaml");
        let yaml = match program {
            Program::Hookgate => hookgate_yaml(directory, address, ports, concurrency),
            Program::Qhook => qhook_yaml(directory, address),
        };
        std::fs::write(&config, yaml).unwrap();
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let mut command = match program {
            Program::Hookgate => {
                let mut command = Command::new(hookgate());
                command.args(["run", "--config"]).arg(&config);
                command
            }
            Program::Qhook => {
                let mut command = Command::new(qhook().unwrap());
                command.arg("start").arg("--config").arg(&config);
                command
            }
        };
        let child = command
            .env("RUST_LOG", "error")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let service = Self {
            program,
            child,
            address,
            directory: directory.to_owned(),
        };
        service.wait_until_ready();
        service
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "not ready: {}",
                std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes a tenant. That of qhook is a source of its config.
    pub(crate) async fn tenant(&self, client: &mut Client, tenant: &str, endpoints: usize) {
        if self.program == Program::Hookgate {
            let body = json!({ "limits": { "publish": "1000000/s", "endpoints": endpoints } });
            let path = format!("/v1/tenants/{tenant}");
            let answer = client.call("PUT", &path, TOKEN, &body.to_string()).await;
            let answer = answer.unwrap();
            assert_eq!(
                answer.status,
                200,
                "{}",
                String::from_utf8_lossy(&answer.body)
            );
        }
    }

    /// Makes an endpoint of a tenant that gets every event. Returns its ID.
    pub(crate) async fn endpoint(&self, client: &mut Client, tenant: &str, url: &str) -> String {
        let (path, body) = match self.program {
            Program::Hookgate => (
                format!("/v1/tenants/{tenant}/endpoints"),
                json!({ "url": url, "types": ["*"] }),
            ),
            Program::Qhook => (
                "/api/outbound/endpoints".to_owned(),
                json!({ "source": tenant, "url": url }),
            ),
        };
        let answer = client.call("POST", &path, TOKEN, &body.to_string()).await;
        let answer = answer.unwrap();
        assert_eq!(
            answer.status,
            201,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let shown: Value = serde_json::from_slice(&answer.body).unwrap();
        let id = shown["id"].as_str().unwrap().to_owned();
        if self.program == Program::Qhook {
            let path = format!("/api/outbound/endpoints/{id}/subscriptions");
            let body = json!({ "event_types": ["invoice.paid"] }).to_string();
            let answer = client.call("POST", &path, TOKEN, &body).await.unwrap();
            assert!(
                answer.status < 300,
                "{}",
                String::from_utf8_lossy(&answer.body)
            );
        }
        id
    }

    /// Calls something of hookgate's API.
    pub(crate) async fn call(
        &self,
        client: &mut Client,
        method: &str,
        path: &str,
        body: &str,
    ) -> u16 {
        client.call(method, path, TOKEN, body).await.unwrap().status
    }

    /// Publishes an event whose data is a JSON object of about 1 KiB. Returns the status.
    pub(crate) async fn publish(
        &self,
        client: &mut Client,
        tenant: &str,
        key: &str,
        data: &str,
    ) -> u16 {
        let (path, body) = match self.program {
            Program::Hookgate => (
                format!("/v1/tenants/{tenant}/events"),
                format!(r#"{{"type":"invoice.paid","id":"{key}","data":{data}}}"#),
            ),
            Program::Qhook => (format!("/events/{tenant}/invoice.paid"), data.to_owned()),
        };
        // no answer counts as one that asks to repeat
        let answer = client.call("POST", &path, TOKEN, &body).await;
        answer.map_or(503, |answer| answer.status)
    }

    /// Returns the CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// Returns the resident memory in MiB, now and at its highest.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
            kib.unwrap_or(0.0) / 1024.0
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Stops it in good order.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status().unwrap();
        self.child.wait().unwrap();
    }

    /// Returns the size of its database.
    pub(crate) fn disk(directory: &Path) -> u64 {
        let size = |name: &str| {
            std::fs::metadata(directory.join("store").join(name)).map_or(0, |file| file.len())
        };
        size("hookgate.db") + size("hookgate.db-wal")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns the CPU time of a process so far: of a PID, or `self`.
pub(crate) fn cpu_of(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks = fields
        .skip(12)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

fn hookgate_yaml(directory: &Path, address: SocketAddr, ports: &[u16], concurrency: u32) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
log: {{ requests: none }}
store: {{ path: '{}', key: {{ insecure_inline: \"{KEY}\" }} }}
upstreams: {{ app: {{ url: http://127.0.0.1:9 }} }}
routes: [{{ name: a, path: /a, verify: none, forward: {{ upstream: app }} }}]
outbound:
  listen: {{ address: '{address}' }}
  tokens: [{{ name: app, insecure_inline: {TOKEN}, allow: [publish, read, manage] }}]
  egress: {{ allow: [127.0.0.0/8] }}
  endpoints: {{ http: true, ports: {ports:?}, per_tenant: 1000, concurrency: {concurrency} }}
  limits: {{ publish: 1000000/s }}
",
        directory.join("store").display()
    )
}

/// The config of qhook, with the bounds as wide as they have to be for 64 callers.
fn qhook_yaml(directory: &Path, address: SocketAddr) -> String {
    let mut yaml = format!(
        "database: {{ driver: sqlite, url: 'sqlite:{}/qhook.db?mode=rwc' }}
server: {{ port: {}, allow_private_urls: true, skip_endpoint_verification: true, max_inbound: 1000 }}
api: {{ auth_token: {TOKEN} }}
delivery: {{ timeout: 15s, default_retry: {{ max: 10, interval: 5s }} }}
worker: {{ max_concurrency: 64, batch_size: 64 }}
sources:
",
        directory.display(),
        address.port()
    );
    for tenant in ["a", "b"].iter().chain(&TENANTS) {
        writeln!(yaml, "  {tenant}: {{ type: outbound }}").unwrap();
    }
    yaml
}
