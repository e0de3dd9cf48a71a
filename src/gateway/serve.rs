//! The server: binds the listeners of the config, serves them, and shuts down without losing a request.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::protocols::l4::listener::Listener as L4Listener;
use pingora::time::fast_timeout::set_fast_timeout_to_tokio_threshold;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::snapshot::{self, ListenAddress, Listener, Snapshot};
use crate::gateway::Gate;
use crate::gateway::http_server::HttpServer;
use crate::listener::accept::{Bounds, Listening, accept_loop};
use crate::listener::connection_limits::ConnectionCaps;
use crate::listener::connection_state::HeadTimeouts;
use crate::listener::unix::{self, SocketFile};

/// The most connections that wait to be accepted. The system's own bound (`somaxconn`) is lower.
const BACKLOG: u32 = 65_535;
/// The pause between two checks whether all requests have ended, during the shutdown.
const SHUTDOWN_POLL: Duration = Duration::from_millis(5);
/// The time between the last accept and the closing of connections that wait for a head, so that a request on its way is still served.
const LAST_HEADS: Duration = Duration::from_millis(50);

/// The reason why the gateway cannot listen on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct CannotListen {
    /// The address.
    pub address: ListenAddress,
    /// The error of the system.
    pub cause: std::io::Error,
}

/// A gate that serves its listeners.
pub struct Server {
    gate: Arc<Gate>,
    http: Arc<HttpServer>,
    shared: Shared,
    loops: JoinSet<()>,
    stop: watch::Sender<bool>,
    close: watch::Sender<bool>,
    addresses: Vec<ListenAddress>,
    /// The files of unix sockets, removed at the end.
    _files: Vec<SocketFile>,
}

/// The settings of listeners that a reload can change.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    bounds: Arc<ArcSwap<Bounds>>,
    tls: Arc<HashMap<ListenerKey, Arc<ArcSwap<rustls::ServerConfig>>>>,
    /// The settings that were bound at the start.
    bound: Arc<Bound>,
    /// The TLS settings of the listener of the app, if it has TLS.
    outbound_tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
}

/// A listener's address in the config, and the number of listeners before it with the same: port 0 is another free port each time.
type ListenerKey = (ListenAddress, usize);

/// The settings that only a restart changes.
#[derive(Clone, Debug, PartialEq)]
struct Bound {
    listen: Vec<(ListenAddress, bool, bool)>,
    health: Option<SocketAddr>,
    admin: Option<snapshot::AdminAddress>,
    store: snapshot::Store,
    outbound: Option<(ListenAddress, bool)>,
    /// HTTP/1 follows this at once; HTTP/2 only after a restart.
    header_bytes: usize,
}

impl Bound {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            listen: snapshot
                .listeners
                .iter()
                .map(|l| (l.address.clone(), l.tls.is_some(), l.proxy_protocol))
                .collect(),
            health: snapshot.health,
            admin: snapshot.admin.as_ref().map(|admin| admin.address.clone()),
            store: snapshot.store.clone(),
            outbound: snapshot.outbound.as_ref().map(|outbound| {
                let listener = &outbound.listener;
                (listener.address.clone(), listener.tls.is_some())
            }),
            header_bytes: snapshot.limits.header_bytes,
        }
    }
}

impl Shared {
    fn new(snapshot: &Snapshot) -> Self {
        let tls = keyed(snapshot).filter_map(|(key, listener)| {
            Some((
                key,
                Arc::new(ArcSwap::new(Arc::clone(listener.tls.as_ref()?))),
            ))
        });
        Self {
            bounds: Arc::new(ArcSwap::from_pointee(bounds(snapshot))),
            tls: Arc::new(tls.collect()),
            bound: Arc::new(Bound::of(snapshot)),
            outbound_tls: outbound_tls(snapshot).map(|tls| Arc::new(ArcSwap::new(tls))),
        }
    }

    /// Lets listeners follow a new snapshot, and says which keys need a restart.
    pub(super) fn follow(&self, snapshot: &Snapshot) -> Vec<String> {
        self.bounds.store(Arc::new(bounds(snapshot)));
        for (key, listener) in keyed(snapshot) {
            if let (Some(current), Some(tls)) = (self.tls.get(&key), &listener.tls) {
                current.store(Arc::clone(tls));
            }
        }
        if let (Some(current), Some(tls)) = (&self.outbound_tls, outbound_tls(snapshot)) {
            current.store(tls);
        }
        let (was, is) = (&*self.bound, Bound::of(snapshot));
        let differs = [
            ("listen", was.listen != is.listen),
            ("health.address", was.health != is.health),
            ("admin.address", was.admin != is.admin),
            ("store", was.store != is.store),
            ("outbound.listen", was.outbound != is.outbound),
            (
                "limits.header_bytes for HTTP/2",
                was.header_bytes != is.header_bytes,
            ),
        ];
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(key, _)| key.to_owned())
            .collect()
    }
}

/// Returns the TLS settings of the listener of the app, if it has TLS.
fn outbound_tls(snapshot: &Snapshot) -> Option<Arc<rustls::ServerConfig>> {
    snapshot.outbound.as_ref()?.listener.tls.clone()
}

/// Returns the listeners, each with its key.
fn keyed(snapshot: &Snapshot) -> impl Iterator<Item = (ListenerKey, &Listener)> {
    let listeners = &snapshot.listeners;
    listeners.iter().enumerate().map(|(index, listener)| {
        let before = listeners
            .iter()
            .take(index)
            .filter(|other| other.address == listener.address)
            .count();
        ((listener.address.clone(), before), listener)
    })
}

fn bounds(snapshot: &Snapshot) -> Bounds {
    let limits = &snapshot.limits;
    Bounds {
        timeouts: HeadTimeouts {
            head: limits.header_timeout,
            idle: limits.idle_timeout,
        },
        header_bytes: limits.header_bytes,
        caps: ConnectionCaps {
            total: limits.connections,
            per_client: limits.connections_per_client,
        },
        trusted: Arc::clone(&snapshot.trusted_proxies),
    }
}

impl Server {
    /// Binds all listeners of the gate's snapshot and serves them. The gate is not ready yet.
    ///
    /// # Errors
    /// The first address that cannot be bound; then none is.
    pub async fn start(gate: Arc<Gate>) -> Result<Self, CannotListen> {
        let snapshot = gate.snapshot();
        let shared = Shared::new(&snapshot);
        let mut sockets = Vec::new();
        let mut files = Vec::new();
        for (key, listener) in keyed(&snapshot) {
            let cannot = |cause| CannotListen {
                address: listener.address.clone(),
                cause,
            };
            let (address, socket, file) = bind(&listener.address).map_err(cannot)?;
            files.extend(file);
            sockets.push((
                address,
                socket,
                listener.proxy_protocol,
                shared.tls.get(&key).cloned(),
            ));
        }
        // pingora's own timers start a thread that wakes a hundred times a second until the process ends. With this, timeouts of a second or
        // more are the runtime's
        set_fast_timeout_to_tokio_threshold(Some(Duration::ZERO));
        let http = Arc::new(HttpServer::new(Arc::clone(&gate)));
        let (stop, stopped) = watch::channel(false);
        let (close, closing) = watch::channel(false);
        let mut loops = JoinSet::new();
        let mut addresses = Vec::new();
        for (address, socket, proxy_protocol, tls) in sockets {
            let unix = matches!(address, ListenAddress::Unix(_));
            addresses.push(address);
            let listening = Listening {
                app: Arc::clone(&http),
                clock: Arc::clone(&gate.clock),
                connections: Arc::clone(&gate.lifecycle.connections),
                bounds: Arc::clone(&shared.bounds),
                unix,
                proxy_protocol,
                tls,
                stop: stopped.clone(),
                close: closing.clone(),
            };
            loops.spawn(accept_loop(socket, listening));
        }
        Ok(Self {
            gate,
            http,
            shared,
            loops,
            stop,
            close,
            addresses,
            _files: files,
        })
    }

    /// Returns the addresses of the listeners in the order of the config, with the port that the system chose for port 0.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Returns the TLS settings of the listener of the app, if it has TLS. They follow reloads.
    pub fn outbound_tls(&self) -> Option<Arc<ArcSwap<rustls::ServerConfig>>> {
        self.shared.outbound_tls.clone()
    }

    /// Returns the settings of listeners that a reload can change.
    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Reports the gate as ready from now on.
    pub fn ready(&self) {
        self.gate.lifecycle.ready.store(true, Ordering::Relaxed);
    }

    /// Shuts down: is not ready and still accepts for `delay`; then accepts no more, and ends as soon as nothing is in flight, at the latest after
    /// `grace`. Returns how many requests were cut off.
    pub async fn shut_down(mut self, timing: snapshot::Shutdown) -> usize {
        self.gate.lifecycle.ready.store(false, Ordering::Relaxed);
        self.gate.lifecycle.draining.store(true, Ordering::Relaxed);
        sleep(timing.delay).await;
        self.stop.send_replace(true);
        self.gate.lifecycle.activity.leave();
        sleep(LAST_HEADS).await;
        self.close.send_replace(true);
        self.http.close_idle().await;
        let gate = Arc::clone(&self.gate);
        let served = async {
            // HTTP/2 streams run in tasks of their own, so requests are counted as well as connections
            while gate.lifecycle.activity.in_flight() > 0 || gate.lifecycle.connections.open() > 0 {
                sleep(SHUTDOWN_POLL).await;
                if gate.lifecycle.activity.in_flight() == 0 {
                    self.http.close_idle().await;
                }
            }
            while self.loops.join_next().await.is_some() {}
        };
        if timeout(timing.grace, served).await.is_ok() {
            0
        } else {
            self.gate.lifecycle.activity.in_flight()
        }
    }
}

/// Listens on an address of the config. Returns that address, with the port that the system chose for port 0.
fn bind(
    address: &ListenAddress,
) -> std::io::Result<(ListenAddress, L4Listener, Option<SocketFile>)> {
    match address {
        ListenAddress::Tcp(address) => {
            let socket = listen(*address)?;
            Ok((
                ListenAddress::Tcp(socket.local_addr()?),
                L4Listener::from(socket),
                None,
            ))
        }
        ListenAddress::Unix(path) => {
            let (socket, file) = unix::listen(path)?;
            Ok((address.clone(), L4Listener::from(socket), Some(file)))
        }
    }
}

/// Binds `address` with the longest backlog that the system allows: of a thousand connections at once, those beyond it would hang.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
