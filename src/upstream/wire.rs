//! Makes one exchange over one connection that pingora has made.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::BytesMut;
use http::Method;
use pingora::ErrorType;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::CertKey;
use tokio::time::timeout;

use super::Outgoing;
use super::answer::{Early, Final, Open, Rest, final_head};
use super::answer_head::has_no_content;
use super::connect_fault::{connect_fault, more_telling};
use super::pool::{Connection, Pool};
use super::request_bytes::write;
use super::resolve::{Addresses, Resolver};
use super::switch::Switches;
use super::trust::{Unusable, authorities, certificate_and_key, check_trust};
use crate::clock::{Clock, Timer};
use crate::config::snapshot::{UpstreamAddress, UpstreamTls};
use crate::delivery::{Answer, AnswerBody, BodyPieces as _, Fault, SendFacts};
use crate::headers;

/// Counts wires.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The connections to one other side.
pub(super) struct Wire {
    transport: TransportConnector,
    pool: Arc<Pool>,
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

/// The kind of failure of an exchange.
pub(super) enum Failure {
    /// Nothing was sent.
    Unreached(Fault),
    /// It was sent, wholly or in part.
    Ambiguous(Fault),
}

/// The bounds of an exchange.
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

    /// Creates a wire to these addresses only, under the name `host`: nothing is looked up.
    pub(super) fn pinned(
        addresses: Addresses,
        host: &str,
        tls: Option<&UpstreamTls>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        let peers = addresses
            .iter()
            .map(|address| Arc::new(HttpPeer::new(*address, tls.is_some(), host.to_owned())))
            .collect();
        Self::over(
            host,
            tls,
            None,
            Some(Peers {
                addresses,
                peers,
                preferred: AtomicUsize::new(0),
            }),
            clock,
        )
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
        let transport = TransportConnector::new(Some(ConnectorOptions {
            ca_file: trusted,
            ..ConnectorOptions::new(1)
        }));
        let identity = tls
            .and_then(|tls| tls.identity.as_deref())
            .map(certificate_and_key);
        let authorities = tls.and_then(|tls| tls.ca.as_deref()).map(authorities);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let peers = ArcSwapOption::from_pointee(peers);
        Ok(Self {
            transport,
            pool,
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
        self.pool.keep_only(&peers.peers);
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
    pub(super) async fn connect(
        &self,
        bounds: Bounds,
    ) -> Result<(Connection, bool, Arc<HttpPeer>), Fault> {
        let until = || bounds.deadline.min(self.clock.mono() + bounds.connect);
        // whatever time the look-up takes, half of the remaining time is left for the connection
        let for_lookup = || {
            bounds
                .connect
                .min(bounds.deadline.saturating_duration_since(self.clock.mono()) / 2)
        };
        let peers = self.peers(for_lookup()).await?;
        if let Some((connection, peer)) = self.pool.take(&peers.peers) {
            return Ok((connection, true, peer));
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
        let timer = Timer::new(bounds.deadline);
        Ok((Connection { stream, timer }, false, peer))
    }

    /// Connects to the first of `peers` that accepts a connection.
    async fn connect_anew(
        &self,
        peers: &Peers,
        until: Instant,
    ) -> Result<(Stream, Arc<HttpPeer>), Fault> {
        let mut fault = None;
        let first = peers.preferred.load(Ordering::Relaxed);
        let (before, after) = peers
            .peers
            .split_at_checked(first)
            .unwrap_or((&[], &peers.peers));
        for (attempted, peer) in after.iter().chain(before).enumerate() {
            let others = u32::try_from(peers.peers.len() - attempted).unwrap_or(u32::MAX);
            let share = until.saturating_duration_since(self.clock.mono()) / others.max(1);
            match timeout(share, self.transport.new_stream(&**peer)).await {
                Ok(Ok(stream)) => {
                    if attempted > 0 {
                        peers
                            .preferred
                            .store((first + attempted) % peers.peers.len(), Ordering::Relaxed);
                    }
                    return Ok((stream, Arc::clone(peer)));
                }
                Ok(Err(error)) if error.etype != ErrorType::ConnectTimedout => {
                    fault = more_telling(fault, connect_fault(&error));
                }
                _ => fault = more_telling(fault, Fault::ConnectTimeout),
            }
        }
        Err(fault.unwrap_or(Fault::Resolve))
    }

    /// Sends the request once and reads the head of the final answer.
    pub(super) async fn exchange(
        &self,
        outgoing: &Outgoing,
        bounds: Bounds,
        facts: &mut SendFacts,
    ) -> Result<Answer, Failure> {
        if !outgoing.target.starts_with(b"/")
            || outgoing
                .target
                .iter()
                .any(|byte| *byte <= b' ' || *byte == 0x7f)
        {
            return Err(Failure::Unreached(Fault::Malformed));
        }
        let began = self.clock.mono();
        let connected = self.connect(bounds).await;
        let (mut connection, reused, peer) = connected.map_err(Failure::Unreached)?;
        let Connection { stream, timer } = &mut connection;
        let connected = self.clock.mono();
        facts.connect = (!reused).then(|| connected.saturating_duration_since(began));
        facts.peer = peer._address.as_inet().copied();
        let sent = timer.within(bounds.deadline, write(stream, outgoing)).await;
        let mut bytes = BytesMut::new();
        // an upstream may answer early and close while the gateway still sends: its response counts. Past the deadline one look is enough.
        let head = timer.within(bounds.deadline, final_head(stream, &mut bytes));
        let Final { head, is_certain } = match head.await {
            Some(Ok(head)) => head,
            Some(Err(Early::Dead)) if reused => {
                // those that have been idle for longer are no better
                self.pool.keep_only(&[]);
                return Err(Failure::Ambiguous(Fault::Stale));
            }
            Some(Err(Early::Dead)) => return Err(Failure::Ambiguous(Fault::Reset)),
            Some(Err(Early::Fault(fault))) => return Err(Failure::Ambiguous(fault)),
            None => return Err(Failure::Ambiguous(Fault::Timeout)),
        };
        facts.first_byte = Some(self.clock.mono().saturating_duration_since(connected));
        let framing = head.framing(&outgoing.method);
        let framing = framing.map_err(|why| Failure::Ambiguous(why.into()))?;
        let is_bodiless = outgoing.method == Method::HEAD || has_no_content(head.status);
        let mut rest = Rest {
            open: Some(Open {
                connection,
                bytes,
                framing,
                peer,
                pool: Arc::clone(&self.pool),
                idle: bounds.idle,
                is_reusable: matches!(sent, Some(Ok(())))
                    && outgoing.method != Method::HEAD
                    && is_certain
                    && head.keeps_alive(),
            }),
            deadline: bounds.deadline,
        };
        // most bodies arrive together with the head; a malformed one is an error when its next piece is read
        let first = rest.arrived().ok().flatten().unwrap_or_default();
        let body = if rest.is_over() {
            AnswerBody::Whole(first)
        } else {
            AnswerBody::Pieces(first, Box::new(rest))
        };
        Ok(Answer {
            status: head.status,
            headers: headers::answer(head.headers, !is_bodiless),
            body,
        })
    }
}

#[cfg(test)]
mod tests;
