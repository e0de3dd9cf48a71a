//! The accept loop: connection caps, who is at the other end, TLS, the time a head may take, and the hand-over to pingora.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pingora::apps::ServerApp;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::listener::Listener as L4Listener;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, Ssl as _, Stream};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::{Clock, within};
use crate::config::snapshot::TrustedProxies;
use crate::listener::client_address::Peer;
use crate::listener::connection_limits::{AcceptFault, Away, Connections, Most, Slot};
use crate::listener::connection_state::{Conn, Patience};
use crate::listener::framing::Violation;
use crate::listener::peer::{self, Other};
use crate::listener::proxy_protocol::{self, Progress};
use crate::listener::scanned_stream::Guarded;

pub(crate) use crate::listener::client_address::network_of;

tokio::task_local! {
    /// The connection whose task runs. HTTP/1 filters run in it; HTTP/2 streams have tasks of their own and find none.
    pub(crate) static CONN: Arc<Conn>;
}

/// What stood in the wrong place in the request of HTTP/1 that is served.
pub(crate) fn violation() -> Option<Violation> {
    CONN.try_with(|conn| conn.violation()).ok().flatten()
}

/// How long the accept loop rests after an error such as "too many open files".
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Connections accepted after the gate was told to stop, at most: those that waited for it.
const LAST_ONES: usize = 1024;
/// Errors in a row that are waited out on the way to the end.
const LAST_ERRORS: usize = 8;

/// Bounds of a listener, changed by a reload.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// For heads, the first with the PROXY header and TLS before it, and between two requests.
    pub(crate) patience: Patience,
    /// Bytes of a head.
    pub(crate) header_bytes: usize,
    /// Open connections.
    pub(crate) most: Most,
    /// The proxies in front of the gate.
    pub(crate) trusted: Arc<TrustedProxies>,
}

/// What a listener needs beside its socket.
pub(crate) struct Listening<A> {
    /// pingora's HTTP proxy.
    pub(crate) app: Arc<A>,
    /// Reads the monotonic clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Counts connections over all listeners.
    pub(crate) connections: Arc<Connections>,
    /// Swapped by a reload.
    pub(crate) bounds: Arc<ArcSwap<Bounds>>,
    /// Whether it is a unix socket.
    pub(crate) unix: bool,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The TLS side, swapped by a reload; `None`: cleartext.
    pub(crate) tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// Becomes true when accepting ends.
    pub(crate) stop: watch::Receiver<bool>,
    /// Becomes true when connections that await a head are closed.
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

/// Accepts until told to stop, then waits for the connections it accepted.
pub(crate) async fn accept_loop<A: ServerApp + Send + Sync + 'static>(
    socket: L4Listener,
    listening: Listening<A>,
) {
    let mut stop = listening.stop.clone();
    let mut served = JoinSet::new();
    let mut last_ones = LAST_ONES;
    let mut failing = Failing::default();
    loop {
        let accepted = tokio::select! {
            // what the system has accepted is served before the end: closing the socket would reset it
            biased;
            accepted = socket.accept(), if last_ones > 0 => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = served.join_next() => continue,
        };
        if *stop.borrow() {
            last_ones -= 1;
        }
        // a flood of connections leaves the branch above no turn
        while served.try_join_next().is_some() {}
        let mut io = match accepted {
            Ok(io) => io,
            Err(error) => {
                failing.begins(&error, &listening.connections);
                // on the way out an error that stays must not hold up the end
                last_ones = if *stop.borrow() {
                    last_ones.min(LAST_ERRORS)
                } else {
                    last_ones
                };
                sleep(ACCEPT_REST).await;
                continue;
            }
        };
        failing.ends();
        let accepted = listening.clock.mono();
        let peer = if listening.unix {
            Peer::Unix
        } else {
            peer_of(&io)
        };
        let slot = match admit(peer, &listening) {
            Ok(slot) => slot,
            Err(why) => {
                turn_away(why, peer, &listening);
                continue;
            }
        };
        let listening = listening.clone();
        served.spawn(async move {
            if io.set_nodelay().is_ok()
                && let Err(why) = serve(io, accepted, peer, slot, &listening).await
            {
                turn_away(why, peer, &listening);
            }
        });
    }
    drop(socket);
    while served.join_next().await.is_some() {}
}

/// Whether accepting fails now. Logged when it begins and when it ends: a warning each time would fill the log just then.
#[derive(Default)]
struct Failing(Option<AcceptFault>);

impl Failing {
    fn begins(&mut self, error: &std::io::Error, connections: &Connections) {
        let fault = AcceptFault::of(error.raw_os_error());
        connections.accept_failed(fault);
        if fault != AcceptFault::Aborted && self.0 != Some(fault) {
            self.0 = Some(fault);
            tracing::error!(cause = fault.label(), "connections cannot be accepted");
        }
    }

    fn ends(&mut self) {
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

/// A place for a new connection. Whose it is comes out later where the PROXY protocol tells it.
fn admit<A>(peer: Peer, listening: &Listening<A>) -> Result<Slot, Away> {
    let bounds = listening.bounds.load();
    if listening.proxy_protocol && !peer.is_trusted(&bounds.trusted) {
        return Err(Away::Untrusted);
    }
    let mut slot = listening.connections.take(bounds.most)?;
    if !listening.proxy_protocol {
        count(&mut slot, peer, &bounds)?;
    }
    Ok(slot)
}

fn count(slot: &mut Slot, peer: Peer, bounds: &Bounds) -> Result<(), Away> {
    peer.counted_as(&bounds.trusted)
        .map_or(Ok(()), |client| slot.belongs_to(client, bounds.most))
}

/// Counts a connection that is closed unserved. The log has ever fewer of them: the first, the second, the fourth, the eighth…
fn turn_away<A>(why: Away, peer: Peer, listening: &Listening<A>) {
    let so_far = listening.connections.turn_away(why);
    if so_far.is_power_of_two() && why != Away::Tls {
        tracing::warn!(why = why.label(), %peer, so_far, "connection closed before its first request");
    }
}

/// Serves one connection until it closes, or waits too long for a head.
async fn serve<A: ServerApp + Send + Sync + 'static>(
    mut io: L4Stream,
    accepted: Instant,
    mut peer: Peer,
    mut slot: Slot,
    listening: &Listening<A>,
) -> Result<(), Away> {
    let bounds = Arc::clone(&listening.bounds.load());
    let until = accepted + bounds.patience.head;
    if listening.proxy_protocol {
        if let Some(told) = read_proxy_header(&mut io, until).await? {
            peer = Peer::Told(told.to_canonical());
        }
        count(&mut slot, peer, &bounds)?;
    }
    let mut other = Other {
        peer,
        certificate: None,
    };
    let io: Stream = match &listening.tls {
        None => Box::new(io),
        Some(tls) => {
            let acceptor = Acceptor::from_server_config(tls.load_full());
            let Ok(Ok(io)) = within(until, acceptor.tls_handshake(io)).await else {
                return Err(Away::Tls);
            };
            other.certificate = io
                .get_ssl()
                .and_then(|tls| tls.peer_certificate_der().map(peer::certificate));
            Box::new(io)
        }
    };
    let conn = Arc::new(Conn::new(accepted));
    let io = Box::new(Guarded::new(
        io,
        other,
        Arc::clone(&conn),
        bounds.header_bytes,
        Arc::clone(&listening.clock),
    ));
    let overdue = async {
        while let Some(pause) = conn.look_again(bounds.patience, listening.clock.mono()) {
            sleep(pause).await;
        }
    };
    tokio::select! {
        _ = CONN.scope(Arc::clone(&conn), listening.app.process_new(io, &listening.close)) => {}
        () = overdue => {}
    }
    Ok(())
}

/// Reads the header that a balancer sends, and not a byte more. `None`: the address of the connection counts.
async fn read_proxy_header(io: &mut L4Stream, until: Instant) -> Result<Option<IpAddr>, Away> {
    let reading = async {
        let mut header = Vec::new();
        loop {
            match proxy_protocol::read(&header).map_err(|_| Away::NoProxyHeader)? {
                Progress::Done(told) => return Ok(told.map(|told| told.ip())),
                Progress::More(more) => {
                    let begin = header.len();
                    header.resize(begin + more, 0);
                    let rest = header.get_mut(begin..).unwrap_or_default();
                    // each byte is judged when it comes: what is no header is not waited for
                    let read = io.read(rest).await.map_err(|_| Away::NoProxyHeader)?;
                    if read == 0 {
                        return Err(Away::NoProxyHeader);
                    }
                    header.truncate(begin + read);
                }
            }
        }
    };
    within(until, reading)
        .await
        .unwrap_or(Err(Away::NoProxyHeader))
}
