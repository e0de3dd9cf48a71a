//! Gates whose listener speaks TLS, and HTTP/2 clients of theirs.
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

use super::app::App;
use super::config;
use super::gate::Gate;

/// A gate with a TLS listener, and the certificate to trust.
pub fn gate(app: &App) -> (Gate, CertificateDer<'static>) {
    gate_before(&app.url())
}

/// Starts the same in front of any URL.
pub fn gate_before(app: &str) -> (Gate, CertificateDer<'static>) {
    gate_with(&config::forward(app, ""))
}

/// A gate on `yaml`, whose listener speaks TLS.
pub fn gate_with(yaml: &str) -> (Gate, CertificateDer<'static>) {
    let (dir, yaml, certificate) = with_tls(yaml);
    (Gate::in_process_in(dir, &yaml), certificate)
}

/// Starts the same as a process of its own.
pub fn start_with(yaml: &str) -> (Gate, CertificateDer<'static>) {
    let (dir, yaml, certificate) = with_tls(yaml);
    (Gate::start_in(dir, &yaml), certificate)
}

/// Returns a directory with a certificate, and `yaml` with a listener that uses it.
fn with_tls(yaml: &str) -> (Arc<tempfile::TempDir>, String, CertificateDer<'static>) {
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
    (dir, yaml, key.cert.der().clone())
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

/// Connects to a gate over HTTP/2.
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

/// Returns a runtime of two threads.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
