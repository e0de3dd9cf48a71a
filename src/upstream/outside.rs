//! The client for places that no `upstreams` names: the receiver of alarms, and endpoints of tenants.
//!
//! One object serves the whole gateway, across reloads. A name is looked up and all its addresses are judged by [`egress`](super::egress)
//! before each request. The connection, new or idle, goes to an address that was judged for this request. Redirects are not followed.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::tls::{CertificateDer, TlsConnector};
use pingora::upstreams::peer::HttpPeer;

use super::Outgoing;
use super::client::{Sent, Unusable};
use super::dial::{Dialed, Dialer};
use super::egress::{OwnAddresses, Refused, judge};
use super::exchange::{Bounds, Failure, check_target, exchange};
use crate::clock::Clock;
use crate::config::snapshot::{Egress, WebAddress};
use crate::delivery::{Answer, Fault, SendFacts, TlsFault};

mod dns;
mod names;
mod roots;

pub use dns::{DnsLookup, SystemLookup};
use names::Names;
pub use names::{Found, NameLookup, NotFound};
use roots::Roots;

/// The number of the gateway itself among the tenants, for what its own config names.
pub const GATEWAY: u32 = 0;
/// The most idle connections to all places together.
const MAX_IDLE: usize = 1024;
/// The time that a connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The reason for which nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum NotCalled {
    /// The gateway may not call this address.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The certificates of the system.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl NotCalled {
    /// Returns the fault for the outcome of the attempt.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused(Refused::Unresolved) => Fault::Resolve,
            Self::Refused(_) => Fault::Blocked,
            Self::Unusable(_) => Fault::Tls(TlsFault::Other),
        }
    }
}

/// The client for places that no `upstreams` names.
pub struct Outside {
    clock: Arc<dyn Clock>,
    dialer: Dialer,
    roots: Roots,
    /// Names that the config has. They are looked up as the system does, with its hosts file and search list.
    config_names: Names,
    /// Names that a tenant wrote.
    tenant_names: Names,
    own: OwnAddresses,
}

impl Outside {
    /// Makes a client without connections. It reads the system's certificates when it connects to the first place with TLS.
    ///
    /// # Errors
    /// The connector cannot be made.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        let dialer = Dialer::new(Some(roots::no_file()?), MAX_IDLE, Arc::clone(&clock));
        let system = Arc::new(SystemLookup);
        let dns = Arc::new(DnsLookup::system(Arc::clone(&clock)));
        Ok(Self {
            dialer,
            roots: Roots::system(Vec::new()),
            config_names: Names::new(system, Arc::clone(&clock)),
            tenant_names: Names::new(dns, Arc::clone(&clock)),
            own: OwnAddresses::default(),
            clock,
        })
    }

    /// Trusts these certificates, too.
    #[must_use]
    pub fn with_roots(mut self, extra: Vec<CertificateDer<'static>>) -> Self {
        self.roots = Roots::system(extra);
        self
    }

    /// Looks the names of tenants up by `lookup`.
    #[must_use]
    pub fn with_lookup(mut self, lookup: Arc<dyn NameLookup>) -> Self {
        self.tenant_names = Names::new(lookup, Arc::clone(&self.clock));
        self
    }

    /// Reads the certificates again before the next connection with TLS. Connections that were made until now are not used again.
    pub fn reload(&self) {
        self.roots.forget();
        self.dialer.pool().keep_only(&[]);
    }

    /// Sends a request once, to an address that `policy` allows; SNI is the host's name. `budget` bounds looking up, connecting, sending and
    /// the whole answer together. The answer may be any: one that redirects is an answer. `tenant` is [`GATEWAY`] for what the config
    /// names; a connection is never used for two tenants.
    ///
    /// # Errors
    /// The reason why nothing was sent.
    pub async fn send(
        &self,
        to: &WebAddress,
        outgoing: &Outgoing,
        policy: &Egress,
        tenant: u32,
        budget: Duration,
    ) -> Result<Sent, NotCalled> {
        let deadline = self.clock.mono() + budget;
        let host = to.host.strip_suffix('.').unwrap_or(&to.host);
        let names = if tenant == GATEWAY {
            &self.config_names
        } else {
            &self.tenant_names
        };
        let addresses = names.addresses(host, tenant, budget).await;
        judge(&addresses, policy, &self.own.at(self.clock.mono())?)?;
        let (generation, tls) = if to.tls {
            let (generation, tls) = self.roots.connector()?;
            (generation, Some(tls))
        } else {
            (self.roots.generation(), None)
        };
        let group = (u64::from(generation) << 32) | u64::from(tenant);
        let place = Place {
            peers: peers(&addresses, to, host, group),
            tls,
        };
        let bounds = Bounds {
            connect: budget,
            deadline,
            idle: IDLE,
            max_head: MAX_HEAD,
        };
        let mut facts = SendFacts::default();
        let result = self.exchange(&place, outgoing, bounds, &mut facts).await;
        Ok(Sent::new(result, facts))
    }

    /// Makes the exchange; a second time over a new connection if an idle one turns out to be closed.
    async fn exchange(
        &self,
        place: &Place,
        outgoing: &Outgoing,
        bounds: Bounds,
        facts: &mut SendFacts,
    ) -> Result<Answer, Failure> {
        check_target(outgoing)?;
        let pool = self.dialer.pool();
        let mut was_sent = false;
        if let Some(dialed) = self.dialer.take(&place.peers) {
            match exchange(dialed, pool, &*self.clock, outgoing, bounds, facts).await {
                Err(Failure::Ambiguous(Fault::Stale)) => was_sent = true,
                result => return result,
            }
        }
        // boxed: connecting is rare, and would make every exchange some 10 KB larger
        let connecting = Box::pin(self.connect(place, bounds.deadline));
        let began = self.clock.mono();
        let dialed = connecting.await.map_err(|fault| match was_sent {
            // the other side may have read the request before it closed the idle connection
            true => Failure::Ambiguous(Fault::Reset),
            false => Failure::Unreached(fault),
        })?;
        facts.connect = Some(self.clock.mono().saturating_duration_since(began));
        exchange(dialed, pool, &*self.clock, outgoing, bounds, facts).await
    }

    async fn connect(&self, place: &Place, deadline: Instant) -> Result<Dialed, Fault> {
        let tls = place.tls.as_ref();
        let connecting = self.dialer.connect(&place.peers, 0, deadline, tls);
        let (stream, number) = connecting.await?;
        let peer = place.peers.get(number).ok_or(Fault::Resolve)?;
        Ok(Dialed::anew(stream, Arc::clone(peer), deadline))
    }
}

/// A place whose addresses were judged.
struct Place {
    peers: Vec<Arc<HttpPeer>>,
    /// The connector for TLS, if the place has it.
    tls: Option<TlsConnector>,
}

/// Returns the peers of a place, each with the key of its connections: address, host, TLS, and `group`.
fn peers(addresses: &[IpAddr], to: &WebAddress, host: &str, group: u64) -> Vec<Arc<HttpPeer>> {
    let peer = |ip: &IpAddr| {
        let address = SocketAddr::new(*ip, to.port);
        let mut peer = HttpPeer::new(address, to.tls, host.to_owned());
        peer.group_key = group;
        Arc::new(peer)
    };
    addresses.iter().map(peer).collect()
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
