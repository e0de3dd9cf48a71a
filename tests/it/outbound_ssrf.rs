//! No endpoint of a customer reaches what is not public, and no response of one makes the gateway send anything elsewhere.
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::gate::{Gate, wait_for};
use super::support::outbound::{Api, config};
use super::support::raw_app::raw_app;

const CORPUS: &str = include_str!("support/abuse_corpus/ssrf.txt");

/// A server on every address of this machine that nothing may connect to.
struct Sentinel {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Sentinel {
    fn start() -> Self {
        let listener = TcpListener::bind("[::]:0")
            .or_else(|_| TcpListener::bind("0.0.0.0:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, connections }
    }

    #[track_caller]
    fn saw_nothing(&self) {
        // a connection that was just made is counted
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(self.connections.load(Ordering::SeqCst), 0);
    }
}

/// Returns the addresses of this machine that lead to others. Nothing is sent for it.
fn own_addresses() -> Vec<IpAddr> {
    let towards = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let own = towards.iter().filter_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.filter(|address| !address.is_unspecified()).collect()
}

/// Writes an address as the host of a URL.
fn host(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Returns the config of a gateway that sends, with these lines in place of the exception for loopback.
fn yaml(dir: &tempfile::TempDir, lines: &str) -> String {
    config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("  egress: { allow: [127.0.0.0/8] }\n", "")
        .replace("  endpoints: { http: true, ports: PORTS }\n", lines)
}

fn start(lines: &str) -> (Gate, Api) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = yaml(&dir, lines);
    let gate = Gate::in_process_in(dir, &yaml);
    let api = Api::of(&gate);
    api.tenant("acme");
    (gate, api)
}

/// Returns the lines of the corpus: the kind, the name behind it, and the URL.
fn corpus() -> Vec<(&'static str, &'static str, String)> {
    let lines = CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| {
        let (kind, rest) = line.split_once(' ').unwrap();
        let (name, url) = match kind {
            "dns" => ("", rest),
            _ => rest.split_once(' ').unwrap(),
        };
        (kind, name, unescaped(url))
    });
    parts.collect()
}

/// Replaces the escapes of a line of the corpus.
fn unescaped(line: &str) -> String {
    let mut text = line.to_owned();
    for (escape, c) in [("\\t", "\t"), ("\\r", "\r"), ("\\n", "\n"), ("\\0", "\0")] {
        text = text.replace(escape, c);
    }
    while let Some((before, rest)) = text.split_once("\\u{") {
        let (digits, after) = rest.split_once('}').unwrap();
        let c = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
        text = format!("{before}{c}{after}");
    }
    text
}

#[test]
fn urls_of_the_corpus_are_refused_with_one_text_when_saved() {
    let (_gate, api) = start("");
    let (status, known) = api.endpoint("acme", &json!({ "url": "https://hooks.example.com/" }));
    assert_eq!(status, 201, "{known}");
    let known = format!(
        "/v1/tenants/acme/endpoints/{}",
        known["id"].as_str().unwrap()
    );
    let mut texts = BTreeSet::new();
    let own = own_addresses();
    let own = own
        .iter()
        .map(|own| ("refused", "host", format!("https://{}/", host(own))));
    for (kind, name, url) in corpus().into_iter().chain(own) {
        let made = api.endpoint("acme", &json!({ "url": url }));
        let changed = api.call("PATCH", &known, Some(&json!({ "url": url })));
        if kind != "refused" {
            assert_eq!((made.0, changed.0), (201, 200), "{url}: {made:?}");
            let shown = made.1["url"].as_str().unwrap();
            assert!(name.is_empty() || shown.starts_with(&format!("https://{name}/")));
            let id = made.1["id"].as_str().unwrap();
            api.call("DELETE", &format!("/v1/tenants/acme/endpoints/{id}"), None);
            continue;
        }
        assert_eq!(
            (made.0, changed.0),
            (422, 422),
            "{url}: {made:?} {changed:?}"
        );
        assert_eq!(made.1, changed.1, "{url}");
        assert_eq!(
            (&made.1["code"], &made.1["at"]),
            (&json!("url_refused"), &json!("/url")),
            "{url}"
        );
        if name == "host" {
            texts.insert(made.1.to_string());
        }
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn no_host_of_the_corpus_leads_to_a_server_of_this_machine() {
    let sentinel = Sentinel::start();
    let port = sentinel.port;
    let (_gate, api) = start(&format!("  endpoints: {{ http: true, ports: [{port}] }}\n"));
    let names = ["localhost", "app.localhost", "localhost.", "LOCALHOST"];
    let own: Vec<String> = own_addresses().iter().map(host).collect();
    let of_corpus = corpus()
        .into_iter()
        .filter(|(kind, name, _)| *kind == "refused" && *name == "host")
        .filter_map(|(_, _, url)| {
            let host = url.strip_prefix("https://")?.strip_suffix('/')?;
            (!host.is_empty() && !host.contains('/')).then(|| host.to_owned())
        });
    let mut texts = BTreeSet::new();
    let mut count = 0;
    for host in of_corpus
        .chain(own)
        .chain(names.map(str::to_owned))
        .collect::<Vec<_>>()
    {
        let (status, answer) =
            api.endpoint("acme", &json!({ "url": format!("http://{host}:{port}/") }));
        assert_eq!(status, 422, "{host}: {answer}");
        texts.insert(answer.to_string());
        count += 1;
    }
    assert!(count > 70, "{count}");
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(api.publish("acme", "none").len(), 36);
    sentinel.saw_nothing();
}

#[test]
fn saved_addresses_are_judged_again_at_each_attempt() {
    let sentinel = Sentinel::start();
    let port = sentinel.port;
    let endpoints = format!("  endpoints: {{ http: true, ports: [{port}] }}\n");
    let (gate, api) = start(&format!(
        "{endpoints}  egress: {{ allow: [0.0.0.0/0, '::/0'] }}\n"
    ));
    let own: Vec<String> = own_addresses().iter().map(host).collect();
    let spellings = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "127。0。0。1",
    ];
    let mut saved = Vec::new();
    for host in spellings.into_iter().map(str::to_owned).chain(own) {
        let url = format!("http://{host}:{port}/");
        let (status, answer) = api.endpoint("acme", &json!({ "url": url }));
        if status == 201 {
            saved.push((host, answer["id"].as_str().unwrap().to_owned()));
        }
    }
    assert!(saved.len() >= 6, "{saved:?}");
    // the operator takes the exception back
    let strict = yaml(&tempfile::tempdir().unwrap(), &endpoints);
    let running = std::fs::read_to_string(gate.config_path()).unwrap();
    let allows = running
        .lines()
        .find(|line| line.contains("egress"))
        .unwrap();
    assert!(!strict.contains("egress"));
    std::fs::write(
        gate.config_path(),
        running.replace(&format!("{allows}\n"), ""),
    )
    .unwrap();
    gate.reload();
    wait_for("the reload", || {
        let url = format!("http://127.0.0.1:{port}/");
        api.endpoint("acme", &json!({ "url": url })).0 == 422
    });
    api.publish("acme", "judged");
    for (host, id) in &saved {
        let attempt = api.attempt("acme", id, 1);
        assert_eq!(
            (&attempt["error"], &attempt["status"], &attempt["peer"]),
            (&json!("unreached_blocked"), &Value::Null, &Value::Null),
            "{host}: {attempt}"
        );
    }
    sentinel.saw_nothing();
}

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
    let (_gate, api) = start(&format!(
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
    let (_gate, api) = start(&format!(
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
