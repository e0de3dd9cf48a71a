//! The part of a round that is for endpoints: shares the places among tenants, leases events and begins attempts.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::attempt_event;
use super::endpoint::{LiveEndpoint, ReservedEndpoint};
use super::endpoints::Endpoints;
use super::places::Places;
use super::target::AttemptSlot;
use super::worker::Worker;
use crate::queue::choose::{Admission, PER_TARGET};
use crate::queue::fair::{self, Wish};
use crate::store::StoreError;
use crate::store::queue::{LeaseRequest, Next, OriginId, TargetId};
use crate::store::turns::{Share, Turn};

/// The longest wait between two rounds.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The shortest wait after a round that began no attempt.
const MIN_WAIT: Duration = Duration::from_millis(5);
/// The longest wait for a free slot of an endpoint. Freeing one ends it.
const MAX_SLOT_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for a free place of a tenant, or of suspects. Freeing one ends it.
const MAX_PLACE_WAIT: Duration = Duration::from_secs(5);
/// The wait of an endpoint to which nothing can be sent: the config does not send, or its row cannot be read.
const UNKNOWN_WAIT: Duration = Duration::from_secs(5);

/// Begins attempts for the endpoints `due`. `last` is the last tenant that got an attempt; `more` says that other endpoints may be due. Returns
/// how long to wait for the next round.
pub(super) async fn serve_endpoints(
    worker: &Arc<Worker>,
    due: &[TargetId],
    last: &mut Option<OriginId>,
    more: bool,
) -> Result<Duration, StoreError> {
    let endpoints = worker.endpoints();
    if due.is_empty() {
        endpoints.places().end_round(false);
        endpoints.memory().set_short(false);
        return Ok(if more { MIN_WAIT } else { MAX_WAIT });
    }
    let live = endpoints.get(due).await?;
    let now = worker.clock.mono();
    let unknown = due.iter().filter(|target| !live.contains_key(target));
    let unknown: Vec<_> = unknown.map(|target| (*target, UNKNOWN_WAIT)).collect();
    worker.store.put_off(&unknown);
    let mut candidates: Vec<Candidate> = due
        .iter()
        .filter_map(|target| Some(Candidate::of(live.get(target)?, now)))
        .collect();
    let places = endpoints.places();
    places.begin_round(candidates.iter().map(Candidate::tenant_and_target));
    let wishes: Vec<Wish> = candidates.iter().map(Candidate::wish).collect();
    let (given, tenant) = fair::share(&wishes, places.free(), *last);
    let begun = begin(worker, endpoints, &mut candidates, &given, now).await;
    for candidate in &candidates {
        candidate.give_back(now);
    }
    let held = endpoints.memory().held();
    let is_short = candidates.iter().any(|one| !one.share(held).may_begin());
    let (waiting, wants_any) = without_place(places, &wishes, &given);
    // an endpoint that wants a place waits for one as for memory
    let has_no_place = places.end_round(wants_any);
    endpoints.memory().set_short(is_short || has_no_place);
    let begun = begun?;
    *last = tenant;
    let blocked: Vec<_> = candidates
        .iter()
        .filter_map(|one| one.blocked(now))
        .chain(waiting)
        .collect();
    worker.store.put_off(&blocked);
    if begun > 0 {
        return Ok(Duration::ZERO);
    }
    let next = blocked.iter().map(|(_, wait)| *wait).min();
    // others may begin where these cannot, but none where there is no memory or no place at all
    Ok(if more && !is_short && !has_no_place {
        MIN_WAIT
    } else {
        next.unwrap_or(MAX_WAIT).clamp(MIN_WAIT, MAX_WAIT)
    })
}

/// Lets the endpoints that got no place wait until one of their tenant is freed, or one of suspects. Returns them, and whether others wait for
/// any place.
fn without_place(
    places: &Places,
    wishes: &[Wish],
    given: &[(TargetId, u32)],
) -> (Vec<(TargetId, Duration)>, bool) {
    let given: HashSet<TargetId> = given.iter().map(|(target, _)| *target).collect();
    let wants = |wish: &&Wish| wish.count > 0 && !given.contains(&wish.target);
    let without: Vec<&Wish> = wishes.iter().filter(wants).collect();
    let waiting: Vec<_> = without
        .iter()
        .filter(|wish| places.wait(wish.tenant, wish.target, wish.is_suspect))
        .map(|wish| (wish.target, MAX_PLACE_WAIT))
        .collect();
    let wants_any = waiting.len() < without.len();
    (waiting, wants_any)
}

/// An endpoint with due events.
struct Candidate {
    endpoint: Arc<LiveEndpoint>,
    slots: Vec<AttemptSlot>,
    /// Whether there was a free slot.
    had_slot: bool,
    tokens: u32,
    pause: Admission,
}

impl Candidate {
    /// Reserves its free slots and tokens.
    fn of(endpoint: &Arc<LiveEndpoint>, now: Instant) -> Self {
        let target = endpoint.target();
        target.set_backlog(true);
        let pause = target.pause().admission(now);
        let most = match pause {
            Admission::All => PER_TARGET,
            Admission::Probe => 1,
            Admission::None => 0,
        };
        let slots = target.reserve(most);
        let count = u32::try_from(slots.len()).unwrap_or(most);
        Self {
            tokens: target.take(count, now),
            endpoint: Arc::clone(endpoint),
            had_slot: !slots.is_empty(),
            slots,
            pause,
        }
    }

    fn tenant_and_target(&self) -> (OriginId, TargetId) {
        (self.endpoint.tenant(), self.endpoint.target().id())
    }

    fn wish(&self) -> Wish {
        let target = self.endpoint.target();
        Wish {
            target: target.id(),
            tenant: self.endpoint.tenant(),
            is_suspect: target.is_suspect(),
            count: self.tokens,
        }
    }

    /// Returns the memory that its target holds, of `total` bytes of all endpoints.
    fn share(&self, total: usize) -> Share {
        Share {
            target: self.endpoint.target().held(),
            total,
        }
    }

    /// Returns the events to lease.
    fn request(&self, count: u32) -> LeaseRequest {
        let target = self.endpoint.target();
        let except = target.pause().failed();
        LeaseRequest {
            target: target.id(),
            count,
            held: target.held(),
            turn: target.turn(),
            except,
        }
    }

    /// Returns how long no attempt can begin, whatever becomes due: it has no slot or token, or it pauses.
    fn blocked(&self, now: Instant) -> Option<(TargetId, Duration)> {
        let target = self.endpoint.target();
        let wait = target.wait(now).max(target.pause().shut_for(now));
        let has_slot = self.had_slot || self.pause == Admission::None;
        let wait = if has_slot {
            wait
        } else {
            wait.max(MAX_SLOT_WAIT)
        };
        (!wait.is_zero()).then(|| (target.id(), wait))
    }

    /// Gives back the tokens that were not used.
    fn give_back(&self, now: Instant) {
        self.endpoint.target().give_back(self.tokens, now);
    }
}

/// Leases what was given and begins the attempts. Returns how many.
async fn begin(
    worker: &Arc<Worker>,
    endpoints: &Endpoints,
    candidates: &mut [Candidate],
    given: &[(TargetId, u32)],
    now: Instant,
) -> Result<u32, StoreError> {
    let mut by_target: HashMap<TargetId, &mut Candidate> = candidates
        .iter_mut()
        .map(|candidate| (candidate.endpoint.target().id(), candidate))
        .collect();
    let mut requests = Vec::with_capacity(given.len());
    let active = given
        .iter()
        .filter(|(target, _)| !endpoints.is_inactive(*target));
    for (target, count) in active {
        let Some(candidate) = by_target.get_mut(target) else {
            continue;
        };
        let may_probe = candidate.pause != Admission::Probe
            || candidate
                .slots
                .last_mut()
                .is_some_and(|slot| slot.make_probe(now));
        if may_probe {
            requests.push(candidate.request(*count));
        }
    }
    let lease = candidates_lease(&by_target);
    let held = endpoints.memory().held();
    let Some(lease) = lease.filter(|_| !requests.is_empty()) else {
        return Ok(0);
    };
    let mut begun = 0;
    for leased in worker.store.lease(&requests, lease, held).await? {
        let id = leased.lease.unit.target;
        let Some(candidate) = by_target.get_mut(&id) else {
            continue;
        };
        let endpoint = Arc::clone(&candidate.endpoint);
        let is_suspect = endpoint.target().is_suspect();
        let place = endpoints.places().take(endpoint.tenant(), is_suspect);
        // without a place the lease lapses, which is rare: an event was published meanwhile
        let (Some(slot), Some(place)) = (candidate.slots.pop(), place) else {
            drop(worker.store.settle(leased.lease, None, Next::GiveBack));
            continue;
        };
        candidate.tokens = candidate.tokens.saturating_sub(1);
        begun += 1;
        endpoint.target().record_turn(Turn::of(leased.attempts));
        let slot = slot.hold(leased.bytes).in_place(place);
        let is_probe = candidate.pause == Admission::Probe;
        let reserved = ReservedEndpoint { endpoint, slot };
        attempt_event(worker, reserved, leased, is_probe);
    }
    Ok(begun)
}

/// Returns the longest lease that one of the endpoints needs.
fn candidates_lease(candidates: &HashMap<TargetId, &mut Candidate>) -> Option<Duration> {
    let leases = candidates.values().map(|one| one.endpoint.lease());
    leases.max()
}
