//! The worker's loop. Each round finds targets with due deliveries, chooses among them, leases deliveries and begins attempts.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::attempt::attempt_leased;
use super::destination::Destination;
use super::endpoint_round::serve_endpoints;
use super::target::AttemptSlot;
use super::worker::Worker;
use crate::queue::choose::{Admission, Candidate, Choice, PER_TARGET, choose};
use crate::store::StoreError;
use crate::store::queue::{LeaseRequest, OriginId, TargetId};
use crate::store::turns::{Share, Turn};

/// The longest wait between two rounds.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The shortest wait after a round that began no attempt.
const MIN_WAIT: Duration = Duration::from_millis(5);
/// The wait after a round in which the store failed.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// Slots that a round has reserved, by the number of the target they are for.
type Slots = HashMap<TargetId, Vec<AttemptSlot>>;

/// Delivers until the process leaves. Attempts under way then go on.
pub async fn run(worker: Arc<Worker>) {
    let mut leaving = worker.activity.leaving();
    let mut turns = Turns::default();
    let (mut is_loaded, mut is_failing) = (false, false);
    while !*leaving.borrow_and_update() {
        // subscribed before the round: deliveries that become due during it are not missed
        let (work, freed) = (worker.store.work(), worker.memory.freed());
        let freed_by_endpoints = worker.endpoints().memory().freed();
        let round = async {
            if !is_loaded {
                worker.endpoints().load_inactive().await?;
                is_loaded = true;
            }
            round(&worker, &mut turns).await
        };
        let wait = match round.await {
            Ok(wait) => {
                if is_failing {
                    tracing::info!("the queue can be read again");
                    is_failing = false;
                }
                wait
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "cannot read the queue; what is in it waits");
                    is_failing = true;
                }
                // whatever becomes due, it cannot be read
                tokio::select! {
                    () = sleep(STORE_WAIT) => {}
                    _ = leaving.changed() => {}
                }
                continue;
            }
        };
        tokio::select! {
            () = work => {}
            () = freed => {}
            () = freed_by_endpoints => {}
            () = sleep(wait) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Makes one round: first for the destinations of the config, then for endpoints. Returns how long to wait for the next round.
async fn round(worker: &Arc<Worker>, turns: &mut Turns) -> Result<Duration, StoreError> {
    let endpoints = worker.endpoints();
    // memory that is freed from here on wakes the worker
    worker.memory.set_short(true);
    endpoints.memory().set_short(true);
    worker
        .store
        .wake(&endpoints.memory().take_freed_endpoints());
    let ready = worker
        .store
        .ready(turns.name, &endpoints.inactive())
        .await?;
    endpoints.clear_backlogs(&ready.idle);
    let (due, names): (Vec<TargetId>, Vec<TargetId>) = ready
        .targets
        .iter()
        .partition(|target| target.is_endpoint());
    let of_names = serve_names(worker, &names, &mut turns.name, ready.next_in).await?;
    let of_endpoints = serve_endpoints(worker, &due, &mut turns.tenant, ready.more).await?;
    Ok(of_names.min(of_endpoints))
}

/// The turns of targets and tenants.
#[derive(Default)]
struct Turns {
    /// The last target of the config that got an attempt.
    name: Option<TargetId>,
    /// The last tenant that got an attempt.
    tenant: Option<OriginId>,
}

/// Begins attempts for the due targets `ready` of the config. `after` is the last target that got an attempt. Returns how long to wait for
/// the next round.
async fn serve_names(
    worker: &Arc<Worker>,
    ready: &[TargetId],
    after: &mut Option<TargetId>,
    next_in: Option<Duration>,
) -> Result<Duration, StoreError> {
    let destinations = worker.destinations();
    clear_backlogs(&destinations.by_number, ready);
    let with_destination = ready.iter().filter_map(|id| {
        let destination = destinations.by_number.get(id)?;
        Some(Due {
            id: *id,
            destination,
        })
    });
    let due = in_turn(with_destination.collect());
    let now = worker.clock.mono();
    let mut slots: Slots = due.iter().map(|due| (due.id, due.reserve())).collect();
    let candidates: Vec<_> = due
        .iter()
        .map(|due| due.candidate(slots.get(&due.id).map_or(0, Vec::len), now))
        .collect();
    let mut chosen = choose(&candidates);
    chosen.retain(|choice| may_probe(choice, &candidates, &mut slots, now));
    let begun = begin(worker, &due, &chosen, &mut slots).await;
    drop(slots);
    for (due, candidate) in due.iter().zip(&candidates) {
        let used = begun
            .as_ref()
            .ok()
            .and_then(|begun| begun.get(&candidate.target))
            .copied()
            .unwrap_or(0);
        due.destination
            .target()
            .give_back(candidate.tokens.saturating_sub(used), now);
    }
    let total = worker.memory.held();
    let is_short = |due: &Due<'_>| !due.share(total).may_begin();
    worker.memory.set_short(due.iter().any(is_short));
    let begun = begun?;
    // targets that got no attempt come first in the next round
    *after = chosen
        .iter()
        .rev()
        .map(|choice| choice.target)
        .find(|target| begun.contains_key(target))
        .or(*after);
    if !begun.is_empty() {
        return Ok(Duration::ZERO);
    }
    Ok(wait_of(&due, next_in, now))
}

/// Lets deliveries that arrive now be attempted at once where no others are due.
fn clear_backlogs(destinations: &HashMap<TargetId, Destination>, ready: &[TargetId]) {
    let busy: HashSet<TargetId> = ready
        .iter()
        .filter_map(|id| Some(destinations.get(id)?.target().id()))
        .collect();
    destinations
        .values()
        .map(Destination::target)
        .filter(|target| !busy.contains(&target.id()))
        .for_each(|target| target.set_backlog(false));
}

/// Keeps the order of the ring, except among the numbers of one route: deliveries of a route that was merged into it go first. No new ones join
/// them, so they delay the route's own for a limited time.
fn in_turn(mut due: Vec<Due<'_>>) -> Vec<Due<'_>> {
    let mut turns = HashMap::new();
    for (turn, due) in due.iter().enumerate() {
        turns.entry(due.destination.target().id()).or_insert(turn);
    }
    due.sort_by_key(|due| {
        let own = due.destination.target().id();
        (turns.get(&own).copied(), due.id == own)
    });
    due
}

/// Returns whether a choice may go on: one that probes a paused target needs the target's only probe.
fn may_probe(choice: &Choice, candidates: &[Candidate], slots: &mut Slots, now: Instant) -> bool {
    let ends_pause = candidates
        .iter()
        .any(|candidate| candidate.target == choice.target && candidate.pause == Admission::Probe);
    !ends_pause
        || slots
            .get_mut(&choice.target)
            .and_then(|slots| slots.last_mut())
            .is_some_and(|slot| slot.make_probe(now))
}

/// Returns how long to wait after a round that began nothing: until a rate, a breaker or a pause lets an attempt begin, or a delivery is due.
fn wait_of(due: &[Due<'_>], next_in: Option<Duration>, now: Instant) -> Duration {
    let blocked = due.iter().flat_map(|due| {
        [
            due.destination.target().wait(now),
            due.destination.shut_for(now),
        ]
    });
    let next = blocked.filter(|wait| !wait.is_zero()).chain(next_in).min();
    next.unwrap_or(MAX_WAIT).clamp(MIN_WAIT, MAX_WAIT)
}

/// A number with due deliveries, and their destination.
struct Due<'a> {
    id: TargetId,
    destination: &'a Destination,
}

impl Due<'_> {
    /// Returns the memory that its target holds, of `total` bytes of all targets.
    fn share(&self, total: usize) -> Share {
        Share {
            target: self.destination.target().held(),
            total,
        }
    }

    /// Reserves all free slots of its target. Deliveries that arrive from now on come after those that wait.
    fn reserve(&self) -> Vec<AttemptSlot> {
        let target = self.destination.target();
        target.set_backlog(true);
        target.reserve(PER_TARGET)
    }

    /// Returns what it may have; its tokens are taken.
    fn candidate(&self, slots: usize, now: Instant) -> Candidate {
        let slots = u32::try_from(slots).unwrap_or(PER_TARGET);
        let target = self.destination.target();
        Candidate {
            target: self.id,
            upstream: self.destination.upstream_name(),
            admission: self.destination.admission(now),
            pause: target.pause().admission(now),
            slots,
            tokens: target.take(slots, now),
        }
    }

    /// Returns the deliveries to lease for a choice.
    fn request(&self, choice: &Choice) -> LeaseRequest {
        let target = self.destination.target();
        let except = target.pause().failed();
        LeaseRequest {
            target: choice.target,
            count: choice.count,
            held: target.held(),
            turn: target.turn(),
            except,
        }
    }
}

/// Leases what was chosen and begins the attempts. Returns how many of each.
async fn begin(
    worker: &Arc<Worker>,
    due: &[Due<'_>],
    chosen: &[Choice],
    slots: &mut Slots,
) -> Result<HashMap<TargetId, u32>, StoreError> {
    let mut begun = HashMap::new();
    let find = |id: TargetId| due.iter().find(|due| due.id == id);
    let requests: Vec<_> = chosen
        .iter()
        .filter_map(|choice| Some(find(choice.target)?.request(choice)))
        .collect();
    let lease = due.iter().map(|due| due.destination.lease()).max();
    let held = worker.memory.held();
    let may_begin = |request: &LeaseRequest| {
        let share = Share {
            target: request.held,
            total: held,
        };
        share.may_begin()
    };
    let Some(lease) = lease.filter(|_| requests.iter().any(may_begin)) else {
        return Ok(begun);
    };
    for leased in worker.store.lease(&requests, lease, held).await? {
        let id = leased.lease.unit.target;
        let (Some(due), Some(slot)) = (find(id), slots.get_mut(&id).and_then(Vec::pop)) else {
            continue;
        };
        let is_probe = chosen
            .iter()
            .any(|choice| choice.target == id && choice.is_probe);
        *begun.entry(id).or_default() += 1;
        due.destination
            .target()
            .record_turn(Turn::of(leased.attempts));
        let slot = slot.hold(leased.bytes);
        attempt_leased(worker, due.destination, leased, is_probe, slot);
    }
    Ok(begun)
}
