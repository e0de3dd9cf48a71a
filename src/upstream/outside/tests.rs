//! Calls places on loopback: addresses of 127.0.0.0/8 stand for public and for private ones, as a policy says.
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora::tls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::names::tests::{Script, Step};
use super::*;
use crate::address::Class;
use crate::delivery::Outcome;
use crate::upstream::resolve::tests::Moved;

const TENANT: u32 = 1 << 29;
const SECOND: Duration = Duration::from_secs(1);
/// The place that stands for a public one.
const PUBLIC: &str = "127.0.0.2";
/// The place that stands for a private one.
const PRIVATE: &str = "127.0.0.1";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The reaction of a server to a request.
enum Act {
    /// It writes this.
    Write(String),
    /// It closes the connection without an answer.
    Close,
    /// It writes the first, and then the second again and again.
    Flood(String, String),
}

/// A server that reacts to requests, each numbered with its connection and by its place on that, from 0.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    written: Arc<AtomicUsize>,
}

impl Server {
    async fn at(
        host: &str,
        port: u16,
        act: impl Fn(usize, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::with_tls(host, port, None, act).await
    }

    async fn with_tls(
        host: &str,
        port: u16,
        tls: Option<TlsAcceptor>,
        act: impl Fn(usize, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((host, port)).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            written: Arc::default(),
        };
        let (connections, requests, written) = (
            Arc::clone(&server.connections),
            Arc::clone(&server.requests),
            Arc::clone(&server.written),
        );
        let act = Arc::new(act);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                let (requests, written, act, tls) = (
                    Arc::clone(&requests),
                    Arc::clone(&written),
                    Arc::clone(&act),
                    tls.clone(),
                );
                tokio::spawn(async move {
                    let react = |number| act(connection, number);
                    match tls {
                        None => serve(stream, react, &requests, &written).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, react, &requests, &written).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    async fn ok(host: &str, port: u16) -> Self {
        Self::at(host, port, |_, _| Act::Write(OK.to_owned())).await
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.lock().len()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    react: impl Fn(usize) -> Act,
    requests: &Mutex<Vec<String>>,
    written: &AtomicUsize,
) {
    let mut bytes = vec![0; 4096];
    for number in 0.. {
        let Ok(length @ 1..) = stream.read(&mut bytes).await else {
            return;
        };
        requests
            .lock()
            .push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        match react(number) {
            Act::Write(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::Close => return,
            Act::Flood(first, more) => {
                stream.write_all(first.as_bytes()).await.unwrap();
                while stream.write_all(more.as_bytes()).await.is_ok() {
                    written.fetch_add(more.len(), Ordering::SeqCst);
                }
                return;
            }
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found(addresses: &[&str]) -> Step {
    Step::Found(addresses.iter().map(|text| ip(text)).collect(), 0)
}

fn to(host: &str, port: u16) -> WebAddress {
    WebAddress {
        tls: false,
        host: host.to_owned(),
        port,
        authority: host.to_owned(),
        target: Bytes::from_static(b"/in"),
    }
}

fn outgoing() -> Outgoing {
    let headers = [(HOST, "a.test"), (CONTENT_LENGTH, "0")]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
    Outgoing {
        method: Method::POST,
        target: Bytes::from_static(b"/in"),
        headers: headers.into_iter().collect(),
        body: Bytes::new(),
    }
}

/// Returns a policy that allows these networks alone.
fn allow(networks: &[&str]) -> Egress {
    Egress {
        allow: networks.iter().map(|text| text.parse().unwrap()).collect(),
        deny: vec![],
    }
}

struct Bench {
    outside: Outside,
    clock: Arc<Moved>,
    policy: Egress,
}

impl Bench {
    /// Returns a client whose look-ups go through `steps`; it may call the public place alone.
    fn new(steps: &[Step]) -> (Self, Arc<Script>) {
        let (script, clock) = (Script::new(steps.to_vec()), Moved::running());
        let outside = Outside::new(Arc::clone(&clock) as _).unwrap();
        let bench = Self {
            outside: outside.with_lookup(Arc::clone(&script) as _),
            clock,
            policy: allow(&["127.0.0.2/32"]),
        };
        (bench, script)
    }

    async fn sent(
        &self,
        to: &WebAddress,
        tenant: u32,
        budget: Duration,
    ) -> Result<Sent, NotCalled> {
        let outgoing = outgoing();
        let sending = self
            .outside
            .send(to, &outgoing, &self.policy, tenant, budget);
        sending.await
    }

    /// Sends a request and reads the whole answer. Returns its status and body, or the outcome.
    async fn send(&self, to: &WebAddress) -> Result<(u16, String), Outcome> {
        self.send_for(to, TENANT).await
    }

    async fn send_for(&self, to: &WebAddress, tenant: u32) -> Result<(u16, String), Outcome> {
        let sent = self.sent(to, tenant, 5 * SECOND).await.unwrap();
        let mut answer = sent.answer.ok_or(sent.outcome)?;
        let mut body = Vec::new();
        while let Some(piece) = answer.body.next().await.unwrap() {
            body.extend_from_slice(&piece);
        }
        Ok((answer.status.as_u16(), String::from_utf8(body).unwrap()))
    }

    async fn refused(&self, to: &WebAddress) -> Refused {
        match self.sent(to, TENANT, 5 * SECOND).await {
            Err(NotCalled::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn ok() -> Result<(u16, String), Outcome> {
    Ok((200, "ok".to_owned()))
}

/// A name that is public when it is judged and private at the next look-up: there is none between judging and connecting.
#[tokio::test]
async fn connection_goes_to_the_judged_address() {
    let public = Server::ok(PUBLIC, 0).await;
    let private = Server::ok(PRIVATE, public.port()).await;
    let (bench, script) = Bench::new(&[found(&[PUBLIC]), found(&[PRIVATE]), found(&[PUBLIC])]);
    let to = to("rebind.test", public.port());
    let sent = bench.sent(&to, TENANT, 5 * SECOND).await.unwrap();
    assert_eq!(sent.outcome, Outcome::Answered(StatusCode::OK));
    assert_eq!(sent.facts.peer, Some(public.address));
    assert!(sent.facts.connect.is_some() && sent.facts.first_byte.is_some());
    assert_eq!(script.asked(), ["rebind.test"]);
    // the idle connection to the public one is not used either
    let private_one = Refused::NotPublic(ip(PRIVATE), Class::Loopback);
    assert_eq!(bench.refused(&to).await, private_one);
    assert_eq!((public.requests(), private.connections()), (1, 0));
    let sent = bench.sent(&to, TENANT, 5 * SECOND).await.unwrap();
    assert_eq!((sent.facts.connect, public.connections()), (None, 1));
}

#[tokio::test]
async fn one_bad_address_refuses_all() {
    let (public, private) = (Server::ok(PUBLIC, 0).await, ip(PRIVATE));
    let to = to("mixed.test", public.port());
    for (addresses, bad) in [
        (vec![PUBLIC, PRIVATE], private),
        (vec![PRIVATE, PUBLIC], private),
        (vec![PUBLIC, "::1"], ip("::1")),
        (vec!["::1", PUBLIC], ip("::1")),
        (vec![PUBLIC, "::ffff:127.0.0.1"], ip("::ffff:127.0.0.1")),
        (vec![PUBLIC, "64:ff9b::7f00:1"], ip("64:ff9b::7f00:1")),
    ] {
        let (bench, _) = Bench::new(&[found(&addresses)]);
        let refused = bench.refused(&to).await;
        let Refused::NotPublic(ip, _) = refused else {
            panic!("{addresses:?}: {refused:?}");
        };
        assert_eq!(ip, bad, "{addresses:?}");
    }
    let many = |count: u8| {
        let row = (2..2 + count).map(|last| IpAddr::from([127, 0, 0, last]));
        Step::Found(row.collect(), 0)
    };
    let (mut bench, _) = Bench::new(&[many(65), Step::NotFound(0), many(64)]);
    bench.policy = allow(&["127.0.0.0/8"]);
    assert_eq!(bench.refused(&to).await, Refused::Unresolved, "too many");
    assert_eq!(bench.refused(&to).await, Refused::Unresolved, "none");
    assert_eq!(public.connections(), 0);
    assert_eq!(bench.send(&to).await, ok(), "one of 64 takes it");
}

#[tokio::test]
async fn unknown_own_addresses_refuse_every_call() {
    for policy in [Egress::default(), allow(&["0.0.0.0/0", "::/0"])] {
        for host in ["8.8.8.8", "127.0.0.1", "2606:4700::1111"] {
            let (mut bench, _) = Bench::new(&[Step::Never]);
            bench.outside.own = OwnAddresses::with(|| Err(Refused::OwnUnknown));
            bench.policy = policy.clone();
            let refused = bench.refused(&to(host, 443)).await;
            assert_eq!(refused, Refused::OwnUnknown, "{host}");
            assert!(refused.to_string().contains("AF_NETLINK"), "{refused}");
        }
    }
}

/// Names in the config of the gateway are looked up as the system does.
#[tokio::test]
async fn odd_spellings_in_the_config_are_judged_by_their_address() {
    let server = Server::ok(PRIVATE, 0).await;
    let (mut bench, script) = Bench::new(&[Step::Never]);
    for host in [
        "localhost",
        "localhost.",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "::1",
        "::ffff:127.0.0.1",
        "0",
    ] {
        let sent = bench
            .sent(&to(host, server.port()), GATEWAY, 5 * SECOND)
            .await;
        assert!(
            matches!(sent, Err(NotCalled::Refused(_))),
            "{host}: {sent:?}"
        );
    }
    assert_eq!(server.connections(), 0);
    bench.policy = allow(&["127.0.0.0/8", "::1/128"]);
    let localhost = to("localhost", server.port());
    assert_eq!(bench.send_for(&localhost, GATEWAY).await, ok());
    assert!(script.asked().is_empty());
}

/// An empty name would be no SNI, and its certificate would not be verified.
#[tokio::test]
async fn empty_host_is_never_called() {
    let (mut bench, script) = Bench::new(&[found(&[PUBLIC])]);
    bench.policy = allow(&["0.0.0.0/0", "::/0"]);
    for host in ["", "."] {
        for tls in [true, false] {
            let to = WebAddress {
                tls,
                ..to(host, 443)
            };
            assert_eq!(bench.refused(&to).await, Refused::Unresolved);
        }
    }
    assert!(script.asked().is_empty());
}

/// Behind one address there may be many customers.
#[tokio::test]
async fn connections_are_kept_by_name_and_tenant() {
    let server = Server::ok(PUBLIC, 0).await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let (one, other) = (
        to("one.test", server.port()),
        to("other.test", server.port()),
    );
    for (place, tenant, connections) in [
        (&one, TENANT, 1),
        (&one, TENANT, 1),
        (&one, TENANT + 1, 2),
        (&other, TENANT, 3),
        (&other, TENANT + 1, 4),
        (&one, TENANT, 4),
        (&other, TENANT + 1, 4),
        (&one, TENANT + 1, 4),
        (&other, TENANT, 4),
    ] {
        assert_eq!(bench.send_for(place, tenant).await, ok());
        assert_eq!(server.connections(), connections, "{place:?} {tenant}");
    }
}

#[tokio::test]
async fn idle_connections_end_after_a_while_and_at_a_reload() {
    let server = Server::ok(PUBLIC, 0).await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let to = to("a.test", server.port());
    let mut connections = Vec::new();
    for pause in [0, 5, 9, 11, 0] {
        bench.clock.by(pause * SECOND);
        assert_eq!(bench.send(&to).await, ok());
        connections.push(server.connections());
    }
    assert_eq!(connections, [1, 1, 1, 2, 2]);
    bench.outside.reload();
    assert_eq!(bench.send(&to).await, ok());
    assert_eq!(server.connections(), 3);
}

/// The place may close an idle connection at the moment when it is used.
#[tokio::test]
async fn request_on_a_closed_connection_is_sent_again() {
    let server = Server::at(PUBLIC, 0, |connection, number| match (connection, number) {
        (0, 1) => Act::Close,
        _ => Act::Write(OK.to_owned()),
    });
    let server = server.await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let to = to("a.test", server.port());
    assert_eq!(bench.send(&to).await, ok());
    assert_eq!(bench.send(&to).await, ok());
    assert_eq!((server.connections(), server.requests()), (2, 3));
    let closing = Server::at(PUBLIC, 0, |_, _| Act::Close).await;
    let to = self::to("b.test", closing.port());
    assert_eq!(bench.send(&to).await, Err(Outcome::Ambiguous(Fault::Reset)));
    assert_eq!(closing.requests(), 1, "a new connection is not tried again");
}

/// The place may have read the request before it closed the idle connection, and can no longer be asked.
#[tokio::test]
async fn request_on_a_closed_connection_may_have_arrived() {
    let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let react = |number| match number {
            0 => Act::Write(OK.to_owned()),
            _ => Act::Close,
        };
        serve(stream, react, &Mutex::default(), &AtomicUsize::new(0)).await;
    });
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let to = to("a.test", port);
    assert_eq!(bench.send(&to).await, ok());
    assert_eq!(bench.send(&to).await, Err(Outcome::Ambiguous(Fault::Reset)));
    assert_eq!(
        bench.send(&to).await,
        Err(Outcome::Unreached(Fault::Refused)),
        "nothing was sent"
    );
}

/// Another answer that nobody asked for would be read as that to the next request.
#[tokio::test]
async fn second_answer_on_a_connection_is_read_by_nobody() {
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let server = Server::at(PUBLIC, 0, move |_, number| match number {
        0 => Act::Write(format!("{OK}{forged}")),
        _ => Act::Write(OK.to_owned()),
    });
    let server = server.await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let to = to("a.test", server.port());
    for connections in 1..=3 {
        assert_eq!(bench.send(&to).await, ok());
        assert_eq!(server.connections(), connections);
    }
    let late = Server::at(PUBLIC, 0, move |_, number| match number {
        0 => Act::Flood(OK.to_owned(), forged.to_owned()),
        _ => Act::Close,
    });
    let late = late.await;
    let to = self::to("late.test", late.port());
    for _ in 0..3 {
        assert_eq!(bench.send(&to).await, ok());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(late.connections(), 3);
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let sentinel = Server::ok(PUBLIC, 0).await;
    for (status, location) in [
        (301, format!("http://{}/", sentinel.address)),
        (302, "http://169.254.169.254/latest/meta-data".to_owned()),
        (307, format!("//{}/", sentinel.address)),
        (308, format!("http://{}/\u{b}\u{1b}[31m", sentinel.address)),
    ] {
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nRefresh: 0; url=http://{}/\r\nContent-Length: 0\r\n\r\n",
            sentinel.address
        );
        let server = Server::at(PUBLIC, 0, move |_, _| Act::Write(answer.clone())).await;
        let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
        match bench.send(&to("a.test", server.port())).await {
            Ok((got, body)) => assert_eq!((got, &*body), (status, "")),
            Err(outcome) => assert_eq!(
                (status, outcome),
                (308, Outcome::Ambiguous(Fault::Malformed))
            ),
        }
        assert_eq!((server.requests(), sentinel.connections()), (1, 0));
    }
}

#[tokio::test]
async fn interim_answers_have_a_defined_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let malformed = Err(Outcome::Ambiguous(Fault::Malformed));
    for (text, expected, connections) in [
        (format!("{}{OK}", interim.repeat(3)), ok(), 1),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_owned(),
            malformed.clone(),
            2,
        ),
        (format!("{}{OK}", interim.repeat(65)), malformed.clone(), 2),
        (
            "HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
            malformed.clone(),
            2,
        ),
    ] {
        let answer = text.clone();
        let server = Server::at(PUBLIC, 0, move |_, _| Act::Write(answer.clone())).await;
        let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
        let to = to("a.test", server.port());
        for _ in 0..2 {
            assert_eq!(bench.send(&to).await, expected, "{text}");
        }
        assert_eq!(server.connections(), connections, "{text}");
    }
}

#[tokio::test]
async fn large_head_ends_the_exchange() {
    let line = format!("A: {}\r\n", "x".repeat(1000));
    let head = |lines: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\nok",
            line.repeat(lines)
        )
    };
    let (fits, too_large) = (head(15), head(17));
    let flood = line.clone();
    let server = Server::at(PUBLIC, 0, move |connection, _| match connection {
        0 => Act::Write(fits.clone()),
        1 => Act::Write(too_large.clone()),
        _ => Act::Flood("HTTP/1.1 200 OK\r\n".to_owned(), flood.clone()),
    });
    let server = server.await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let to = |name: &str| to(name, server.port());
    assert_eq!(bench.send(&to("fits.test")).await, ok());
    for name in ["large.test", "endless.test"] {
        let sent = bench.send(&to(name)).await;
        assert_eq!(sent, Err(Outcome::Ambiguous(Fault::TooLarge)), "{name}");
    }
}

/// The caller bounds how much of a body it reads; the budget bounds the time.
#[tokio::test]
async fn endless_body_ends_with_the_budget_or_the_caller() {
    let endless = |head: &str| {
        (
            format!("HTTP/1.1 200 OK\r\n{head}\r\n"),
            "1\r\nx\r\n".to_owned(),
        )
    };
    for head in ["Transfer-Encoding: chunked\r\n", ""] {
        let (first, more) = endless(head);
        let server = Server::at(PUBLIC, 0, move |_, _| {
            Act::Flood(first.clone(), more.clone())
        })
        .await;
        let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
        let to = to("a.test", server.port());
        let mut sent = bench.sent(&to, TENANT, 5 * SECOND).await.unwrap();
        let mut answer = sent.answer.take().unwrap();
        for _ in 0..3 {
            assert!(answer.body.next().await.unwrap().is_some());
        }
        drop(answer);
        let mut sent = bench.sent(&to, TENANT, SECOND / 5).await.unwrap();
        assert_eq!(
            server.connections(),
            2,
            "a connection in the middle of an answer is closed"
        );
        let mut answer = sent.answer.take().unwrap();
        let end = loop {
            match answer.body.next().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert_eq!(end, Err(Fault::Timeout));
    }
}

#[tokio::test]
async fn slow_places_end_with_the_budget() {
    let silent = Server::at(PUBLIC, 0, |_, _| Act::Write(String::new())).await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC]), Step::Never]);
    let to = to("a.test", silent.port());
    let sent = bench.sent(&to, TENANT, SECOND / 5).await.unwrap();
    assert_eq!(sent.outcome, Outcome::Ambiguous(Fault::Timeout));
    let sent = bench.sent(&to, TENANT, SECOND / 5).await;
    assert!(
        matches!(sent, Err(NotCalled::Refused(Refused::Unresolved))),
        "no look-up: {sent:?}"
    );
}

#[tokio::test]
async fn odd_target_is_not_sent() {
    let server = Server::ok(PUBLIC, 0).await;
    let (bench, _) = Bench::new(&[found(&[PUBLIC])]);
    for target in ["", "http://a.test/", "/a b", "/\r\nX: y", "/\0"] {
        let outgoing = Outgoing {
            target: Bytes::from(target),
            ..outgoing()
        };
        let to = to("a.test", server.port());
        let sending = bench
            .outside
            .send(&to, &outgoing, &bench.policy, TENANT, SECOND);
        let outcome = sending.await.unwrap().outcome;
        assert_eq!(outcome, Outcome::Unreached(Fault::Malformed), "{target:?}");
    }
    assert_eq!(server.connections(), 0);
}

/// Returns what a server with a certificate for `name` accepts by, and the certificate.
fn tls_of(name: &str) -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate)
}

#[tokio::test]
async fn certificate_must_be_trusted_and_for_the_host() {
    let (tls, certificate) = tls_of("good.test");
    let server = Server::with_tls(PUBLIC, 0, Some(tls), |_, _| Act::Write(OK.to_owned())).await;
    let (mut bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let to = |host: &str| WebAddress {
        tls: true,
        ..to(host, server.port())
    };
    let fails = async |bench: &Bench, host: &str, why: TlsFault| {
        let failed = Outcome::Unreached(Fault::Tls(why));
        assert_eq!(bench.send(&to(host)).await, Err(failed), "{host}");
    };
    bench.outside.roots = Roots::with(Box::new(|| Ok(RootCertStore::empty())));
    fails(&bench, "good.test", TlsFault::Issuer).await;
    bench.outside.roots = Roots::with(Box::new(move || {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        Ok(roots)
    }));
    assert_eq!(bench.send(&to("good.test")).await, ok());
    assert_eq!(bench.send(&to("GOOD.test.")).await, ok());
    fails(&bench, "other.test", TlsFault::Name).await;
    fails(&bench, PUBLIC, TlsFault::Name).await;
    let plain = WebAddress {
        tls: false,
        ..to("good.test")
    };
    assert!(
        bench.send(&plain).await.is_err(),
        "no connection with TLS is used for it"
    );
}

#[tokio::test]
async fn extra_roots_are_trusted_beside_those_of_the_system() {
    let (tls, certificate) = tls_of("good.test");
    let server = Server::with_tls(PUBLIC, 0, Some(tls), |_, _| Act::Write(OK.to_owned())).await;
    let (mut bench, _) = Bench::new(&[found(&[PUBLIC])]);
    bench.outside = bench.outside.with_roots(vec![certificate]);
    let to = WebAddress {
        tls: true,
        ..to("good.test", server.port())
    };
    assert_eq!(bench.send(&to).await, ok());
}

#[tokio::test]
async fn certificates_are_read_once_until_a_reload() {
    let server = Server::ok(PUBLIC, 0).await;
    let (mut bench, _) = Bench::new(&[found(&[PUBLIC])]);
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    bench.outside.roots = Roots::with(Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(RootCertStore::empty())
    }));
    let plain = to("a.test", server.port());
    let secure = WebAddress {
        tls: true,
        ..plain.clone()
    };
    assert_eq!(bench.send(&plain).await, ok());
    assert_eq!(reads.load(Ordering::SeqCst), 0, "none is needed yet");
    for _ in 0..3 {
        assert!(bench.send(&secure).await.is_err());
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }
    bench.outside.reload();
    for _ in 0..3 {
        assert!(bench.send(&secure).await.is_err());
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }
}
