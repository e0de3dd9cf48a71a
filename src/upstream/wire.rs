//! Connects to one upstream, at whichever addresses its name has.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pingora::protocols::Stream;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::CertKey;

use super::Outgoing;
use super::dial::{Dialed, Dialer};
use super::exchange::{Bounds, Failure, check_target, exchange};
use super::resolve::{Addresses, Resolver};
use super::switch::Switches;
use super::trust::{Unusable, authorities, certificate_and_key, check_trust};
use crate::clock::Clock;
use crate::config::snapshot::{UpstreamAddress, UpstreamTls};
use crate::delivery::{Answer, Fault, SendFacts};

/// The most idle connections of one upstream.
const MAX_IDLE: usize = 256;

/// Counts wires.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The connections to one other side.
pub(super) struct Wire {
    dialer: Dialer,
    /// The connections that pingora's own connector makes for streams.
    switches: Switches,
    clock: Arc<dyn Clock>,
    /// `None`: the peers are in `peers` for good.
    resolver: Option<Arc<Resolver>>,
    tls: bool,
    host: String,
    /// Shown to the other side when it asks for a certificate.
    identity: Option<Arc<CertKey>>,
    /// The authorities that pingora's own connector, which all upstreams share, must trust for this one.
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

impl Wire {
    pub(super) fn new(address: &UpstreamAddress, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        match address {
            UpstreamAddress::Tcp { host, port, tls } => {
                let resolver = Resolver::new(host, *port, Arc::clone(&clock));
                Self::over(host, tls.as_ref(), Some(resolver), None, clock)
            }
            UpstreamAddress::Unix(path) => {
                let unusable = || Unusable::Socket { path: path.clone() };
                let peer = path
                    .to_str()
                    .and_then(|path| HttpPeer::new_uds(path, false, String::new()).ok())
                    .ok_or_else(unusable)?;
                let peers = Peers {
                    addresses: Arc::new([]),
                    peers: vec![Arc::new(peer)],
                    preferred: AtomicUsize::new(0),
                };
                Self::over("", None, None, Some(peers), clock)
            }
        }
    }

    fn over(
        host: &str,
        tls: Option<&UpstreamTls>,
        resolver: Option<Arc<Resolver>>,
        peers: Option<Peers>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        let trusted = check_trust(tls)?;
        let dialer = Dialer::new(trusted, MAX_IDLE, Arc::clone(&clock));
        let identity = tls
            .and_then(|tls| tls.identity.as_deref())
            .map(certificate_and_key);
        let authorities = tls.and_then(|tls| tls.ca.as_deref()).map(authorities);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let peers = ArcSwapOption::from_pointee(peers);
        Ok(Self {
            dialer,
            switches: Switches::default(),
            clock,
            resolver,
            tls: tls.is_some(),
            host: host.to_owned(),
            identity,
            authorities,
            id,
            peers,
        })
    }

    /// Returns where to connect to, after `connect_timeout` at the latest.
    async fn peers(&self, connect_timeout: Duration) -> Result<Arc<Peers>, Fault> {
        match &self.resolver {
            Some(resolver) => Ok(self.peers_at(resolver.addresses(connect_timeout).await?)),
            None => self.peers.load_full().ok_or(Fault::Resolve),
        }
    }

    /// Returns where to connect to after none of `peers` took a connection, if the name has other addresses by now.
    async fn other_peers(&self, peers: &Peers, connect_timeout: Duration) -> Option<Arc<Peers>> {
        let addresses = self
            .resolver
            .as_ref()?
            .addresses_after_fault(connect_timeout)
            .await
            .ok()?;
        let is_new = addresses
            .iter()
            .any(|address| !peers.addresses.contains(address));
        is_new.then(|| self.peers_at(addresses))
    }

    /// Returns the peers at these addresses. Idle connections to other addresses are closed: the name does not have them any more.
    fn peers_at(&self, addresses: Addresses) -> Arc<Peers> {
        if let Some(cached) = self
            .peers
            .load_full()
            .filter(|cached| Arc::ptr_eq(&cached.addresses, &addresses))
        {
            return cached;
        }
        let peer = |address: &SocketAddr| {
            let mut peer = HttpPeer::new(*address, self.tls, self.host.clone());
            peer.client_cert_key.clone_from(&self.identity);
            Arc::new(peer)
        };
        let peers = Arc::new(Peers {
            peers: addresses.iter().map(peer).collect(),
            addresses,
            preferred: AtomicUsize::new(0),
        });
        self.peers.store(Some(Arc::clone(&peers)));
        self.dialer.pool().keep_only(&peers.peers);
        peers
    }

    /// Returns the resolver of its name; none where the peers are fixed.
    pub(super) fn resolver(&self) -> Option<&Arc<Resolver>> {
        self.resolver.as_ref()
    }

    /// Returns the connections for streams.
    pub(super) fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Returns the peers that pingora's own connector may connect to for a stream, first the one that took the last connection of ours.
    /// Their connections are separate from those of any other wire.
    pub(super) async fn peers_for_streams(
        &self,
        connect_timeout: Duration,
    ) -> Result<Vec<HttpPeer>, Fault> {
        let peers = self.peers(connect_timeout).await?;
        let first = peers.preferred.load(Ordering::Relaxed);
        let (before, after) = peers
            .peers
            .split_at_checked(first)
            .unwrap_or((&[], &peers.peers));
        let own = |peer: &Arc<HttpPeer>| {
            let mut peer = HttpPeer::clone(peer);
            peer.group_key = self.id;
            peer.options.ca.clone_from(&self.authorities);
            self.switches.install(&mut peer);
            peer
        };
        Ok(after.iter().chain(before).map(own).collect())
    }

    /// Returns a connection: from the pool, else a new one to the first address that accepts it. A look-up does not use up the time to
    /// connect.
    pub(super) async fn connect(&self, bounds: Bounds) -> Result<Dialed, Fault> {
        let until = || bounds.deadline.min(self.clock.mono() + bounds.connect);
        // whatever time the look-up takes, half of the remaining time is left for the connection
        let for_lookup = || {
            bounds
                .connect
                .min(bounds.deadline.saturating_duration_since(self.clock.mono()) / 2)
        };
        let peers = self.peers(for_lookup()).await?;
        if let Some(dialed) = self.dialer.take(&peers.peers) {
            return Ok(dialed);
        }
        // boxed: it is rare, and would make every exchange some 10 KB larger
        let connecting = Box::pin(async {
            let fault = match self.connect_anew(&peers, until()).await {
                Err(
                    fault @ (Fault::Refused
                    | Fault::Unreachable
                    | Fault::Tls(_)
                    | Fault::ConnectTimeout),
                ) => fault,
                connected => return connected,
            };
            match self.other_peers(&peers, for_lookup()).await {
                Some(others) => self.connect_anew(&others, until()).await,
                None => Err(fault),
            }
        });
        let (stream, peer) = connecting.await?;
        Ok(Dialed::anew(stream, peer, bounds.deadline))
    }

    /// Connects to the first of `peers` that accepts a connection, beginning with the one that took the last.
    async fn connect_anew(
        &self,
        peers: &Peers,
        until: Instant,
    ) -> Result<(Stream, Arc<HttpPeer>), Fault> {
        let first = peers.preferred.load(Ordering::Relaxed);
        let connecting = self.dialer.connect(&peers.peers, first, until, None);
        let (stream, number) = connecting.await?;
        if number != first {
            peers.preferred.store(number, Ordering::Relaxed);
        }
        let peer = peers.peers.get(number).ok_or(Fault::Resolve)?;
        Ok((stream, Arc::clone(peer)))
    }

    /// Sends the request once and reads the head of the final answer.
    pub(super) async fn exchange(
        &self,
        outgoing: &Outgoing,
        bounds: Bounds,
        facts: &mut SendFacts,
    ) -> Result<Answer, Failure> {
        check_target(outgoing)?;
        let began = self.clock.mono();
        let dialed = self.connect(bounds).await.map_err(Failure::Unreached)?;
        let took = || self.clock.mono().saturating_duration_since(began);
        facts.connect = (!dialed.is_reused).then(took);
        let pool = self.dialer.pool();
        exchange(dialed, pool, &*self.clock, outgoing, bounds, facts).await
    }
}

#[cfg(test)]
mod tests;
