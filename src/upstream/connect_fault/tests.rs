//! Connections that fail in every way that loopback can show.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::upstreams::peer::HttpPeer;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::clock::{Clock as _, SystemClock};

/// An authority, its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    /// Serves a certificate for `name` that is valid between these years.
    async fn serve(&self, name: &str, years: [i32; 2]) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years[0], 11, 3);
        params.not_after = rcgen::date_time_ymd(years[1], 11, 3);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let failed = acceptor.accept(stream).await;
                drop(failed);
            }
        });
        address
    }
}

/// Serves these bytes to every connection that has sent something, and closes it.
async fn plain(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0);
            stream.write_all(bytes).await.unwrap();
        }
    });
    address
}

/// Connects to a peer that must fail.
async fn fault_of(peer: HttpPeer, ca: &Path) -> Fault {
    let connector = TransportConnector::new(Some(ConnectorOptions {
        ca_file: Some(ca.to_str().unwrap().to_owned()),
        ..ConnectorOptions::new(1)
    }));
    let connected = connector.new_stream(&peer).await;
    let Err(error) = connected else {
        panic!("a connection that should fail");
    };
    connect_fault(&error)
}

fn date(year: i32) -> SystemTime {
    rcgen::date_time_ymd(year, 11, 3).into()
}

#[tokio::test]
async fn failed_handshake_has_its_cause() {
    let (known, other) = (Authority::new(), Authority::new());
    let [next, last] = [1, 2].map(|years| {
        let now = SystemClock.now().unix_ms() / 1000 / 31_556_952;
        1970 + i32::try_from(now + years).unwrap()
    });
    let table = [
        (
            known.serve("app.test", [2020, 2024]).await,
            TlsFault::Expired(Some(date(2024))),
        ),
        (known.serve("app.test", [next, last]).await, TlsFault::Early),
        (known.serve("b.test", [2020, last]).await, TlsFault::Name),
        (
            other.serve("app.test", [2020, last]).await,
            TlsFault::Issuer,
        ),
        (
            plain(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await,
            TlsFault::Plain,
        ),
        (plain(b"220 mail.test ESMTP\r\n").await, TlsFault::Plain),
        (plain(b"").await, TlsFault::Other),
        // the alert that a server sends if it has no certificate for the name
        (
            plain(b"\x15\x03\x03\x00\x02\x02\x70").await,
            TlsFault::Other,
        ),
    ];
    let ca = known.directory.path().join("ca.pem");
    for (address, due) in table {
        let peer = HttpPeer::new(address, true, "app.test".to_owned());
        assert_eq!(fault_of(peer, &ca).await, Fault::Tls(due));
    }
    let named = known.serve("app.test", [2020, last]).await;
    let peer = HttpPeer::new(named, true, "app.test".to_owned());
    let connector = TransportConnector::new(Some(ConnectorOptions {
        ca_file: Some(ca.to_str().unwrap().to_owned()),
        ..ConnectorOptions::new(1)
    }));
    assert!(connector.new_stream(&peer).await.is_ok(), "a good one");
}

#[tokio::test]
async fn failed_connection_has_its_cause() {
    let ca = Path::new("/dev/null");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let refused = HttpPeer::new(address, false, String::new());
    assert_eq!(fault_of(refused, ca).await, Fault::Refused);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("app.sock");
    let missing = || HttpPeer::new_uds(socket.to_str().unwrap(), false, String::new()).unwrap();
    assert_eq!(fault_of(missing(), ca).await, Fault::Refused);
    std::fs::write(&socket, "").unwrap();
    assert_eq!(fault_of(missing(), ca).await, Fault::Refused, "a file");
}

#[test]
fn text_of_the_other_side_decides_nothing() {
    // the names of a certificate are in the text, behind the kind of error
    let text = "TLS connect() failed: invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for \
                DnsName(\"invalid peer certificate: certificate expired: but certificate is not valid after 7\")";
    assert_eq!(tls_fault(text), TlsFault::Name);
    assert_eq!(tls_fault("certificate expired"), TlsFault::Other);
}

#[test]
fn the_fault_of_several_addresses_tells_most() {
    let expired = Fault::Tls(TlsFault::Expired(None));
    let (local, far) = (Fault::Local(Shortage::Ports), Fault::Unreachable);
    let table: [(&[Fault], Fault); 5] = [
        (&[Fault::Refused, far], Fault::Refused),
        (&[local, Fault::Refused, local], Fault::Refused),
        (&[expired, Fault::Refused], expired),
        (
            &[Fault::Refused, Fault::ConnectTimeout],
            Fault::ConnectTimeout,
        ),
        (&[local, far], far),
    ];
    for (faults, due) in table {
        let told = faults
            .iter()
            .fold(None, |before, next| more_telling(before, *next));
        assert_eq!(told, Some(due), "{faults:?}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_fault(text: String, seconds: u64) {
        tls_fault(&text);
        certificate_fault(&text);
        let text = format!("{CERTIFICATE}certificate expired: {NOT_AFTER}{seconds} ({text}");
        let due = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        prop_assert_eq!(tls_fault(&text), TlsFault::Expired(due));
    }
}
