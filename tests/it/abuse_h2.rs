//! HTTP/2 heads that two readers could read differently, written frame by frame: none reaches the app.
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::app::App;
use super::support::config::SECRET;
use super::support::gate::Gate;
use super::support::sign;
use super::support::tls_gate::{gate, runtime, tls};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const DATA: u8 = 0;

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Status(u16),
    Reset,
    GoAway,
    Closed,
}

/// Lines of a head in order, pseudo-headers among them.
type Lines = Vec<(String, Vec<u8>)>;

fn lines(lines: &[(&str, &str)]) -> Lines {
    lines
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// A signed request.
fn good(id: &str) -> Lines {
    let mut all = lines(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "gate.test"),
        (":path", "/webhooks/github"),
    ]);
    all.extend(
        sign::github(SECRET, id, b"{}")
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value.into_bytes())),
    );
    all
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// Each line as a literal without index and without Huffman (RFC 7541, 6.2.2).
fn block(lines: &Lines) -> Vec<u8> {
    let text = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    assert!(
        lines
            .iter()
            .all(|(name, value)| name.len() < 127 && value.len() < 127)
    );
    lines
        .iter()
        .flat_map(|(name, value)| [vec![0], text(name.as_bytes()), text(value)].concat())
        .collect()
}

/// Sends one request with the body `{}` and says what came back for it.
async fn send(gate: &Gate, certificate: &CertificateDer<'static>, lines: &Lines) -> Came {
    let tcp = TcpStream::connect(gate.address("senders")).await.unwrap();
    let mut stream = tls(certificate)
        .connect(ServerName::try_from("gate.test").unwrap(), tcp)
        .await
        .unwrap();
    // END_HEADERS, END_STREAM
    let request = [
        PREFACE,
        &frame(HEADERS, 4, &block(lines)),
        &frame(DATA, 1, b"{}"),
    ]
    .concat();
    stream.write_all(&request).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Came::Closed;
        }
        let [a, b, c, kind, _, _, _, _, id] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        match (kind, id) {
            (HEADERS, 1) => return Came::Status(status(&payload)),
            (RST_STREAM, 1) => return Came::Reset,
            (GOAWAY, _) => return Came::GoAway,
            _ => {}
        }
    }
}

/// The status of an answer: an entry of the static table (RFC 7541, appendix A), or digits.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        _ => 0,
    }
}

/// The good head with a line in another's place, or behind all.
fn with(name: &str, value: &str) -> Lines {
    let mut all = good("trick");
    match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value.chars().map(|c| u8::try_from(c).unwrap()).collect(),
        None => all.push((
            name.to_owned(),
            value.chars().map(|c| u8::try_from(c).unwrap()).collect(),
        )),
    }
    all
}

/// The good head and these lines behind it.
fn and(more: &[(&str, &str)]) -> Lines {
    [good("trick"), lines(more)].concat()
}

fn without(name: &str) -> Lines {
    good("trick")
        .into_iter()
        .filter(|(known, _)| known != name)
        .collect()
}

fn tricks() -> Vec<Lines> {
    let mut all = Vec::new();
    let targets = [
        "",
        "*",
        "webhooks/github",
        "http://gate.test/webhooks/github",
        "gate.test:80",
        "/webhooks/github?a b",
        "/webhooks/ github",
        "/webhooks/github\0",
        "/webhooks/github\r\nX: y",
        "/webhooks/github\n",
        "/webhooks/github\t",
        "/webhooks/github?\x7f",
        "/webhooks/github?\u{e4}",
        "/webhooks/github?\u{c3}\u{a4}",
        "/webhooks/github?<",
        "/webhooks/github?>",
        "/webhooks/github?`",
        "/webhooks/github?\"",
        "?a",
        "/webhooks/github HTTP/1.1",
    ];
    all.extend(targets.map(|target| with(":path", target)));
    let authorities = [
        "",
        "user@gate.test",
        "gate.test/",
        "gate.test, other.test",
        "gate test",
        "gate.test:",
        "gate.test:x",
        "gate.test:65536",
        "[::1",
        "gate.test\0",
        "gate.test\r\n",
    ];
    all.extend(authorities.map(|authority| with(":authority", authority)));
    let methods = [
        "",
        "PO ST",
        "POST /x HTTP/1.1\r\nX:",
        "P@ST",
        "POST\0",
        "POST\r\n",
        "CONNECT",
        "TRACE",
    ];
    all.extend(methods.map(|method| with(":method", method)));
    all.extend([":method", ":path", ":scheme", ":authority"].map(without));
    let headers = [
        ("connection", "keep-alive"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("host", "other.test"),
        ("host", ""),
        ("X-Upper", "a"),
        ("x y", "a"),
        ("x:y", "a"),
        ("x\r\ny", "a"),
        ("x\0", "a"),
        ("", "a"),
        ("x", "a\0b"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "\x7f"),
        (":path", "/nowhere"),
        (":unknown", "a"),
        (":status", "200"),
        (":protocol", "websocket"),
        ("content-length", "1"),
        ("content-length", "3"),
        ("content-length", "+2"),
        ("content-length", "02"),
        ("content-length", ""),
        ("content-length", "2, 2"),
        ("content-length", "0x2"),
        ("expect", "200-ok"),
        ("expect", ""),
    ];
    all.extend(headers.map(|header| and(&[header])));
    all.push(and(&[("content-length", "2"), ("content-length", "2")]));
    all.push(and(&[("host", "gate.test"), ("host", "gate.test")]));
    all.push(and(&[
        ("expect", "100-continue"),
        ("expect", "100-continue"),
    ]));
    // a second value for what stands there once
    all.extend(
        [
            (":path", "/webhooks/github"),
            (":method", "POST"),
            (":authority", "gate.test"),
            (":scheme", "https"),
        ]
        .map(|twice| [lines(&[twice]), good("trick")].concat()),
    );
    // a pseudo-header behind a header
    all.push([lines(&[("x", "y")]), good("trick")].concat());
    all
}

#[test]
fn no_trick_of_http_2_reaches_the_app() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        assert_eq!(
            send(&gate, &certificate, &good("honest")).await,
            Came::Status(200)
        );
        assert_eq!(
            send(
                &gate,
                &certificate,
                &[
                    good("length"),
                    lines(&[("content-length", "2"), ("host", "gate.test")])
                ]
                .concat()
            )
            .await,
            Came::Status(200)
        );
        // h2 cuts a fragment before anybody reads the target: gate and app see the same
        let mut fragment = good("fragment");
        fragment[3].1.extend_from_slice(b"#a");
        assert_eq!(
            send(&gate, &certificate, &fragment).await,
            Came::Status(200)
        );
        assert_eq!(
            (app.count(), app.last().target.as_str()),
            (3, "/webhooks/github")
        );
        let (mut seen, mut passed) = (3, Vec::new());
        let mut came = std::collections::BTreeMap::<String, usize>::new();
        for trick in tricks() {
            let what =
                tokio::time::timeout(Duration::from_secs(10), send(&gate, &certificate, &trick))
                    .await;
            let what = what.unwrap_or_else(|_| panic!("nothing came: {trick:?}"));
            *came.entry(format!("{what:?}")).or_default() += 1;
            if what == Came::Status(200) || app.count() != seen {
                passed.push(
                    trick
                        .into_iter()
                        .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
                        .collect::<Vec<_>>()
                        .join(", "),
                );
                seen = app.count();
            }
        }
        eprintln!("HTTP/2: {came:?}");
        assert!(passed.is_empty(), "{}", passed.join("\n"));
        assert_eq!(
            send(&gate, &certificate, &good("after")).await,
            Came::Status(200)
        );
    });
}
