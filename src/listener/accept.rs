//! The accept loop: connection caps, the PROXY protocol, TLS, the deadline of a head, and pingora.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::listener::Listener as L4Listener;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{ALPN, GetSocketDigest, Stream};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::{Clock, within};
use crate::config::snapshot::TrustedProxies;
use crate::listener::client_address::Peer;
use crate::listener::connection_limits::{
    AcceptFault, ConnectionCaps, ConnectionPermit, Connections, RefusalReason,
};
use crate::listener::connection_state::{ConnectionState, HeadTimeouts};
use crate::listener::framing::Scanner;
use crate::listener::h1_connection::H1Connection;
use crate::listener::h1_parts::H1Parts;
use crate::listener::peer::{self, ConnectionInfo};
use crate::listener::proxy_protocol::{self, Progress};
use crate::listener::scanned_stream::ScannedStream;

/// The pause of the accept loop after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most connections that are accepted after the gateway was told to stop: those that were waiting.
const MAX_LAST_CONNECTIONS: usize = 1024;
/// The most errors in a row that are waited out after the gateway was told to stop.
const MAX_LAST_ERRORS: usize = 8;

/// The bounds of a listener, changed by a reload.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// The time for a head, and for the pause between two requests. The first head includes the PROXY header and the TLS handshake.
    pub(crate) timeouts: HeadTimeouts,
    /// The most bytes of a head.
    pub(crate) header_bytes: usize,
    /// The most open connections.
    pub(crate) caps: ConnectionCaps,
    /// The proxies in front of the gateway.
    pub(crate) trusted: Arc<TrustedProxies>,
}

/// A server of connections.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Serves an HTTP/1 connection to its end. It waits for no further head once `close` is true.
    fn serve_h1(
        &self,
        connection: Box<H1Connection>,
        close: &watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send;

    /// Serves an HTTP/2 connection to its end.
    fn serve_h2(
        &self,
        stream: ScannedStream,
        close: &watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send;
}

/// The surroundings of a listener, besides its socket.
pub(crate) struct Listening<A> {
    /// The server of its connections.
    pub(crate) app: Arc<A>,
    /// The monotonic clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The open connections of all listeners.
    pub(crate) connections: Arc<Connections>,
    /// The bounds, swapped by a reload.
    pub(crate) bounds: Arc<ArcSwap<Bounds>>,
    /// Whether the listener is a unix socket.
    pub(crate) unix: bool,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The TLS settings, swapped by a reload; `None` for cleartext.
    pub(crate) tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// A signal that becomes true when accepting ends.
    pub(crate) stop: watch::Receiver<bool>,
    /// A signal that becomes true when connections that wait for a head are closed.
    pub(crate) close: watch::Receiver<bool>,
}

impl<A> Clone for Listening<A> {
    fn clone(&self) -> Self {
        Self {
            app: Arc::clone(&self.app),
            clock: Arc::clone(&self.clock),
            connections: Arc::clone(&self.connections),
            bounds: Arc::clone(&self.bounds),
            unix: self.unix,
            proxy_protocol: self.proxy_protocol,
            tls: self.tls.clone(),
            stop: self.stop.clone(),
            close: self.close.clone(),
        }
    }
}

/// Accepts connections until it is told to stop, then waits until those that it accepted have ended.
pub(crate) async fn accept_loop<A: Serve>(socket: L4Listener, listening: Listening<A>) {
    let mut stop = listening.stop.clone();
    let mut served = JoinSet::new();
    let mut last_connections = MAX_LAST_CONNECTIONS;
    let mut outage = AcceptOutage::default();
    loop {
        let accepted = tokio::select! {
            // a connection that the system has accepted is served before the end, since closing the socket would reset it
            biased;
            accepted = socket.accept(), if last_connections > 0 => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = served.join_next() => continue,
        };
        if *stop.borrow() {
            last_connections -= 1;
        }
        // during a flood of connections the branch above gets no turn
        while served.try_join_next().is_some() {}
        let io = match accepted {
            Ok(io) => io,
            Err(error) => {
                outage.begin(&error, &listening.connections);
                // an error that stays must not delay the exit
                if *stop.borrow() {
                    last_connections = last_connections.min(MAX_LAST_ERRORS);
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        outage.end();
        let accepted = listening.clock.mono();
        let peer = if listening.unix {
            Peer::Unix
        } else {
            peer_of(&io)
        };
        match admit(peer, &listening) {
            Ok(permit) => {
                let listening = listening.clone();
                // boxed, since each function that it passes through would keep room for it
                let io = Box::new(io);
                served.spawn(async move { begin(io, accepted, peer, permit, &listening).await });
            }
            Err(reason) => refuse(reason, peer, &listening),
        }
    }
    drop(socket);
    while served.join_next().await.is_some() {}
}

/// A period in which connections cannot be accepted. Only its begin and its end are logged, since each error would fill the log.
#[derive(Default)]
struct AcceptOutage(Option<AcceptFault>);

impl AcceptOutage {
    fn begin(&mut self, error: &std::io::Error, connections: &Connections) {
        let fault = AcceptFault::of(error.raw_os_error());
        connections.count_accept_error(fault);
        if fault != AcceptFault::Aborted && self.0 != Some(fault) {
            self.0 = Some(fault);
            tracing::error!(cause = fault.label(), "connections cannot be accepted");
        }
    }

    fn end(&mut self) {
        if let Some(fault) = self.0.take() {
            tracing::info!(cause = fault.label(), "connections are accepted again");
        }
    }
}

fn peer_of(io: &impl GetSocketDigest) -> Peer {
    let address = io
        .get_socket_digest()
        .and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip().to_canonical()));
    address.map_or(Peer::UNKNOWN, Peer::Direct)
}

/// Takes a permit for a new connection. With the PROXY protocol, its client is counted once the header has arrived.
fn admit<A>(peer: Peer, listening: &Listening<A>) -> Result<ConnectionPermit, RefusalReason> {
    let bounds = listening.bounds.load();
    if listening.proxy_protocol && !peer.is_trusted(&bounds.trusted) {
        return Err(RefusalReason::Untrusted);
    }
    let mut permit = listening.connections.take(bounds.caps)?;
    if !listening.proxy_protocol {
        count_client(&mut permit, peer, &bounds)?;
    }
    Ok(permit)
}

fn count_client(
    permit: &mut ConnectionPermit,
    peer: Peer,
    bounds: &Bounds,
) -> Result<(), RefusalReason> {
    peer.counted_as(&bounds.trusted)
        .map_or(Ok(()), |client| permit.count_client(client, bounds.caps))
}

/// Counts a connection that is closed before its first request. Only the first, second, fourth, eighth… of a reason is logged.
fn refuse<A>(reason: RefusalReason, peer: Peer, listening: &Listening<A>) {
    let so_far = listening.connections.count_refused(reason);
    if so_far.is_power_of_two() && reason != RefusalReason::Tls {
        tracing::warn!(why = reason.label(), %peer, so_far, "connection closed before its first request");
    }
}

/// Serves one connection, and counts it if it is refused before its first request.
async fn begin<A: Serve>(
    mut io: Box<L4Stream>,
    accepted: Instant,
    peer: Peer,
    permit: ConnectionPermit,
    listening: &Listening<A>,
) {
    if io.set_nodelay().is_ok()
        && let Err(reason) = serve(io, accepted, peer, permit, listening).await
    {
        refuse(reason, peer, listening);
    }
}

/// Serves one connection until it closes, or waits too long for a head.
async fn serve<A: Serve>(
    mut io: Box<L4Stream>,
    accepted: Instant,
    mut peer: Peer,
    mut permit: ConnectionPermit,
    listening: &Listening<A>,
) -> Result<(), RefusalReason> {
    let bounds = Arc::clone(&listening.bounds.load());
    let deadline = accepted + bounds.timeouts.head;
    if listening.proxy_protocol {
        if let Some(client) = read_proxy_header(&mut io, deadline).await? {
            peer = Peer::Proxied(client.to_canonical());
        }
        count_client(&mut permit, peer, &bounds)?;
    }
    let io: Stream = match &listening.tls {
        None => io,
        Some(tls) => {
            let acceptor = Acceptor::from_server_config(tls.load_full());
            // boxed, and its result too, since they are large and soon over
            let handshake = Box::pin(async move {
                let io: Stream = Box::new(acceptor.tls_handshake(*io).await.ok()?);
                Some(io)
            });
            let Ok(Some(io)) = within(deadline, handshake).await else {
                return Err(RefusalReason::Tls);
            };
            io
        }
    };
    let state = Arc::new(ConnectionState::new(accepted));
    let is_h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
    let info = ConnectionInfo {
        peer,
        certificate: io
            .get_ssl()
            .and_then(|tls| tls.peer_certificate_der().map(peer::certificate)),
        state: (!is_h2).then(|| Arc::clone(&state)),
        streams: is_h2.then(|| Arc::clone(&state)),
        judged: None,
    };
    let clock = Arc::clone(&listening.clock);
    let overdue = async {
        while let Some(pause) = state.next_check(bounds.timeouts, listening.clock.mono()) {
            sleep(pause).await;
        }
    };
    let served = async {
        let (state, app) = (Arc::clone(&state), &listening.app);
        if is_h2 {
            let stream = ScannedStream::new(io, info, state, bounds.header_bytes, clock);
            // boxed, since most connections are not HTTP/2
            Box::pin(app.serve_h2(stream, &listening.close)).await;
        } else {
            let connection = Box::new(H1Connection::new(H1Parts {
                io,
                info,
                state,
                scanner: Scanner::new(bounds.header_bytes),
                clock,
            }));
            app.serve_h1(connection, &listening.close).await;
        }
    };
    tokio::select! {
        () = served => {}
        () = overdue => {}
    }
    Ok(())
}

/// Reads the header that a balancer sends, and not a byte more. Returns `None` if the address of the connection itself counts.
async fn read_proxy_header(
    io: &mut L4Stream,
    deadline: Instant,
) -> Result<Option<IpAddr>, RefusalReason> {
    let reading = async {
        let mut header = Vec::new();
        loop {
            match proxy_protocol::read(&header).map_err(|_| RefusalReason::NoProxyHeader)? {
                Progress::Done(client) => return Ok(client.map(|client| client.ip())),
                Progress::More(more) => {
                    let begin = header.len();
                    header.resize(begin + more, 0);
                    let rest = header.get_mut(begin..).unwrap_or_default();
                    // each byte is checked when it arrives, so that bytes that are no header end the connection at once
                    let read = io
                        .read(rest)
                        .await
                        .map_err(|_| RefusalReason::NoProxyHeader)?;
                    if read == 0 {
                        return Err(RefusalReason::NoProxyHeader);
                    }
                    header.truncate(begin + read);
                }
            }
        }
    };
    within(deadline, reading)
        .await
        .unwrap_or(Err(RefusalReason::NoProxyHeader))
}
