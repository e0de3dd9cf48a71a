//! Hands on what waits in the queue: looks who has work, chooses, leases, hands on, settles. What decides is in `queue`; this drives it.
//!
//! The accepting gate delivers from memory what it may deliver at once ([`Target::begin`]); the loop serves retries, what another process left,
//! and what came in too fast.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::config::snapshot::{Hook, Snapshot};
use crate::gateway::Gate;
use crate::gateway::live::{Live, LiveHook};
use crate::queue::choose::{Candidate, Choice, Room, choose};
use crate::store::archive::Counts;
use crate::store::names::Numbers;
use crate::store::queue::{Leased, TargetId};
use crate::store::{Store, StoreError};

mod attempt;
pub(super) mod courier;
mod sweep;
mod target;

pub(super) use attempt::{Task, asked, attempt_row, delivery_id, lease_of};
use courier::LiveAlarms;
pub use sweep::sweep;
pub(super) use target::{Place, Target};

/// Targets that one look sees at most.
const LOOK: u16 = 64;
/// The longest pause between two looks, and the shortest after one that found nothing to begin.
const POLL: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_millis(5);
/// The pause after a look that the store did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of deliveries in memory at once that came from the disk, but for the last one.
const BYTES: usize = 32 << 20;
/// Tries that one look begins for a target, at most.
const MOST: u32 = 64;

/// What delivering needs over reloads.
#[derive(Debug)]
pub(super) struct Deliverer {
    /// Where deliveries lie.
    pub(super) store: Arc<dyn Store>,
    /// Whether the store is on disk, as it was opened. A reload does not change that.
    durable: bool,
    targets: Mutex<HashMap<TargetId, Arc<Target>>>,
    /// Bytes of deliveries in memory that came from the disk.
    bytes: Arc<AtomicUsize>,
    /// Told when a target has a free place, and deliveries that wait for it.
    freed: Arc<Notify>,
    /// What lies in the store, a second ago.
    counts: ArcSwap<Counts>,
}

impl Deliverer {
    pub(super) fn new(store: Arc<dyn Store>, durable: bool) -> Self {
        let (targets, bytes, freed) = (Mutex::default(), Arc::default(), Arc::default());
        Self { store, durable, targets, bytes, freed, counts: ArcSwap::default() }
    }

    /// What lies in the store, a second ago.
    pub(super) fn counts(&self) -> Arc<Counts> {
        self.counts.load_full()
    }

    /// The target of a route, following its policy from now on; none without a store on disk.
    pub(super) fn target_of(&self, hook: &Hook, numbers: &Numbers) -> Option<Arc<Target>> {
        let target = self.durable.then(|| self.target(TargetId(numbers.number)))?;
        target.follow(&hook.deliver);
        Some(target)
    }

    /// Where the alarms of a config go, if they go anywhere.
    pub(super) fn alarms_of(&self, snapshot: &Snapshot, number: Option<TargetId>) -> Option<Arc<LiveAlarms>> {
        let number = number.filter(|_| self.durable)?;
        LiveAlarms::of(snapshot, &self.target(number)).map(Arc::new)
    }

    fn target(&self, id: TargetId) -> Arc<Target> {
        let new = || Arc::new(Target::new(id, Arc::clone(&self.freed)));
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(targets.entry(id).or_insert_with(new))
    }
}

/// Delivers until the gate leaves. What is being handed on then goes on.
pub async fn run(gate: Arc<Gate>) {
    let mut leaving = gate.lifecycle.leaving.subscribe();
    let mut after = None;
    while !*leaving.borrow_and_update() {
        // taken before looking: what becomes due meanwhile is not missed
        let (work, freed) = (gate.deliverer.store.work(), gate.deliverer.freed.notified());
        let pause = match look(&gate, &mut after).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "the store does not say what waits");
                PAUSE
            }
        };
        tokio::select! {
            () = work => {}
            () = freed => {}
            () = sleep(pause) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// One round: who has work, who of them may, and off it goes. How long to wait for the next.
async fn look(gate: &Arc<Gate>, after: &mut Option<TargetId>) -> Result<Duration, StoreError> {
    let deliverer = &gate.deliverer;
    let ready = deliverer.store.ready(*after, LOOK).await?;
    *after = ready.last;
    let live = gate.live.load_full();
    let ways = ways(&live);
    if ready.whole {
        let busy: HashSet<TargetId> = ready.targets.iter().filter_map(|id| Some(ways.get(id)?.target.id())).collect();
        let idle = ways.values().filter(|way| !busy.contains(&way.target.id()));
        idle.for_each(|way| way.target.set_backlog(false));
    }
    let mut ways: Vec<&Way<'_>> = ready.targets.iter().filter_map(|id| ways.get(id)).collect();
    // deliveries of a merged route go first: nothing new joins them, so they hold up the others for a while at most
    ways.sort_by_key(|way| way.id == way.target.id());
    let now = gate.clock.mono();
    let mut places: HashMap<TargetId, Vec<Place>> = ways.iter().map(|way| (way.id, way.reserve())).collect();
    let candidates: Vec<_> = ways.iter().map(|way| way.candidate(places.get(&way.id).map_or(0, Vec::len), now)).collect();
    let room = BYTES.saturating_sub(deliverer.bytes.load(Ordering::Relaxed));
    let chosen = if room > 0 { choose(&candidates) } else { Vec::new() };
    let begun = begin(gate, &ways, &chosen, &mut places, room).await;
    drop(places);
    for (way, candidate) in ways.iter().zip(&candidates) {
        let used = begun.as_ref().ok().and_then(|begun| begun.get(&candidate.target)).copied().unwrap_or(0);
        way.target.give_back(candidate.tokens.saturating_sub(used), now);
    }
    if !begun?.is_empty() {
        return Ok(Duration::ZERO);
    }
    if !ready.whole {
        return Ok(SHORTEST);
    }
    let waits = ways.iter().flat_map(|way| [way.target.wait(now), way.shut_for(now)]);
    let next = waits.filter(|wait| !wait.is_zero()).chain(ready.next_in).min();
    Ok(next.unwrap_or(POLL).clamp(SHORTEST, POLL))
}

/// How a target is reached now.
struct Way<'a> {
    /// The number of its deliveries.
    id: TargetId,
    /// The places and the rate, shared by all numbers of a route.
    target: &'a Arc<Target>,
    to: To<'a>,
}

/// What stands at the end of a way.
enum To<'a> {
    /// The app of a route.
    Route(&'a Arc<LiveHook>),
    /// Where the gate's own alarms go.
    Alarms(&'a Arc<LiveAlarms>),
}

impl Way<'_> {
    /// What its upstream's breaker lets through; alarms go to no upstream.
    fn room(&self, now: Instant) -> Room {
        match self.to {
            To::Route(route) => route.upstream.breaker().room(now),
            To::Alarms(_) => Room::All,
        }
    }

    /// How long that is nothing.
    fn shut_for(&self, now: Instant) -> Duration {
        match self.to {
            To::Route(route) => route.upstream.breaker().shut_for(now),
            To::Alarms(_) => Duration::ZERO,
        }
    }

    /// How long a unit of it is leased.
    fn lease(&self) -> Duration {
        match self.to {
            To::Route(route) => lease_of(&route.hook),
            To::Alarms(_) => courier::LEASE,
        }
    }

    /// The places that it has free. Those that come in now come after those that wait.
    fn reserve(&self) -> Vec<Place> {
        self.target.set_backlog(true);
        self.target.reserve(MOST)
    }

    /// What it may have; its tokens are taken.
    fn candidate(&self, places: usize, now: Instant) -> Candidate {
        let places = u32::try_from(places).unwrap_or(MOST);
        Candidate {
            target: self.id,
            upstream: match self.to {
                To::Route(route) => Arc::clone(&route.hook.forward.upstream.name),
                To::Alarms(_) => Arc::from(""),
            },
            room: self.room(now),
            places,
            tokens: self.target.take(places, now),
        }
    }
}

/// The ways there are now, by target: one whose route is gone has none, and is parked.
fn ways<'l>(live: &'l Live) -> HashMap<TargetId, Way<'l>> {
    let of = |route: &'l Arc<LiveHook>| {
        route.owns.iter().filter_map(move |id| Some(Way { id: *id, target: route.target.as_ref()?, to: To::Route(route) }))
    };
    let routes = live.hooks().flat_map(of);
    let alarms = live.alarms.iter().map(|alarms| Way { id: alarms.target.id(), target: &alarms.target, to: To::Alarms(alarms) });
    routes.chain(alarms).map(|way| (way.id, way)).collect()
}

/// Leases what was chosen and sends it on its way; how many of each.
async fn begin(
    gate: &Arc<Gate>,
    ways: &[&Way<'_>],
    chosen: &[Choice],
    places: &mut HashMap<TargetId, Vec<Place>>,
    room: usize,
) -> Result<HashMap<TargetId, u32>, StoreError> {
    let mut begun = HashMap::new();
    if chosen.is_empty() {
        return Ok(begun);
    }
    let lease = ways.iter().map(|way| way.lease()).max().unwrap_or(PAUSE);
    let wanted: Vec<_> = chosen.iter().map(|choice| (choice.target, choice.count)).collect();
    for leased in gate.deliverer.store.lease(&wanted, lease, room).await? {
        let id = leased.lease.unit.target;
        let Some(way) = ways.iter().find(|way| way.id == id) else { continue };
        let probe = chosen.iter().any(|choice| choice.target == id && choice.probe);
        *begun.entry(id).or_default() += 1;
        let place = places.get_mut(&id).and_then(Vec::pop).map(Place::used);
        hand_on(gate, way, leased, probe, place);
    }
    Ok(begun)
}

fn hand_on(gate: &Arc<Gate>, way: &Way<'_>, leased: Leased, probe: bool, place: Option<Place>) {
    let held = Held::of(&gate.deliverer.bytes, leased.stored.body.len());
    let (gate, held) = (Arc::clone(gate), (place, held));
    match way.to {
        To::Route(route) => {
            let route = Arc::clone(route);
            tokio::spawn(async move {
                if let Some(task) = Task::of_leased(&gate, &route, leased, probe).await {
                    task.run().await;
                }
                drop(held);
            });
        }
        To::Alarms(alarms) => {
            let alarms = Arc::clone(alarms);
            tokio::spawn(async move {
                courier::attempt(&gate, &alarms, leased).await;
                drop(held);
            });
        }
    }
}

/// Bytes in memory; given back on drop.
#[derive(Debug)]
struct Held(Arc<AtomicUsize>, usize);

impl Held {
    fn of(all: &Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self(Arc::clone(all), bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}
