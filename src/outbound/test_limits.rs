//! The limits of tests of endpoints: they are past every other limit.
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::faults;
use crate::limit::{Meter, Quota};
use crate::store::queue::{OriginId, TargetId};
use crate::units::Rate;
use crate::web::problem::Problem;

/// The tests of one endpoint: one a second.
const OF_ENDPOINT: Quota = Quota {
    rate: Rate {
        count: NonZeroU32::MIN,
        per: Duration::from_secs(1),
    },
    burst: NonZeroU32::MIN,
};
/// The tests of one tenant: ten a minute.
const OF_TENANT: Quota = Quota {
    rate: Rate {
        count: TEN,
        per: Duration::from_secs(60),
    },
    burst: TEN,
};
const TEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// The tests at the same time.
const AT_ONCE: usize = 64;
/// The most tenants and endpoints whose pace is kept in memory. No others are tested until some of these have not been tested for a while.
const MAX_PACES: usize = 10_000;

/// The limits of tests.
pub(super) struct TestLimits {
    paces: Mutex<Paces>,
    running: Arc<Semaphore>,
}

#[derive(Default)]
struct Paces {
    endpoints: HashMap<TargetId, Meter>,
    tenants: HashMap<OriginId, Meter>,
}

impl Default for TestLimits {
    fn default() -> Self {
        Self {
            paces: Mutex::default(),
            running: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl TestLimits {
    /// Takes the right to test an endpoint once, until the permit is dropped.
    ///
    /// # Errors
    /// There were other tests just now.
    pub(super) fn take(
        &self,
        tenant: OriginId,
        endpoint: TargetId,
        now: Instant,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = Arc::clone(&self.running)
            .try_acquire_owned()
            .map_err(|_| faults::overloaded())?;
        let mut paces = self.paces.lock();
        let Paces { endpoints, tenants } = &mut *paces;
        if endpoints.len() >= MAX_PACES || tenants.len() >= MAX_PACES {
            // only what limits nothing any more: a tenant must not reset the limits of others by tests of its own
            endpoints.retain(|_, pace| !pace.is_drained(OF_ENDPOINT, now));
            tenants.retain(|_, pace| !pace.is_drained(OF_TENANT, now));
            if endpoints.len() >= MAX_PACES || tenants.len() >= MAX_PACES {
                return Err(faults::overloaded());
            }
        }
        let mut of_tenant = tenants.get(&tenant).copied().unwrap_or_default();
        let mut of_endpoint = endpoints.get(&endpoint).copied().unwrap_or_default();
        let wait = of_tenant
            .wait(OF_TENANT, now)
            .max(of_endpoint.wait(OF_ENDPOINT, now));
        if !wait.is_zero() {
            let error = "an endpoint is tested once a second, and a tenant ten times a minute";
            return Err(faults::unavailable("slow_down", error, wait));
        }
        // only tests that are made take memory
        if of_tenant.take(OF_TENANT, now).is_ok() && of_endpoint.take(OF_ENDPOINT, now).is_ok() {
            tenants.insert(tenant, of_tenant);
            endpoints.insert(endpoint, of_endpoint);
        }
        drop(paces);
        Ok(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    fn take(limits: &TestLimits, tenant: u32, endpoint: u32, now: Instant) -> bool {
        limits
            .take(OriginId(tenant), TargetId(endpoint), now)
            .is_ok()
    }

    #[test]
    fn tests_are_limited_by_endpoint_and_by_tenant() {
        let (limits, begin) = (TestLimits::default(), SystemClock.mono());
        let take = |tenant, endpoint, ms| {
            take(&limits, tenant, endpoint, begin + Duration::from_millis(ms))
        };
        assert!(take(1, 1, 0) && !take(1, 1, 999) && take(1, 1, 1_001));
        let others = (2..20).filter(|endpoint| take(1, *endpoint, 1_001));
        assert_eq!(others.count(), 8, "ten of one tenant");
        assert!(take(2, 30, 1_001));
        assert!(!take(1, 20, 5_000) && take(1, 20, 7_002));
        let held: Vec<_> = (0..2 * AT_ONCE)
            .filter_map(|number| {
                let number = u32::try_from(number).unwrap() + 100;
                limits.take(OriginId(number), TargetId(number), begin).ok()
            })
            .collect();
        assert_eq!(held.len(), AT_ONCE);
    }

    #[test]
    fn tests_of_many_endpoints_reset_no_limit() {
        let (limits, begin) = (TestLimits::default(), SystemClock.mono());
        let take = |tenant, endpoint, ms| {
            take(&limits, tenant, endpoint, begin + Duration::from_millis(ms))
        };
        let most = u32::try_from(MAX_PACES).unwrap();
        assert!(take(1, 0, 0));
        let refused = (1..=2 * most).filter(|endpoint| !take(2, *endpoint, 0));
        assert_eq!(refused.count(), 2 * MAX_PACES - 10);
        // refused tests took no memory
        let others = (3..most + 10).filter(|number| take(*number, 3 * most + *number, 0));
        assert_eq!(others.count(), MAX_PACES - 11);
        assert!(!take(1, 0, 999), "there is no memory");
        assert!(take(1, 0, 1_001), "that of endpoints is free again");
        assert!(!take(2, 9 * most, 1_001), "its tenant is still limited");
        assert!(take(2, 9 * most, 6_002));
    }
}
