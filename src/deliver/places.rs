//! The places for attempts to endpoints. Half of them are never given to suspects: endpoints whose last attempt had no answer, or a slow one.
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::queue::fair;
use crate::store::queue::{OriginId, TargetId};

use super::memory::Memory;

/// The share of all places that one tenant may have.
const TENANT_SHARE: u32 = 8;

/// The endpoints that may go on when a place is freed. One place needs one of them, and some may have nothing to send by then.
const WOKEN: usize = 4;

/// The places of all endpoints.
#[derive(Debug)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    memory: Arc<Memory>,
}

#[derive(Debug, Default)]
struct Taken {
    most: u32,
    any: u32,
    suspects: u32,
    tenants: HashMap<OriginId, u32>,
    /// Whether waiting events found no place in the last round.
    is_short: bool,
    /// The suspects that wait for a place of theirs.
    waiting_suspects: Waiting,
    /// The endpoints that wait for a place of their tenant.
    waiting: HashMap<OriginId, Waiting>,
}

/// Endpoints that wait for a place, in the order of their numbers.
#[derive(Debug, Default)]
struct Waiting {
    targets: BTreeSet<TargetId>,
    /// The one that was woken last.
    last: Option<TargetId>,
    /// Whether some were woken for a place that was freed, and no round was since.
    is_owed: bool,
}

impl Waiting {
    /// Takes the next ones in turn.
    fn wake(&mut self) -> Vec<TargetId> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.targets.range((after, Bound::Unbounded));
        let all = behind.chain(self.targets.iter());
        let woken: Vec<TargetId> = all.take(WOKEN.min(self.targets.len())).copied().collect();
        for target in &woken {
            self.targets.remove(target);
        }
        self.last = woken.last().copied().or(self.last);
        self.is_owed |= !woken.is_empty();
        woken
    }

    fn has_some(&self) -> bool {
        self.is_owed || !self.targets.is_empty()
    }
}

impl Taken {
    fn of_tenant(&self, tenant: OriginId) -> u32 {
        self.tenants.get(&tenant).copied().unwrap_or(0)
    }

    fn has_room(&self, tenant: OriginId, is_suspect: bool) -> bool {
        self.any < self.most
            && self.of_tenant(tenant) < per_tenant(self.most)
            && (!is_suspect || self.suspects < for_suspects(self.most))
    }

    /// Returns whether waiting events come before a new one of a tenant.
    fn others_wait(&self, tenant: OriginId, is_suspect: bool) -> bool {
        self.is_short
            || self.waiting.get(&tenant).is_some_and(Waiting::has_some)
            || is_suspect && self.waiting_suspects.has_some()
    }
}

/// Returns the places of one tenant.
fn per_tenant(most: u32) -> u32 {
    (most / TENANT_SHARE).max(1)
}

/// Returns the places that suspects may have.
fn for_suspects(most: u32) -> u32 {
    (most / 2).max(1)
}

impl Places {
    pub(super) fn new(memory: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            memory,
        })
    }

    /// Sets the number of places. Attempts under way keep theirs.
    pub(super) fn set_most(&self, most: u32) {
        self.taken.lock().most = most;
    }

    /// Returns what is free now.
    pub(super) fn free(&self) -> fair::Places {
        let taken = self.taken.lock();
        let any = taken.most.saturating_sub(taken.any);
        fair::Places {
            any,
            suspects: for_suspects(taken.most)
                .saturating_sub(taken.suspects)
                .min(any),
            per_tenant: per_tenant(taken.most),
            taken: taken.tenants.clone(),
        }
    }

    /// Takes a place, if one is free.
    pub(super) fn take(self: &Arc<Self>, tenant: OriginId, is_suspect: bool) -> Option<Place> {
        let mut taken = self.taken.lock();
        if !taken.has_room(tenant, is_suspect) {
            return None;
        }
        taken.any += 1;
        taken.suspects += u32::from(is_suspect);
        *taken.tenants.entry(tenant).or_default() += 1;
        drop(taken);
        Some(Place {
            places: Arc::clone(self),
            tenant,
            is_suspect: AtomicBool::new(is_suspect),
        })
    }

    /// Takes a place for an event that is being published. Events that wait for a place come before it.
    pub(super) fn take_new(self: &Arc<Self>, tenant: OriginId, is_suspect: bool) -> Option<Place> {
        if self.taken.lock().others_wait(tenant, is_suspect) {
            return None;
        }
        self.take(tenant, is_suspect)
    }

    /// Begins a round for endpoints: none of them waits for a place any more.
    pub(super) fn begin_round(&self, endpoints: impl Iterator<Item = (OriginId, TargetId)>) {
        let mut taken = self.taken.lock();
        for (tenant, target) in endpoints {
            taken.waiting_suspects.targets.remove(&target);
            if let Some(waiting) = taken.waiting.get_mut(&tenant) {
                waiting.targets.remove(&target);
            }
        }
    }

    /// Lets an endpoint without a place wait for one of its tenant, or of suspects. Returns whether it does: not if it waits for any place, or
    /// there is one by now.
    pub(super) fn wait(&self, tenant: OriginId, target: TargetId, is_suspect: bool) -> bool {
        let mut taken = self.taken.lock();
        let waiting = if taken.of_tenant(tenant) >= per_tenant(taken.most) {
            taken.waiting.entry(tenant).or_default()
        } else if is_suspect && taken.suspects >= for_suspects(taken.most) {
            &mut taken.waiting_suspects
        } else {
            return false;
        };
        waiting.targets.insert(target);
        true
    }

    /// Ends a round. `wants_any` says whether endpoints of it wait for any place at all. Returns whether there is none for them.
    pub(super) fn end_round(&self, wants_any: bool) -> bool {
        let mut taken = self.taken.lock();
        taken.is_short = wants_any && taken.any >= taken.most;
        taken.waiting_suspects.is_owed = false;
        taken.waiting.retain(|_, waiting| {
            waiting.is_owed = false;
            waiting.has_some()
        });
        taken.is_short
    }

    /// Returns the places that are taken: by suspects, and by others.
    pub(super) fn busy(&self) -> (u32, u32) {
        let taken = self.taken.lock();
        (taken.suspects, taken.any - taken.suspects)
    }
}

/// A place for one attempt. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    tenant: OriginId,
    is_suspect: AtomicBool,
}

impl Place {
    /// Counts the attempt among those of suspects from now on, if there is room: it waits for an answer.
    pub(super) fn suspect(&self) {
        let mut taken = self.places.taken.lock();
        if taken.suspects < for_suspects(taken.most)
            && !self.is_suspect.swap(true, Ordering::Relaxed)
        {
            taken.suspects += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        let is_suspect = self.is_suspect.load(Ordering::Relaxed);
        taken.any -= 1;
        taken.suspects -= u32::from(is_suspect);
        if let Some(count) = taken.tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.tenants.remove(&self.tenant);
            }
        }
        let mut woken = match taken.waiting.get_mut(&self.tenant) {
            Some(waiting) => waiting.wake(),
            None => Vec::new(),
        };
        if is_suspect {
            woken.extend(taken.waiting_suspects.wake());
        }
        drop(taken);
        for target in woken {
            self.places.memory.free_endpoint(target);
        }
        self.places.memory.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_places_are_not_for_suspects() {
        let places = Places::new(Arc::default());
        places.set_most(16);
        let tenant = |number: u32| OriginId(number);
        let suspects: Vec<Place> = (0..16)
            .filter_map(|number| places.take(tenant(number), true))
            .collect();
        assert_eq!((suspects.len(), places.busy()), (8, (8, 0)));
        let healthy: Vec<Place> = (0..16)
            .filter_map(|number| places.take(tenant(number), false))
            .collect();
        assert_eq!((healthy.len(), places.busy()), (8, (8, 8)));
        drop(suspects);
        assert!(places.take(tenant(1), false).is_some());
        healthy.iter().for_each(Place::suspect);
        healthy.iter().for_each(Place::suspect);
        assert_eq!(places.busy(), (8, 0), "an attempt moves once");
        drop(healthy);
        assert_eq!(places.busy(), (0, 0));
        assert!(places.taken.lock().tenants.is_empty());
    }

    #[test]
    fn one_tenant_has_an_eighth() {
        let places = Places::new(Arc::default());
        places.set_most(512);
        let of_one: Vec<Place> = (0..512)
            .filter_map(|_| places.take(OriginId(1), false))
            .collect();
        assert_eq!(of_one.len(), 64);
        assert!(places.take(OriginId(2), false).is_some());
    }

    /// The endpoints that were woken since the last call.
    fn woken(places: &Places) -> BTreeSet<u32> {
        let woken = places.memory.take_freed_endpoints();
        woken.into_iter().map(|target| target.0).collect()
    }

    #[test]
    fn endpoints_of_a_tenant_at_its_cap_wait_until_a_place_of_it_is_freed() {
        let places = Places::new(Arc::default());
        places.set_most(16);
        let (busy, other) = (OriginId(1), OriginId(2));
        let mut held = vec![
            places.take(busy, false).unwrap(),
            places.take(busy, false).unwrap(),
        ];
        let of_other = places.take(other, false).unwrap();
        places.begin_round((0..300).map(|number| (busy, TargetId(number))));
        for number in 0..300 {
            assert!(places.wait(busy, TargetId(number), false));
        }
        assert!(!places.wait(other, TargetId(900), false), "it has a place");
        assert!(!places.end_round(false));
        assert!(places.take_new(busy, false).is_none());
        drop(of_other);
        assert_eq!(woken(&places), BTreeSet::new());
        let mut all = BTreeSet::new();
        for _ in 0..75 {
            held.pop();
            let some = woken(&places);
            assert_eq!(some.len(), WOKEN);
            assert!(places.take_new(busy, false).is_none(), "others come first");
            places.begin_round(some.iter().map(|number| (busy, TargetId(*number))));
            held.push(places.take(busy, false).unwrap());
            places.end_round(false);
            all.extend(some);
        }
        assert_eq!(all.len(), 300);
        held.pop();
        assert_eq!(woken(&places), BTreeSet::new());
        assert!(places.take_new(busy, false).is_some());
        drop(held);
        assert!(places.taken.lock().waiting.is_empty());
    }

    #[test]
    fn suspects_wait_until_a_place_of_theirs_is_freed() {
        let places = Places::new(Arc::default());
        places.set_most(4);
        let tenant = |number: u32| OriginId(number);
        let suspect = places.take(tenant(1), true).unwrap();
        let slow = places.take(tenant(2), true).unwrap();
        assert!(places.wait(tenant(3), TargetId(3), true));
        assert!(!places.wait(tenant(4), TargetId(4), false));
        places.end_round(true);
        assert!(places.take_new(tenant(4), true).is_none());
        drop(places.take_new(tenant(4), false).unwrap());
        assert_eq!(woken(&places), BTreeSet::new());
        drop(suspect);
        assert_eq!(woken(&places), BTreeSet::from([3]));
        drop(slow);
    }

    #[test]
    fn new_events_take_no_place_that_others_found_missing() {
        let places = Places::new(Arc::default());
        places.set_most(1);
        let held = places.take(OriginId(1), false).unwrap();
        assert!(!places.wait(OriginId(2), TargetId(2), false));
        assert!(places.end_round(true));
        drop(held);
        assert!(places.take_new(OriginId(1), false).is_none());
        let waited = places.take(OriginId(2), false);
        assert!(!places.end_round(false));
        drop(waited);
        assert!(places.take_new(OriginId(1), false).is_some());
    }
}
