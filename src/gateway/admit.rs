//! What is decided before a body is read, and the limits that are asked for after the proof.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use parking_lot::Mutex;

use crate::config::snapshot::{RateKey, RateLimit, WebhookRoute};
use crate::dedupe::key::Scope;
use crate::delivery::Delivery;
use crate::gateway::active_config::LivePass;
use crate::headers::hops;
use crate::limit::{Buckets, Quota};
use crate::listener::accept::network_of;
use crate::random;
use crate::refusal::Refusal;
use crate::request::{Client, RequestHead};
use crate::route::guard::PathVerdict;

/// All rate limits of the gate. They outlive a reload: the buckets of a route are found by its number.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Slows down who is refused often.
    refused: Buckets,
    /// By the number of a route and the place in its list.
    by_route: Mutex<HashMap<LimitOf, Arc<Buckets>>>,
    /// Keys are hashed with keys of this process, so that nobody can aim at another's bucket.
    hasher: RandomState,
    hash_key: [u8; 16],
}

/// A route's number in the store, and the place of a limit in its list.
type LimitOf = (u32, usize);

/// One limit of a route with its buckets: made once a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct LiveLimit {
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
    /// Gives the token back: the request is authentic.
    pub(crate) fn refund(self, now: Instant) {
        if let Some((buckets, key)) = self.charged {
            buckets.refund(key, now);
        }
    }
}

impl Limits {
    /// Limits with empty buckets.
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

    /// The limits of the route with this number, with the buckets that it had before, whatever its name was.
    pub(crate) fn of(&self, route: u32, limits: &[RateLimit]) -> Vec<LiveLimit> {
        let mut by_route = self.by_route.lock();
        let live = |(place, limit): (usize, &RateLimit)| {
            let buckets = by_route
                .entry((route, place))
                .or_insert_with(|| Arc::new(Buckets::new(limit.quota)));
            buckets.set_quota(limit.quota);
            LiveLimit {
                key: limit.key.clone(),
                buckets: Arc::clone(buckets),
            }
        };
        limits.iter().enumerate().map(live).collect()
    }

    /// Charges a refusal that came before any ticket.
    ///
    /// # Errors
    /// `RateLimited` if the client is refused too often already.
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

    /// The limits that count authentic requests.
    ///
    /// # Errors
    /// `RateLimited` by the first that is used up.
    pub(crate) fn after(
        &self,
        limits: &[LiveLimit],
        scope: Scope<'_>,
        delivery: &Delivery,
        now: Instant,
    ) -> Result<(), Refusal> {
        let keyed = limits
            .iter()
            .filter_map(|LiveLimit { key, buckets }| match key {
                RateKey::ClientIp => None,
                RateKey::Route => Some((&**buckets, self.route_key())),
                RateKey::Value(locator) => Some((
                    &**buckets,
                    scope.bucket(&self.hash_key, locator.find(delivery.received()).as_deref()),
                )),
            });
        take_all(keyed, now)
    }

    /// The one key of all requests of a route.
    fn route_key(&self) -> u64 {
        self.hasher.hash_one(0_u8)
    }

    fn client_key(&self, ip: IpAddr) -> u64 {
        self.hasher.hash_one(network_of(ip))
    }
}

/// Takes one from each bucket, or from none: what one limit refuses is not charged to the others.
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

/// Judges a request for `hook` by its head: method, client, rates by client.
///
/// # Errors
/// `Loop`, `MethodNotAllowed`, `ClientNotAllowed`, `RateLimited`; `Malformed` if a header that is read as single has different values.
pub(crate) fn admit<'a>(
    hook: &WebhookRoute,
    limits: &[LiveLimit],
    head: &RequestHead,
    all: &'a Limits,
) -> Result<Ticket<'a>, Refusal> {
    let now = head.received.mono;
    let ticket = all.charge(head.client, now)?;
    if hops::is_loop(&head.headers) {
        return Err(Refusal::Loop);
    }
    if !hook.methods.contains(&head.method) && !hook.handshakes.admits(head) {
        return Err(Refusal::MethodNotAllowed);
    }
    if !hook
        .allow
        .admits(head.client.ip, head.certificate.as_deref())
    {
        return Err(Refusal::ClientNotAllowed);
    }
    if hook.is_ambiguous(head) || has_backtick(head) {
        return Err(Refusal::Malformed);
    }
    let by_client = limits.iter().filter(|limit| limit.key == RateKey::ClientIp);
    take_all(
        by_client.map(|limit| (&*limit.buckets, all.client_key(head.client.ip))),
        now,
    )?;
    Ok(ticket)
}

/// Returns whether a byte stands in the target that no URI holds. Browsers send it in queries, providers do not.
fn has_backtick(head: &RequestHead) -> bool {
    head.target.contains(&b'`')
}

/// Judges a request for a route that passes traffic through: all that is ever judged of it, but for a body that turns out too large.
///
/// # Errors
/// `Loop`, `PathGuarded`, `Malformed`, `MethodNotAllowed`, `ClientNotAllowed`, `RateLimited`, `BodyTooLarge`.
pub(crate) fn admit_pass(
    route: &LivePass,
    head: &RequestHead,
    all: &Limits,
) -> Result<(), Refusal> {
    let (pass, now) = (&*route.pass, head.received.mono);
    let ticket = all.charge(head.client, now)?;
    if hops::is_loop(&head.headers) {
        return Err(Refusal::Loop);
    }
    match route.guards.judge(head.path()) {
        PathVerdict::Free => {}
        PathVerdict::Guarded(_) => return Err(Refusal::PathGuarded),
        PathVerdict::Malformed => return Err(Refusal::Malformed),
    }
    let takes_method = pass
        .methods
        .as_ref()
        .map_or(head.method != Method::TRACE, |methods| {
            methods.contains(&head.method)
        });
    if !takes_method {
        return Err(Refusal::MethodNotAllowed);
    }
    if !pass
        .allow
        .admits(head.client.ip, head.certificate.as_deref())
    {
        return Err(Refusal::ClientNotAllowed);
    }
    if pass
        .max_body
        .zip(head.declared_size)
        .is_some_and(|(max, declared)| declared > max)
    {
        return Err(Refusal::BodyTooLarge);
    }
    let keyed = route
        .limits
        .iter()
        .filter_map(|LiveLimit { key, buckets }| match key {
            RateKey::ClientIp => Some((&**buckets, all.client_key(head.client.ip))),
            RateKey::Route => Some((&**buckets, all.route_key())),
            RateKey::Value(_) => None,
        });
    take_all(keyed, now)?;
    ticket.refund(now);
    Ok(())
}
