//! The edge in front of a request: the PROXY protocol, unix sockets, certificates on both sides, the time of a connection.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::support::app::App;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::upstream::{Authority, Upstream, reply};

/// A gate that takes everything on `/in`, and streams through what comes on `/rest`.
fn config(listen: &str, more: &str, upstream: &str) -> String {
    format!(
        "listen: [{listen}]\nhealth: {{ address: 127.0.0.1:0 }}\nadmin: {{ address: 127.0.0.1:0 }}\nshutdown: {{ delay: 0s, grace: 2s }}\n{more}\n\
         upstreams: {{ app: {{ {upstream} }} }}\nroutes:\n  - {{ name: open, path: /in, verify: none, forward: {{ upstream: app }} }}\n  \
         - {{ name: rest, path: /rest, pass: {{ upstream: app }} }}\n"
    )
}

fn url(app: &App) -> String {
    format!("url: {}", app.url())
}

const PASSED: &str = "GET /rest HTTP/1.1\r\nHost: gate.test\r\n\r\n";
const REQUEST: &str = "POST /in HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: 198.51.100.1\r\nContent-Length: 2\r\n\r\n{}";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The status of one answer; 0 if the connection was closed without one.
fn status(stream: &mut impl Read) -> u16 {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).map_or(0, |rest| {
                rest.split('\r').next().unwrap().parse::<usize>().unwrap()
            });
            if answer.len() >= end + length {
                return head[9..12].parse().unwrap();
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return 0,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
        }
    }
}

/// Sends and reads one answer.
fn ask(stream: &mut (impl Read + Write), bytes: &[u8]) -> u16 {
    if stream.write_all(bytes).is_err() {
        return 0;
    }
    status(stream)
}

fn turned_away(gate: &Gate, why: &str) -> u64 {
    let text = gate.health("/metrics").text();
    let line = format!("hookgate_connections_refused_total{{reason=\"{why}\"}} ");
    text.lines()
        .find_map(|row| row.strip_prefix(&line))
        .and_then(|count| count.parse().ok())
        .unwrap_or_default()
}

/// A header of the PROXY protocol, version 2.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &(rest.len() as u16).to_be_bytes(),
        rest,
    ]
    .concat()
}

fn proxy_header(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 10.9.9.9 51234 443\r\n").into_bytes()
}

// ---- the PROXY protocol

#[test]
fn proxy_header_gives_the_client_address() {
    let app = App::start();
    let gate = Gate::start(&config(
        "{ address: 127.0.0.1:0, proxy_protocol: true }",
        "trusted_proxies: [127.0.0.1, 10.0.0.0/8]",
        &url(&app),
    ));
    let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0xc8, 0x22, 1, 0xbb];
    let v6 = [
        &"2001:db8::9"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets()[..],
        &[0; 16],
        &[0xc8, 0x22, 1, 0xbb],
    ]
    .concat();
    let cases = [
        (proxy_header("203.0.113.9"), "203.0.113.9"),
        (
            b"PROXY TCP6 2001:db8::9 fd00::1 51234 443\r\n".to_vec(),
            "2001:db8::9",
        ),
        (
            b"PROXY TCP6 ::ffff:203.0.113.9 fd00::1 51234 443\r\n".to_vec(),
            "203.0.113.9",
        ),
        (version_2(0x21, 0x11, &v4), "203.0.113.9"),
        (version_2(0x21, 0x21, &v6), "2001:db8::9"),
        (
            version_2(0x21, 0x11, &[&v4[..], &[4; 4000]].concat()),
            "203.0.113.9",
        ),
        // the balancer's own: what it says of others in X-Forwarded-For counts, as that of any trusted proxy
        (b"PROXY UNKNOWN\r\n".to_vec(), "198.51.100.1"),
        (version_2(0x20, 0x00, &[]), "198.51.100.1"),
        (proxy_header("10.1.1.1"), "198.51.100.1"),
    ];
    for (header, client) in cases {
        // in one piece, and byte by byte
        let mut whole = connect(gate.address("senders"));
        assert_eq!(
            ask(&mut whole, &[&header, REQUEST.as_bytes()].concat()),
            200,
            "{client}"
        );
        assert_eq!(app.last().header("X-Forwarded-For"), Some(client));
        assert_eq!(
            ask(&mut whole, REQUEST.as_bytes()),
            200,
            "the connection goes on"
        );
        let mut slow = connect(gate.address("senders"));
        for byte in header.iter().take(300) {
            slow.write_all(&[*byte]).unwrap();
        }
        slow.write_all(header.get(300..).unwrap_or_default())
            .unwrap();
        assert_eq!(ask(&mut slow, REQUEST.as_bytes()), 200, "{client}");
        assert_eq!(app.last().header("X-Forwarded-For"), Some(client));
        assert_eq!(app.last().body, b"{}");
    }
    assert_eq!(turned_away(&gate, "no_proxy_header"), 0);
}

/// A trusted proxy appends its own entry to `X-Forwarded-For`. The rest of a head that was cut may be the sender's own.
#[test]
fn cut_head_behind_a_proxy_names_no_client() {
    let app = App::start();
    let gate = Gate::start(&config(
        "{ address: 127.0.0.1:0 }",
        "trusted_proxies: [127.0.0.1]",
        &url(&app),
    ));
    let mut sender = connect(gate.address("senders"));
    let cut = "POST /in HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: 198.51.100.66\r\nBad : x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    assert_eq!(ask(&mut sender, cut.as_bytes()), 400);
    let mut sender = connect(gate.address("senders"));
    assert_eq!(ask(&mut sender, REQUEST.as_bytes()), 200);
    wait_for("both records", || gate.lines().len() >= 2);
    let client =
        |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["client"].clone();
    let clients: Vec<_> = gate.lines().iter().map(client).collect();
    assert_eq!(clients, ["127.0.0.1", "198.51.100.1"]);
}

#[test]
fn proxy_header_is_required_and_only_of_trusted_peers() {
    let app = App::start();
    let listen = "{ address: 127.0.0.1:0, proxy_protocol: true }";
    let gate = Gate::start(&config(
        listen,
        "trusted_proxies: [127.0.0.1]\nlimits: { header_timeout: 300ms }",
        &url(&app),
    ));
    let garbage: [&[u8]; 5] = [
        REQUEST.as_bytes(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 51234\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaa",
        b"PROXY TCP4 ",
    ];
    for bytes in garbage {
        let begun = Instant::now();
        assert_eq!(ask(&mut connect(gate.address("senders")), bytes), 0);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let mut silent = connect(gate.address("senders"));
    assert_eq!(status(&mut silent), 0);
    wait_for("all to be counted", || {
        turned_away(&gate, "no_proxy_header") == 6
    });
    // the head behind it has no time of its own
    let mut half = connect(gate.address("senders"));
    assert_eq!(
        ask(
            &mut half,
            &[&proxy_header("203.0.113.9")[..], b"POST /in HTTP/1.1\r\n"].concat()
        ),
        0
    );
    assert_eq!((app.count(), turned_away(&gate, "untrusted")), (0, 0));

    let gate = Gate::start(&config(
        listen,
        "trusted_proxies: [192.0.2.0/24]",
        &url(&app),
    ));
    let mut stranger = connect(gate.address("senders"));
    assert_eq!(
        ask(
            &mut stranger,
            &[&proxy_header("203.0.113.9")[..], REQUEST.as_bytes()].concat()
        ),
        0
    );
    wait_for("it to be counted", || turned_away(&gate, "untrusted") == 1);
    assert_eq!(app.count(), 0);
    gate.wait_for_log(&["\"why\":\"untrusted\""]);
}

#[test]
fn limits_count_the_address_in_the_proxy_header() {
    let app = App::start();
    let gate = Gate::start(&config(
        "{ address: 127.0.0.1:0, proxy_protocol: true }, { address: 127.0.0.1:0 }",
        "trusted_proxies: [127.0.0.1]\nlimits: { connections_per_client: 2 }",
        &url(&app),
    ));
    let [balanced, plain]: [SocketAddr; 2] = gate.addresses("senders").try_into().unwrap();
    let open = |header: &[u8]| {
        let mut stream = connect(balanced);
        let status = ask(&mut stream, &[header, REQUEST.as_bytes()].concat());
        (stream, status)
    };
    let held: Vec<_> = (0..2).map(|_| open(&proxy_header("203.0.113.9"))).collect();
    assert!(held.iter().all(|(_, status)| *status == 200));
    assert_eq!(open(&proxy_header("203.0.113.9")).1, 0, "one too many");
    assert_eq!(turned_away(&gate, "client_full"), 1);
    let _other = open(&proxy_header("203.0.113.10"));
    assert_eq!(_other.1, 200, "another client has its own");
    let checks: Vec<_> = (0..4).map(|_| open(&version_2(0x20, 0, &[]))).collect();
    assert!(
        checks.iter().all(|(_, status)| *status == 200),
        "the balancer itself is not one client"
    );
    let behind: Vec<_> = (0..4).map(|_| connect(plain)).collect();
    for mut stream in behind {
        assert_eq!(
            ask(&mut stream, REQUEST.as_bytes()),
            200,
            "nor is a proxy that speaks HTTP"
        );
    }
    drop(held);
    wait_for("a place", || open(&proxy_header("203.0.113.9")).1 == 200);
}

// ---- unix sockets

#[test]
fn senders_on_a_unix_socket() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("senders.sock");
    let listen = format!("{{ address: \"unix:{}\" }}", path.display());
    let ask_on = |path: &Path| ask(&mut UnixStream::connect(path).unwrap(), REQUEST.as_bytes());
    // left over from a process that was killed
    drop(UnixListener::bind(&path).unwrap());
    let gate = Gate::start_in(Arc::clone(&dir), &config(&listen, "", &url(&app)));
    let file = std::fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket() && file.permissions().mode() & 0o777 == 0o660);
    assert_eq!(ask_on(&path), 200);
    assert_eq!(
        app.last().header("X-Forwarded-For"),
        Some("0.0.0.0"),
        "its word does not count"
    );
    // somebody listens: the next gate leaves it alone
    let second = hookgate()
        .args(["run", "--config"])
        .arg(gate.config_path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert_eq!(ask_on(&path), 200);
    drop(gate);
    assert!(path.exists(), "it was killed");

    let mut gate = Gate::start_in(
        Arc::clone(&dir),
        &config(
            &listen,
            "trusted_proxies: [unix]\nlimits: { connections_per_client: 1 }",
            &url(&app),
        ),
    );
    let mut held: Vec<_> = (0..3)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    for stream in &mut held {
        assert_eq!(ask(stream, REQUEST.as_bytes()), 200);
    }
    assert_eq!(
        app.last().header("X-Forwarded-For"),
        Some("198.51.100.1"),
        "its word counts"
    );
    drop(held);
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    assert!(!path.exists(), "it left");
}

#[test]
fn an_app_on_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let app = UnixListener::bind(&path).unwrap();
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut stream in app.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    seen.lock()
                        .unwrap()
                        .push(String::from_utf8_lossy(&piece[..read]).to_lowercase());
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .unwrap();
                }
            });
        }
    });
    for (more, host) in [("", "gate.test"), (", host: upstream", "localhost")] {
        let gate = Gate::start(&config(
            "{ address: 127.0.0.1:0 }",
            "",
            &format!("url: \"unix:{}\"{more}", path.display()),
        ));
        let mut stream = connect(gate.address("senders"));
        for _ in 0..2 {
            assert_eq!(ask(&mut stream, REQUEST.as_bytes()), 200);
        }
        assert_eq!(ask(&mut stream, PASSED.as_bytes()), 200, "streamed through");
        assert!(
            heads
                .lock()
                .unwrap()
                .last()
                .unwrap()
                .contains(&format!("\r\nhost: {host}\r\n"))
        );
        assert_eq!(
            gate.admin("/-/status")["upstreams"][0]["url"],
            format!("unix:{}", path.display())
        );
    }
}

// ---- certificates

/// The client side of TLS: whom it trusts, and the certificate that it shows.
fn client(
    ca: &Authority,
    shows: Option<&(String, String)>,
    alpn: &str,
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&ca.file).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A connection after the handshake, as far as the client sees it.
fn over_tls(
    mut tcp: TcpStream,
    config: &Arc<rustls::ClientConfig>,
    name: &str,
) -> Result<Tls, std::io::Error> {
    let mut connection = rustls::ClientConnection::new(
        Arc::clone(config),
        ServerName::try_from(name.to_owned()).unwrap(),
    )
    .unwrap();
    connection.complete_io(&mut tcp)?;
    Ok(rustls::StreamOwned::new(connection, tcp))
}

fn write_pair(dir: &Path, name: &str, (certificate, key): &(String, String)) -> String {
    std::fs::write(dir.join(format!("{name}.crt")), certificate).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key).unwrap();
    format!("certificate: {name}.crt, key: {name}.key")
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (app, ca, dir) = (
        App::start(),
        Authority::new(),
        Arc::new(tempfile::tempdir().unwrap()),
    );
    let pairs = [
        ca.pair(&["one.test", "gate.test"], None),
        ca.pair(&["*.two.test", "two.test"], None),
    ];
    let [one, two] =
        [0, 1].map(|index| write_pair(dir.path(), &format!("pair-{index}"), &pairs[index]));
    let listen =
        format!("{{ address: 127.0.0.1:0, tls: {{ certificates: [{{ {one} }}, {{ {two} }}] }} }}");
    let gate = Gate::start_in(Arc::clone(&dir), &config(&listen, "", &url(&app)));
    let config = client(&ca, None, "http/1.1");
    for (name, index) in [
        ("one.test", 0),
        ("two.test", 1),
        ("a.two.test", 1),
        ("TWO.test", 1),
    ] {
        let mut stream = over_tls(connect(gate.address("senders")), &config, name).unwrap();
        assert_eq!(
            stream.conn.peer_certificates().unwrap()[0],
            der(&pairs[index].0),
            "{name}"
        );
        assert_eq!(ask(&mut stream, REQUEST.as_bytes()), 200);
    }
    // nobody's name, and an address, which is no name: the first, which the client then does not take
    for name in ["three.test", "127.0.0.1"] {
        let refused = over_tls(connect(gate.address("senders")), &config, name).unwrap_err();
        assert!(
            refused.to_string().contains("not valid for name"),
            "{refused}"
        );
    }
    wait_for("them to be counted", || turned_away(&gate, "tls") == 2);
}

#[test]
fn a_pair_that_is_renewed_file_by_file() {
    let (app, ca, dir) = (
        App::start(),
        Authority::new(),
        Arc::new(tempfile::tempdir().unwrap()),
    );
    let (old, new) = (ca.pair(&["gate.test"], None), ca.pair(&["gate.test"], None));
    let listen = format!(
        "{{ address: 127.0.0.1:0, tls: {{ {} }} }}",
        write_pair(dir.path(), "tls", &old)
    );
    let gate = Gate::start_in(Arc::clone(&dir), &config(&listen, "", &url(&app)));
    let (address, config) = (gate.address("senders"), client(&ca, None, "http/1.1"));
    let served = || {
        over_tls(connect(address), &config, "gate.test")
            .unwrap()
            .conn
            .peer_certificates()
            .unwrap()[0]
            .clone()
    };
    let mut kept = over_tls(connect(address), &config, "gate.test").unwrap();
    assert_eq!(ask(&mut kept, REQUEST.as_bytes()), 200);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let all_along = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let certificate = served();
                assert!(certificate == der(&old.0) || certificate == der(&new.0));
                count += 1;
            }
            count
        });
        let stale = || gate.admin("/-/status")["config"]["stale_certificates"].clone();
        assert_eq!(stale(), serde_json::json!([]));
        std::fs::write(dir.path().join("tls.crt"), &new.0).unwrap();
        wait_for("the half pair to be noticed", || {
            stale()
                == serde_json::json!([
                    "listen[0]: `certificate`: the certificate and the key do not match"
                ])
        });
        assert_eq!(served(), der(&old.0), "the last good pair");
        assert!(
            gate.health("/metrics")
                .text()
                .contains("\nhookgate_certificate_stale 1\n")
        );
        // other changes are not held up
        let generation = gate.admin("/-/status")["generation"].as_u64().unwrap();
        let text = std::fs::read_to_string(gate.config_path()).unwrap();
        std::fs::write(
            gate.config_path(),
            text.replace("path: /in", "path: /other"),
        )
        .unwrap();
        wait_for("the other change", || {
            gate.admin("/-/status")["generation"].as_u64().unwrap() > generation
        });
        assert_eq!(
            ask(
                &mut over_tls(connect(address), &config, "gate.test").unwrap(),
                REQUEST.as_bytes()
            ),
            404
        );
        assert_eq!(served(), der(&old.0));
        std::fs::write(dir.path().join("tls.key"), &new.1).unwrap();
        wait_for("the new pair", || served() == der(&new.0));
        wait_for("the status", || stale() == serde_json::json!([]));
        stop.store(true, Ordering::Relaxed);
        eprintln!(
            "{} handshakes all along, none failed",
            all_along.join().unwrap()
        );
    });
    assert_eq!(
        ask(&mut kept, REQUEST.replace("/in", "/other").as_bytes()),
        200,
        "what is open goes on"
    );
    // half a file, an empty one, none: the last good pair each time
    for text in [Some(&new.0[..40]), Some(""), None] {
        match text {
            Some(text) => std::fs::write(dir.path().join("tls.crt"), text).unwrap(),
            None => std::fs::remove_file(dir.path().join("tls.crt")).unwrap(),
        }
        wait_for("it to be noticed", || {
            gate.admin("/-/status")["config"]["stale_certificates"][0].is_string()
        });
        assert_eq!(served(), der(&new.0));
    }
    // a gate that starts on it says what is wrong
    let check = hookgate()
        .arg("check")
        .arg(gate.config_path())
        .output()
        .unwrap();
    assert!(!check.status.success());
}

#[test]
fn an_expired_pair_replaces_no_valid_one() {
    let (app, ca, dir) = (
        App::start(),
        Authority::new(),
        Arc::new(tempfile::tempdir().unwrap()),
    );
    let good = ca.pair(&["gate.test"], None);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["gate.test".to_owned()]).unwrap();
    let mut expired = |year: i32, until: i32| {
        (params.not_before, params.not_after) = (
            rcgen::date_time_ymd(year, 1, 1),
            rcgen::date_time_ymd(until, 1, 1),
        );
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let listen = format!(
        "{{ address: 127.0.0.1:0, tls: {{ {} }} }}",
        write_pair(dir.path(), "tls", &good)
    );
    let gate = Gate::start_in(Arc::clone(&dir), &config(&listen, "", &url(&app)));
    let (address, config) = (gate.address("senders"), client(&ca, None, "http/1.1"));
    let served = || {
        over_tls(connect(address), &config, "gate.test")
            .unwrap()
            .conn
            .peer_certificates()
            .unwrap()[0]
            .clone()
    };
    assert_eq!(served(), der(&good.0));
    let stale = || {
        gate.admin("/-/status")["config"]["stale_certificates"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    for (year, until, why) in [
        (2019, 2020, "expired at 2020-01-01"),
        (2999, 3000, "is not valid before 2999-01-01"),
    ] {
        write_pair(dir.path(), "tls", &expired(year, until));
        wait_for(why, || stale().contains(why));
        assert_eq!(served(), der(&good.0), "{why}");
    }
    let alarms = || gate.admin("/-/status")["alarms"].to_string();
    wait_for("the alarm", || alarms().contains("certificate_expiry"));
    let metrics = gate.health("/metrics").text();
    assert!(
        metrics.contains("hookgate_certificate_not_after_seconds{certificate=\"listen[0]\"} "),
        "{metrics}"
    );
    write_pair(dir.path(), "tls", &good);
    wait_for("the good pair", || stale().is_empty());
    // at the start there is nothing better than what the files hold
    let pair = expired(2019, 2020);
    let listen = format!(
        "{{ address: 127.0.0.1:0, tls: {{ {} }} }}",
        write_pair(dir.path(), "old", &pair)
    );
    let gate = Gate::start_in(dir, &self::config(&listen, "", &url(&app)));
    gate.wait_for_log(&["the certificate expired at 2020-01-01"]);
    assert_eq!(gate.admin("/-/status")["ready"], true);
}

/// A gate that asks for certificates, and a route for `payments` alone.
fn asking(app: &App, ca: &Authority, auth: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let pair = write_pair(dir.path(), "tls", &ca.pair(&["gate.test"], None));
    std::fs::copy(&ca.file, dir.path().join("ca.pem")).unwrap();
    let listen = format!(
        "{{ address: 127.0.0.1:0, tls: {{ {pair}, client_ca: ca.pem{auth} }} }}, {{ address: 127.0.0.1:0 }}"
    );
    let routes = "  - { name: named, path: /named, verify: none, allow: [192.0.2.0/24, \"subject:payments\", \"subject:app.test\"], forward: { upstream: app } }\n";
    Gate::start_in(dir, &(config(&listen, "", &url(app)) + routes))
}

#[test]
fn certificates_of_senders() {
    let (app, ca, other) = (App::start(), Authority::new(), Authority::new());
    let named = REQUEST.replace("/in", "/named").replace(
        "X-Forwarded-For",
        "X-Client-Subject: payments\r\nX-Forwarded-For",
    );
    let pairs = [
        (
            "its common name",
            ca.pair(&["x.test"], Some("payments")),
            200,
        ),
        ("its DNS name", ca.pair(&["app.test"], Some("x")), 200),
        (
            "another name",
            ca.pair(&["payments.test"], Some("Payments")),
            403,
        ),
        ("no name", ca.pair(&[], None), 403),
    ];
    let required = asking(&app, &ca, "");
    let optional = asking(&app, &ca, ", client_auth: optional");
    for gate in [&required, &optional] {
        let [tls, plain]: [SocketAddr; 2] = gate.addresses("senders").try_into().unwrap();
        for (what, pair, status) in &pairs {
            let mut stream = over_tls(
                connect(tls),
                &client(&ca, Some(pair), "http/1.1"),
                "gate.test",
            )
            .unwrap();
            assert_eq!(ask(&mut stream, REQUEST.as_bytes()), 200);
            assert_eq!(ask(&mut stream, named.as_bytes()), *status, "{what}");
            assert_eq!(
                over_h2(tls, &client(&ca, Some(pair), "h2")),
                [*status; 2],
                "{what}, HTTP/2"
            );
        }
        // of another CA: the handshake fails, optional or not
        let stranger = other.pair(&["app.test"], Some("payments"));
        let refused = over_tls(
            connect(tls),
            &client(&ca, Some(&stranger), "http/1.1"),
            "gate.test",
        );
        assert_eq!(
            refused.map_or(0, |mut stream| ask(&mut stream, named.as_bytes())),
            0
        );
        // no header stands for a certificate
        assert_eq!(ask(&mut connect(plain), named.as_bytes()), 403);
        assert_eq!(ask(&mut connect(plain), REQUEST.as_bytes()), 200);
        wait_for("the log", || {
            gate.lines()
                .iter()
                .any(|line| line.contains("\"client_subject\":\"payments\""))
        });
    }
    let without = client(&ca, None, "http/1.1");
    let refused = over_tls(
        connect(required.addresses("senders")[0]),
        &without,
        "gate.test",
    );
    assert_eq!(
        refused.map_or(0, |mut stream| ask(&mut stream, REQUEST.as_bytes())),
        0
    );
    let mut nobody = over_tls(
        connect(optional.addresses("senders")[0]),
        &without,
        "gate.test",
    )
    .unwrap();
    assert_eq!(
        [
            ask(&mut nobody, REQUEST.as_bytes()),
            ask(&mut nobody, named.as_bytes())
        ],
        [200, 403]
    );
    assert!(turned_away(&required, "tls") >= 2);
}

/// The status of two requests for `/named`, beside each other on one HTTP/2 connection.
fn over_h2(address: SocketAddr, config: &Arc<rustls::ClientConfig>) -> [u16; 2] {
    runtime().block_on(async {
        let mut sender = h2(address, config).await;
        let mut one = || {
            let request = http::Request::post("https://gate.test/named")
                .body(())
                .unwrap();
            sender.send_request(request, true).unwrap().0
        };
        let (first, second) = tokio::join!(one(), one());
        [first, second].map(|answer| answer.unwrap().status().as_u16())
    })
}

async fn h2(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> h2::client::SendRequest<Bytes> {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::clone(config))
        .connect(ServerName::try_from("gate.test").unwrap(), tcp)
        .await
        .unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    sender.ready().await.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn tls_behind_the_proxy_protocol() {
    let (app, ca, dir) = (
        App::start(),
        Authority::new(),
        Arc::new(tempfile::tempdir().unwrap()),
    );
    let pair = write_pair(dir.path(), "tls", &ca.pair(&["gate.test"], None));
    let listen = format!("{{ address: 127.0.0.1:0, proxy_protocol: true, tls: {{ {pair} }} }}");
    let gate = Gate::start_in(
        Arc::clone(&dir),
        &config(&listen, "trusted_proxies: [127.0.0.1]", &url(&app)),
    );
    for header in [
        proxy_header("203.0.113.9"),
        version_2(0x21, 0x11, &[203, 0, 113, 9, 10, 0, 0, 1, 0, 1, 0, 2]),
    ] {
        let mut tcp = connect(gate.address("senders"));
        tcp.write_all(&header).unwrap();
        let mut stream = over_tls(tcp, &client(&ca, None, "http/1.1"), "gate.test").unwrap();
        assert_eq!(ask(&mut stream, REQUEST.as_bytes()), 200);
        assert_eq!(app.last().header("X-Forwarded-For"), Some("203.0.113.9"));
        assert_eq!(app.last().header("X-Forwarded-Proto"), Some("https"));
    }
}

#[test]
fn an_app_that_asks_for_a_certificate() {
    let ca = Authority::new();
    let runtime = runtime();
    let pair = ca.pair(&["gate.test"], Some("gate"));
    let app = runtime.block_on(Upstream::tls(
        vec![reply(200, &[], b"")],
        ca.asking_server("127.0.0.1"),
    ));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let shown = write_pair(dir.path(), "gate", &pair);
    let ask_with = |more: &str| {
        let upstream = format!(
            "url: \"https://{}\", ca: {}{more}",
            app.address,
            ca.file.display()
        );
        let gate = Gate::start_in(
            Arc::clone(&dir),
            &config("{ address: 127.0.0.1:0 }", "", &upstream),
        );
        ask(&mut connect(gate.address("senders")), REQUEST.as_bytes())
    };
    assert_eq!(ask_with(""), 502);
    assert_eq!(ask_with(&format!(", {shown}")), 200);
    assert_eq!(
        app.seen().len(),
        1,
        "nothing was sent without a certificate"
    );
    // nor with another's, and a running gate takes up the right one
    let stranger = write_pair(
        dir.path(),
        "stranger",
        &Authority::new().pair(&["gate.test"], Some("gate")),
    );
    let upstream = format!(
        "url: \"https://{}\", ca: {}, {stranger}",
        app.address,
        ca.file.display()
    );
    let gate = Gate::start_in(
        Arc::clone(&dir),
        &config("{ address: 127.0.0.1:0 }", "", &upstream),
    );
    let asked = || ask(&mut connect(gate.address("senders")), REQUEST.as_bytes());
    assert_eq!(asked(), 502);
    assert_eq!(
        app.seen().len(),
        1,
        "nothing was sent with another's certificate"
    );
    write_pair(dir.path(), "stranger", &pair);
    wait_for("the new pair", || asked() == 200);
    assert_eq!(
        ask(&mut connect(gate.address("senders")), PASSED.as_bytes()),
        200,
        "streamed through"
    );
}

// ---- time

#[test]
fn an_idle_connection_and_a_next_head_have_times_of_their_own() {
    let app = App::start();
    let limits = "limits: { header_timeout: 400ms, idle_timeout: 1200ms }";
    let gate = Gate::start(&config("{ address: 127.0.0.1:0 }", limits, &url(&app)));
    let mut stream = connect(gate.address("senders"));
    assert_eq!(ask(&mut stream, REQUEST.as_bytes()), 200);
    // longer than a head may take
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(ask(&mut stream, REQUEST.as_bytes()), 200);
    let begun = Instant::now();
    assert_eq!(status(&mut stream), 0);
    let idle = begun.elapsed();
    assert!(
        idle >= Duration::from_millis(1100) && idle < Duration::from_secs(4),
        "{idle:?}"
    );

    let mut dripping = connect(gate.address("senders"));
    assert_eq!(ask(&mut dripping, REQUEST.as_bytes()), 200);
    std::thread::sleep(Duration::from_millis(600));
    let begun = Instant::now();
    for byte in REQUEST.bytes().cycle() {
        std::thread::sleep(Duration::from_millis(50));
        if dripping.write_all(&[byte]).is_err() || begun.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(350) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(app.count(), 3);
}

#[test]
fn an_idle_connection_over_http_2_ends() {
    let (app, ca, dir) = (
        App::start(),
        Authority::new(),
        Arc::new(tempfile::tempdir().unwrap()),
    );
    let pair = write_pair(dir.path(), "tls", &ca.pair(&["gate.test"], None));
    let listen = format!("{{ address: 127.0.0.1:0, tls: {{ {pair} }} }}");
    let limits = "limits: { header_timeout: 400ms, idle_timeout: 600ms, body_timeout: 500ms }";
    let gate = Gate::start_in(Arc::clone(&dir), &config(&listen, limits, &url(&app)));
    let config = client(&ca, None, "h2");
    // the preface does not come
    let begun = Instant::now();
    assert_eq!(
        status(&mut over_tls(connect(gate.address("senders")), &config, "gate.test").unwrap()),
        0
    );
    assert!(begun.elapsed() < Duration::from_secs(4));
    runtime().block_on(async {
        let mut sender = h2(gate.address("senders"), &config).await;
        // a body that does not come is refused in its time, and then nothing is open
        let request = http::Request::post("https://gate.test/in")
            .body(())
            .unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"{"), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), 408);
        let closed = async {
            while sender.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed)
            .await
            .unwrap();
    });
    wait_for("all to be closed", || {
        gate.health("/metrics")
            .text()
            .contains("\nhookgate_connections 0\n")
    });
}
