//! Runs the gateway under valgrind, and reads what valgrind counted.
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use hookgate::clock::{Clock as _, SystemClock};
use serde::Deserialize;

use crate::baseline::Cost;
use crate::cases::{Case, Request, config};
use crate::{cases, http};

/// Requests of the short run. They warm up connections, caches and the allocator.
const WARM_UP: u32 = 50;

/// The time that the gateway has to record the outcome of a delivery.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// The function that makes the allocator give memory back. It allocates 10,000 times once a second, which is not a request's cost.
const NOT_COUNTED: &str = "touch_heap";

/// A tool of valgrind, and what it counts.
#[derive(Clone, Copy)]
enum Tool {
    /// The instructions of the binary.
    Callgrind,
    /// Allocations and their bytes. This program is the gateway: it has the allocator of the system, which valgrind can watch.
    Dhat,
}

/// The file that DHAT writes.
#[derive(Deserialize)]
struct Dhat {
    #[serde(rename = "pps")]
    points: Vec<ProgramPoint>,
    #[serde(rename = "ftbl")]
    frames: Vec<String>,
}

/// The allocations of one call stack.
#[derive(Deserialize)]
struct ProgramPoint {
    #[serde(rename = "tbk")]
    blocks: u64,
    #[serde(rename = "tb")]
    bytes: u64,
    /// Indices of its frames.
    #[serde(rename = "fs")]
    stack: Vec<usize>,
}

/// Returns the binary to measure in place of the one that was built with this bench.
pub(crate) fn other_binary() -> Option<OsString> {
    std::env::var_os("HOOKGATE_BINARY")
}

/// Measures a case.
pub(crate) fn cost(case: &Case) -> Cost {
    std::thread::scope(|scope| {
        let heap = other_binary()
            .is_none()
            .then(|| scope.spawn(|| each_request(Tool::Dhat, case)));
        let [instructions, ..] = each_request(Tool::Callgrind, case);
        let heap = heap.map(|counting| counting.join().unwrap());
        Cost {
            instructions: Some(instructions.round()),
            // to a tenth: few requests allocate once more, when a table grows
            allocations: heap.map(|[allocations, _]| (allocations * 10.0).round() / 10.0),
            allocated_bytes: heap.map(|[_, bytes]| bytes.round()),
        }
    })
}

/// Returns the counts of one request.
fn each_request(tool: Tool, case: &Case) -> [f64; 2] {
    let (long, took) = run(tool, case, WARM_UP + case.requests, Duration::ZERO);
    // as long as the other, so that what the gateway does from time to time cancels out, too
    let (short, _) = run(tool, case, WARM_UP, took);
    [0, 1].map(|count| (long[count] - short[count]) / f64::from(case.requests))
}

/// Runs the gateway for `requests` requests and at least for a time. Returns what the tool counted in all, and how long the gateway ran.
fn run(tool: Tool, case: &Case, requests: u32, least: Duration) -> ([f64; 2], Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let (upstream, answers) = http::upstream();
    std::fs::write(&path, config(case, dir.path(), upstream)).unwrap();
    let out = dir.path().join("valgrind.out");
    let began = SystemClock.mono();
    let mut child = start(tool, &path, &out);
    // kept open until the process ends: a closed pipe would make its log fail
    let (address, _log) = listening(child.stderr.take().unwrap());
    let connection = TcpStream::connect(address).unwrap();
    send(case, requests, &connection, &answers);
    std::thread::sleep(least.saturating_sub(SystemClock.mono() - began));
    let took = SystemClock.mono() - began;
    drop(connection);
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(
        child.wait().unwrap().success(),
        "the gateway ended with an error"
    );
    (counts(tool, &std::fs::read_to_string(&out).unwrap()), took)
}

/// Sends the requests of a case, and checks the answers.
fn send(case: &Case, requests: u32, mut connection: &TcpStream, answers: &Receiver<()>) {
    connection.set_nodelay(true).unwrap();
    for number in 0..requests {
        let Request { headers, body } = (case.make)(number, case.body_bytes);
        let head = format!(
            "POST /{} HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
            case.route,
            body.len()
        );
        connection
            .write_all(&[head.as_bytes(), &body].concat())
            .unwrap();
        let status = http::read_answer(&mut connection);
        assert_eq!(status, case.status, "{}, request {number}", case.name);
        if case.route == cases::QUEUED {
            // one at a time, or chance decides which of them share a transaction
            answers.recv().unwrap();
            std::thread::sleep(SETTLE_PAUSE);
        }
    }
}

fn start(tool: Tool, config: &Path, out: &Path) -> Child {
    let mut command = Command::new("valgrind");
    let built = || env!("CARGO_BIN_EXE_hookgate").into();
    let binary = match tool {
        Tool::Callgrind => {
            command
                .arg("--tool=callgrind")
                // stops counting where the function begins: the second option undoes what the first one sets
                .arg(format!("--toggle-collect=*{NOT_COUNTED}*"))
                .arg("--collect-atstart=yes")
                .arg(format!("--callgrind-out-file={}", out.display()));
            other_binary().unwrap_or_else(built)
        }
        Tool::Dhat => {
            command
                .arg("--tool=dhat")
                .arg(format!("--dhat-out-file={}", out.display()));
            std::env::current_exe().unwrap().into()
        }
    };
    let child = command
        .arg("--quiet")
        .arg(binary)
        .args(["run", "--config"])
        .arg(config)
        .env("TOKIO_WORKER_THREADS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    child.unwrap_or_else(|error| panic!("valgrind does not start ({error}): install it, for example with apt-get install valgrind"))
}

/// Reads what a tool counted in all from the file that it wrote. callgrind has one count alone.
fn counts(tool: Tool, text: &str) -> [f64; 2] {
    match tool {
        Tool::Callgrind => {
            let total = text.lines().find_map(|line| {
                line.strip_prefix("totals: ")
                    .or_else(|| line.strip_prefix("summary: "))
            });
            let instructions = total.and_then(|count| count.trim().parse().ok());
            [instructions.expect("callgrind writes a total"), 0.0]
        }
        Tool::Dhat => {
            let dhat: Dhat = serde_json::from_str(text).unwrap();
            let is_counted = |point: &&ProgramPoint| {
                let mut frames = point.stack.iter().map(|frame| &dhat.frames[*frame]);
                !frames.any(|frame| frame.contains(NOT_COUNTED))
            };
            let points = dhat.points.iter().filter(is_counted);
            points.fold([0.0, 0.0], |[blocks, bytes], point| {
                [blocks + point.blocks as f64, bytes + point.bytes as f64]
            })
        }
    }
}

/// Reads the log until the gateway is ready, and returns the address it listens on.
fn listening(log: ChildStderr) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let mut lines = BufReader::new(log).lines();
    let mut address = None;
    for line in lines.by_ref() {
        let line = line.unwrap();
        if line.contains("listening")
            && line.contains("senders")
            && let Some(at) = line.find("127.0.0.1:")
        {
            let text: String = line
                .get(at..)
                .unwrap_or_default()
                .chars()
                .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
                .collect();
            address = text.parse().ok();
        }
        if line.contains("\"ready\"") || line.contains(" ready") {
            break;
        }
    }
    (
        address.unwrap_or_else(|| panic!("the gateway did not say where it listens")),
        std::thread::spawn(move || lines.for_each(drop)),
    )
}
