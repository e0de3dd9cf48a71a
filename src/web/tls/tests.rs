use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::super::serve::{Bounds, Lifetime, serve_tls};
use super::*;

const BOUNDS: Bounds = Bounds {
    connections: 8,
    lifetime: Lifetime::Idle(Duration::from_secs(75)),
    head: Duration::from_secs(10),
    max_read: None,
    shutdown: Duration::from_secs(1),
};

/// Makes the settings of a server named `localhost`, and a client that trusts it.
fn settings() -> (rustls::ServerConfig, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    // the config offers HTTP/2 to senders; this server does not speak it
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (server, client)
}

/// Makes a request, and returns the answer.
async fn ask(address: SocketAddr, client: &Arc<rustls::ClientConfig>) -> io::Result<String> {
    let io = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(client))
        .connect(name, io)
        .await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(HTTP_1));
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn tls_is_served_beside_slow_and_failed_handshakes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, client) = settings();
    let (other_server, other_client) = settings();
    let (client, other_client) = (Arc::new(client), Arc::new(other_client));
    let tls: TlsSettings = Arc::new(ArcSwap::from_pointee(server));
    let (stop, stopped) = watch::channel(false);
    let router = Router::new().route("/", get(async || "over TLS"));
    let serving = tokio::spawn(serve_tls(
        listener,
        Arc::clone(&tls),
        router,
        BOUNDS,
        stopped,
    ));
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut cleartext = TcpStream::connect(address).await.unwrap();
    cleartext
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    cleartext.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let answer = ask(address, &client).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("over TLS"),
        "{answer}"
    );
    assert!(ask(address, &other_client).await.is_err());
    // a reload counts for the next connection
    tls.store(Arc::new(other_server));
    assert!(ask(address, &client).await.is_err());
    assert!(ask(address, &other_client).await.is_ok());
    stop.send_replace(true);
    serving.await.unwrap();
}
