//! Hands on what waits in the queue: looks who has work, chooses, leases, hands on, settles. What decides is in `queue`; this drives it.
//!
//! The accepting gate delivers from memory what it may deliver at once ([`Target::begin`]); the loop serves retries, what another process left,
//! and what came in too fast.
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::time::sleep;

use crate::config::snapshot::{Snapshot, WebhookRoute};
use crate::gateway::Gate;
use crate::gateway::active_config::{Live, LiveHook};
use crate::queue::attempt::lease_of;
use crate::queue::choose::{Candidate, Choice, PER_TARGET, Room, choose};
use crate::store::StoreError;
use crate::store::archive::Counts;
use crate::store::names::Numbers;
use crate::store::queue::{Leased, TargetId, Wanted};
use crate::store::turns::{Share, Turn};

pub mod alarm_webhook;
mod attempt;
mod sweep;
mod target;

use alarm_webhook::LiveAlarms;
pub(crate) use attempt::{Begun, Task};
pub use sweep::sweep;
use target::Memory;
pub(crate) use target::{Place, Target};

/// The longest pause between two looks, and the shortest after one that found nothing to begin.
const POLL: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_millis(5);
/// The pause after a look that the store did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// What delivering needs over reloads.
#[derive(Debug)]
pub(crate) struct Deliverer {
    /// Whether the store is on disk, as it was opened. A reload does not change that.
    durable: bool,
    targets: Mutex<HashMap<TargetId, Arc<Target>>>,
    memory: Arc<Memory>,
    /// What lies in the store, a second ago.
    counts: ArcSwap<Counts>,
}

impl Deliverer {
    pub(crate) fn new(durable: bool) -> Self {
        Self {
            durable,
            targets: Mutex::default(),
            memory: Arc::default(),
            counts: ArcSwap::default(),
        }
    }

    /// What lies in the store, a second ago.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.counts.load_full()
    }

    /// The target of a route, following its policy from now on; none without a store on disk.
    pub(crate) fn target_of(&self, hook: &WebhookRoute, numbers: &Numbers) -> Option<Arc<Target>> {
        let target = self
            .durable
            .then(|| self.target(TargetId(numbers.number)))?;
        target.follow(&hook.deliver);
        target.reach(&hook.forward.upstream.address);
        Some(target)
    }

    /// Where the alarms of a config go, if they go anywhere.
    pub(crate) fn alarms_of(
        &self,
        snapshot: &Snapshot,
        number: Option<TargetId>,
    ) -> Option<Arc<LiveAlarms>> {
        let number = number.filter(|_| self.durable)?;
        LiveAlarms::of(snapshot, &self.target(number)).map(Arc::new)
    }

    fn target(&self, id: TargetId) -> Arc<Target> {
        let new = || Arc::new(Target::new(id, Arc::clone(&self.memory)));
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
        let (work, freed) = (gate.store.work(), gate.deliverer.memory.freed());
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

/// Makes one round: finds the targets that have work, chooses among them and begins attempts. Returns how long to wait for the next.
async fn look(gate: &Arc<Gate>, after: &mut Option<TargetId>) -> Result<Duration, StoreError> {
    let deliverer = &gate.deliverer;
    // memory that is given back from here on is heard of
    deliverer.memory.set_short(true);
    let ready = gate.store.ready(*after).await?;
    let live = gate.live.load_full();
    let ways = ways(&live);
    let busy: HashSet<TargetId> = ready
        .targets
        .iter()
        .filter_map(|id| Some(ways.get(id)?.target.id()))
        .collect();
    let idle = ways.values().filter(|way| !busy.contains(&way.target.id()));
    idle.for_each(|way| way.target.set_backlog(false));
    let ways = in_turn(ready.targets.iter().filter_map(|id| ways.get(id)).collect());
    let now = gate.clock.mono();
    let mut places: HashMap<TargetId, Vec<Place>> =
        ways.iter().map(|way| (way.id, way.reserve())).collect();
    let candidates: Vec<_> = ways
        .iter()
        .map(|way| way.candidate(places.get(&way.id).map_or(0, Vec::len), now))
        .collect();
    let mut chosen = choose(&candidates);
    chosen.retain(|choice| may_probe(choice, &candidates, &mut places, now));
    let begun = begin(gate, &ways, &chosen, &mut places).await;
    drop(places);
    for (way, candidate) in ways.iter().zip(&candidates) {
        let used = begun
            .as_ref()
            .ok()
            .and_then(|begun| begun.get(&candidate.target))
            .copied()
            .unwrap_or(0);
        way.target
            .give_back(candidate.tokens.saturating_sub(used), now);
    }
    let total = deliverer.memory.held();
    let is_short = |way: &&Way<'_>| {
        !Share {
            target: way.target.held(),
            total,
        }
        .may_begin()
    };
    deliverer.memory.set_short(ways.iter().any(is_short));
    let begun = begun?;
    // those that got none come first in the next round
    *after = chosen
        .iter()
        .rev()
        .map(|choice| choice.target)
        .find(|target| begun.contains_key(target))
        .or(*after);
    if !begun.is_empty() {
        return Ok(Duration::ZERO);
    }
    let waits = ways
        .iter()
        .flat_map(|way| [way.target.wait(now), way.shut_for(now)]);
    let next = waits
        .filter(|wait| !wait.is_zero())
        .chain(ready.next_in)
        .min();
    Ok(next.unwrap_or(POLL).clamp(SHORTEST, POLL))
}

/// Keeps the order of the ring, but for the numbers of one route: deliveries of a route that was merged into it go first. Nothing new joins them, so
/// they hold up its own for a while at most.
fn in_turn<'w, 'l>(mut ways: Vec<&'w Way<'l>>) -> Vec<&'w Way<'l>> {
    let mut turns = HashMap::new();
    for (turn, way) in ways.iter().enumerate() {
        turns.entry(way.target.id()).or_insert(turn);
    }
    ways.sort_by_key(|way| {
        (
            turns.get(&way.target.id()).copied(),
            way.id == way.target.id(),
        )
    });
    ways
}

/// Whether a choice may go on: one that ends a pause needs the only probe of its target.
fn may_probe(
    choice: &Choice,
    candidates: &[Candidate],
    places: &mut HashMap<TargetId, Vec<Place>>,
    now: Instant,
) -> bool {
    let pauses = candidates
        .iter()
        .any(|candidate| candidate.target == choice.target && candidate.pause == Room::Probe);
    !pauses
        || places
            .get_mut(&choice.target)
            .and_then(|places| places.last_mut())
            .is_some_and(|place| place.make_probe(now))
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
    /// Returns what the breakers of its upstream let through; alarms go to no upstream.
    fn room(&self, now: Instant) -> Room {
        match self.to {
            To::Route(route) => route.upstream.room(now),
            To::Alarms(_) => Room::All,
        }
    }

    /// Returns how long its breaker, or its pause, lets nothing through.
    fn shut_for(&self, now: Instant) -> Duration {
        let breaker = match self.to {
            To::Route(route) => route.upstream.shut_for(now),
            To::Alarms(_) => Duration::ZERO,
        };
        breaker.max(self.target.pause().shut_for(now))
    }

    /// How long a unit of it is leased.
    fn lease(&self) -> Duration {
        match self.to {
            To::Route(route) => {
                let forward = &route.hook.forward;
                lease_of(forward.upstream.connect_timeout, forward.timeout)
            }
            To::Alarms(_) => alarm_webhook::LEASE,
        }
    }

    /// Returns the units that are wanted of it.
    fn wanted(&self, choice: &Choice) -> Wanted {
        let except = self.target.pause().failed();
        Wanted {
            target: choice.target,
            count: choice.count,
            held: self.target.held(),
            turn: self.target.turn(),
            except,
        }
    }

    /// The places that it has free. Those that come in now come after those that wait.
    fn reserve(&self) -> Vec<Place> {
        self.target.set_backlog(true);
        self.target.reserve(PER_TARGET)
    }

    /// What it may have; its tokens are taken.
    fn candidate(&self, places: usize, now: Instant) -> Candidate {
        let places = u32::try_from(places).unwrap_or(PER_TARGET);
        Candidate {
            target: self.id,
            upstream: match self.to {
                To::Route(route) => Arc::clone(&route.hook.forward.upstream.name),
                To::Alarms(_) => Arc::from(""),
            },
            room: self.room(now),
            pause: self.target.pause().room(now),
            places,
            tokens: self.target.take(places, now),
        }
    }
}

/// The ways there are now, by target: one whose route is gone has none, and is parked.
fn ways<'l>(live: &'l Live) -> HashMap<TargetId, Way<'l>> {
    let of = |route: &'l Arc<LiveHook>| {
        route.owns.iter().filter_map(move |id| {
            Some(Way {
                id: *id,
                target: route.target.as_ref()?,
                to: To::Route(route),
            })
        })
    };
    let routes = live.hooks().flat_map(of);
    let alarms = live.alarms.iter().map(|alarms| Way {
        id: alarms.target.id(),
        target: &alarms.target,
        to: To::Alarms(alarms),
    });
    routes.chain(alarms).map(|way| (way.id, way)).collect()
}

/// Leases what was chosen and begins the attempts. Returns how many of each.
async fn begin(
    gate: &Arc<Gate>,
    ways: &[&Way<'_>],
    chosen: &[Choice],
    places: &mut HashMap<TargetId, Vec<Place>>,
) -> Result<HashMap<TargetId, u32>, StoreError> {
    let mut begun = HashMap::new();
    if chosen.is_empty() {
        return Ok(begun);
    }
    let lease = ways.iter().map(|way| way.lease()).max().unwrap_or(PAUSE);
    let way_to = |target: TargetId| ways.iter().find(|way| way.id == target);
    let wanted: Vec<_> = chosen
        .iter()
        .filter_map(|choice| Some(way_to(choice.target)?.wanted(choice)))
        .collect();
    let held = gate.deliverer.memory.held();
    if !wanted.iter().any(|wanted| {
        Share {
            target: wanted.held,
            total: held,
        }
        .may_begin()
    }) {
        return Ok(begun);
    }
    for leased in gate.store.lease(&wanted, lease, held).await? {
        let id = leased.lease.unit.target;
        let (Some(way), Some(place)) = (way_to(id), places.get_mut(&id).and_then(Vec::pop)) else {
            continue;
        };
        let probe = chosen
            .iter()
            .any(|choice| choice.target == id && choice.probe);
        *begun.entry(id).or_default() += 1;
        way.target.took(Turn::of(leased.tries));
        let place = place.used(leased.bytes);
        hand_on(gate, way, leased, probe, place);
    }
    Ok(begun)
}

fn hand_on(gate: &Arc<Gate>, way: &Way<'_>, leased: Leased, probe: bool, place: Place) {
    let gate = Arc::clone(gate);
    match way.to {
        To::Route(route) => {
            let route = Arc::clone(route);
            tokio::spawn(async move {
                if let Some(task) = Task::of_leased(&gate, &route, leased, probe, place).await {
                    task.run().await;
                }
            });
        }
        To::Alarms(alarms) => {
            let alarms = Arc::clone(alarms);
            tokio::spawn(async move {
                alarm_webhook::attempt(&gate, &alarms, leased, probe, &place).await
            });
        }
    }
}
