//! Remembers the addresses of names for a short time, and bounds how many look-ups are made at once.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::delivery::Pending;

/// The longest that a look-up may take, with the wait for its turn.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The most look-ups at once.
const MAX_LOOKUPS: usize = 256;
/// The most look-ups of one tenant at once.
const MAX_LOOKUPS_OF_TENANT: usize = 8;
/// The longest that addresses are remembered.
const MAX_TTL: Duration = Duration::from_secs(60);
/// The longest that a failure is remembered.
const MAX_FAILURE_TTL: Duration = Duration::from_secs(10);
/// The time that a look-up without an answer is remembered.
const NO_ANSWER_TTL: Duration = Duration::from_secs(1);
/// The most names that are remembered.
const MAX_NAMES: usize = 4096;
/// The most addresses of a name that are remembered: one more than a name may have.
const MAX_ADDRESSES: usize = 65;

/// A source of the addresses of names.
pub trait NameLookup: Send + Sync {
    /// Looks up all addresses of a name, which is given without a last dot.
    ///
    /// # Errors
    /// There is none, or the look-up failed.
    fn look_up<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Found, NotFound>>;
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// All of them, of both families.
    pub addresses: Vec<IpAddr>,
    /// The time that they may be remembered.
    pub ttl: Duration,
}

/// A look-up that found no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The time that this may be remembered.
    pub ttl: Duration,
}

/// The addresses of names that were looked up.
pub(super) struct Names {
    lookup: Arc<dyn NameLookup>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Box<str>, Known>>,
    slots: Semaphore,
    /// The slots of tenants that look something up.
    slots_of_tenants: Mutex<HashMap<u32, Arc<Semaphore>>>,
}

/// The result of a look-up.
struct Known {
    /// None if the name has no address.
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Names {
    pub(super) fn new(lookup: Arc<dyn NameLookup>, clock: Arc<dyn Clock>) -> Self {
        Self {
            lookup,
            clock,
            known: Mutex::default(),
            slots: Semaphore::new(MAX_LOOKUPS),
            slots_of_tenants: Mutex::default(),
        }
    }

    /// Returns the addresses of `host`, a name or an address, within `patience`. There is none if the look-up fails.
    pub(super) async fn addresses(
        &self,
        host: &str,
        tenant: u32,
        patience: Duration,
    ) -> Arc<[IpAddr]> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Arc::from([ip]);
        }
        if host.is_empty() {
            return Arc::from([]);
        }
        let name = host.to_ascii_lowercase();
        if let Some(known) = self.known(&name) {
            return known;
        }
        let patience = patience.min(LOOKUP_TIMEOUT);
        timeout(patience, self.look_up(&name, tenant, patience))
            .await
            .unwrap_or_else(|_| Arc::from([]))
    }

    /// Looks a name up when it is the tenant's turn.
    async fn look_up(&self, name: &str, tenant: u32, patience: Duration) -> Arc<[IpAddr]> {
        let begun = self.clock.mono();
        let of_tenant = self.slots_of(tenant);
        let (_of_tenant, _of_all) = (of_tenant.acquire().await, self.slots.acquire().await);
        // others may have asked for the same name meanwhile
        if let Some(known) = self.known(name) {
            return known;
        }
        let left = patience.saturating_sub(self.clock.mono().saturating_duration_since(begun));
        let unanswered = NotFound { ttl: NO_ANSWER_TTL };
        let found = timeout(left, self.lookup.look_up(name))
            .await
            .unwrap_or(Err(unanswered));
        self.remember(name, found)
    }

    fn known(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let now = self.clock.mono();
        let known = self.known.lock();
        let known = known.get(name).filter(|known| now < known.until)?;
        Some(Arc::clone(&known.addresses))
    }

    fn remember(&self, name: &str, found: Result<Found, NotFound>) -> Arc<[IpAddr]> {
        let (addresses, ttl) = match found {
            Ok(Found { addresses, ttl }) => (addresses, ttl.min(MAX_TTL)),
            Err(NotFound { ttl }) => (Vec::new(), ttl.min(MAX_FAILURE_TTL)),
        };
        let addresses: Arc<[IpAddr]> = addresses.into_iter().take(MAX_ADDRESSES).collect();
        let now = self.clock.mono();
        let mut known = self.known.lock();
        if known.len() >= MAX_NAMES {
            known.retain(|_, known| now < known.until);
        }
        if known.len() >= MAX_NAMES {
            let any = known.keys().next().cloned();
            any.and_then(|name| known.remove(&name));
        }
        if !ttl.is_zero() {
            let entry = Known {
                addresses: Arc::clone(&addresses),
                until: now + ttl,
            };
            known.insert(name.into(), entry);
        }
        addresses
    }

    fn slots_of(&self, tenant: u32) -> Arc<Semaphore> {
        let mut tenants = self.slots_of_tenants.lock();
        tenants.retain(|_, slots| Arc::strong_count(slots) > 1);
        let new = || Arc::new(Semaphore::new(MAX_LOOKUPS_OF_TENANT));
        Arc::clone(tenants.entry(tenant).or_insert_with(new))
    }
}

#[cfg(test)]
pub(super) mod tests;
