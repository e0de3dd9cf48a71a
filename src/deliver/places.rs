//! The places for attempts to endpoints. Half of them are never given to suspects: endpoints whose last attempt had no answer, or a slow one.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::queue::fair;
use crate::store::queue::OriginId;

use super::target::Memory;

/// The share of all places that one tenant may have.
const TENANT_SHARE: u32 = 8;

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
}

impl Taken {
    fn has_room(&self, tenant: OriginId, is_suspect: bool) -> bool {
        let of_tenant = self.tenants.get(&tenant).copied().unwrap_or(0);
        self.any < self.most
            && of_tenant < per_tenant(self.most)
            && (!is_suspect || self.suspects < for_suspects(self.most))
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

    /// Returns the places that are taken: by suspects, and by others.
    #[cfg(test)]
    fn busy(&self) -> (u32, u32) {
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
        taken.any -= 1;
        taken.suspects -= u32::from(self.is_suspect.load(Ordering::Relaxed));
        if let Some(count) = taken.tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.tenants.remove(&self.tenant);
            }
        }
        drop(taken);
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
}
