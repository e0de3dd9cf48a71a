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
/// The most tenants and endpoints whose pace is kept in memory.
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
            endpoints.clear();
            tenants.clear();
        }
        let of_tenant = tenants.entry(tenant).or_default();
        let of_endpoint = endpoints.entry(endpoint).or_default();
        let wait = of_tenant
            .wait(OF_TENANT, now)
            .max(of_endpoint.wait(OF_ENDPOINT, now));
        let taken = wait.is_zero()
            && of_tenant.take(OF_TENANT, now).is_ok()
            && of_endpoint.take(OF_ENDPOINT, now).is_ok();
        drop(paces);
        if taken {
            return Ok(permit);
        }
        let error = "an endpoint is tested once a second, and a tenant ten times a minute";
        Err(faults::unavailable("slow_down", error, wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn tests_are_limited_by_endpoint_and_by_tenant() {
        let (limits, begin) = (TestLimits::default(), SystemClock.mono());
        let take = |tenant: u32, endpoint: u32, ms: u64| {
            let now = begin + Duration::from_millis(ms);
            limits
                .take(OriginId(tenant), TargetId(endpoint), now)
                .is_ok()
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
}
