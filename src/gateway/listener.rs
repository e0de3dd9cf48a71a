//! The accept loop: connection caps, the time a head may take, TLS, and the hand-over to pingora.
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::ServerApp;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::listener::Listener as L4Listener;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, Stream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::gateway::guarded::{Conn, Guarded, Patience};

tokio::task_local! {
    /// The connection whose task runs. HTTP/1 filters run in it; HTTP/2 streams have tasks of their own and find none.
    pub(super) static CONN: Arc<Conn>;
}

/// How long the accept loop rests after an error such as "too many open files".
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Connections accepted after the gate was told to stop, at most: those that waited for it.
const LAST_ONES: usize = 1024;
/// Errors in a row that are waited out on the way to the end.
const LAST_ERRORS: usize = 8;

/// Bounds of a listener, changed by a reload.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// For a TLS handshake and for heads, and between two requests.
    pub(super) patience: Patience,
    /// Bytes of a head.
    pub(super) header_bytes: usize,
    /// Open connections.
    pub(super) connections: usize,
    /// Open connections of one client.
    pub(super) connections_per_client: usize,
}

/// Counts open connections, in all and by address.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A place among the open connections, given back on drop.
#[derive(Debug)]
struct Slot {
    connections: Arc<Connections>,
    client: Option<IpAddr>,
}

impl Connections {
    /// How many are open.
    pub fn open(&self) -> usize {
        self.lock().all
    }

    fn take(self: &Arc<Self>, client: Option<IpAddr>, bounds: &Bounds) -> Option<Slot> {
        let mut open = self.lock();
        if open.all >= bounds.connections {
            return None;
        }
        if let Some(client) = client {
            let of_client = open.by_client.entry(client).or_default();
            if *of_client >= bounds.connections_per_client {
                return None;
            }
            *of_client += 1;
        }
        open.all += 1;
        Some(Slot { connections: Arc::clone(self), client })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.all = open.all.saturating_sub(1);
        let Some(client) = self.client else { return };
        if let Some(count) = open.by_client.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

/// The addresses whose connections are counted together: an IPv4 address, an IPv6 /64.
pub(super) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What a listener needs beside its socket.
pub(super) struct Listening<A> {
    /// pingora's HTTP proxy.
    pub(super) app: Arc<A>,
    /// Reads the monotonic clock.
    pub(super) clock: Arc<dyn Clock>,
    /// Counts connections over all listeners.
    pub(super) connections: Arc<Connections>,
    /// Swapped by a reload.
    pub(super) bounds: Arc<ArcSwap<Bounds>>,
    /// The TLS side, swapped by a reload; `None`: cleartext.
    pub(super) tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// Becomes true when accepting ends.
    pub(super) stop: watch::Receiver<bool>,
    /// Becomes true when connections that await a head are closed.
    pub(super) close: watch::Receiver<bool>,
}

impl<A> Clone for Listening<A> {
    fn clone(&self) -> Self {
        Self {
            app: Arc::clone(&self.app),
            clock: Arc::clone(&self.clock),
            connections: Arc::clone(&self.connections),
            bounds: Arc::clone(&self.bounds),
            tls: self.tls.clone(),
            stop: self.stop.clone(),
            close: self.close.clone(),
        }
    }
}

/// Accepts until told to stop, then waits for the connections it accepted.
pub(super) async fn accept_loop<A: ServerApp + Send + Sync + 'static>(socket: tokio::net::TcpListener, listening: Listening<A>) {
    let socket = L4Listener::from(socket);
    let mut stop = listening.stop.clone();
    let mut served = JoinSet::new();
    let mut last_ones = LAST_ONES;
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
        let Ok(mut io) = accepted else {
            // on the way out an error that stays must not hold up the end
            last_ones = if *stop.borrow() { last_ones.min(LAST_ERRORS) } else { last_ones };
            sleep(ACCEPT_REST).await;
            continue;
        };
        let client = peer_of(&io).map(|peer| network_of(peer.ip()));
        let Some(slot) = listening.connections.take(client, &listening.bounds.load()) else { continue };
        let listening = listening.clone();
        served.spawn(async move {
            let _slot = slot;
            if io.set_nodelay().is_ok() {
                serve(io, listening).await;
            }
        });
    }
    drop(socket);
    while served.join_next().await.is_some() {}
}

fn peer_of(io: &impl GetSocketDigest) -> Option<SocketAddr> {
    io.get_socket_digest()?.peer_addr()?.as_inet().copied()
}

/// Serves one connection until it closes, or waits too long for a head.
async fn serve<A: ServerApp + Send + Sync + 'static>(io: L4Stream, listening: Listening<A>) {
    let bounds = Arc::clone(&listening.bounds.load());
    let io: Stream = match &listening.tls {
        None => Box::new(io),
        Some(tls) => match timeout(bounds.patience.head, Acceptor::from_server_config(tls.load_full()).tls_handshake(io)).await {
            Ok(Ok(io)) => Box::new(io),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let conn = Arc::new(Conn::new(listening.clock.mono()));
    let io = Box::new(Guarded::new(io, Arc::clone(&conn), bounds.header_bytes, Arc::clone(&listening.clock)));
    let overdue = async {
        while let Some(pause) = conn.look_again(bounds.patience, listening.clock.mono()) {
            sleep(pause).await;
        }
    };
    tokio::select! {
        _ = CONN.scope(Arc::clone(&conn), listening.app.process_new(io, &listening.close)) => {}
        () = overdue => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_of_ipv6_is_one_client() {
        let network = |ip: &str| network_of(ip.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
