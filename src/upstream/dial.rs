//! Makes the connections to one or many other sides, and keeps the idle ones.
use std::sync::Arc;
use std::time::Instant;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::client::handshake;
use pingora::tls::TlsConnector;
use pingora::upstreams::peer::{HttpPeer, Scheme};
use pingora::{Error, ErrorType};
use tokio::time::timeout;

use super::connect_fault::{connect_fault, more_telling};
use super::pool::{Connection, Pool};
use crate::clock::{Clock, Timer};
use crate::delivery::Fault;

/// A connection for one exchange.
pub(super) struct Dialed {
    pub(super) connection: Connection,
    /// Whether it has had an exchange before.
    pub(super) is_reused: bool,
    pub(super) peer: Arc<HttpPeer>,
}

impl Dialed {
    /// Wraps a new connection, whose exchange ends at `deadline`.
    pub(super) fn anew(stream: Stream, peer: Arc<HttpPeer>, deadline: Instant) -> Self {
        let timer = Timer::new(deadline);
        Self {
            connection: Connection { stream, timer },
            is_reused: false,
            peer,
        }
    }
}

/// A connector with the idle connections that it has made.
pub(super) struct Dialer {
    transport: TransportConnector,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
}

impl Dialer {
    /// Makes a dialer that trusts the certificates of `ca_file`, or the system's if there is none. It reads them here, and panics if they
    /// cannot be used: `trust` checks that. It keeps at most `max_idle` connections.
    pub(super) fn new(ca_file: Option<String>, max_idle: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            transport: TransportConnector::new(Some(ConnectorOptions {
                ca_file,
                ..ConnectorOptions::new(1)
            })),
            pool: Pool::new(max_idle, Arc::clone(&clock)),
            clock,
        }
    }

    /// Returns the idle connections.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Takes an idle connection to one of `peers`, if there is one.
    pub(super) fn take(&self, peers: &[Arc<HttpPeer>]) -> Option<Dialed> {
        let (connection, peer) = self.pool.take(peers)?;
        Some(Dialed {
            connection,
            is_reused: true,
            peer,
        })
    }

    /// Connects to the first of `peers` that accepts a connection before `until`, beginning with number `first`. Returns the number of that
    /// peer, too. A connector `tls` is used for the peers with TLS; without one, the dialer's own trust is.
    pub(super) async fn connect(
        &self,
        peers: &[Arc<HttpPeer>],
        first: usize,
        until: Instant,
        tls: Option<&TlsConnector>,
    ) -> Result<(Stream, usize), Fault> {
        let mut fault = None;
        let first = if first < peers.len() { first } else { 0 };
        let (before, after) = peers.split_at_checked(first).unwrap_or((&[], peers));
        for (attempted, peer) in after.iter().chain(before).enumerate() {
            let others = u32::try_from(peers.len() - attempted).unwrap_or(u32::MAX);
            let share = until.saturating_duration_since(self.clock.mono()) / others.max(1);
            match timeout(share, self.stream(peer, tls)).await {
                Ok(Ok(stream)) => return Ok((stream, (first + attempted) % peers.len())),
                Ok(Err(error)) if error.etype != ErrorType::ConnectTimedout => {
                    fault = more_telling(fault, connect_fault(&error));
                }
                _ => fault = more_telling(fault, Fault::ConnectTimeout),
            }
        }
        Err(fault.unwrap_or(Fault::Resolve))
    }

    /// Makes one connection.
    async fn stream(
        &self,
        peer: &Arc<HttpPeer>,
        tls: Option<&TlsConnector>,
    ) -> Result<Stream, Box<Error>> {
        let Some(tls) = tls.filter(|_| peer.scheme == Scheme::HTTPS) else {
            return self.transport.new_stream(&**peer).await;
        };
        let mut plain = HttpPeer::clone(peer);
        plain.scheme = Scheme::HTTP;
        let stream = self.transport.new_stream(&plain).await?;
        let tcp = stream
            .into_any()
            .downcast::<TcpStream>()
            .map_err(|_| Error::new(ErrorType::InternalError))?;
        Ok(Box::new(handshake(tls, &peer.sni, *tcp).await?))
    }
}
