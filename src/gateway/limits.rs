//! The rate limits of the gateway: by refused requests of a client, and by the keys that a route lists.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::snapshot::{Deliver, LimitScope, RateKey, RateLimit};
use crate::dedupe::key::Scope;
use crate::delivery::Delivery;
use crate::gateway::shared_limits::{LimitId, SharedCounter, SharedLimits};
use crate::limit::{Buckets, Quota, SharedKey, SharedLimit};
use crate::listener::client_address::network_of;
use crate::random;
use crate::refusal::Refusal;
use crate::request::Client;
use crate::store::Store;

/// All rate limits of the gateway. They outlive a reload: the buckets of a route are found by its number in the store.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The buckets of clients whose requests are refused.
    refused: Buckets,
    /// The buckets of routes.
    buckets: Mutex<HashMap<LimitOf, Arc<Buckets>>>,
    /// The limits that other gateways share.
    pub(super) shared: SharedLimits,
    /// The hash of clients, with keys of this process, so that nobody can aim at the bucket of another client.
    hasher: RandomState,
    hash_key: [u8; 16],
}

/// A route's number in the store, and the index of a limit in the route's list.
type LimitOf = (u32, usize);

/// A rate limit of a route, with its buckets.
#[derive(Clone, Debug)]
pub(crate) struct RouteLimit {
    key: RateKey,
    counter: Counter,
}

/// The buckets of a rate limit.
#[derive(Clone, Debug)]
enum Counter {
    /// The buckets of this gateway.
    Own(Arc<Buckets>),
    /// The buckets of the fleet.
    Shared(SharedCounter),
}

/// One bucket of a limit.
#[derive(Clone, Copy, Debug)]
enum Bucket<'a> {
    Own(&'a Buckets, u64),
    Shared(&'a SharedLimit, u64),
}

impl Bucket<'_> {
    fn take(self, now: Instant) -> Result<(), Duration> {
        match self {
            Self::Own(buckets, key) => buckets.take(key, now),
            Self::Shared(limit, key) => limit.take(key, now),
        }
    }

    fn refund(self, now: Instant) {
        match self {
            Self::Own(buckets, key) => buckets.refund(key, now),
            Self::Shared(limit, key) => limit.refund(key, now),
        }
    }
}

/// A token of `refused_per_client`, spent unless it is refunded.
#[derive(Debug)]
#[must_use = "an authentic request gives its token back"]
pub(crate) struct Ticket<'a> {
    charged: Option<(&'a Buckets, u64)>,
}

impl Ticket<'_> {
    /// Gives the token back, because the request is authentic.
    pub(crate) fn refund(self, now: Instant) {
        if let Some((buckets, key)) = self.charged {
            buckets.refund(key, now);
        }
    }
}

impl Limits {
    /// Returns limits with empty buckets.
    pub(crate) fn new(refused_per_client: Quota, store: Arc<dyn Store>) -> Self {
        let hash_key = random::wide().to_be_bytes();
        Self {
            refused: Buckets::new(refused_per_client),
            buckets: Mutex::default(),
            shared: SharedLimits::new(store),
            hasher: RandomState::new(),
            hash_key,
        }
    }

    /// Follows a new `refused_per_client`.
    pub(crate) fn set_refused(&self, quota: Quota) {
        self.refused.set_quota(quota);
    }

    /// Returns the limits of the route with this number. They share the buckets that the route had before, whatever its name was.
    pub(crate) fn of(&self, route: u32, limits: &[RateLimit]) -> Vec<RouteLimit> {
        let tie = |(index, limit): (usize, &RateLimit)| {
            let shared = match limit.scope {
                LimitScope::Gateway => None,
                LimitScope::Fleet => {
                    let id = LimitId::Requests {
                        route,
                        index,
                        counts_strangers: limit.key == RateKey::ClientIp,
                    };
                    self.shared.of(id, limit.quota)
                }
            };
            RouteLimit {
                key: limit.key.clone(),
                counter: match shared {
                    Some(shared) => Counter::Shared(shared),
                    None => Counter::Own(self.own_buckets((route, index), limit.quota)),
                },
            }
        };
        limits.iter().enumerate().map(tie).collect()
    }

    /// Returns the limit of the attempts of a route's stored deliveries, if gateways share it.
    pub(crate) fn of_attempts(&self, route: u32, deliver: &Deliver) -> Option<SharedKey> {
        match deliver.rate_scope {
            LimitScope::Gateway => None,
            LimitScope::Fleet => self.shared.of_attempts(route, deliver.rate?),
        }
    }

    fn own_buckets(&self, of: LimitOf, quota: Quota) -> Arc<Buckets> {
        let mut all = self.buckets.lock();
        let buckets = all
            .entry(of)
            .or_insert_with(|| Arc::new(Buckets::new(quota)));
        buckets.set_quota(quota);
        Arc::clone(buckets)
    }

    /// Takes a token of `refused_per_client`, for a request that may turn out not to be authentic.
    ///
    /// # Errors
    /// `RateLimited` if the client's requests are refused too often already.
    pub(crate) fn charge(&self, client: Client, now: Instant) -> Result<Ticket<'_>, Refusal> {
        if !client.own {
            return Ok(Ticket { charged: None });
        }
        let key = self.client_key(client.ip);
        self.refused.take(key, now).map_err(limited)?;
        Ok(Ticket {
            charged: Some((&self.refused, key)),
        })
    }

    /// Takes a token of each of a route's limits by client.
    ///
    /// # Errors
    /// `RateLimited` by the first that is used up.
    pub(super) fn take_by_client(
        &self,
        limits: &[RouteLimit],
        client: IpAddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        let by_client = limits.iter().filter(|limit| limit.key == RateKey::ClientIp);
        take_all(
            by_client.map(|limit| self.by_client(&limit.counter, client)),
            now,
        )
    }

    /// Takes a token of each limit of a pass route, whose requests have no proof to wait for.
    ///
    /// # Errors
    /// `RateLimited` by the first that is used up.
    pub(super) fn take_all_of_pass(
        &self,
        limits: &[RouteLimit],
        client: IpAddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        let keyed = limits
            .iter()
            .filter_map(|RouteLimit { key, counter }| match key {
                RateKey::ClientIp => Some(self.by_client(counter, client)),
                RateKey::Route => Some(self.by_route(counter)),
                RateKey::Value(_) => None,
            });
        take_all(keyed, now)
    }

    /// Takes a token of each limit that counts authentic requests alone.
    ///
    /// # Errors
    /// `RateLimited` by the first that is used up.
    pub(super) fn take_authentic(
        &self,
        limits: &[RouteLimit],
        scope: Scope<'_>,
        delivery: &Delivery,
        now: Instant,
    ) -> Result<(), Refusal> {
        let keyed = limits
            .iter()
            .filter_map(|RouteLimit { key, counter }| match key {
                RateKey::ClientIp => None,
                RateKey::Route => Some(self.by_route(counter)),
                RateKey::Value(locator) => {
                    let value = locator.find(delivery.received());
                    let hash = |hash_key: &[u8; 16]| scope.bucket(hash_key, value.as_deref());
                    Some(match counter {
                        Counter::Own(buckets) => Bucket::Own(buckets, hash(&self.hash_key)),
                        Counter::Shared(shared) => {
                            Bucket::Shared(&shared.limit, shared.value_key(hash))
                        }
                    })
                }
            });
        take_all(keyed, now)
    }

    /// Returns the one bucket of all requests of a route.
    fn by_route<'a>(&self, counter: &'a Counter) -> Bucket<'a> {
        match counter {
            Counter::Own(buckets) => Bucket::Own(buckets, self.hasher.hash_one(0_u8)),
            Counter::Shared(shared) => Bucket::Shared(&shared.limit, shared.whole_key()),
        }
    }

    fn by_client<'a>(&self, counter: &'a Counter, client: IpAddr) -> Bucket<'a> {
        match counter {
            Counter::Own(buckets) => Bucket::Own(buckets, self.client_key(client)),
            Counter::Shared(shared) => {
                Bucket::Shared(&shared.limit, shared.client_key(network_of(client)))
            }
        }
    }

    fn client_key(&self, ip: IpAddr) -> u64 {
        self.hasher.hash_one(network_of(ip))
    }
}

/// Takes a token from each bucket, or from none: a request that one limit refuses is not charged to the others.
fn take_all<'a>(
    buckets: impl Iterator<Item = Bucket<'a>> + Clone,
    now: Instant,
) -> Result<(), Refusal> {
    for (taken, bucket) in buckets.clone().enumerate() {
        if let Err(retry_after) = bucket.take(now) {
            buckets.take(taken).for_each(|bucket| bucket.refund(now));
            return Err(limited(retry_after));
        }
    }
    Ok(())
}

fn limited(retry_after: Duration) -> Refusal {
    Refusal::RateLimited { retry_after }
}
