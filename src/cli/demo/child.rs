//! The gateway of the demo, a process of its own.
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::log_line;
use crate::cli::admin_client;
use crate::cli::error::Error;
use crate::cli::term;
use crate::config::snapshot::Snapshot;

/// The longest time until the gateway is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The delay after which the log lines of the requests are written.
const LOG_DELAY: Duration = Duration::from_millis(500);
/// The number of log lines that are shown if it fails.
const MAX_LOG_LINES: usize = 20;

/// A running gateway. Killed on drop.
#[derive(Debug)]
pub(super) struct Gate {
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// Whether lines are printed as they come.
    shown: AtomicBool,
    last: Mutex<VecDeque<String>>,
}

impl Log {
    fn follow(self: Arc<Self>, output: Option<impl Read + Send + 'static>) {
        let Some(output) = output else { return };
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line = log_line::render(&line);
                if self.shown.load(Ordering::Relaxed) {
                    term::say(&line);
                    continue;
                }
                let mut last = self.last.lock();
                if last.len() >= MAX_LOG_LINES {
                    last.pop_front();
                }
                last.push_back(line);
            }
        });
    }

    fn last(&self) -> Vec<String> {
        self.last.lock().iter().cloned().collect()
    }
}

impl Gate {
    /// Starts the gateway and waits until it is ready.
    pub(super) async fn start(config: &Path, snapshot: &Snapshot) -> Result<Self, Error> {
        let health = snapshot.health.ok_or_else(|| {
            Error::usage("the demo needs the health listener")
                .hint("health: { address: 127.0.0.1:9091 }")
        })?;
        are_free(snapshot)?;
        let program = std::env::current_exe()
            .map_err(|error| Error::no("the path of this program is unknown").cause(error))?;
        let mut command = Command::new(program);
        // in a group of its own: Ctrl-C reaches the demo, which ends it
        command.process_group(0);
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| Error::no("the gateway cannot be started").cause(error))?;
        let log = Arc::new(Log::default());
        Arc::clone(&log).follow(child.stdout.take());
        Arc::clone(&log).follow(child.stderr.take());
        let mut gate = Self { child, log };
        match tokio::time::timeout(READY_TIMEOUT, gate.ready(health)).await {
            Ok(ready) => ready.map(|()| gate),
            Err(_) => Err(gate.failed("the gateway is not ready after 20 s")),
        }
    }

    async fn ready(&mut self, health: SocketAddr) -> Result<(), Error> {
        loop {
            self.is_alive()?;
            if admin_client::get_async(&health.to_string(), "/readyz", None)
                .await
                .is_ok_and(|(status, _)| status.is_success())
            {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn is_alive(&mut self) -> Result<(), Error> {
        if self.child.try_wait()?.is_some() {
            // the threads that read its output may need a moment longer
            std::thread::sleep(POLL_INTERVAL);
            return Err(self.failed("the gateway ended"));
        }
        Ok(())
    }

    fn failed(&self, what: &str) -> Error {
        for line in self.log.last() {
            term::say(&line);
        }
        Error::no(what)
    }

    /// Prints its new log lines until it ends.
    pub(super) async fn show_log(&mut self) -> Result<(), Error> {
        tokio::time::sleep(LOG_DELAY).await;
        self.log.shown.store(true, Ordering::Relaxed);
        loop {
            self.is_alive()?;
            tokio::time::sleep(10 * POLL_INTERVAL).await;
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // it may have ended by itself
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Checks that the gateway's addresses are free: another process there would be mistaken for it.
fn are_free(snapshot: &Snapshot) -> Result<(), Error> {
    let senders = snapshot
        .listeners
        .iter()
        .filter_map(|listener| Some((listener.address.tcp()?, "listen")));
    let admin = snapshot
        .admin
        .as_ref()
        .and_then(|admin| Some((admin.address.tcp()?, "admin")));
    let outbound = snapshot
        .outbound
        .as_ref()
        .and_then(|outbound| Some((outbound.listener.address.tcp()?, "outbound.listen")));
    for (address, key) in senders
        .chain(snapshot.health.map(|address| (address, "health")))
        .chain(admin)
        .chain(outbound)
    {
        TcpListener::bind(address).map_err(|error| {
            let error = Error::no("another process listens there")
                .at(address.to_string())
                .cause(error);
            error.hint(format!(
                "end that process, or give `{key}` another address in the config"
            ))
        })?;
    }
    Ok(())
}
