//! The same path over HTTP/2: TLS, ALPN, bodies of all sizes, requests beside each other on one connection.
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

use super::forward::config;
use super::hostile::{HALF, raw_app};
use super::support::app::App;
use super::support::gate::Gate;
use super::support::sign;

const SECRET: &str = "a secret of more than sixteen bytes";

#[test]
fn bodies_of_all_sizes_arrive_byte_exact_on_one_connection() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for (number, size) in [0, 1, 65_535, 65_536, 65_537, 1 << 20, 25 << 20]
            .into_iter()
            .enumerate()
        {
            let body: Vec<u8> = (0..size)
                .map(|at: usize| (at.wrapping_mul(131) >> 5) as u8)
                .collect();
            let began = std::time::Instant::now();
            let status = post(&mut connection, &format!("h2-{number}"), body.clone()).await;
            eprintln!("{size} bytes over HTTP/2: {:?}", began.elapsed());
            assert_eq!(status, 200, "{size} bytes");
            assert!(app.last().body == body, "{size} bytes differ");
            assert_eq!(app.last().header("X-Forwarded-Proto"), Some("https"));
            assert_eq!(app.last().header("Host"), Some("gate.test"));
        }
    });
}

#[test]
fn streams_beside_each_other() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let connection = connect(&gate, certificate).await;
        let posts = (0..20).map(|number| {
            let mut connection = connection.clone();
            tokio::spawn(async move {
                post(
                    &mut connection,
                    &format!("id-{number}"),
                    vec![b'x'; 1000 * number],
                )
                .await
            })
        });
        for posted in posts.collect::<Vec<_>>() {
            assert_eq!(posted.await.unwrap(), 200);
        }
    });
    assert_eq!(app.count(), 20);
}

#[test]
fn http_1_over_tls_and_a_forged_request() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        let request = Request::post("https://gate.test/webhooks/github")
            .header("x-hub-signature-256", "sha256=00")
            .body(())
            .unwrap();
        let (answer, mut body) = connection.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"{}"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 401);
        assert_eq!(post(&mut connection, "after", b"{}".to_vec()).await, 200);
    });
    assert_eq!(app.count(), 1);
}

/// Bodies that are reset half-way, and answers that come before the body: neither the connection nor the gate keeps anything of them.
#[test]
fn resets_and_early_answers_leave_nothing_behind() {
    let app = App::start();
    let (mut gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for number in 0..100 {
            connection = connection.ready().await.unwrap();
            let request = Request::post("https://gate.test/webhooks/github");
            if number % 2 == 0 {
                let (_, mut body) = connection
                    .send_request(request.body(()).unwrap(), false)
                    .unwrap();
                body.send_data(Bytes::from_static(&[b'x'; 1000]), false)
                    .unwrap();
                tokio::task::yield_now().await;
                body.send_reset(h2::Reason::CANCEL);
            } else {
                let request = request
                    .header("content-length", 1_u64 << 40)
                    .body(())
                    .unwrap();
                let (answer, _body) = connection.send_request(request, false).unwrap();
                assert_eq!(answer.await.unwrap().status(), 413);
            }
        }
        assert_eq!(
            post(&mut connection, "after", vec![b'y'; 1 << 20]).await,
            200
        );
    });
    assert_eq!(app.count(), 1);
    gate.signal("TERM");
    let begun = std::time::Instant::now();
    assert_eq!(gate.wait(std::time::Duration::from_secs(4)).code(), Some(0));
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

/// The app broke off: the stream is reset, so that half an answer does not look like a whole one. The connection lives on.
#[test]
fn an_answer_that_breaks_off_is_reset() {
    let app = raw_app(HALF);
    let (gate, certificate) = gate_before(&format!("http://{app}"));
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for id in ["a", "b"] {
            let mut request = Request::post("https://gate.test/webhooks/github");
            for (name, value) in sign::github(SECRET, id, b"") {
                request = request.header(name.to_lowercase(), value);
            }
            connection = connection.ready().await.unwrap();
            let (answer, _) = connection
                .send_request(request.body(()).unwrap(), true)
                .unwrap();
            let mut body = answer.await.unwrap().into_body();
            let mut last = body.data().await;
            while matches!(last, Some(Ok(_))) {
                last = body.data().await;
            }
            assert!(
                matches!(last, Some(Err(ref error)) if error.is_reset()),
                "{last:?}"
            );
        }
    });
}

/// An authority is held to the same rules as a `Host` line.
#[test]
fn an_authority_with_a_user_is_refused() {
    let app = App::start();
    let (gate, certificate) = gate(&app);
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        let request = Request::post("https://admin@gate.test/webhooks/github")
            .body(())
            .unwrap();
        let (answer, _) = connection.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 400);
        assert_eq!(post(&mut connection, "after", b"{}".to_vec()).await, 200);
    });
}

/// A long target and a large head are told apart, as over HTTP/1.
#[test]
fn a_large_head_is_431_and_a_long_target_414() {
    let app = App::start();
    let (gate, certificate) = gate_with(&format!(
        "limits: {{ header_bytes: 8KiB }}\n{}",
        config(&app.url(), "")
    ));
    runtime().block_on(async {
        let mut connection = connect(&gate, certificate).await;
        for (path, header, status) in [
            ("x", 9 << 10, 431),
            ("x", 60 << 10, 431),
            (&*"x".repeat(9 << 10), 10, 414),
        ] {
            connection = connection.ready().await.unwrap();
            let request = Request::post(format!("https://gate.test/{path}"))
                .header("x-large", "y".repeat(header))
                .body(())
                .unwrap();
            let (answer, _) = connection.send_request(request, true).unwrap();
            assert_eq!(
                answer.await.unwrap().status(),
                status,
                "{} and {header} bytes",
                path.len()
            );
        }
        assert_eq!(post(&mut connection, "after", b"{}".to_vec()).await, 200);
    });
}

/// A gate with a TLS listener, and the certificate to trust.
pub fn gate(app: &App) -> (Gate, CertificateDer<'static>) {
    gate_before(&app.url())
}

fn gate_before(app: &str) -> (Gate, CertificateDer<'static>) {
    gate_with(&config(app, ""))
}

/// A gate on `yaml`, whose listener speaks TLS.
pub fn gate_with(yaml: &str) -> (Gate, CertificateDer<'static>) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let key = rcgen::generate_simple_self_signed(["gate.test".to_owned()]).unwrap();
    std::fs::write(dir.path().join("tls.crt"), key.cert.pem()).unwrap();
    std::fs::write(dir.path().join("tls.key"), key.signing_key.serialize_pem()).unwrap();
    let yaml = yaml.replace(
        "listen: [{ address: 127.0.0.1:0 }]",
        &format!(
            "listen: [{{ address: 127.0.0.1:0, tls: {} }}]",
            pair(dir.path())
        ),
    );
    (Gate::start_in(dir, &yaml), key.cert.der().clone())
}

fn pair(dir: &Path) -> String {
    format!(
        "{{ certificate: {0}/tls.crt, key: {0}/tls.key }}",
        dir.display()
    )
}

/// A TLS client that speaks HTTP/2 and trusts this certificate.
pub fn tls(certificate: &CertificateDer<'static>) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    tokio_rustls::TlsConnector::from(Arc::new(client))
}

pub async fn connect(gate: &Gate, certificate: CertificateDer<'static>) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(gate.address("senders")).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let tls = tls(&certificate)
        .connect(ServerName::try_from("gate.test").unwrap(), tcp)
        .await
        .unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    sender.ready().await.unwrap()
}

async fn post(connection: &mut SendRequest<Bytes>, id: &str, body: Vec<u8>) -> u16 {
    let mut ready = connection.clone().ready().await.unwrap();
    let mut request = Request::post("https://gate.test/webhooks/github");
    for (name, value) in sign::github(SECRET, id, &body) {
        request = request.header(name.to_lowercase(), value);
    }
    let (answer, mut stream) = ready
        .send_request(request.body(()).unwrap(), body.is_empty())
        .unwrap();
    let mut rest = Bytes::from(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        // a gate that refuses early resets the stream after its answer
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            break;
        };
        let room = room.unwrap();
        let piece = rest.split_to(room.min(rest.len()));
        stream.send_data(piece, rest.is_empty()).unwrap();
    }
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    status
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
