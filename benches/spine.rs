//! Instructions that one request costs the gateway, from the first byte of the head to the last byte of the answer.
//!
//!     cargo bench --bench spine
//!
//! Each case runs the binary twice under callgrind, with few requests and with many, and divides the difference: starting and stopping cancel out.
//! Instruction counts do not depend on the load of the machine, so two versions can be compared on different days. `HOOKGATE_BINARY` names another
//! binary to measure. callgrind offers no SHA instructions to the program, so hashing counts for more here than it costs.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic, and prints its table"
)]
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";
/// Requests of the short run. They warm up connections, caches and the allocator.
const WARM_UP: u32 = 100;

/// How a request is made from its number.
type Make = fn(u32, usize) -> Request;

struct Case {
    name: &'static str,
    route: &'static str,
    body_bytes: usize,
    /// Requests of the long run beyond those of the short one.
    requests: u32,
    status: u16,
    make: Make,
}

struct Request {
    headers: String,
    body: Vec<u8>,
}

const CASES: [Case; 6] = [
    Case {
        name: "GitHub, 1 KiB, forwarded",
        route: "github",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 200,
        make: github,
    },
    Case {
        name: "GitHub, 100 KiB, forwarded",
        route: "github",
        body_bytes: 100 << 10,
        requests: 200,
        status: 200,
        make: github,
    },
    Case {
        name: "Stripe, 1 KiB, forwarded",
        route: "stripe",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 200,
        make: stripe,
    },
    Case {
        name: "GitHub, 1 KiB, forged",
        route: "github",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 401,
        make: forged,
    },
    Case {
        name: "GitHub, 1 KiB, duplicate",
        route: "github",
        body_bytes: 1 << 10,
        requests: 1000,
        status: 200,
        make: duplicate,
    },
    Case {
        name: "GitHub, 1 KiB, queued",
        route: "queued",
        body_bytes: 1 << 10,
        requests: 500,
        status: 200,
        make: github,
    },
];

fn main() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream_address = upstream.local_addr().unwrap();
    std::thread::spawn(move || {
        upstream
            .incoming()
            .for_each(|connection| drop(std::thread::spawn(|| answer_all(connection.unwrap()))));
    });

    println!("| request | instructions |\n|---|---|");
    for case in &CASES {
        let short = instructions(case, WARM_UP, upstream_address);
        let long = instructions(case, WARM_UP + case.requests, upstream_address);
        println!(
            "| {} | {} |",
            case.name,
            (long.saturating_sub(short)) / u64::from(case.requests)
        );
    }
}

/// Runs the gateway under callgrind for `requests` requests, and returns the instructions it executed in all.
fn instructions(case: &Case, requests: u32, upstream: SocketAddr) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("config.yaml"),
        config(case, dir.path(), upstream),
    )
    .unwrap();
    let out = dir.path().join("callgrind.out");
    let mut child = start(dir.path(), &out);
    // kept open until the process ends: a closed pipe would make its log fail
    let (address, _log) = listening(child.stderr.take().unwrap());
    let mut connection = TcpStream::connect(address).unwrap();
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
        let status = read_answer(&mut connection);
        assert_eq!(status, case.status, "{}, request {number}", case.name);
    }
    drop(connection);
    assert!(
        Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(
        child.wait().unwrap().success(),
        "the gateway ended with an error"
    );
    let text = std::fs::read_to_string(&out).unwrap();
    let total = text.lines().find_map(|line| {
        line.strip_prefix("totals: ")
            .or_else(|| line.strip_prefix("summary: "))
    });
    total
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("callgrind wrote no total"))
}

fn start(dir: &Path, out: &Path) -> Child {
    let binary = std::env::var_os("HOOKGATE_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_hookgate").into());
    let command = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--error-exitcode=0"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(binary)
        .args(["run", "--config"])
        .arg(dir.join("config.yaml"))
        .env("TOKIO_WORKER_THREADS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    command.unwrap_or_else(|error| panic!("valgrind does not start ({error}): install it, for example with apt-get install valgrind"))
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

fn config(case: &Case, dir: &Path, upstream: SocketAddr) -> String {
    let store = if case.route == "queued" {
        format!("store: {{ path: {} }}\n", dir.join("store").display())
    } else {
        String::new()
    };
    let action = if case.route == "queued" {
        "queue: { upstream: app }"
    } else {
        "forward: { upstream: app }"
    };
    let (provider, dedupe) = if case.route == "stripe" {
        ("stripe", "{}")
    } else {
        ("github", "{ by: content, window: 1h }")
    };
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\n{store}shutdown: {{ delay: 0s, grace: 60s }}\nupstreams: {{ app: {{ url: http://{upstream}, timeout: 60s }} }}\n\
         routes:\n  - name: {route}\n    path: /{route}\n    verify: {{ provider: {provider}, secrets: [{{ insecure_inline: {SECRET} }}] }}\n    \
         dedupe: {dedupe}\n    {action}\n",
        route = case.route,
    )
}

fn body(number: u32, bytes: usize) -> Vec<u8> {
    let mut body =
        format!("{{\"id\":\"evt_{number:08}\",\"type\":\"push\",\"padding\":\"").into_bytes();
    body.resize(bytes - 2, b'x');
    body.extend(b"\"}");
    body
}

fn hmac_of(parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

fn github(number: u32, bytes: usize) -> Request {
    let body = body(number, bytes);
    Request {
        headers: github_headers(number, &hmac_of(&[&body])),
        body,
    }
}

fn github_headers(number: u32, tag: &str) -> String {
    format!(
        "X-GitHub-Event: push\r\nX-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c93{number:08x}\r\nX-Hub-Signature-256: sha256={tag}\r\n"
    )
}

fn forged(number: u32, bytes: usize) -> Request {
    Request {
        headers: github_headers(number, &"0".repeat(64)),
        body: body(number, bytes),
    }
}

fn duplicate(_: u32, bytes: usize) -> Request {
    github(0, bytes)
}

fn stripe(number: u32, bytes: usize) -> Request {
    let body = body(number, bytes);
    #[expect(clippy::disallowed_methods, reason = "a signature of the present")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .to_string();
    let tag = hmac_of(&[now.as_bytes(), b".", &body]);
    Request {
        headers: format!("Stripe-Signature: t={now},v1={tag}\r\n"),
        body,
    }
}

/// Reads one answer with a length, and returns its status.
fn read_answer(connection: &mut TcpStream) -> u16 {
    let head =
        read_head(connection).unwrap_or_else(|| panic!("the connection ended before an answer"));
    read_body(connection, &head);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Reads to the end of a head, a byte at a time: what follows is left for the body. `None` at the end of the stream.
fn read_head(connection: &mut impl std::io::Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

fn read_body(connection: &mut impl std::io::Read, head: &str) {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |value| value.trim().parse().unwrap());
    std::io::copy(&mut connection.take(length), &mut std::io::sink()).unwrap();
}

/// Answers every request of a connection with an empty 200.
fn answer_all(connection: TcpStream) {
    connection.set_nodelay(true).unwrap();
    let mut writing = connection.try_clone().unwrap();
    let mut reading = BufReader::new(connection);
    while let Some(head) = read_head(&mut reading) {
        read_body(&mut reading, &head);
        if writing
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .is_err()
        {
            return;
        }
    }
}
