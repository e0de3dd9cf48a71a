//! The endpoints of customers, as the worker knows them: rows in a bounded cache, and the state of those that are busy or failing.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::endpoint::{LiveEndpoint, ReservedEndpoint};
use super::memory::Memory;
use super::places::Places;
use super::rules::Rules;
use super::target::Target;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::store::address_book::{Endpoint, EndpointState};
use crate::store::queue::TargetId;
use crate::store::{Store, StoreError};
use crate::tenant::seal::SealKeys;
use crate::upstream::outside::Outside;

/// The most bytes of endpoints whose rows are kept in memory.
const MAX_LIVE_BYTES: usize = 16 << 20;
/// The most endpoints whose state is kept. That of an endpoint which is neither busy nor failing goes first.
const MAX_TARGETS: usize = 16_384;
/// The rows that are read at a time when the worker starts.
const PAGE: u16 = 500;

/// The number of sealed texts before they were counted.
const NOT_COUNTED: u64 = u64::MAX;

/// The endpoints of all tenants.
pub(crate) struct Endpoints {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    outside: Arc<Outside>,
    memory: Arc<Memory>,
    places: Arc<Places>,
    /// None if the config does not send.
    rules: ArcSwapOption<Rules>,
    live: Mutex<Live>,
    targets: Mutex<HashMap<TargetId, Arc<Target>>>,
    /// Notified when an endpoint has a new job.
    jobs: Notify,
    /// The keys that open secrets. A reload does not change them.
    keys: OnceLock<Arc<SealKeys>>,
    /// The number of texts that are sealed with a former key.
    old_seals: AtomicU64,
    /// The endpoints that are not active: nothing is leased for them.
    inactive: ArcSwap<HashSet<TargetId>>,
    /// The pauses that the gateway made since it was started.
    pauses: AtomicU64,
}

/// The rows in memory.
struct Live {
    by_target: Cache<TargetId, Arc<LiveEndpoint>>,
    /// The number of changes so far: a row that was read before one is not kept.
    changes: u64,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}

impl Endpoints {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        outside: Arc<Outside>,
        memory: Arc<Memory>,
    ) -> Self {
        Self {
            store,
            clock,
            outside,
            places: Places::new(Arc::clone(&memory)),
            memory,
            rules: ArcSwapOption::empty(),
            live: Mutex::new(Live {
                by_target: Cache::new(MAX_LIVE_BYTES),
                changes: 0,
            }),
            old_seals: AtomicU64::new(NOT_COUNTED),
            targets: Mutex::default(),
            jobs: Notify::new(),
            keys: OnceLock::new(),
            inactive: ArcSwap::default(),
            pauses: AtomicU64::new(0),
        }
    }

    /// Follows the rules of a config from now on; none: nothing is sent. The keys stay those of the first config that had some.
    pub(crate) fn follow(&self, rules: Option<Rules>) {
        let rules = rules.map(|rules| Rules {
            keys: Arc::clone(self.keys.get_or_init(|| Arc::clone(&rules.keys))),
            ..rules
        });
        if let Some(rules) = &rules {
            self.places.set_most(rules.outbound.limits.attempts);
        }
        self.rules.store(rules.map(Arc::new));
        self.live.lock().forget_all();
        for target in self.targets.lock().keys() {
            self.memory.free_endpoint(*target);
        }
        self.memory.wake();
    }

    /// Lets a new job of an endpoint begin.
    pub(crate) fn note_job(&self) {
        self.jobs.notify_one();
    }

    /// Resolves when an endpoint has a new job.
    pub(super) async fn new_job(&self) {
        self.jobs.notified().await;
    }

    /// Returns the memory of events that are being attempted.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Reserves a slot for an event of `bytes` that is being published, if it may be attempted at once.
    pub(crate) fn reserve(
        &self,
        endpoint: &Arc<LiveEndpoint>,
        bytes: usize,
    ) -> Option<ReservedEndpoint> {
        let target = endpoint.target();
        let place = self
            .places
            .take_new(endpoint.tenant(), target.is_suspect())?;
        let slot = target.begin_new(bytes, self.clock.mono())?;
        Some(ReservedEndpoint {
            endpoint: Arc::clone(endpoint),
            slot: slot.in_place(place),
        })
    }

    /// Records that no due event waits for these endpoints.
    pub(super) fn clear_backlogs(&self, idle: &[TargetId]) {
        let targets = self.targets.lock();
        let known = idle.iter().filter_map(|target| targets.get(target));
        known.for_each(|target| target.set_backlog(false));
    }

    /// Returns whether nothing is sent to an endpoint now, because it gave no answer or is overloaded.
    pub(super) fn is_unavailable(&self, id: TargetId) -> bool {
        let target = self.targets.lock().get(&id).cloned();
        let now = self.clock.mono();
        target.is_some_and(|target| target.pause().remaining(now).is_some())
    }

    /// Lets attempts to an endpoint begin at once, because it is expected to work again.
    pub(super) fn close_breaker(&self, id: TargetId) {
        let target = self.targets.lock().get(&id).cloned();
        if let Some(target) = target {
            target.pause().end();
            self.memory.free_endpoint(id);
        }
    }

    /// Returns the rules, if the config sends.
    pub(crate) fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.load_full()
    }

    pub(super) fn outside(&self) -> &Arc<Outside> {
        &self.outside
    }

    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Returns the attempts under way: those to suspects, and others.
    pub(crate) fn slots(&self) -> (u32, u32) {
        self.places.busy()
    }

    /// Returns the time for which the oldest event has been due of an endpoint that answers, and that neither its own rate nor a pause holds up.
    pub(super) fn oldest_due(&self) -> Option<Duration> {
        let now = self.clock.mono();
        let is_held_up = |target: &Target| target.is_troubled(now) || !target.wait(now).is_zero();
        let held_up = {
            let targets = self.targets.lock();
            let held_up = targets.iter().filter(|(_, target)| is_held_up(target));
            held_up.map(|(id, _)| *id).collect()
        };
        self.store.oldest_due(&held_up)
    }

    /// Reads which endpoints are not active.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn load_inactive(&self) -> Result<(), StoreError> {
        loop {
            let changes = self.live.lock().changes;
            let (mut all, mut after) = (HashSet::new(), None);
            loop {
                let page = self.store.inactive(after, PAGE).await?;
                all.extend(page.iter().map(|one| one.target));
                after = page.last().map(|last| last.target);
                if page.len() < usize::from(PAGE) {
                    break;
                }
            }
            // a change meanwhile is newer than what was read
            let live = self.live.lock();
            if live.changes == changes {
                self.set_inactive(|set| set.extend(all.iter().copied()));
                return Ok(());
            }
        }
    }

    /// Records that a row was changed: what is sent from now on follows it.
    pub(crate) fn changed(&self, target: TargetId, state: EndpointState) {
        self.live.lock().forget(target);
        if state == EndpointState::Active {
            self.set_inactive(|set| {
                set.remove(&target);
            });
            self.memory.free_endpoint(target);
        } else {
            self.set_inactive(|set| {
                set.insert(target);
            });
        }
    }

    /// Forgets what is known of an endpoint whose row may have changed: the next round reads it.
    pub(crate) fn recheck(&self, target: TargetId) {
        self.live.lock().forget(target);
        self.set_inactive(|set| {
            set.remove(&target);
        });
        self.memory.free_endpoint(target);
    }

    /// Returns the number of texts that are sealed with a former key; none if there is no such key, or they were not counted yet.
    pub(crate) fn sealed_by_old_keys(&self) -> Option<u64> {
        let rules = self.rules()?;
        let count = self.old_seals.load(Ordering::Relaxed);
        (rules.keys.has_old() && count != NOT_COUNTED).then_some(count)
    }

    pub(super) fn set_old_seals(&self, count: u64) {
        self.old_seals.store(count, Ordering::Relaxed);
    }

    /// Counts a pause that the gateway made.
    pub(super) fn count_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of pauses that the gateway made since it was started.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Returns the endpoints to which nothing is sent now. A change stores another set.
    pub(super) fn inactive(&self) -> Arc<HashSet<TargetId>> {
        self.inactive.load_full()
    }

    fn set_inactive(&self, change: impl Fn(&mut HashSet<TargetId>)) {
        self.inactive.rcu(|known| {
            let mut changed = (**known).clone();
            change(&mut changed);
            changed
        });
    }

    /// Returns whether nothing is sent to it now.
    pub(crate) fn is_inactive(&self, target: TargetId) -> bool {
        self.inactive.load().contains(&target)
    }

    /// Returns those of `targets` to which something can be sent, reading the rows that are not in memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn get(
        &self,
        targets: &[TargetId],
    ) -> Result<HashMap<TargetId, Arc<LiveEndpoint>>, StoreError> {
        let Some(rules) = self.rules() else {
            return Ok(HashMap::new());
        };
        let mut found = HashMap::with_capacity(targets.len());
        let mut missing = Vec::new();
        let changes;
        {
            let live = &mut *self.live.lock();
            changes = live.changes;
            for target in targets.iter().filter(|target| !self.is_inactive(**target)) {
                match live.by_target.get(target) {
                    Some(endpoint) if !endpoint.is_over(self.clock.now()) => {
                        found.insert(*target, endpoint);
                    }
                    Some(_) | None => missing.push(*target),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        for row in self.store.endpoints_of(&missing).await? {
            if let Some(endpoint) = self.admit(row, &rules, changes) {
                found.insert(endpoint.target().id(), endpoint);
            }
        }
        Ok(found)
    }

    /// Makes an endpoint of a row that was read after so many changes, and keeps it. One that cannot be used is logged; its events wait.
    fn admit(&self, row: Endpoint, rules: &Arc<Rules>, changes: u64) -> Option<Arc<LiveEndpoint>> {
        let (id, state) = (Arc::clone(&row.id), row.state);
        if state != EndpointState::Active {
            let live = self.live.lock();
            if live.changes == changes {
                self.set_inactive(|set| {
                    set.insert(row.target);
                });
            }
            return None;
        }
        let target = self.target(row.target);
        let made = LiveEndpoint::new(row, target, Arc::clone(rules), self.clock.now());
        match made {
            Ok(endpoint) => {
                let endpoint = Arc::new(endpoint);
                if self.live.lock().keep(&endpoint, changes) {
                    endpoint.limit_target();
                }
                Some(endpoint)
            }
            Err(error) => {
                tracing::error!(endpoint = &*id, %error, "nothing can be sent to an endpoint; its events wait");
                None
            }
        }
    }

    /// Returns the state of an endpoint.
    pub(super) fn target(&self, id: TargetId) -> Arc<Target> {
        let now = self.clock.mono();
        let mut targets = self.targets.lock();
        if targets.len() >= MAX_TARGETS && !targets.contains_key(&id) {
            // the map has the only handle of a target that is neither attempted nor cached
            targets.retain(|_, target| Arc::strong_count(target) > 1 || target.is_troubled(now));
            if targets.len() >= MAX_TARGETS {
                targets.retain(|_, target| Arc::strong_count(target) > 1);
            }
        }
        let new = || Arc::new(Target::new(id, Arc::clone(&self.memory)));
        Arc::clone(targets.entry(id).or_insert_with(new))
    }
}

impl Live {
    fn forget(&mut self, target: TargetId) {
        self.changes += 1;
        self.by_target.remove(&target);
    }

    fn forget_all(&mut self) {
        self.changes += 1;
        self.by_target.clear();
    }

    /// Keeps an endpoint, unless a row was changed since it was read. Returns whether it is kept.
    fn keep(&mut self, endpoint: &Arc<LiveEndpoint>, changes: u64) -> bool {
        if self.changes != changes {
            return false;
        }
        let (target, size) = (endpoint.target().id(), endpoint.size());
        self.by_target.insert(target, Arc::clone(endpoint), size);
        true
    }
}
