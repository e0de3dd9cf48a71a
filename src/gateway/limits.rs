//! The rate limits of the gateway: by refused requests of a client, and by the keys that a route lists.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::snapshot::{RateKey, RateLimit};
use crate::dedupe::key::Scope;
use crate::delivery::Delivery;
use crate::limit::{Buckets, Quota};
use crate::listener::client_address::network_of;
use crate::random;
use crate::refusal::Refusal;
use crate::request::Client;

/// All rate limits of the gateway. They outlive a reload: the buckets of a route are found by its number in the store.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The buckets of clients whose requests are refused.
    refused: Buckets,
    /// The buckets of routes.
    by_route: Mutex<HashMap<LimitOf, Arc<Buckets>>>,
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
    buckets: Arc<Buckets>,
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
    pub(crate) fn new(refused_per_client: Quota) -> Self {
        let hash_key = random::wide().to_be_bytes();
        Self {
            refused: Buckets::new(refused_per_client),
            by_route: Mutex::default(),
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
        let mut by_route = self.by_route.lock();
        let tie = |(index, limit): (usize, &RateLimit)| {
            let buckets = by_route
                .entry((route, index))
                .or_insert_with(|| Arc::new(Buckets::new(limit.quota)));
            buckets.set_quota(limit.quota);
            RouteLimit {
                key: limit.key.clone(),
                buckets: Arc::clone(buckets),
            }
        };
        limits.iter().enumerate().map(tie).collect()
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
            by_client.map(|limit| (&*limit.buckets, self.client_key(client))),
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
            .filter_map(|RouteLimit { key, buckets }| match key {
                RateKey::ClientIp => Some((&**buckets, self.client_key(client))),
                RateKey::Route => Some((&**buckets, self.route_key())),
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
            .filter_map(|RouteLimit { key, buckets }| match key {
                RateKey::ClientIp => None,
                RateKey::Route => Some((&**buckets, self.route_key())),
                RateKey::Value(locator) => Some((
                    &**buckets,
                    scope.bucket(&self.hash_key, locator.find(delivery.received()).as_deref()),
                )),
            });
        take_all(keyed, now)
    }

    /// Returns the one key of all requests of a route.
    fn route_key(&self) -> u64 {
        self.hasher.hash_one(0_u8)
    }

    fn client_key(&self, ip: IpAddr) -> u64 {
        self.hasher.hash_one(network_of(ip))
    }
}

/// Takes a token from each bucket, or from none: a request that one limit refuses is not charged to the others.
fn take_all<'a>(
    buckets: impl Iterator<Item = (&'a Buckets, u64)> + Clone,
    now: Instant,
) -> Result<(), Refusal> {
    for (taken, (of, key)) in buckets.clone().enumerate() {
        if let Err(retry_after) = of.take(key, now) {
            buckets
                .take(taken)
                .for_each(|(of, key)| of.refund(key, now));
            return Err(limited(retry_after));
        }
    }
    Ok(())
}

fn limited(retry_after: Duration) -> Refusal {
    Refusal::RateLimited { retry_after }
}
