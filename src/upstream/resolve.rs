//! Where an upstream is. A name is looked up once before its first use; afterwards off the request path, and what was found last
//! holds until something better is found.
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::clock::Clock;
use crate::delivery::Pending;

/// How long addresses are taken for fresh.
const TTL: Duration = Duration::from_secs(30);
/// How long after a failed look-up the next one waits.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long a look-up may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The addresses of one upstream.
pub type Addresses = Arc<[SocketAddr]>;

/// Looks a host and port up.
type Lookup = Box<dyn Fn(String, u16) -> Pending<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Knows the addresses of one host and port.
pub struct Resolver {
    host: String,
    port: u16,
    clock: Arc<dyn Clock>,
    lookup: Lookup,
    known: ArcSwapOption<Known>,
    /// Held while the first look-up runs: all who wait share its result.
    first: Arc<tokio::sync::Mutex<()>>,
    refreshing: AtomicBool,
}

#[derive(Debug)]
struct Known {
    addresses: Addresses,
    /// `None`: an address, which never changes.
    fresh_until: Option<Instant>,
}

/// A name that does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name does not resolve")]
pub struct Unresolved;

impl Resolver {
    /// A resolver that asks the system.
    pub fn new(host: &str, port: u16, clock: Arc<dyn Clock>) -> Arc<Self> {
        let system: Lookup =
            Box::new(|host, port| Box::pin(async move { tokio::net::lookup_host((host.as_str(), port)).await.map(Iterator::collect) }));
        Self::with(host, port, clock, system)
    }

    fn with(host: &str, port: u16, clock: Arc<dyn Clock>, lookup: Lookup) -> Arc<Self> {
        let known = host.parse::<IpAddr>().ok().map(|ip| Known { addresses: Arc::new([SocketAddr::new(ip, port)]), fresh_until: None });
        Arc::new(Self {
            host: host.to_owned(),
            port,
            clock,
            lookup,
            known: ArcSwapOption::from_pointee(known),
            first: Arc::default(),
            refreshing: AtomicBool::new(false),
        })
    }

    /// The addresses, at least one. Waits only as long as none has ever been found, and starts a look-up beside the request when
    /// what is known is no longer fresh.
    ///
    /// # Errors
    /// The name does not resolve, and never has.
    pub async fn addresses(self: &Arc<Self>) -> Result<Addresses, Unresolved> {
        if let Some(addresses) = self.known() {
            return Ok(addresses);
        }
        let turn = Arc::clone(&self.first).lock_owned().await;
        if let Some(addresses) = self.known() {
            return Ok(addresses);
        }
        // In a task of its own: what a slow server tells after this request gave up serves the next one.
        let this = Arc::clone(self);
        let looking = tokio::spawn(async move {
            let _turn = turn;
            this.look_up().await
        });
        looking.await.unwrap_or(Err(Unresolved))
    }

    fn known(self: &Arc<Self>) -> Option<Addresses> {
        let known = self.known.load();
        let known = known.as_ref()?;
        let stale = known.fresh_until.is_some_and(|until| self.clock.mono() >= until);
        if stale && !self.refreshing.swap(true, Ordering::AcqRel) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                if this.look_up().await.is_err()
                    && let Some(last_good) = &*this.known.load()
                {
                    this.keep(Arc::clone(&last_good.addresses), AFTER_FAILURE);
                }
                this.refreshing.store(false, Ordering::Release);
            });
        }
        Some(Arc::clone(&known.addresses))
    }

    async fn look_up(&self) -> Result<Addresses, Unresolved> {
        let found = tokio::time::timeout(DEADLINE, (self.lookup)(self.host.clone(), self.port)).await;
        let Ok(Ok(found)) = found else { return Err(Unresolved) };
        if found.is_empty() {
            return Err(Unresolved);
        }
        let unchanged = self.known.load().as_ref().map(|known| Arc::clone(&known.addresses)).filter(|known| **known == *found);
        let addresses = unchanged.unwrap_or_else(|| found.into());
        self.keep(Arc::clone(&addresses), TTL);
        Ok(addresses)
    }

    fn keep(&self, addresses: Addresses, fresh_for: Duration) {
        let fresh_until = Some(self.clock.mono() + fresh_for);
        self.known.store(Some(Arc::new(Known { addresses, fresh_until })));
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("host", &self.host).field("port", &self.port).field("known", &self.known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
