//! A gateway in this process, on a thread and a runtime of its own.
//!
//! It has no process of its own. So it cannot be used to test signals, exit codes, the environment, memory and open files, the counter of requests that
//! the proxy library refuses as malformed, the connections of `/-/tail`, and the hop that finds a loop. Its own log and its request lines are
//! its own; a line that another thread logs, such as the store's, is not seen.
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread::JoinHandle;

use hookgate::app::{App, Setup, Stop, memory};
use hookgate::clock::Clock;
use hookgate::config::load::load;
use hookgate::gateway::reload::{Reloader, environment};
use hookgate::telemetry::{LogFormat, Telemetry, log};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Lines that a gateway wrote.
pub type Lines = Arc<Mutex<Vec<String>>>;

/// A running gateway. Ends at once on drop, like a process that is killed, but it closes its store.
pub struct InProcess {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    running: Running,
}

/// The handles of a gateway that runs. None keeps its store open.
struct Running {
    runtime: Handle,
    reloader: Weak<Reloader>,
    stop: Stop,
}

impl InProcess {
    /// Starts the gateway of a config file. Its log is added to `log_lines`, its request lines to `lines`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(config: &Path, clock: Arc<dyn Clock>, log_lines: Lines, lines: Lines) -> Self {
        memory::raise_open_files();
        let (end, ended) = oneshot::channel();
        let (begun, begins) = mpsc::channel();
        let config = config.to_owned();
        let thread = std::thread::spawn(move || {
            let log = log::to(LogFormat::Json, LineWriter::new(log_lines)).unwrap();
            tracing::dispatcher::with_default(&log, || run(&config, clock, lines, &begun, ended));
        });
        let running = match begins.recv().expect("the gateway ended") {
            Ok(running) => running,
            Err(error) => panic!("the gateway did not start: {error}"),
        };
        Self {
            end: Some(end),
            thread: Some(thread),
            running,
        }
    }

    /// Reloads the config, as a SIGHUP does. Does not wait for the end of it.
    pub fn reload(&self) {
        let reloader = self.running.reloader.upgrade().expect("it runs");
        self.running
            .runtime
            .spawn(async move { reloader.reload().await.ok() });
    }

    /// Begins to stop gracefully, as a SIGTERM does.
    pub fn stop(&self) {
        self.running.stop.request();
    }

    /// Returns whether it has stopped.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn run(
    config: &Path,
    clock: Arc<dyn Clock>,
    lines: Lines,
    begun: &mpsc::Sender<Result<Running, String>>,
    ended: oneshot::Receiver<()>,
) {
    let loaded = match load(config, &environment, None, 1, clock.now()) {
        Ok(loaded) => loaded,
        Err(refused) => {
            begun.send(Err(refused.report.render(false))).ok();
            return;
        }
    };
    let telemetry = Telemetry::new(
        loaded.snapshot.log,
        Arc::clone(&clock),
        LineWriter::new(lines),
    );
    let setup = Setup {
        config: config.to_owned(),
        loaded,
        clock,
        telemetry,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stop = Stop::default();
        let app = match App::start(setup, stop.clone()).await {
            Ok(app) => app,
            Err(error) => {
                begun.send(Err(error.to_string())).ok();
                return;
            }
        };
        let running = Running {
            runtime: Handle::current(),
            reloader: Arc::downgrade(&app.reloader()),
            stop,
        };
        begun.send(Ok(running)).ok();
        tokio::select! {
            () = app.run() => {}
            _ = ended => {}
        }
    });
    runtime.shutdown_background();
}

/// Splits what is written into lines.
struct LineWriter {
    lines: Lines,
    rest: Vec<u8>,
}

impl LineWriter {
    fn new(lines: Lines) -> Self {
        let rest = Vec::new();
        Self { lines, rest }
    }
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&self.rest).into_owned();
                self.lines.lock().unwrap().push(line);
                self.rest.clear();
            } else {
                self.rest.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
