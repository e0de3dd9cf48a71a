//! The corpus of smuggling and parsing tricks against a real gate before an app that records every byte.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::abuse_corpus::{self, Expect, Trick};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::sign;

const THREADS: usize = 6;

/// A request that an app got.
#[derive(Clone, Debug)]
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self
            .head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }
}

/// An app that takes whole requests in normal form, and keeps every byte that is none.
#[derive(Clone, Default)]
struct Recorder {
    requests: Arc<Mutex<Vec<Request>>>,
    /// The bytes that were left when a connection ended, or could not be read.
    stray: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Self::default();
        let of_thread = recorder.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let recorder = of_thread.clone();
                std::thread::spawn(move || recorder.serve(stream));
            }
        });
        (recorder, address)
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            while let Some((request, length)) = request(&bytes) {
                bytes.drain(..length);
                self.requests.lock().unwrap().push(request);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .ok();
            }
            match stream.read(&mut piece) {
                Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
                Ok(_) | Err(_) => break,
            }
        }
        self.stray.lock().unwrap().extend_from_slice(&bytes);
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// The first whole request, and how long it is.
fn request(bytes: &[u8]) -> Option<(Request, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut request = Request {
        head,
        body: Vec::new(),
    };
    let mut at = end;
    if request.header("Transfer-Encoding").is_none() {
        let length: usize = request
            .header("Content-Length")
            .map_or(0, |length| length.parse().unwrap());
        request.body = bytes.get(at..at + length)?.to_vec();
        return Some((request, at + length));
    }
    loop {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        request
            .body
            .extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        at += line + 2 + size + 2;
        bytes.get(..at)?;
        if size == 0 {
            return Some((request, at));
        }
    }
}

/// How the bytes of a trick are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packets {
    One,
    /// After so many bytes a second one.
    Two(usize),
    /// Each byte alone.
    Bytes,
}

/// One trick on its way.
struct Run {
    trick: Trick,
    packets: Packets,
    id: String,
}

/// The sender's view of a trick.
#[derive(Debug, Default)]
struct Saw {
    /// Of final answers.
    statuses: Vec<u16>,
    closed: bool,
}

impl Run {
    /// The bytes of the trick; they hold this run's ID, and the hidden request has one as well.
    fn bytes(&self, path: &str) -> Vec<u8> {
        let lines = |id: &str, body: &str| -> String {
            sign::github(SECRET, id, &latin1(body))
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect()
        };
        let host = "Host: gate.test\r\n";
        let hidden = format!(
            "POST {path} HTTP/1.1\r\n{host}{}Content-Length: 2\r\n\r\n{{}}",
            lines(&format!("hidden-{}", self.id), "{}")
        );
        let signed = lines(&self.id, &self.trick.body);
        let text = self
            .trick
            .text
            .replace("$HIDDEN", &hidden)
            .replace("$H", host)
            .replace("$S", &signed)
            .replace("$P", path);
        latin1(
            &text
                .replace("$h", &host.replace('\r', ""))
                .replace("$s", &signed.replace('\r', "")),
        )
    }

    fn send(&self, gate: SocketAddr, path: &str) -> Saw {
        let mut stream = TcpStream::connect(gate).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let bytes = self.bytes(path);
        let size = match self.packets {
            Packets::One => bytes.len(),
            Packets::Two(at) => at,
            Packets::Bytes => 1,
        };
        let (first, rest) = bytes.split_at(size.min(bytes.len()));
        let rest = rest.chunks(if self.packets == Packets::Bytes {
            1
        } else {
            bytes.len()
        });
        // the gate may have closed already
        std::iter::once(first)
            .chain(rest)
            .try_for_each(|packet| stream.write_all(packet))
            .ok();
        self.read(&mut stream)
    }

    /// Reads to the end of the connection, or of the one answer to an honest request.
    fn read(&self, stream: &mut TcpStream) -> Saw {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        let mut saw = Saw::default();
        loop {
            while let Some((status, length)) = answer(&bytes) {
                bytes.drain(..length);
                if status >= 200 {
                    saw.statuses.push(status);
                }
            }
            if self.trick.expect == Expect::One && !saw.statuses.is_empty() {
                return saw;
            }
            match stream.read(&mut piece) {
                Ok(0) => saw.closed = true,
                Ok(read) => {
                    bytes.extend_from_slice(&piece[..read]);
                    continue;
                }
                Err(error) => saw.closed = error.kind() == std::io::ErrorKind::ConnectionReset,
            }
            return saw;
        }
    }

    /// Returns the fault of the outcome, if it has one.
    fn judge(&self, saw: &Saw, upstream: &[&Request]) -> Option<String> {
        let (status, closed, requests) = match self.trick.expect {
            Expect::Refused => (400, true, 0),
            Expect::Status(status) => (status, true, 0),
            Expect::One => (200, false, 1),
            Expect::OneThenClosed => (200, true, 1),
        };
        let exact = upstream
            .iter()
            .all(|request| request.body == latin1(&self.trick.body) && is_clean(request));
        let good =
            saw.statuses == [status] && saw.closed == closed && upstream.len() == requests && exact;
        (!good).then(|| {
            format!(
                "{} / {} / {:?}: {saw:?}, upstream {upstream:?}",
                self.trick.group, self.trick.name, self.packets
            )
        })
    }
}

/// The app learns nothing of the sender's connection.
fn is_clean(request: &Request) -> bool {
    let hop_by_hop = [
        "Connection",
        "Upgrade",
        "HTTP2-Settings",
        "TE",
        "Trailer",
        "Keep-Alive",
    ];
    // on a pass route it is the app that invites
    let expects = request.head.starts_with("POST /webhooks/") && request.header("Expect").is_some();
    !expects
        && hop_by_hop.iter().all(|name| {
            request
                .header(name)
                .is_none_or(|value| value.eq_ignore_ascii_case("keep-alive"))
        })
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// The status of the first whole answer, and how long it is.
fn answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("{head:?}"));
    let length = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    (bytes.len() >= end + length).then_some((status, end + length))
}

/// Every trick in one packet, the refused ones byte by byte, and some of them cut in two at many places.
fn runs(tricks: Vec<Trick>) -> Vec<Run> {
    let mut runs = Vec::new();
    for (number, trick) in tricks.into_iter().enumerate() {
        let mut ways = vec![Packets::One];
        // in packets of its own, what is behind a whole message is the next request
        if !matches!(trick.expect, Expect::OneThenClosed | Expect::Status(401))
            && !trick.text.contains("Upgrade:")
            && trick.group != "pipelining"
            && trick.text.len() < 2_000
        {
            ways.push(Packets::Bytes);
            if number % 16 == 0 {
                ways.extend((1..300).step_by(9).map(Packets::Two));
            }
        }
        for (way, packets) in ways.into_iter().enumerate() {
            runs.push(Run {
                trick: trick.clone(),
                packets,
                id: format!("{number}-{way}"),
            });
        }
    }
    runs
}

/// Sends all runs, several at a time.
fn send_all(runs: &[Run], gate: SocketAddr, path: &str) -> Vec<Saw> {
    let next = AtomicUsize::new(0);
    let saw = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((number, run)) = {
                    Some(next.fetch_add(1, Ordering::Relaxed))
                        .and_then(|number| Some((number, runs.get(number)?)))
                } {
                    let seen = run.send(gate, path);
                    saw.lock().unwrap().insert(number, seen);
                }
            });
        }
    });
    saw.into_inner().unwrap().into_values().collect()
}

fn print_matrix(title: &str, runs: &[Run], saw: &[Saw], upstream: &[Request]) {
    let mut groups: BTreeMap<&str, [usize; 7]> = BTreeMap::new();
    for (run, saw) in runs.iter().zip(saw) {
        let row = groups.entry(run.trick.group).or_default();
        let is = |status| usize::from(saw.statuses == [status]);
        let arrived = |id: &str| {
            upstream
                .iter()
                .filter(|request| request.header("X-GitHub-Delivery") == Some(id))
                .count()
        };
        let counts = [
            usize::from(run.packets == Packets::One),
            1,
            is(400),
            usize::from(!saw.statuses.is_empty()) - is(400) - is(200),
            usize::from(saw.closed),
            arrived(&run.id),
            arrived(&format!("hidden-{}", run.id)),
        ];
        row.iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
    }
    let columns = [
        "tricks", "sent", "400", "4xx", "closed", "upstream", "hidden",
    ];
    eprintln!(
        "\n{title:<28}{}",
        columns.map(|column| format!("{column:>10}")).concat()
    );
    let mut all = [0; 7];
    for (group, row) in groups {
        eprintln!(
            "{group:<28}{}",
            row.map(|count| format!("{count:>10}")).concat()
        );
        all.iter_mut()
            .zip(row)
            .for_each(|(sum, count)| *sum += count);
    }
    eprintln!(
        "{:<28}{}",
        "all",
        all.map(|count| format!("{count:>10}")).concat()
    );
}

#[test]
fn no_trick_reaches_the_app_of_a_webhook_route() {
    let (app, address) = Recorder::start();
    let gate = Gate::start(&config::forward(&format!("http://{address}"), ""));
    let runs = runs(abuse_corpus::all());
    assert!(
        runs.iter()
            .filter(|run| run.packets == Packets::One && run.trick.expect != Expect::One)
            .count()
            >= 120
    );
    let saw = send_all(&runs, gate.address("senders"), "/webhooks/github");
    judge_all("webhook route", &runs, &saw, &app);
    assert_eq!(app.stray.lock().unwrap().escape_ascii().to_string(), "");
    every_refusal_is_counted(
        &gate,
        saw.iter().filter(|saw| saw.statuses == [400]).count(),
    );
}

/// A pass route takes more methods and unsigned bodies, so what is refused on a webhook route for these is left out; it streams, so half of
/// a body may have gone on when its other half turns out broken, but never a whole request.
#[test]
fn no_trick_reaches_the_app_of_a_pass_route() {
    let (app, address) = Recorder::start();
    let pass = "  - name: rest\n    path: /{*rest}\n    pass: { upstream: app }\n";
    let gate = Gate::start(&(config::forward(&format!("http://{address}"), "") + pass));
    let mut tricks = abuse_corpus::all();
    tricks.retain(|trick| !matches!(trick.expect, Expect::Status(_)));
    // where an app could switch, what comes with the wish to is refused
    for trick in tricks.iter_mut().filter(|trick| trick.group == "upgrade") {
        trick.expect = Expect::Refused;
    }
    let runs = runs([tricks, abuse_corpus::of_pass_routes()].concat());
    let saw = send_all(&runs, gate.address("senders"), "/app/x");
    judge_all("pass route", &runs, &saw, &app);
    every_refusal_is_counted(
        &gate,
        saw.iter().filter(|saw| saw.statuses == [400]).count(),
    );
}

fn judge_all(title: &str, runs: &[Run], saw: &[Saw], app: &Recorder) {
    let upstream = app.requests();
    print_matrix(title, runs, saw, &upstream);
    let of = |run: &Run| {
        upstream
            .iter()
            .filter(|request| request.header("X-GitHub-Delivery") == Some(&run.id))
            .collect::<Vec<_>>()
    };
    let wrong: Vec<_> = runs
        .iter()
        .zip(saw)
        .filter_map(|(run, saw)| run.judge(saw, &of(run)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} went wrong:\n{}",
        wrong.len(),
        runs.len(),
        wrong.join("\n")
    );
    // every request is one of the honest ones
    let honest = runs
        .iter()
        .filter(|run| matches!(run.trick.expect, Expect::One | Expect::OneThenClosed))
        .count();
    assert_eq!(upstream.len(), honest);
}

fn every_refusal_is_counted(gate: &Gate, refused: usize) {
    let counted = || -> usize {
        let metrics = gate.health("/metrics").text();
        let of = |line: &str| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        let malformed = metrics
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains("malformed"))
            .filter(|line| !line.contains("signature") && !line.contains("upstream"));
        malformed.map(of).sum()
    };
    wait_for("every refusal to be counted", || counted() >= refused);
    assert_eq!(counted(), refused);
}
