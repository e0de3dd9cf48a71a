//! An app that follows a script: it records every request, and answers or fails as the script says.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookgate::config::snapshot::Authorities;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names as sent, in the order sent.
    pub(crate) headers: Vec<(String, String)>,
    /// De-chunked; as far as it was read.
    pub(crate) body: Vec<u8>,
    /// Counted from 1.
    pub(crate) connection: usize,
    /// How many bytes the first read of the connection gave, for the first request on it.
    pub(crate) first_read: usize,
}

impl Seen {
    /// The values of a header, whatever the case of its name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// One thing the app does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Reads the body of the request; without it only the head is read.
    ReadBody,
    Send(Vec<u8>),
    /// Sends byte by byte.
    Drip(Vec<u8>, Duration),
    Wait(Duration),
    /// For ever.
    Hang,
    /// Closes in good order.
    Close,
    /// Closes with a reset. All connections of a script with one end so.
    Reset,
}

/// The app's reaction to one request.
pub(crate) type Script = Vec<Act>;

/// Reads the request and answers with a length.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Script {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut answer = format!(
        "HTTP/1.1 {status} Whatever\r\n{lines}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    vec![Act::ReadBody, Act::Send(answer)]
}

/// Reads the request and answers with these bytes.
pub(crate) fn raw(answer: &str) -> Script {
    vec![Act::ReadBody, Act::Send(answer.as_bytes().to_vec())]
}

/// Reads the request and answers in chunks.
pub(crate) fn chunked(status: u16, pieces: &[&str]) -> Script {
    let mut answer = format!("HTTP/1.1 {status} Whatever\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in pieces.iter().chain(&[""]) {
        answer.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    raw(&answer)
}

/// A running app; ends when dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers every request with 200 and no body.
    pub(crate) async fn ok() -> Self {
        Self::scripted(vec![reply(200, &[], b"")]).await
    }

    /// Follows one script a request; the last one again and again.
    pub(crate) async fn scripted(scripts: Vec<Script>) -> Self {
        Self::start("127.0.0.1:0", scripts, None).await
    }

    /// The same at a given address.
    pub(crate) async fn at(address: SocketAddr, scripts: Vec<Script>) -> Self {
        Self::start(&address.to_string(), scripts, None).await
    }

    /// The same over TLS.
    pub(crate) async fn tls(scripts: Vec<Script>, config: Arc<rustls::ServerConfig>) -> Self {
        Self::start("127.0.0.1:0", scripts, Some(TlsAcceptor::from(config))).await
    }

    /// An address where nobody listens.
    pub(crate) async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    }

    async fn start(address: &str, scripts: Vec<Script>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let finished = Arc::new(AtomicUsize::new(0));
        let resets = scripts
            .iter()
            .flatten()
            .any(|act| matches!(act, Act::Reset));
        let app = App {
            scripts: scripts.into(),
            seen: Arc::clone(&seen),
            served: Arc::new(AtomicUsize::new(0)),
            finished: Arc::clone(&finished),
        };
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            // The connections live in this task's set: all of them end with it.
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if resets {
                    stream.set_zero_linger().unwrap();
                }
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (app, tls) = (app.clone(), tls.clone());
                serving.spawn(async move {
                    match tls {
                        None => app.serve(stream, number).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                app.serve(stream, number).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            seen,
            connections,
            finished,
            task,
        }
    }

    /// The requests so far, in the order their heads arrived.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections it took so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until the scripts of this many requests have been followed to their end.
    pub(crate) async fn finished(&self, scripts: usize) {
        let all = async {
            while self.finished.load(Ordering::SeqCst) < scripts {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all)
            .await
            .expect("the scripts to end");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct App {
    scripts: Arc<[Script]>,
    seen: Arc<Mutex<Vec<Seen>>>,
    served: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
}

impl App {
    /// Serves one connection until it ends, either side.
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize) {
        let mut buffer = Vec::new();
        let mut first_read = 0;
        loop {
            let Some(end) =
                read_until(&mut stream, &mut buffer, &mut first_read, b"\r\n\r\n").await
            else {
                return;
            };
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end);
            let index = self.record(&head, connection, std::mem::take(&mut first_read));
            let turn = self.served.fetch_add(1, Ordering::SeqCst);
            let Some(script) = self.scripts.get(turn).or(self.scripts.last()) else {
                return;
            };
            for act in script {
                match act {
                    Act::ReadBody => {
                        let Some(body) = read_body(&mut stream, &mut buffer, &head).await else {
                            return;
                        };
                        self.seen.lock().unwrap()[index].body = body;
                    }
                    Act::Send(bytes) => {
                        if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
                            return;
                        }
                    }
                    Act::Drip(bytes, pause) => {
                        for byte in bytes {
                            if stream.write_all(&[*byte]).await.is_err()
                                || stream.flush().await.is_err()
                            {
                                return;
                            }
                            tokio::time::sleep(*pause).await;
                        }
                    }
                    Act::Wait(time) => tokio::time::sleep(*time).await,
                    Act::Hang => std::future::pending().await,
                    Act::Close => {
                        // The client may have left already: then it is closed as well.
                        stream.shutdown().await.unwrap_or_default();
                        self.finished.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    Act::Reset => return,
                }
            }
            self.finished.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn record(&self, head: &str, connection: usize, first_read: usize) -> usize {
        let mut lines = head.split("\r\n");
        let mut words = lines
            .next()
            .unwrap_or_default()
            .split(' ')
            .map(str::to_owned);
        let (method, target) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen {
            method,
            target,
            headers,
            body: Vec::new(),
            connection,
            first_read,
        });
        seen.len() - 1
    }
}

/// Reads until `mark` is in the buffer; the place after it, or `None` if the other side has left.
async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    first: &mut usize,
    mark: &[u8],
) -> Option<usize> {
    loop {
        if let Some(start) = buffer.windows(mark.len()).position(|window| window == mark) {
            return Some(start + mark.len());
        }
        let mut piece = vec![0; 64 * 1024];
        let read = stream
            .read(&mut piece)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        if buffer.is_empty() {
            *first = read;
        }
        buffer.extend_from_slice(&piece[..read]);
    }
}

async fn read_exactly(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    length: usize,
) -> Option<Vec<u8>> {
    let mut taken: Vec<u8> = buffer.drain(..length.min(buffer.len())).collect();
    let already = taken.len();
    taken.resize(length, 0);
    stream.read_exact(&mut taken[already..]).await.ok()?;
    Some(taken)
}

async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    head: &str,
) -> Option<Vec<u8>> {
    let head = head.to_ascii_lowercase();
    let value = |name: &str| {
        head.split("\r\n")
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    if value("transfer-encoding:").is_none() {
        let length = value("content-length:").map_or(0, |length| length.parse().unwrap());
        return read_exactly(stream, buffer, length).await;
    }
    let mut body = Vec::new();
    loop {
        let end = read_until(stream, buffer, &mut 0, b"\r\n").await?;
        let size = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let chunk = read_exactly(stream, buffer, size + 2).await?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// A certificate authority of a test, its certificate in a file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The PEM file.
    pub(crate) file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            file,
            _directory: directory,
        }
    }

    /// Returns the content of the file, for a policy.
    pub(crate) fn trusted(&self) -> Arc<Authorities> {
        let certificates = vec![CertificateDer::from_pem_file(&self.file).unwrap()];
        Arc::new(Authorities {
            file: self.file.clone(),
            certificates,
        })
    }

    /// A certificate for names (DNS names, addresses), under a common name if there is one; and its key, both in PEM.
    pub(crate) fn pair(&self, names: &[&str], common: Option<&str>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, common);
        }
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    /// The server side of TLS under a certificate for `name` (a DNS name or an address).
    pub(crate) fn server(&self, name: &str) -> Arc<rustls::ServerConfig> {
        self.server_asking(
            &CertificateParams::new(vec![name.to_owned()]).unwrap(),
            None,
        )
    }

    /// The same, under a certificate that is valid between two days.
    pub(crate) fn server_between(
        &self,
        name: &str,
        from: (i32, u8, u8),
        to: (i32, u8, u8),
    ) -> Arc<rustls::ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        self.server_asking(&params, None)
    }

    /// The same, for clients that show a certificate of this authority.
    pub(crate) fn asking_server(&self, name: &str) -> Arc<rustls::ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&self.file).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        self.server_asking(&params, Some(verifier))
    }

    fn server_asking(
        &self,
        params: &CertificateParams,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}
