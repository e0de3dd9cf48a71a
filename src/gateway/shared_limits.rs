//! The rate limits that the gateways of a fleet share. They outlive a reload; one task reserves their tokens in the store.
use std::collections::HashMap;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use siphasher::sip::SipHasher24;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::limit::{Ask, Quota, Share, SharedKey, SharedLimit};
use crate::store::quota::{SharedTokens, TokenRequest};
use crate::store::{Store, StoreError};

/// The most keys of one call. More wait for the next one, those of authentic requests first.
const MAX_KEYS: usize = 256;
/// The shortest time between two calls, so that keys of many requests go into one.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// The shortest time between two calls for client addresses: claims of delivery IDs use the same connection.
const STRANGERS_PAUSE: Duration = Duration::from_millis(25);
/// The longest time until the number of gateways is read again.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The number of gateways that is assumed until the first heartbeat has counted them.
const UNCOUNTED_FLEET: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// The rate limits that the gateways of a fleet share.
#[derive(Debug)]
pub(super) struct SharedLimits {
    store: Arc<dyn Store>,
    limits: Mutex<Known>,
    /// Wakes the task that reserves tokens.
    sooner: Arc<Notify>,
}

/// The limits that a config has had, and the number of gateways.
#[derive(Debug)]
struct Known {
    by_id: HashMap<LimitId, Arc<SharedLimit>>,
    gateways: NonZeroU32,
}

/// The identity of a shared limit: all gateways have the same for the same limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LimitId {
    /// Requests of a route, by its number in the store, and the index of the limit in the route's list.
    Requests {
        route: u32,
        index: usize,
        /// Whether requests that are not authentic are counted.
        counts_strangers: bool,
    },
    /// Attempts of a route's stored deliveries.
    Attempts { route: u32 },
}

impl LimitId {
    fn counts_strangers(self) -> bool {
        match self {
            Self::Requests {
                counts_strangers, ..
            } => counts_strangers,
            Self::Attempts { .. } => false,
        }
    }

    fn feed(self, hasher: &mut SipHasher24) {
        let (kind, route, index) = match self {
            Self::Requests {
                route,
                index,
                counts_strangers,
            } => (u8::from(counts_strangers), route, index),
            Self::Attempts { route } => (2, route, 0),
        };
        hasher.write(&[kind]);
        hasher.write(&route.to_be_bytes());
        hasher.write(&(index as u64).to_be_bytes());
    }
}

/// A shared limit, and the hash of its keys.
#[derive(Clone, Debug)]
pub(super) struct SharedCounter {
    id: LimitId,
    hash_key: [u8; 16],
    pub(super) limit: Arc<SharedLimit>,
}

impl SharedCounter {
    /// Returns the one key of all requests.
    pub(super) fn whole_key(&self) -> u64 {
        self.key(0, &[])
    }

    /// Returns the key of a client's network.
    pub(super) fn client_key(&self, network: IpAddr) -> u64 {
        match network {
            IpAddr::V4(ip) => self.key(1, &ip.octets()),
            IpAddr::V6(ip) => self.key(1, &ip.octets()),
        }
    }

    /// Returns the key of a value that has this hash at all gateways.
    pub(super) fn value_key(&self, hash: impl FnOnce(&[u8; 16]) -> u64) -> u64 {
        self.key(2, &hash(&self.hash_key).to_be_bytes())
    }

    fn key(&self, kind: u8, value: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.hash_key);
        self.id.feed(&mut hasher);
        hasher.write(&[kind]);
        hasher.write(value);
        hasher.finish()
    }
}

impl SharedLimits {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            limits: Mutex::new(Known {
                by_id: HashMap::new(),
                gateways: UNCOUNTED_FLEET,
            }),
            sooner: Arc::default(),
        }
    }

    /// Returns a limit, which follows the quota from now on; none if the store is not shared.
    pub(super) fn of(&self, id: LimitId, quota: Quota) -> Option<SharedCounter> {
        self.store.tokens()?;
        let mut limits = self.limits.lock();
        let gateways = limits.gateways;
        let limit = limits.by_id.entry(id).or_insert_with(|| {
            let share = Share { quota, gateways };
            let sooner = Arc::clone(&self.sooner);
            Arc::new(SharedLimit::new(share, id.counts_strangers(), sooner))
        });
        limit.set_quota(quota);
        Some(SharedCounter {
            id,
            hash_key: self.store.hash_key(),
            limit: Arc::clone(limit),
        })
    }

    /// Returns the limit of the attempts of a route's stored deliveries; none if the store is not shared.
    pub(super) fn of_attempts(&self, route: u32, quota: Quota) -> Option<SharedKey> {
        let counter = self.of(LimitId::Attempts { route }, quota)?;
        Some(SharedKey {
            key: counter.whole_key(),
            limit: counter.limit,
        })
    }

    /// Returns the number of decisions that were made by this gateway's share because the store did not answer; none without a shared limit.
    pub(super) fn local_decisions(&self) -> Option<u64> {
        let limits = self.limits.lock();
        let each = limits.by_id.values().map(|limit| limit.local_decisions());
        (!limits.by_id.is_empty()).then(|| each.sum())
    }

    /// Follows the number of gateways.
    fn follow_fleet(&self) {
        let fleet = self.store.health().fleet;
        let Some(gateways) = fleet.and_then(|fleet| NonZeroU32::new(fleet.gates)) else {
            return;
        };
        let mut limits = self.limits.lock();
        limits.gateways = gateways;
        limits
            .by_id
            .values()
            .for_each(|limit| limit.set_gateways(gateways));
    }

    /// Returns the calls to make now, and the time of the next ones. Calls for client addresses are not made before `strangers`.
    fn due(
        &self,
        now: Instant,
        strangers: Instant,
    ) -> (Vec<(Arc<SharedLimit>, Ask)>, Option<Instant>) {
        let mut all: Vec<_> = {
            let limits = self.limits.lock();
            let all = limits.by_id.iter();
            all.map(|(id, limit)| (id.counts_strangers(), Arc::clone(limit)))
                .collect()
        };
        // strangers must not delay what authentic requests need
        all.sort_by_key(|(counts_strangers, _)| *counts_strangers);
        let (mut calls, mut next) = (Vec::new(), None::<Instant>);
        for (counts_strangers, limit) in &all {
            let earliest = if *counts_strangers { strangers } else { now };
            if earliest <= now {
                let room = MAX_KEYS - calls.len().min(MAX_KEYS);
                let asks = limit.due(now, room);
                calls.extend(asks.into_iter().map(|ask| (Arc::clone(limit), ask)));
            }
            let of_limit = limit.next_due().map(|at| at.max(earliest));
            next = next.into_iter().chain(of_limit).min();
        }
        (calls, next)
    }

    /// Reserves tokens as long as the gateway runs. Ends at once if the store is not shared.
    pub(super) async fn reserve(&self, clock: &dyn Clock) {
        let Some(tokens) = self.store.tokens() else {
            return;
        };
        let mut strangers = clock.mono();
        loop {
            self.follow_fleet();
            let now = clock.mono();
            let (calls, next) = self.due(now, strangers);
            if strangers <= now {
                strangers = now + STRANGERS_PAUSE;
            }
            if calls.is_empty() {
                let wait = next.map_or(MAX_PAUSE, |next| next.saturating_duration_since(now));
                tokio::select! {
                    () = self.sooner.notified() => {}
                    () = sleep(wait.min(MAX_PAUSE)) => {}
                }
                continue;
            }
            make(tokens, calls, clock).await;
            sleep(MIN_PAUSE).await;
        }
    }
}

/// Makes calls, which go to the store together, and gives the limits their answers.
async fn make(tokens: &dyn SharedTokens, calls: Vec<(Arc<SharedLimit>, Ask)>, clock: &dyn Clock) {
    let sent: Vec<_> = calls
        .into_iter()
        .map(|(limit, ask)| (limit, ask, tokens.reserve(request(&ask))))
        .collect();
    for (limit, ask, answer) in sent {
        match answer.await {
            Ok(grant) => limit.answer(&ask, grant.tokens, grant.wait, clock.mono()),
            Err(error) => {
                tracing::debug!(%error, "the store reserved no tokens; the limit goes by this gateway's share");
                let is_charged = matches!(error, StoreError::Unknown(_));
                limit.fail(&ask, is_charged, clock.mono());
            }
        }
    }
}

fn request(ask: &Ask) -> TokenRequest {
    TokenRequest {
        key: ask.key,
        each: ask.each,
        burst: ask.burst,
        tokens: ask.want,
        spent: ask.spent,
    }
}
