//! The state of the API: the store, the worker, and the tenants that were asked for last.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::faults;
use super::test_limits::TestLimits;
use crate::activity::Activity;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::deliver::{Rules, Worker};
use crate::event::EventType;
use crate::limit::{Meter, Quota};
use crate::store::address_book::{AuditEntry, Endpoint, EndpointState, Saved, Tenant};
use crate::store::queue::{OriginId, TargetId};
use crate::store::text::storable;
use crate::store::{Answer, Store, StoreError, repeated};
use crate::telemetry::Telemetry;
use crate::tenant::settings::{EndpointSettings, TenantSettings};
use crate::web::problem::Problem;

/// The most bytes of tenants that are kept in memory.
const MAX_TENANT_BYTES: usize = 16 << 20;
/// The most tenants whose rate is kept in memory.
const MAX_PACES: usize = 100_000;
/// The most endpoints of a tenant.
pub(super) const MAX_ENDPOINTS: u16 = 1_000;
/// The memory for the bodies of requests at the same time, in KiB.
const BODIES_KIB: usize = 64 * 1024;
/// The time between two warnings about events of a type.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// The most types whose last warning is kept in memory. No others are warned of until some are a minute old.
const MAX_WARNED: usize = 1_000;
/// The time that a request waits for the store.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state of the API. Clones share it.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    worker: Arc<Worker>,
    clock: Arc<dyn Clock>,
    activity: Arc<Activity>,
    tenants: Mutex<Known>,
    /// The rates at which events of tenants are accepted. They outlive what is known of a tenant.
    paces: Mutex<HashMap<OriginId, Meter>>,
    bodies: Arc<Semaphore>,
    tests: TestLimits,
    /// The time of the last warning about events of a type, by the code of the fault.
    warned: Mutex<HashMap<(Arc<str>, &'static str), Instant>>,
}

/// The tenants in memory.
struct Known {
    by_uid: Cache<Arc<str>, Arc<Customer>>,
    /// The number of changes so far: rows that were read before one are not kept.
    changes: u64,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// A tenant with what a publish needs of its endpoints.
pub(super) struct Customer {
    pub(super) tenant: Tenant,
    pub(super) settings: TenantSettings,
    pub(super) endpoints: Vec<Subscriber>,
}

/// An endpoint, as far as a publish needs it.
pub(super) struct Subscriber {
    pub(super) target: TargetId,
    pub(super) id: Arc<str>,
    pub(super) state: EndpointState,
    pub(super) settings: EndpointSettings,
}

impl Subscriber {
    fn of(row: &Endpoint) -> Option<Self> {
        Some(Self {
            target: row.target,
            id: Arc::clone(&row.id),
            state: row.state,
            settings: EndpointSettings::from_json(&row.settings).ok()?,
        })
    }

    /// Returns whether it gets events of a type.
    pub(super) fn wants(&self, event_type: &EventType) -> bool {
        self.settings.wants(event_type)
    }

    /// Returns the version of a type that it is pinned to.
    pub(super) fn pin(&self, event_type: &EventType) -> Option<u16> {
        self.settings.versions.get(event_type).copied()
    }
}

impl Customer {
    /// Returns its endpoints that events can go to.
    pub(super) fn receivers(&self) -> impl Iterator<Item = &Subscriber> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.state != EndpointState::Removing)
    }

    /// Returns the pins of the endpoints that get events of a type; none for those without one.
    pub(super) fn pins(&self, event_type: &EventType) -> BTreeSet<Option<u32>> {
        self.receivers()
            .filter(|endpoint| endpoint.wants(event_type))
            .map(|endpoint| endpoint.pin(event_type).map(u32::from))
            .collect()
    }
}

impl Api {
    /// Makes the state of the API.
    pub fn new(
        store: Arc<dyn Store>,
        worker: Arc<Worker>,
        clock: Arc<dyn Clock>,
        activity: Arc<Activity>,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            worker,
            clock,
            activity,
            tenants: Mutex::new(Known {
                by_uid: Cache::new(MAX_TENANT_BYTES),
                changes: 0,
            }),
            paces: Mutex::default(),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            tests: TestLimits::default(),
            warned: Mutex::default(),
        }))
    }

    /// Returns whether a warning about events of a type may be logged: one a minute for each type and code.
    pub(super) fn may_warn(&self, event_type: &Arc<str>, code: &'static str) -> bool {
        let now = self.0.clock.now().mono;
        let mut warned = self.0.warned.lock();
        if warned.len() >= MAX_WARNED {
            warned.retain(|_, at| now.saturating_duration_since(*at) < WARN_INTERVAL);
        }
        let is_due = warned
            .get(&(Arc::clone(event_type), code))
            .is_none_or(|at| now.saturating_duration_since(*at) >= WARN_INTERVAL);
        let may = is_due && warned.len() < MAX_WARNED;
        if may {
            warned.insert((Arc::clone(event_type), code), now);
        }
        may
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    pub(super) fn worker(&self) -> &Arc<Worker> {
        &self.0.worker
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Returns the limits of tests.
    pub(super) fn tests(&self) -> &TestLimits {
        &self.0.tests
    }

    /// Returns the rules of the config that runs now.
    ///
    /// # Errors
    /// It does not send.
    pub(super) fn rules(&self) -> Result<Arc<Rules>, Problem> {
        self.0.worker.endpoints().rules().ok_or_else(faults::off)
    }

    /// Returns the counters.
    pub(super) fn telemetry(&self) -> &Telemetry {
        self.0.worker.telemetry()
    }

    /// Checks that new events and changes are still accepted.
    ///
    /// # Errors
    /// The gateway is stopping, or a drain has begun.
    pub(super) fn stays(&self) -> Result<Arc<Activity>, Problem> {
        if self.0.activity.is_leaving() || self.0.activity.is_closed() {
            return Err(faults::leaving());
        }
        Ok(Arc::clone(&self.0.activity))
    }

    /// Reserves memory for a body, until the permit is dropped.
    ///
    /// # Errors
    /// Other bodies have all of it.
    pub(super) fn reserve(&self, length: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(length.div_ceil(1024).max(1)).map_err(|_| faults::overloaded())?;
        Arc::clone(&self.0.bodies)
            .try_acquire_many_owned(kib)
            .map_err(|_| faults::overloaded())
    }

    /// Waits for an answer of the store, for a limited time.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn ask<T>(&self, answer: Answer<'_, T>) -> Result<T, Problem> {
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(faults::store(&error)),
            Err(_) => Err(faults::unavailable(
                "store_unavailable",
                "the store does not answer",
                Duration::from_secs(1),
            )),
        }
    }

    /// Returns a tenant with its endpoints.
    ///
    /// # Errors
    /// There is none of this name, or the store does not answer.
    pub(super) async fn customer(&self, uid: &str) -> Result<Arc<Customer>, Problem> {
        let changes = {
            let mut known = self.0.tenants.lock();
            if let Some(customer) = known.by_uid.get(uid) {
                return Ok(customer);
            }
            known.changes
        };
        let tenant = self.tenant(uid).await?;
        let settings = TenantSettings::from_json(&tenant.settings).unwrap_or_default();
        let rows = self
            .ask(self.store().endpoints(tenant.origin, None, MAX_ENDPOINTS))
            .await?;
        let of_rows = rows
            .iter()
            .map(|row| size_of::<Subscriber>() + 3 * row.settings.len());
        let size = 3 * tenant.settings.len() + of_rows.sum::<usize>();
        let customer = Arc::new(Customer {
            tenant,
            settings,
            endpoints: rows.iter().filter_map(Subscriber::of).collect(),
        });
        let mut known = self.0.tenants.lock();
        if known.changes == changes {
            let uid: Arc<str> = uid.into();
            known.by_uid.insert(uid, Arc::clone(&customer), size);
        }
        Ok(customer)
    }

    /// Returns the row of a tenant.
    ///
    /// # Errors
    /// There is none of this name, or the store does not answer.
    pub(super) async fn tenant(&self, uid: &str) -> Result<Tenant, Problem> {
        let found = self.ask(self.store().tenant(uid)).await?;
        found
            .filter(|tenant| !tenant.removed)
            .ok_or_else(|| faults::missing("no_tenant", "tenant"))
    }

    /// Forgets what is known of a tenant, since it was changed.
    pub(super) fn forget(&self, uid: &str) {
        let mut known = self.0.tenants.lock();
        known.changes += 1;
        known.by_uid.remove(uid);
    }

    /// Saves an endpoint, in a task of its own: what is known in memory follows the row also if nobody waits for the answer any more.
    ///
    /// # Errors
    /// The store does not answer, or the gateway is stopping.
    pub(super) async fn save_endpoint(
        &self,
        tenant: &str,
        row: &Endpoint,
        expected: Option<u32>,
        limit_of_tenant: u32,
        audit: AuditEntry,
    ) -> Result<Saved, Problem> {
        self.stays()?;
        let (api, tenant, row) = (self.clone(), Arc::<str>::from(tenant), row.clone());
        let saving = tokio::spawn(async move {
            let saved = repeated(|| {
                let audit = Some(audit.clone());
                api.store()
                    .save_endpoint(row.clone(), expected, limit_of_tenant, audit)
            })
            .await;
            api.forget(&tenant);
            let endpoints = api.0.worker.endpoints();
            match &saved {
                Ok(Saved::Done { .. }) => endpoints.changed(row.target, row.state),
                Ok(Saved::Conflict | Saved::Taken | Saved::Full) => {}
                Err(_) => endpoints.recheck(row.target),
            }
            if row.cursor.is_some() {
                endpoints.note_job();
            }
            saved
        });
        self.ask(Box::pin(joined(saving))).await
    }

    /// Saves a tenant, in a task of its own as [`Self::save_endpoint`] does.
    ///
    /// # Errors
    /// The store does not answer, or the gateway is stopping.
    pub(super) async fn save_tenant(
        &self,
        uid: &str,
        row: &Tenant,
        expected: Option<u32>,
        audit: AuditEntry,
    ) -> Result<Saved, Problem> {
        self.stays()?;
        let (api, uid, row) = (self.clone(), Arc::<str>::from(uid), row.clone());
        let saving = tokio::spawn(async move {
            let saved = repeated(|| {
                let audit = Some(audit.clone());
                api.store().save_tenant(row.clone(), expected, audit)
            })
            .await;
            api.forget(&uid);
            saved
        });
        self.ask(Box::pin(joined(saving))).await
    }

    /// Takes the right to accept one event of a tenant.
    ///
    /// # Errors
    /// It publishes too fast.
    pub(super) fn pace(&self, customer: &Customer, quota: Quota) -> Result<(), Problem> {
        let own = customer.settings.limits.publish;
        let quota = own.map_or(quota, |rate| Quota {
            rate,
            burst: rate.count,
        });
        let mut paces = self.0.paces.lock();
        if paces.len() >= MAX_PACES {
            paces.clear();
        }
        let pace = paces.entry(customer.tenant.origin).or_default();
        let taken = pace.take(quota, self.0.clock.now().mono);
        drop(paces);
        taken.map_err(|wait| {
            faults::unavailable(
                "slow_down",
                "the tenant publishes faster than its limit",
                wait,
            )
        })
    }
}

/// Waits for a task that asks the store.
pub(super) async fn joined<T>(task: JoinHandle<Result<T, StoreError>>) -> Result<T, StoreError> {
    let stopped = |_| StoreError::Unknown("the gateway is stopping".into());
    task.await.map_err(stopped)?
}

/// Makes an audit entry.
pub(super) fn audit(who: &Arc<str>, what: &str, which: String, reason: &str) -> AuditEntry {
    AuditEntry {
        who: Arc::clone(who),
        what: what.into(),
        which: which.into(),
        reason: storable(reason).into(),
    }
}
