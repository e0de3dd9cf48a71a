//! No response of an endpoint makes the gateway send anything elsewhere, lasts, or counts for another event.
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::support::gate::wait_for;
use super::support::outbound::start_strict;
use super::support::raw_app::raw_app;
use super::support::sentinel::Sentinel;

/// Starts a server that sends `piece` again and again after `head`, until its client closes. Returns whether the client has closed.
fn endless(head: &'static [u8], piece: Vec<u8>) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let closed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&closed);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream
                .set_write_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            assert!(stream.read(&mut [0; 64 * 1024]).unwrap() > 0);
            stream.write_all(head).unwrap();
            let mut sent = 0;
            // more than what the buffers of both sides hold
            while sent < (64 << 20) && stream.write_all(&piece).is_ok() {
                sent += piece.len();
            }
            flag.store(sent < (64 << 20), Ordering::SeqCst);
        }
    });
    (address, closed)
}

/// Makes an endless life for bytes that the servers of a test send.
fn leaked(text: String) -> &'static [u8] {
    Box::leak(text.into_bytes().into_boxed_slice())
}

#[test]
fn no_response_of_an_endpoint_leads_elsewhere_or_lasts() {
    let sentinel = Sentinel::start();
    let elsewhere = format!("http://127.0.0.1:{}/", sentinel.port);
    let redirect = |status: u16, more: &str| {
        leaked(format!(
            "HTTP/1.1 {status} X\r\nLocation: {elsewhere}{more}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    let long = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "X-Many: 1\r\n".repeat(100_000)
    );
    let metadata =
        "HTTP/1.1 302 X\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n";
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let refresh = leaked(format!(
        "HTTP/1.1 200 OK\r\nRefresh: 0; url={elsewhere}\r\nLink: <{elsewhere}>; rel=preload\r\nAlt-Svc: h2=\"127.0.0.1:{}\"\r\nContent-Length: 0\r\n\r\n",
        sentinel.port
    ));
    // what is recorded of each: a status, or the end of an error code
    let servers: Vec<(&str, &'static [u8], &str)> = vec![
        ("301", redirect(301, ""), "301"),
        ("302", redirect(302, ""), "302"),
        ("307", redirect(307, ""), "307"),
        ("308", redirect(308, ""), "308"),
        ("to metadata", metadata.as_bytes(), "302"),
        (
            "with control bytes",
            redirect(302, "\u{1}\u{b}"),
            "malformed",
        ),
        ("refresh", refresh, "200"),
        ("101", upgrade.as_bytes(), "malformed"),
        ("a long line", leaked(long), "too_large"),
        ("many lines", leaked(many), "too_large"),
    ];
    let mut ports = Vec::new();
    let mut endpoints = Vec::new();
    for (name, bytes, due) in servers {
        let address = raw_app(bytes);
        ports.push(address.port());
        endpoints.push((name, address, due));
    }
    let ok: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [b"8000\r\n".as_slice(), &[b'x'; 0x8000], b"\r\n"].concat();
    let (body, body_closed) = endless(ok, chunk);
    let (head, head_closed) = endless(b"HTTP/1.1 200 OK\r\n", b"X-Line: 1\r\n".repeat(1_000));
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1_000);
    let (interim, interim_closed) = endless(b"", interim);
    for (name, address, due) in [
        ("an endless body", body, "200"),
        ("an endless head", head, "too_large"),
        ("endless interim responses", interim, ""),
    ] {
        ports.push(address.port());
        endpoints.push((name, address, due));
    }
    let (_gate, api) = start_strict(&format!(
        "  endpoints: {{ http: true, ports: {ports:?} }}\n  egress: {{ allow: [127.0.0.0/8] }}\n"
    ));
    let ids: Vec<String> = endpoints
        .iter()
        .map(|(name, address, _)| {
            let fields = json!({ "url": format!("http://{address}/"), "timeout": 3 });
            let (status, answer) = api.endpoint("acme", &fields);
            assert_eq!(status, 201, "{name}: {answer}");
            answer["id"].as_str().unwrap().to_owned()
        })
        .collect();
    api.publish("acme", "to-all");
    for ((name, _, due), id) in endpoints.iter().zip(&ids) {
        let attempt = api.attempt("acme", id, 1);
        let status = attempt["status"].as_u64().map(|status| status.to_string());
        let outcome = status.or_else(|| attempt["error"].as_str().map(str::to_owned));
        let outcome = outcome.unwrap();
        assert!(outcome.ends_with(due), "{name}: {attempt}");
        let body = attempt["body_text"].as_str().unwrap_or_default();
        assert!(body.len() <= 4 << 10, "{name}: {} bytes", body.len());
        assert!(
            attempt["took"].as_f64().unwrap() < 10.0,
            "{name}: {attempt}"
        );
    }
    wait_for("endless responses to be cut off", || {
        [&body_closed, &head_closed, &interim_closed]
            .iter()
            .all(|closed| closed.load(Ordering::SeqCst))
    });
    sentinel.saw_nothing();
}

/// Starts a server that sends two responses to the first request, and 500 to each later one.
fn two_answers() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let failed = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
                while stream.read(&mut [0; 64 * 1024]).is_ok_and(|read| read > 0) {
                    let sent = match count.fetch_add(1, Ordering::SeqCst) {
                        0 => stream.write_all(&[ok.as_slice(), ok].concat()),
                        _ => stream.write_all(failed),
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_second_response_on_a_connection_counts_for_no_event() {
    let address = two_answers();
    let (_gate, api) = start_strict(&format!(
        "  endpoints: {{ http: true, ports: [{}] }}\n  egress: {{ allow: [127.0.0.0/8] }}\n",
        address.port()
    ));
    let (_, answer) = api.endpoint("acme", &json!({ "url": format!("http://{address}/") }));
    let id = answer["id"].as_str().unwrap();
    api.publish("acme", "first");
    assert_eq!(api.attempt("acme", id, 1)["status"], json!(200));
    let second = api.publish("acme", "second");
    let attempt = api.attempt("acme", id, 2);
    assert_eq!(
        (&attempt["event"], &attempt["status"]),
        (&json!(second), &json!(500)),
        "{attempt}"
    );
}
