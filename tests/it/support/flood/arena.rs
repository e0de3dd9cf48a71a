//! A gate with a plain and a TLS listener before an app, for floods.
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::app::App;
use super::super::gate::Gate;

pub const SECRET: &str = "a secret of more than sixteen bytes";
/// The size of a large answer of the app.
pub const LARGE: usize = 8 << 20;

/// The gate under attack and what stands behind it.
pub struct Arena {
    pub gate: Gate,
    pub app: App,
    certificate: CertificateDer<'static>,
}

/// The addresses to send to, and the TLS settings.
#[derive(Clone)]
pub struct Target {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    h1: TlsConnector,
    h2: TlsConnector,
}

impl Arena {
    /// A gate with the default bounds, but for what `limits` says, as entries of a YAML flow mapping.
    pub fn start(limits: &str) -> Self {
        let app = App::start();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let key = rcgen::generate_simple_self_signed(["gate.test".to_owned()]).unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("tls.crt"), key.cert.pem()).unwrap();
        std::fs::write(path("tls.key"), key.signing_key.serialize_pem()).unwrap();
        let route = |name: &str, upstream: &str, dedupe: &str| {
            format!(
                "  - name: {name}
    path: /webhooks/{name}
    max_body: 25MiB
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    forward: {{ upstream: {upstream} }}
{dedupe}"
            )
        };
        let yaml = format!(
            "listen:
  - address: 127.0.0.1:0
  - {{ address: 127.0.0.2:0, tls: {{ certificate: {}, key: {} }} }}
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
log: {{ requests: none }}
trusted_proxies: [127.0.9.0/24]
limits: {{ {limits} }}
shutdown: {{ delay: 0s, grace: 5s }}
upstreams:
  app: {{ url: {}, timeout: 5s }}
  large: {{ url: http://{}, timeout: 5s }}
routes:
{}{}{}",
            path("tls.crt").display(),
            path("tls.key").display(),
            app.url(),
            large_app(),
            route("github", "app", "    dedupe: { window: 1h }\n"),
            route("large", "large", ""),
            route("again", "app", ""),
        ) + "  - name: page\n    path: /page\n    pass: { upstream: large, idle_timeout: 60s }\n  - name: brief\n    path: /brief\n    pass: { upstream: large, idle_timeout: 1s }\n";
        let gate = Gate::start_in(Arc::clone(&dir), &yaml);
        Self {
            gate,
            app,
            certificate: key.cert.der().clone(),
        }
    }

    pub fn target(&self) -> Target {
        let senders = self.gate.addresses("senders");
        let connector = |protocol: &[u8]| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let mut client = rustls::ClientConfig::builder_with_provider(Arc::new(
                rustls::crypto::ring::default_provider(),
            ))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
            client.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(client))
        };
        Target {
            plain: senders[0],
            tls: senders[1],
            h1: connector(b"http/1.1"),
            h2: connector(b"h2"),
        }
    }
}

/// An app that answers with [`LARGE`] bytes, a piece at a time.
fn large_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut request, piece) = ([0; 4096], [b'x'; 64 * 1024]);
                if stream.read(&mut request).is_ok_and(|read| read > 0) {
                    let mut sent =
                        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                    for _ in 0..LARGE / piece.len() {
                        sent = sent.and_then(|()| stream.write_all(&piece));
                    }
                }
            });
        }
    });
    address
}

impl Target {
    /// A TLS connection of attacker `number`.
    pub async fn tls(&self, number: usize, h2: bool) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = if h2 { &self.h2 } else { &self.h1 };
        connector
            .connect(
                ServerName::try_from("gate.test").unwrap(),
                super::connect(self.tls, number).await?,
            )
            .await
    }
}
