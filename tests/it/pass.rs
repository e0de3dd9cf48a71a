//! Routes that stream other traffic of the app through: all kinds of it, whole, at once, bounded, and on record.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use ::http::Request;
use bytes::Bytes;

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;
use super::support::tls_gate;

const MIB: usize = 1 << 20;

/// An app that does with each connection what a test says, after it has read the head of a request.
pub fn app_on_sockets(serve: impl Fn(TcpStream, String) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                stream
                    .set_read_timeout(Some(Duration::from_secs(20)))
                    .unwrap();
                let head = read_head(&mut stream);
                if !head.is_empty() {
                    serve(stream, head);
                }
            });
        }
    });
    address
}

/// Byte by byte, so that the body stays where it is.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn open(gate: &Gate) -> TcpStream {
    let stream = TcpStream::connect(gate.address("senders")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The record of the last request of the pass route, once there are `count` of them.
#[track_caller]
fn record(gate: &Gate, count: usize) -> serde_json::Value {
    let of_app = |gate: &Gate| {
        gate.lines()
            .into_iter()
            .filter(|line| line.contains("\"route\":\"app\""))
            .collect::<Vec<_>>()
    };
    wait_for("the record", || of_app(gate).len() >= count);
    let lines = of_app(gate);
    assert_eq!(lines.len(), count, "{lines:?}");
    serde_json::from_str(&lines[count - 1]).unwrap()
}

#[track_caller]
fn counted(gate: &Gate, outcome: &str, count: u64) {
    let line = format!("hookgate_requests_total{{outcome=\"{outcome}\",route=\"app\"}} {count}");
    // a stream is counted when it is over, which its sender may know before the gate
    wait_for(&line, || gate.health("/metrics").text().contains(&line));
}

#[test]
fn other_traffic_of_the_app_passes_and_is_on_record() {
    let app = App::start();
    let gate = Gate::in_process(&config::pass(&app.url(), "", ""));
    let mut sender = Connection::open(gate.address("senders"));
    for (number, method) in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]
        .into_iter()
        .enumerate()
    {
        let answer = sender.request(
            method,
            "/a/%2F/b?c=d&e",
            &[("Cookie", "a=b"), ("X-Forwarded-For", "1.2.3.4")],
            b"body",
        );
        assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
        let seen = app.last();
        assert_eq!(
            (
                seen.method.as_str(),
                seen.target.as_str(),
                seen.body.as_slice()
            ),
            (method, "/a/%2F/b?c=d&e", b"body".as_slice())
        );
        assert_eq!(seen.header("Hookgate-Verified"), Some("false"));
        assert_eq!(seen.header("Host"), Some("gate.test"));
        assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(seen.header("X-Request-Id"), answer.header("X-Request-Id"));
        assert_eq!(answer.header("Server"), None);
        let record = record(&gate, number + 1);
        assert_eq!(
            (&record["status"], &record["path"], &record["bytes"]),
            (&200.into(), &"/a/%2F/b".into(), &4.into())
        );
        assert_eq!(
            (
                &record["answer_bytes"],
                &record["attempts"],
                &record["code"]
            ),
            (&4.into(), &1.into(), &serde_json::Value::Null)
        );
    }
    counted(&gate, "passed_2xx", 5);
    let body = b"{}";
    assert_eq!(
        gate.post("/webhooks/github", &sign::github(SECRET, "id", body), body)
            .status,
        200
    );
    assert_eq!(app.last().target, "/hooks/github");
    assert_eq!(gate.post("/webhooks/github", &[], body).status, 401);
    assert_eq!(
        http::request(gate.address("senders"), "GET", "/webhooks/github", &[], b"").status,
        405
    );
    assert_eq!(
        http::request(gate.address("senders"), "TRACE", "/", &[], b"").status,
        405
    );
    let status = gate.admin("/-/status").to_string();
    assert!(status.contains("\"pass\""), "{status}");
}

/// 50 MiB each way, at once, with a length and in chunks: nothing of it is held.
#[test]
fn large_bodies_stream_both_ways() {
    let app = app_on_sockets(|mut stream, head| {
        let size: usize = 50 * MIB;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
        let mut reader = stream.try_clone().unwrap();
        let drain = std::thread::spawn(move || {
            let (mut piece, mut read) = (vec![0; 256 * 1024], 0);
            let chunked = head.to_lowercase().contains("transfer-encoding");
            while read < size + if chunked { 5 } else { 0 } {
                match reader.read(&mut piece) {
                    Ok(count) if count > 0 => read += count,
                    _ => break,
                }
            }
        });
        let piece = vec![b'x'; MIB];
        (0..50).for_each(|_| stream.write_all(&piece).unwrap());
        drain.join().unwrap();
    });
    let gate = Gate::start(&config::pass(&format!("http://{app}"), "", ""));
    for number in 0..2 {
        let mut sender = open(&gate);
        let framing = if number == 0 {
            format!("Content-Length: {}", 50 * MIB)
        } else {
            "Transfer-Encoding: chunked".to_owned()
        };
        write!(
            sender,
            "PUT /big HTTP/1.1\r\nHost: gate.test\r\n{framing}\r\n\r\n"
        )
        .unwrap();
        let mut writer = sender.try_clone().unwrap();
        let send = std::thread::spawn(move || {
            let piece = vec![b'y'; MIB];
            for _ in 0..50 {
                if number == 1 {
                    write!(writer, "{MIB:x}\r\n").unwrap();
                }
                writer.write_all(&piece).unwrap();
                if number == 1 {
                    writer.write_all(b"\r\n").unwrap();
                }
            }
            if number == 1 {
                writer.write_all(b"0\r\n\r\n").unwrap();
            }
        });
        let head = read_head(&mut sender);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let (mut piece, mut read) = (vec![0; 256 * 1024], 0);
        while read < 50 * MIB {
            let count = sender.read(&mut piece).unwrap();
            assert!(count > 0, "the answer ends after {read} bytes");
            read += count;
        }
        send.join().unwrap();
        let record = record(&gate, number + 1);
        assert_eq!(
            (record["bytes"].as_u64(), record["answer_bytes"].as_u64()),
            (Some(50 << 20), Some(50 << 20))
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap();
    eprintln!("100 MiB each way, peak RSS {} MiB", peak / 1024);
    assert!(peak < 80 * 1024, "{peak} KiB");
}

#[test]
fn events_arrive_as_they_are_sent() {
    let (next, go) = mpsc::channel::<()>();
    let go = Mutex::new(go);
    let app = app_on_sockets(move |mut stream, _| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            .unwrap();
        for number in 0..3 {
            // in one piece: each piece is a chunk of its own on the way out
            stream
                .write_all(format!("data: {number}\n\n").as_bytes())
                .unwrap();
            if go.lock().unwrap().recv().is_err() {
                return;
            }
        }
        // the sender leaves, and the app sees the end of the connection
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    });
    let gate = Gate::in_process(&config::pass(&format!("http://{app}"), "", ""));
    let mut sender = open(&gate);
    sender
        .write_all(b"GET /events HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .unwrap();
    let mut text = read_head(&mut sender);
    assert!(text.contains("text/event-stream"), "{text}");
    for number in 0..3 {
        while !text.contains(&format!("data: {number}\n\n")) {
            let mut piece = [0; 1024];
            let count = sender.read(&mut piece).unwrap();
            assert!(count > 0);
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        next.send(()).unwrap();
    }
    drop(sender);
    let record = record(&gate, 1);
    assert_eq!(
        (&record["status"], &record["code"], &record["level"]),
        (&200.into(), &"sender_left".into(), &"info".into())
    );
    counted(&gate, "passed_sender_left", 1);
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: gate.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHookgate-Verified: true\r\n\r\n";

/// An app that takes WebSockets and says everything again. It writes down the heads it saw.
fn echoing() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = app_on_sockets(move |mut stream, head| {
        let upgrades = head.to_lowercase().contains("upgrade: websocket");
        seen.lock().unwrap().push(head);
        if !upgrades {
            stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
            return;
        }
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
            .unwrap();
        let mut piece = [0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            if stream.write_all(&piece[..count]).is_err() {
                return;
            }
        }
    });
    (address, heads)
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap() | 0x80, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[test]
fn websockets_pass_and_end_when_they_are_idle() {
    let (app, heads) = echoing();
    let gate = Gate::in_process(&config::pass(
        &format!("http://{app}"),
        ", idle_timeout: 700ms",
        "",
    ));
    let mut sender = open(&gate);
    sender.write_all(UPGRADE.as_bytes()).unwrap();
    let head = read_head(&mut sender).to_lowercase();
    assert!(
        head.starts_with("http/1.1 101 ")
            && head.contains("upgrade: websocket")
            && head.contains("connection: upgrade"),
        "{head}"
    );
    let seen = heads.lock().unwrap()[0].to_lowercase();
    assert!(
        seen.contains("connection: upgrade") && seen.contains("hookgate-verified: false"),
        "{seen}"
    );
    assert!(!seen.contains("hookgate-verified: true"), "{seen}");
    // longer than the idle limit in all, and never idle for so long
    for number in 0..6 {
        let sent = frame(&format!("message {number}"));
        sender.write_all(&sent).unwrap();
        let mut received = vec![0; sent.len()];
        sender.read_exact(&mut received).unwrap();
        assert_eq!(received, sent);
        std::thread::sleep(Duration::from_millis(250));
    }
    let began = Instant::now();
    assert!(matches!(sender.read(&mut [0]), Ok(0)));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let record = record(&gate, 1);
    assert_eq!(
        (&record["status"], &record["code"]),
        (&101.into(), &"idle".into())
    );
    assert_eq!(
        (record["bytes"].as_u64(), record["answer_bytes"].as_u64()),
        (Some(6 * 15), Some(6 * 15))
    );
    counted(&gate, "passed_idle", 1);
}

#[test]
fn only_websockets_are_upgraded() {
    let (app, heads) = echoing();
    let gate = Gate::in_process(&config::pass(&format!("http://{app}"), "", ""));
    let odd = [
        UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c"),
        UPGRADE.replace("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c"),
        UPGRADE.replace("keep-alive, Upgrade", "keep-alive"),
        UPGRADE.replace("GET ", "POST "),
        UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody"),
    ];
    for request in &odd {
        let mut sender = open(&gate);
        sender.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut sender);
        assert!(head.starts_with("HTTP/1.1 426 "), "{request}: {head}");
    }
    for head in heads.lock().unwrap().iter() {
        assert!(!head.to_lowercase().contains("upgrade"), "{head}");
    }
}

/// A WebSocket holds up the end no longer than the grace, and then is cut.
#[test]
fn an_open_websocket_is_cut_at_the_end_of_the_grace() {
    let (app, _) = echoing();
    let mut gate = Gate::start(&config::pass(&format!("http://{app}"), "", ""));
    let mut sender = open(&gate);
    sender.write_all(UPGRADE.as_bytes()).unwrap();
    assert!(read_head(&mut sender).starts_with("HTTP/1.1 101 "));
    gate.signal("TERM");
    let began = Instant::now();
    let sent = frame("still there");
    sender.write_all(&sent).unwrap();
    sender.read_exact(&mut vec![0; sent.len()]).unwrap();
    assert_eq!(gate.wait(Duration::from_secs(6)).code(), Some(0));
    assert!(
        began.elapsed() >= Duration::from_millis(1_900),
        "{:?}",
        began.elapsed()
    );
    wait_for("the record", || {
        gate.lines().iter().any(|line| line.contains("abandoned"))
    });
}

#[test]
fn heads_ranges_and_unchanged_answers_pass_untouched() {
    let app = app_on_sockets(|mut stream, head| {
        let answer = match head.split(' ').next().unwrap() {
            "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\nKeep-Alive: timeout=9\r\n\r\n".to_owned(),
            _ if head.contains("ange: bytes=1-2") => {
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/9\r\nContent-Length: 2\r\nX-Two: a\r\nX-Two: b\r\n\r\nbc".to_owned()
            }
            _ if head.to_lowercase().contains("if-none-match") => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    });
    let gate = Gate::in_process(&config::pass(&format!("http://{app}"), "", ""));
    let ask = |request: &str| {
        let mut sender = open(&gate);
        write!(
            sender,
            "{request}\r\nHost: gate.test\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        sender.read_to_string(&mut answer).unwrap();
        answer
    };
    let head = ask("HEAD / HTTP/1.1");
    assert!(
        head.starts_with("HTTP/1.1 200 ")
            && head.contains("Content-Length: 1234")
            && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(!head.contains("timeout=9"), "{head}");
    let part = ask("GET / HTTP/1.1\r\nRange: bytes=1-2");
    assert!(
        part.starts_with("HTTP/1.1 206 ")
            && part.contains("bytes 1-2/9")
            && part.ends_with("\r\n\r\nbc"),
        "{part}"
    );
    assert!(part.contains("X-Two: a\r\nX-Two: b"), "{part}");
    assert!(ask("GET / HTTP/1.1\r\nIf-None-Match: \"a\"").starts_with("HTTP/1.1 304 "));
    let hints = ask("GET / HTTP/1.1");
    assert!(
        hints.starts_with("HTTP/1.1 103 ") && hints.contains("Link: </a>"),
        "{hints}"
    );
    // what pingora drops: trailers
    assert!(
        hints.ends_with("2\r\nok\r\n0\r\n\r\n") && !hints.contains("X-Sum: 1"),
        "{hints}"
    );
    let old = ask("GET / HTTP/1.0");
    assert!(
        old.ends_with("\r\n\r\nok") && !old.contains("chunked"),
        "{old}"
    );
}

/// Each kind of trouble is refused in the gate's own form, with its code on record.
#[test]
fn failures_of_the_app_have_distinct_statuses() {
    let app = app_on_sockets(|mut stream, head| match head.split(' ').nth(1).unwrap() {
        "/reset" => {}
        "/nonsense" => stream
            .write_all(b"220 mail.example.com ESMTP\r\n\r\n")
            .unwrap(),
        "/999" => stream
            .write_all(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n")
            .unwrap(),
        "/unasked" => stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            )
            .unwrap(),
        "/drip" => {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: "
                .iter()
                .chain(std::iter::repeat_n(&b'x', 60))
            {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        "/half" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
        _ => drop(stream.read(&mut [0])),
    });
    let gate = Gate::in_process(&config::pass(
        &format!("http://{app}"),
        ", timeout: 700ms, idle_timeout: 5s",
        "",
    ));
    let rows = [
        ("/reset", 502, "upstream_reset"),
        ("/nonsense", 502, "upstream_malformed"),
        ("/999", 502, "upstream_malformed"),
        ("/unasked", 502, "upstream_malformed"),
        ("/drip", 504, "upstream_timeout"),
        ("/silence", 504, "upstream_timeout"),
    ];
    for (number, (path, status, code)) in rows.into_iter().enumerate() {
        let began = Instant::now();
        let answer = http::request(gate.address("senders"), "GET", path, &[], b"");
        assert_eq!(answer.status, status, "{path}");
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{path} {:?}",
            began.elapsed()
        );
        let id = answer.header("X-Request-Id").unwrap();
        assert!(
            answer.text().contains(id) && answer.header("Content-Type") == Some("application/json"),
            "{answer:?}"
        );
        assert_eq!(answer.header("Server"), None);
        let record = record(&gate, number + 1);
        assert_eq!(
            (&record["code"], &record["request_id"]),
            (&code.into(), &id.into()),
            "{path}"
        );
    }
    // half an answer does not look like a whole one
    let mut sender = Connection::open(gate.address("senders"));
    sender
        .send(b"GET /half HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .unwrap();
    assert!(sender.answer().is_err());
    let record = record(&gate, rows.len() + 1);
    assert_eq!(
        (&record["status"], &record["code"]),
        (&200.into(), &"broken_off".into())
    );
}

#[test]
fn bounds_of_the_route_hold() {
    let app = App::start();
    let bounds =
        "    max_body: 1KiB\n    methods: [GET, POST]\n    rate_limit: { rate: 6/h, key: route }\n";
    let gate = Gate::in_process(&config::pass(&app.url(), "", bounds));
    let mut sender = Connection::open(gate.address("senders"));
    assert_eq!(sender.request("POST", "/", &[], &[0; 1024]).status, 200);
    assert_eq!(
        sender.chunked("POST", "/", &[], &[0; 1024], 100).status,
        200
    );
    let declared = http::request(gate.address("senders"), "POST", "/", &[], &[0; 1025]);
    assert_eq!((declared.status, app.count()), (413, 2));
    assert_eq!(
        Connection::open(gate.address("senders"))
            .chunked("POST", "/", &[], &[0; 5000], 100)
            .status,
        413
    );
    let put = http::request(gate.address("senders"), "PUT", "/", &[], b"");
    assert_eq!((put.status, put.header("Allow")), (405, Some("GET, POST")));
    let statuses: Vec<u16> = (0..6)
        .map(|_| http::request(gate.address("senders"), "GET", "/", &[], b"").status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    let only = Gate::in_process(&config::pass(&app.url(), "", "    allow: [10.0.0.0/8]\n"));
    assert_eq!(
        http::request(only.address("senders"), "GET", "/", &[], b"").status,
        403
    );
}

/// A sender that stops within its body does not hold the app for ever; one that goes on slowly may.
#[test]
fn a_body_that_stands_still_is_cut() {
    let app = App::start();
    let gate = Gate::in_process(&config::pass(
        &app.url(),
        ", idle_timeout: 600ms, timeout: 300ms",
        "",
    ));
    let mut slow = Connection::open(gate.address("senders"));
    slow.send(b"POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 6\r\n\r\n")
        .unwrap();
    for byte in [b"a", b"b", b"c", b"d", b"e", b"f"] {
        std::thread::sleep(Duration::from_millis(200));
        slow.send(byte).unwrap();
    }
    assert_eq!(slow.answer().unwrap().status, 200);
    let mut stalled = Connection::open(gate.address("senders"));
    stalled
        .send(b"POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 6\r\n\r\nabc")
        .unwrap();
    assert_eq!(stalled.answer().unwrap().status, 408);
    assert_eq!(record(&gate, 2)["code"], "body_timeout");
}

/// A sender that waits for leave to send its body gets the app's.
#[test]
fn the_app_invites_the_body() {
    let app = app_on_sockets(|mut stream, head| {
        assert!(
            head.to_lowercase().contains("expect: 100-continue"),
            "{head}"
        );
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            .unwrap();
        stream.write_all(&body).unwrap();
    });
    let gate = Gate::in_process(&config::pass(&format!("http://{app}"), "", ""));
    let mut sender = open(&gate);
    sender.write_all(b"POST / HTTP/1.1\r\nHost: gate.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").unwrap();
    assert!(read_head(&mut sender).starts_with("HTTP/1.1 100 "));
    sender.write_all(b"body").unwrap();
    assert!(read_head(&mut sender).starts_with("HTTP/1.1 200 "));
}

/// Connections are used again, and one that the app closed meanwhile is not an error: a GET goes out once more.
#[test]
fn connections_to_the_app_are_used_again() {
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    let app = app_on_sockets(move |mut stream, _| {
        *count.lock().unwrap() += 1;
        for _ in 0..3 {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .unwrap();
            if read_head(&mut stream).is_empty() {
                return;
            }
        }
        // the fourth request of a connection finds it closed
    });
    let gate = Gate::in_process(&config::pass(&format!("http://{app}"), "", ""));
    let mut sender = Connection::open(gate.address("senders"));
    for number in 0..9 {
        let answer = sender.request("GET", "/", &[], b"");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "ok"),
            "{number}"
        );
    }
    assert_eq!(*connections.lock().unwrap(), 3);
}

/// Bytes that come late after an answer without content are not taken for the answer to another request.
#[test]
fn a_late_body_does_not_spoil_the_next_answer() {
    let app = app_on_sockets(|mut stream, mut head| {
        while !head.is_empty() {
            let late = match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
                "/103" => {
                    "HTTP/1.1 103 Early Hints\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                }
                "/103-empty" => {
                    "HTTP/1.1 103 Early Hints\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                }
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n",
                _ => "",
            };
            let answer = if late.is_empty() {
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
            } else {
                late
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            if !late.is_empty() {
                std::thread::sleep(Duration::from_millis(30));
                stream
                    .write_all(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n")
                    .ok();
            }
            head = read_head(&mut stream);
        }
    });
    let gate = Gate::in_process(&config::pass(&format!("http://{app}"), "", ""));
    let mut sender = Connection::open(gate.address("senders"));
    for _ in 0..5 {
        for (method, path) in [
            ("GET", "/204"),
            ("GET", "/304"),
            ("GET", "/103"),
            ("GET", "/103-empty"),
            ("HEAD", "/head"),
        ] {
            sender
                .send(&http::head(method, path, &[], Some(0)))
                .unwrap();
            loop {
                let (status, headers) = sender.answer_head().unwrap();
                if status >= 200 {
                    let has_body = path == "/103"
                        && headers
                            .iter()
                            .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                    assert!(!has_body || sender.read_exactly(2).is_ok());
                    break;
                }
            }
            let next = sender.request("GET", "/next", &[], b"");
            assert_eq!(
                (next.status, next.text().as_str()),
                (200, "next"),
                "after {path}"
            );
        }
    }
}

#[test]
fn http_2_senders_reach_an_http_1_app() {
    let app = App::start();
    let (gate, certificate) = tls_gate::gate_with(&config::pass(&app.url(), "", ""));
    tls_gate::runtime().block_on(async {
        let mut connection = tls_gate::connect(&gate, certificate).await;
        for round in 0..3 {
            connection = connection.ready().await.unwrap();
            let request = Request::post("https://gate.test/things?a=b")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(())
                .unwrap();
            let (answer, mut body) = connection.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"body"), false).unwrap();
            // the end in a frame of its own
            body.send_data(Bytes::new(), true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200, "{round}");
            let seen = app.last();
            assert_eq!(
                (seen.target.as_str(), seen.body.as_slice()),
                ("/things?a=b", b"body".as_slice())
            );
            assert_eq!(
                (seen.header("Cookie"), seen.header("Host")),
                (Some("a=1; b=2"), Some("gate.test"))
            );
            assert_eq!(seen.header("X-Forwarded-Proto"), Some("https"));
            assert_eq!(
                answer.headers()["x-request-id"],
                seen.header("X-Request-Id").unwrap()
            );
        }
        connection = connection.ready().await.unwrap();
        let (answer, _) = connection
            .send_request(
                Request::get("https://gate.test/hooks/github")
                    .body(())
                    .unwrap(),
                true,
            )
            .unwrap();
        assert_eq!(answer.await.unwrap().status(), 404);
    });
    assert_eq!(app.count(), 3);
}

/// An app on a unix socket takes streams, too.
#[test]
fn streams_reach_an_app_on_a_unix_socket() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let socket = dir.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            if String::from_utf8_lossy(&head).starts_with("GET /silence") {
                std::thread::sleep(Duration::from_secs(2));
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .ok();
        }
    });
    let gate = Gate::in_process_in(
        Arc::clone(&dir),
        &config::pass(
            &format!("unix:{}", socket.display()),
            ", timeout: 500ms",
            "",
        ),
    );
    assert_eq!(
        http::request(gate.address("senders"), "GET", "/", &[], b"").text(),
        "ok"
    );
    assert_eq!(
        http::request(gate.address("senders"), "GET", "/silence", &[], b"").status,
        504
    );
}

/// The upstream's URL leads back to the gateway: the second time round the request is refused, on every kind of route.
#[test]
fn a_loop_ends_at_the_second_hop() {
    // each of two gateways takes the other for its app: a config that names its own listener is refused
    let places = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [address, other] = [&places[0], &places[1]].map(|place| place.local_addr().unwrap());
    drop(places);
    let yaml = |listen: SocketAddr, app: SocketAddr| {
        format!(
            "listen: [{{ address: {listen} }}]
shutdown: {{ delay: 0s, grace: 2s }}
upstreams:
  app: {{ url: 'http://{app}' }}
routes:
  - name: open
    path: /open
    verify: none
    forward: {{ upstream: app }}
  - name: app
    path: /{{*rest}}
    pass: {{ upstream: app }}
"
        )
    };
    let (gate, _other) = (
        Gate::start(&yaml(address, other)),
        Gate::start(&yaml(other, address)),
    );
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        http::request(address, method, path, headers, b"")
    };
    for (method, path) in [("GET", "/any"), ("POST", "/open")] {
        let before = gate.lines().len();
        assert_eq!(
            ask(method, path, &[("Connection", "cdn-loop")]).status,
            508,
            "{path}"
        );
        wait_for("both hops to be on record", || {
            gate.lines().len() >= before + 2
        });
        std::thread::sleep(Duration::from_millis(100));
        let lines = gate.lines().split_off(before);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains("\"code\":\"loop\"")),
            "{lines:?}"
        );
    }
    // a stranger who claims to have been here has himself refused, and nobody else
    assert_eq!(
        ask("GET", "/any", &[("CDN-Loop", &"hookgate, ".repeat(9))]).status,
        508
    );
    let websocket = UPGRADE.replace("Hookgate-Verified: true", "X: y");
    let mut sender = TcpStream::connect(address).unwrap();
    sender
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    sender.write_all(websocket.as_bytes()).unwrap();
    let head = read_head(&mut sender);
    assert!(head.starts_with("HTTP/1.1 508 "), "{head}");
}

#[test]
fn each_hop_leaves_its_entry() {
    let app = App::start();
    let gate = Gate::in_process(&config::pass(&app.url(), "", ""));
    let mut entries = std::collections::BTreeSet::new();
    for lines in [
        vec![],
        vec![("CDN-Loop", "other; a=\"b, c\"")],
        vec![
            ("CDN-Loop", "hookgate; id=elsewhere"),
            ("CDN-Loop", "fastly"),
        ],
    ] {
        assert_eq!(
            http::request(gate.address("senders"), "GET", "/a", &lines, b"").status,
            200
        );
        let seen = app.last();
        let all = seen.all("CDN-Loop");
        let theirs: Vec<&str> = lines.iter().map(|(_, value)| *value).collect();
        assert_eq!(all[..all.len() - 1], theirs);
        entries.insert(all.last().unwrap().to_string());
    }
    let entry = entries.pop_first().unwrap();
    assert!(
        entries.is_empty() && entry.starts_with("hookgate; id=") && entry.len() == 13 + 32,
        "{entry}"
    );
}

/// Heads that need no change reach the app and the sender as they were sent.
#[test]
fn request_ids_and_method_overrides_are_kept_where_nothing_needs_them() {
    let app = App::answering(|_, seen| {
        let mut act = super::support::app::Act::status(200);
        if seen.target == "/own" {
            act.headers
                .push(("X-Request-Id".to_owned(), "of-the-app".to_owned()));
        }
        act
    });
    let alone = |more: &str, route: &str| {
        let url = app.url();
        format!(
            "listen: [{{ address: 127.0.0.1:0 }}]\n{more}upstreams:\n  app: {{ url: '{url}' }}\nroutes:\n  - name: app\n    path: /{{*rest}}\n    pass: {{ upstream: app }}\n{route}"
        )
    };
    let guarded = config::pass(&app.url(), "", "");
    for (yaml, keeps, trusted) in [
        (alone("", ""), true, false),
        (alone("trusted_proxies: [127.0.0.0/8]\n", ""), true, true),
        (alone("", "    methods: [GET, POST]\n"), false, false),
        (guarded, false, false),
    ] {
        let gate = Gate::in_process(&yaml);
        for path in ["/any", "/own"] {
            let headers = [
                ("X-HTTP-Method-Override", "PUT"),
                ("X-Request-Id", "theirs"),
            ];
            let answer = http::request(gate.address("senders"), "POST", path, &headers, b"");
            assert_eq!(answer.status, 200);
            let seen = app.last();
            let own = seen.header("Hookgate-Request-Id").unwrap().to_owned();
            assert_eq!(own.len(), 26);
            assert_eq!(answer.header("Hookgate-Request-Id"), Some(own.as_str()));
            assert_eq!(
                seen.header("X-HTTP-Method-Override"),
                keeps.then_some("PUT"),
                "{yaml}"
            );
            assert_eq!(
                seen.header("X-Request-Id"),
                Some(if trusted { "theirs" } else { own.as_str() })
            );
            assert_eq!(
                answer.header("X-Request-Id"),
                Some(if path == "/own" {
                    "of-the-app"
                } else {
                    own.as_str()
                })
            );
        }
    }
}

#[test]
fn refused_path_is_explained_in_the_log() {
    let app = App::start();
    let gate = Gate::in_process(&config::pass(&app.url(), "", ""));
    for (count, path) in [(1, "//webhooks/./github"), (2, "/webhooks/github%00")] {
        let mut stream = open(&gate);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: gate.test\r\n\r\n").unwrap();
        let record = record(&gate, count);
        assert_eq!(
            (&record["code"], &record["why"]),
            (
                &"malformed".into(),
                &"the path can be read in several ways".into()
            ),
            "{path}"
        );
    }
    assert_eq!(app.count(), 0);
}
