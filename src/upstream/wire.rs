//! One exchange over one connection: pingora connects and reads, the request is written here, so that its head and a small body
//! leave in one piece.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::tls::CaType;
use pingora::tls::{RootCertStore, load_ca_file_into_store, load_platform_certs_incl_env_into_store};
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora::{ErrorType, RetryType};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Outgoing;
use super::client::Made;
use super::pool::Pool;
use super::resolve::{Addresses, Resolver};
use super::switch;
use crate::clock::{Clock, within};
use crate::config::snapshot::{Authorities, Identity, UpstreamAddress, UpstreamTls};
use crate::delivery::{Answer, AnswerBody, Fault, Pending};
use crate::gateway::headers;

/// A body up to this size is copied behind the head: that costs less than a second system call.
const GATHER: usize = 16 * 1024;
/// A list of no certificates, for upstreams without TLS: pingora would read the system's.
const NO_CERTIFICATES: &str = "/dev/null";

/// Counts wires.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Why an upstream's connections can't be made at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its CA file.
    #[error("the CA file {} cannot be used: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificates of the system.
    #[error("the system's certificates cannot be used: {why}")]
    SystemCertificates {
        /// What is wrong with them.
        why: String,
    },
    /// The path of its socket.
    #[error("{} cannot be the path of a socket", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
    },
}

/// The connections to one other side.
pub(super) struct Wire {
    transport: TransportConnector,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
    /// `None`: the peers are in `peers` for good.
    resolver: Option<Arc<Resolver>>,
    tls: bool,
    host: String,
    /// Shown to the other side when it asks for a certificate.
    identity: Option<Arc<CertKey>>,
    /// What pingora's own connector, which is everybody's, is told to trust for this one.
    authorities: Option<Arc<CaType>>,
    /// No other wire of this process has it.
    id: u64,
    peers: ArcSwapOption<Peers>,
}

struct Peers {
    addresses: Addresses,
    peers: Vec<Arc<HttpPeer>>,
    /// The one that took the last connection.
    preferred: AtomicUsize,
}

/// How an exchange failed.
pub(super) enum Failure {
    /// Nothing was sent.
    Unreached(Fault),
    /// A connection from the pool turned out dead before a byte of the answer.
    Stale,
    /// It was sent, wholly or in part.
    Ambiguous(Fault),
}

/// What bounds an exchange.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connect: Duration,
    pub(super) deadline: Instant,
    pub(super) idle: Duration,
}

impl Wire {
    pub(super) fn new(address: &UpstreamAddress, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        match address {
            UpstreamAddress::Tcp { host, port, tls } => {
                let resolver = Resolver::new(host, *port, Arc::clone(&clock));
                Self::over(host, tls.as_ref(), Some(resolver), None, clock)
            }
            UpstreamAddress::Unix(path) => {
                let unusable = || Unusable::Socket { path: path.clone() };
                let peer = path.to_str().and_then(|path| HttpPeer::new_uds(path, false, String::new()).ok()).ok_or_else(unusable)?;
                let peers = Peers { addresses: Arc::new([]), peers: vec![Arc::new(peer)], preferred: AtomicUsize::new(0) };
                Self::over("", None, None, Some(peers), clock)
            }
        }
    }

    /// To these addresses and no others, by the name of `host`: nothing is looked up.
    pub(super) fn pinned(addresses: Addresses, host: &str, tls: Option<&UpstreamTls>, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        let peers = addresses.iter().map(|address| Arc::new(HttpPeer::new(*address, tls.is_some(), host.to_owned()))).collect();
        Self::over(host, tls, None, Some(Peers { addresses, peers, preferred: AtomicUsize::new(0) }), clock)
    }

    fn over(
        host: &str,
        tls: Option<&UpstreamTls>,
        resolver: Option<Arc<Resolver>>,
        peers: Option<Peers>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        let trusted = check_trust(tls)?;
        let pool = Pool::new(Arc::clone(&clock));
        let transport = TransportConnector::new(Some(ConnectorOptions { ca_file: trusted, ..ConnectorOptions::new(1) }));
        let identity = tls.and_then(|tls| tls.identity.as_deref()).map(certificate_and_key);
        let authorities = tls.and_then(|tls| tls.ca.as_deref()).map(authorities);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let peers = ArcSwapOption::from_pointee(peers);
        Ok(Self { transport, pool, clock, resolver, tls: tls.is_some(), host: host.to_owned(), identity, authorities, id, peers })
    }

    async fn peers(&self) -> Result<Arc<Peers>, Fault> {
        let cached = self.peers.load_full();
        let Some(resolver) = &self.resolver else { return cached.ok_or(Fault::Connect) };
        let addresses = resolver.addresses().await.map_err(|_| Fault::Resolve)?;
        if let Some(cached) = cached.filter(|cached| Arc::ptr_eq(&cached.addresses, &addresses)) {
            return Ok(cached);
        }
        let peer = |address: &SocketAddr| {
            let mut peer = HttpPeer::new(*address, self.tls, self.host.clone());
            peer.client_cert_key.clone_from(&self.identity);
            Arc::new(peer)
        };
        let peers = Arc::new(Peers { peers: addresses.iter().map(peer).collect(), addresses, preferred: AtomicUsize::new(0) });
        self.peers.store(Some(Arc::clone(&peers)));
        Ok(peers)
    }

    /// The peers that pingora's own connector may connect to for a stream, the one that took the last connection of ours first. Their
    /// connections are kept apart from those of any other wire.
    pub(super) async fn peers_for_streams(&self) -> Result<Vec<HttpPeer>, Fault> {
        let peers = self.peers().await?;
        let first = peers.preferred.load(Ordering::Relaxed);
        let (before, after) = peers.peers.split_at_checked(first).unwrap_or((&[], &peers.peers));
        let own = |peer: &Arc<HttpPeer>| {
            let mut peer = HttpPeer::clone(peer);
            peer.group_key = self.id;
            peer.options.ca.clone_from(&self.authorities);
            switch::install(&mut peer);
            peer
        };
        Ok(after.iter().chain(before).map(own).collect())
    }

    /// A connection: from the pool unless `fresh`, else a new one to the first address that takes it.
    async fn connect(&self, fresh: bool, bounds: Bounds) -> Result<(Stream, bool, Arc<HttpPeer>), Fault> {
        let until = bounds.deadline.min(self.clock.mono() + bounds.connect);
        let peers = within(until, self.peers()).await.unwrap_or(Err(Fault::Resolve))?;
        if !fresh && let Some((stream, peer)) = self.pool.take(&peers.peers) {
            return Ok((stream, true, peer));
        }
        // boxed: it is rare, and would make every exchange some 10 KB larger
        let (stream, peer) = Box::pin(self.connect_anew(&peers, until)).await?;
        Ok((stream, false, peer))
    }

    /// A new connection to the first of `peers` that takes it.
    async fn connect_anew(&self, peers: &Peers, until: Instant) -> Result<(Stream, Arc<HttpPeer>), Fault> {
        let mut fault = Fault::Connect;
        let first = peers.preferred.load(Ordering::Relaxed);
        let (before, after) = peers.peers.split_at_checked(first).unwrap_or((&[], &peers.peers));
        for (tried, peer) in after.iter().chain(before).enumerate() {
            let others = u32::try_from(peers.peers.len() - tried).unwrap_or(u32::MAX);
            let share = until.saturating_duration_since(self.clock.mono()) / others.max(1);
            match timeout(share, self.transport.new_stream(&**peer)).await {
                Ok(Ok(stream)) => {
                    if tried > 0 {
                        peers.preferred.store((first + tried) % peers.peers.len(), Ordering::Relaxed);
                    }
                    return Ok((stream, Arc::clone(peer)));
                }
                Ok(Err(error)) if error.etype != ErrorType::ConnectTimedout => fault = Fault::Connect,
                _ => fault = Fault::ConnectTimeout,
            }
        }
        Err(fault)
    }

    /// Sends the request once and reads the head of the final answer.
    pub(super) async fn exchange(&self, outgoing: &Outgoing, fresh: bool, bounds: Bounds, made: &mut Made) -> Result<Answer, Failure> {
        if !outgoing.target.starts_with(b"/") || outgoing.target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(Failure::Unreached(Fault::Malformed));
        }
        let began = self.clock.mono();
        let (mut stream, reused, peer) = self.connect(fresh, bounds).await.map_err(Failure::Unreached)?;
        let connected = self.clock.mono();
        made.connect = (!reused).then(|| connected.saturating_duration_since(began));
        made.peer = peer._address.as_inet().copied();
        let sent = within(bounds.deadline, write(&mut stream, outgoing)).await;
        let mut session = HttpSession::new(stream);
        // An app that has seen enough answers and closes while we still send: what it said counts. Past the deadline one look is enough.
        let status = match within(bounds.deadline, final_status(&mut session)).await {
            Ok(Ok(status)) => status,
            Ok(Err(Early::Dead)) if reused => return Err(Failure::Stale),
            Ok(Err(Early::Dead)) => return Err(Failure::Ambiguous(Fault::Reset)),
            Ok(Err(Early::Fault(fault))) => return Err(Failure::Ambiguous(fault)),
            Err(_) => return Err(Failure::Ambiguous(Fault::Timeout)),
        };
        made.first_byte = Some(self.clock.mono().saturating_duration_since(connected));
        let bodiless = outgoing.method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let headers = session.resp_header().map(|head| headers::answer(&head.headers, !bodiless)).unwrap_or_default();
        let whole = matches!(sent, Ok(Ok(()))) && outgoing.method != Method::HEAD;
        let mut body =
            Rest { open: Some(Open { session, peer, pool: Arc::clone(&self.pool), idle: bounds.idle, whole }), deadline: bounds.deadline };
        if outgoing.method == Method::HEAD {
            body.open = None;
        } else {
            body.release_if_done().await;
        }
        Ok(Answer { status, headers, body: Box::new(body) })
    }
}

/// Checks what pingora would panic over when it reads it: returns the CA file for it.
fn check_trust(tls: Option<&UpstreamTls>) -> Result<Option<String>, Unusable> {
    let mut store = RootCertStore::empty();
    let Some(tls) = tls else {
        let found = load_ca_file_into_store(NO_CERTIFICATES, &mut store);
        return found.map(|()| Some(NO_CERTIFICATES.to_owned())).map_err(|why| Unusable::SystemCertificates { why: why.to_string() });
    };
    let Some(ca) = &tls.ca else {
        let found = load_platform_certs_incl_env_into_store(&mut store);
        return found.map(|()| None).map_err(|why| Unusable::SystemCertificates { why: why.to_string() });
    };
    let unusable = |why: String| Unusable::Ca { path: ca.file.clone(), why };
    load_ca_file_into_store(&ca.file, &mut store).map_err(|why| unusable(why.to_string()))?;
    if store.is_empty() {
        return Err(unusable("it has no certificate".to_owned()));
    }
    ca.file.to_str().map(|path| Some(path.to_owned())).ok_or_else(|| unusable("its path is not UTF-8".to_owned()))
}

/// Authorities as pingora takes them.
fn authorities(authorities: &Authorities) -> Arc<CaType> {
    // each was read as a certificate by the compiler of the config
    authorities.certificates.iter().map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect()
}

/// An identity as pingora takes it.
pub(crate) fn certificate_and_key(identity: &Identity) -> Arc<CertKey> {
    let chain = identity.chain.iter().map(|certificate| certificate.to_vec()).collect();
    Arc::new(CertKey::new(chain, identity.key.secret_der().to_vec()))
}

/// Writes the request: the head and the beginning of the body in one piece, the rest without a copy.
async fn write(stream: &mut Stream, outgoing: &Outgoing) -> std::io::Result<()> {
    let (small, rest) = outgoing.body.split_at(outgoing.body.len().min(GATHER));
    let lines: usize = outgoing.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut piece = BytesMut::with_capacity(lines + outgoing.target.len() + small.len() + 32);
    for part in [outgoing.method.as_str().as_bytes(), b" ", &outgoing.target, b" HTTP/1.1\r\n"] {
        piece.put_slice(part);
    }
    for (name, value) in &outgoing.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            piece.put_slice(part);
        }
    }
    piece.put_slice(b"\r\n");
    piece.put_slice(small);
    stream.write_all(&piece).await?;
    if !rest.is_empty() {
        stream.write_all(rest).await?;
    }
    stream.flush().await
}

/// Why there is no head of an answer.
enum Early {
    /// The connection was closed or reset before any byte.
    Dead,
    /// Anything else.
    Fault(Fault),
}

/// Reads heads up to the first that is not interim.
async fn final_status(session: &mut HttpSession) -> Result<StatusCode, Early> {
    let mut interim = false;
    loop {
        if let Err(error) = session.read_response().await {
            // pingora tells this from a connection that broke within the head by its words alone.
            let nothing = error.context.as_ref().is_some_and(|context| context.as_str().ends_with("bytes already read: 0"));
            let dead = matches!(error.retry, RetryType::ReusedOnly) && nothing && !interim;
            return Err(if dead { Early::Dead } else { Early::Fault(fault(&error.etype)) });
        }
        match session.get_status() {
            Some(StatusCode::SWITCHING_PROTOCOLS) | None => return Err(Early::Fault(Fault::Malformed)),
            Some(status) if status.is_informational() => interim = true,
            Some(status) if status.as_u16() > 599 => return Err(Early::Fault(Fault::Malformed)),
            Some(status) => return Ok(status),
        }
    }
}

fn fault(error: &ErrorType) -> Fault {
    if matches!(error, ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError) {
        return Fault::Reset;
    }
    if matches!(error, ErrorType::ReadTimedout | ErrorType::WriteTimedout) { Fault::Timeout } else { Fault::Malformed }
}

/// What is still to come of an answer. Its connection goes back to the pool after a complete exchange, and is closed otherwise.
struct Rest {
    open: Option<Open>,
    deadline: Instant,
}

struct Open {
    session: HttpSession,
    peer: Arc<HttpPeer>,
    pool: Arc<Pool>,
    idle: Duration,
    /// Whether all of the request was sent.
    whole: bool,
}

impl Rest {
    async fn release_if_done(&mut self) {
        let Some(mut open) = self.open.take_if(|open| open.session.is_body_done()) else { return };
        open.session.respect_keepalive();
        if !open.whole || !open.session.will_keepalive() {
            return;
        }
        if let Some(stream) = open.session.reuse().await {
            open.pool.put(stream, open.peer, open.idle);
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        while let Some(open) = &mut self.open {
            let read = within(self.deadline, open.session.read_body_bytes()).await;
            match read {
                Ok(Ok(piece)) => {
                    self.release_if_done().await;
                    match piece {
                        Some(piece) if piece.is_empty() => {}
                        Some(piece) => return Ok(Some(piece)),
                        None => self.open = None,
                    }
                }
                Ok(Err(error)) => {
                    self.open = None;
                    return Err(fault(&error.etype));
                }
                Err(_) => {
                    self.open = None;
                    return Err(Fault::Timeout);
                }
            }
        }
        Ok(None)
    }
}

impl AnswerBody for Rest {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        Box::pin(self.piece())
    }

    fn is_over(&self) -> bool {
        self.open.is_none()
    }
}
