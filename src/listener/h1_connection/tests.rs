//! Checks that the gateway's own reading of a request is pingora's, and that a request that is handed over is byte for byte what arrived.
use http::HeaderMap;
use pingora::protocols::http::v1::server::HttpSession;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::request::{Client, RequestHead, RequestId};

/// A request as a server read it.
#[derive(Debug, PartialEq)]
struct Reading {
    method: Method,
    target: Vec<u8>,
    is_1_0: bool,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Sends bytes in pieces of these sizes, then closes.
async fn send(mut sender: DuplexStream, bytes: Vec<u8>, sizes: Vec<usize>) {
    let mut rest = &bytes[..];
    for size in sizes.into_iter().chain(std::iter::repeat(usize::MAX)) {
        if rest.is_empty() {
            return;
        }
        let (piece, after) = rest.split_at(size.clamp(1, rest.len()));
        if sender.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
        rest = after;
    }
}

async fn ours(bytes: &[u8], sizes: &[usize]) -> Option<Reading> {
    let (sender, io) = tokio::io::duplex(1 << 16);
    let sending = tokio::spawn(send(sender, bytes.to_vec(), sizes.to_vec()));
    let mut connection = H1Connection::over(io);
    let mut head = connection.head().await?;
    assert_eq!(head.violation, None);
    let mut body = Vec::new();
    while let Some(chunk) = connection.chunk().await.ok()? {
        assert!(!chunk.is_empty());
        body.extend_from_slice(&chunk);
    }
    sending.abort();
    Some(Reading {
        method: head.method(),
        target: head.target().to_vec(),
        is_1_0: head.spans.is_1_0,
        headers: head.take_headers().unwrap().to_map(),
        body,
    })
}

async fn pingoras(bytes: &[u8]) -> Option<Reading> {
    let (sender, io) = tokio::io::duplex(1 << 16);
    let sending = tokio::spawn(send(sender, bytes.to_vec(), Vec::new()));
    let mut session = HttpSession::new(Box::new(io));
    session.read_request().await.ok()??;
    let mut body = Vec::new();
    while let Some(chunk) = session.read_body_bytes().await.ok()? {
        body.extend_from_slice(&chunk);
    }
    sending.abort();
    let head = session.req_header();
    Some(Reading {
        method: head.method.clone(),
        target: head.raw_path().to_vec(),
        is_1_0: head.version == http::Version::HTTP_10,
        headers: head.headers.clone(),
        body,
    })
}

/// A request in the form that the scanner lets through.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let name = "[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,20}".prop_filter("none of framing", |name| {
        let name = name.to_ascii_lowercase();
        !["host", "expect", "upgrade", "connection"].contains(&&*name)
            && ![14, 17].contains(&name.len())
    });
    let value = "[ \t]{0,3}[!-~\u{e4}][ -~\t]{0,30}|[ \t]{0,2}";
    let lines = prop::collection::vec((name, value), 0..12);
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5);
    let target = "/[A-Za-z0-9!$&'()*+,.:;=@_~%-]{0,20}(\\?[A-Za-z0-9`=&/?]{0,20})?";
    (
        "[A-Z]{1,8}",
        target,
        lines,
        chunks,
        0..3_u8,
        "(;[a-z]{1,9})?",
    )
        .prop_map(|(method, target, lines, chunks, form, extension)| {
            let minor = if form == 2 { 0 } else { 1 };
            let method = if method == "CONNECT" { "POST" } else { &method };
            let mut bytes =
                format!("{method} {target} HTTP/1.{minor}\r\nHost: a.example\r\n").into_bytes();
            for (name, value) in lines {
                bytes.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            if form == 0 {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    let size = format!("{:x}{extension}\r\n", chunk.len());
                    bytes.extend_from_slice(size.as_bytes());
                    bytes.extend_from_slice(&chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\nX-Trailer: a\r\n\r\n");
            } else {
                let body = chunks.concat();
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                bytes.extend_from_slice(length.as_bytes());
                bytes.extend_from_slice(&body);
            }
            bytes
        })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn requests_are_read_as_pingora_reads_them(
        request in request(),
        sizes in prop::collection::vec(1..120_usize, 0..20),
    ) {
        let (ours, pingoras) = block_on(async { (ours(&request, &sizes).await, pingoras(&request).await) });
        prop_assert!(ours.is_some());
        prop_assert_eq!(ours, pingoras);
    }

    #[test]
    fn handed_over_bytes_are_those_that_arrived(
        request in request(),
        sizes in prop::collection::vec(1..120_usize, 0..20),
        read in 1..200_usize,
    ) {
        let received = block_on(async {
            let (sender, io) = tokio::io::duplex(1 << 16);
            tokio::spawn(send(sender, request.clone(), sizes));
            let mut connection = H1Connection::over(io);
            let head = connection.head().await.unwrap();
            let judged = JudgedRequest::of(&anything());
            let mut stream = connection.into_stream(head.bytes, judged);
            let (mut received, mut piece) = (Vec::new(), vec![0; read]);
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => return received,
                    read => received.extend_from_slice(&piece[..read]),
                }
            }
        });
        prop_assert_eq!(received, request);
    }
}

/// pingora waits on a stream while it serves a request, to notice a sender that leaves.
#[tokio::test]
async fn sender_that_leaves_behind_another_message_is_noticed() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut sender, io) = tokio::io::duplex(1 << 16);
    sender
        .write_all(&[&request[..], b"X"].concat())
        .await
        .unwrap();
    let mut connection = H1Connection::over(io);
    let head = connection.head().await.unwrap();
    let judged = JudgedRequest::of(&anything());
    let mut stream = connection.into_stream(head.bytes, judged);
    let mut received = [0; 100];
    assert_eq!(stream.read(&mut received).await.unwrap(), request.len());
    let waiting = stream.read(&mut received);
    let leaving = async {
        sender.write_all(b"more of it").await.unwrap();
        tokio::task::yield_now().await;
        drop(sender);
    };
    let (read, ()) = tokio::join!(waiting, leaving);
    assert_eq!(read.unwrap(), 0, "nothing of the other message is read");
}

fn anything() -> RequestHead {
    RequestHead {
        request_id: RequestId::from_u128(0),
        method: Method::GET,
        target: Bytes::from_static(b"/"),
        authority: String::new(),
        tls: false,
        headers: HeaderLines::default(),
        declared_size: None,
        client: Client {
            ip: std::net::Ipv4Addr::UNSPECIFIED.into(),
            own: false,
            behind_trusted_proxy: false,
        },
        certificate: None,
        received: SystemClock.now(),
    }
}

/// Sends bytes and closes. Returns the head, and whether the connection is at the boundary of a message after its body.
fn head_of(bytes: &[u8]) -> (Option<ArrivedHead>, bool) {
    block_on(async {
        let (sender, io) = tokio::io::duplex(1 << 16);
        send(sender, bytes.to_vec(), Vec::new()).await;
        let mut connection = H1Connection::over(io);
        let head = connection.head().await;
        while let Ok(Some(_)) = connection.chunk().await {}
        (head, connection.is_at_boundary())
    })
}

#[test]
fn cut_heads_tell_what_was_read_of_them() {
    for (bytes, method, target, lines) in [
        (&b"GET /\0"[..], "GET", "/", 0),
        (b"PO\0", "PO", "/", 0),
        (b"\n", "-", "/", 0),
        (b"\r\n\r\nGET", "-", "/", 0),
        (b"\rGET", "-", "/", 0),
        (b"GET /abc\x7f", "GET", "/abc", 0),
        (b"GET a", "GET", "/", 0),
        (
            b"GET /a HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
            "GET",
            "/a",
            1,
        ),
        (
            b"\r\nGET /a HTTP/1.1\r\nHost: a\r\nX: \0b\r\n\r\n",
            "GET",
            "/a",
            1,
        ),
    ] {
        let (head, is_at_boundary) = head_of(bytes);
        let mut head = head.unwrap();
        assert!(head.violation.is_some() && !is_at_boundary, "{bytes:?}");
        assert_eq!(
            (head.method().as_str(), &head.target()[..]),
            (method, target.as_bytes()),
            "{}",
            bytes.escape_ascii()
        );
        let headers = head.take_headers().unwrap();
        assert_eq!(headers.len(), lines, "{}", bytes.escape_ascii());
    }
}

#[test]
fn heads_that_never_end_are_none() {
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHost: a\r\n", b"G"] {
        assert!(head_of(bytes).0.is_none());
    }
}

#[test]
fn bytes_behind_a_message_are_no_boundary() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(head_of(request.as_bytes()).1);
    assert!(!head_of(format!("{request}{request}").as_bytes()).1);
    assert!(!head_of(format!("{request}\0").as_bytes()).1);
    let sized = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    assert!(head_of(format!("{sized}{{}}").as_bytes()).1);
    assert!(!head_of(format!("{sized}{{}}G").as_bytes()).1);
    assert!(!head_of(format!("{sized}{{").as_bytes()).1);
}
