//! The rate limit of a target.
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::limit::{Meter, Quota, SharedKey};
use crate::units::Rate;

/// The attempts in a row that fail, after which an endpoint is failing.
const FAILURES: u32 = 10;
/// The rate of attempts to an endpoint that is failing. What answers nothing but errors is not helped by more of them, and one that answers
/// them at once would take the gateway's CPU from all others.
const FAILING: Quota = Quota {
    rate: Rate {
        count: NonZeroU32::MIN.saturating_add(1),
        per: Duration::from_secs(1),
    },
    burst: NonZeroU32::MIN,
};

/// The rate limit of a target. Spent tokens stay spent while there is no limit.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    pub(super) quota: Option<Quota>,
    /// The limit that gateways share, in place of the quota.
    pub(super) shared: Option<SharedKey>,
    meter: Meter,
    /// Attempts in a row that failed.
    failures: u32,
    failing: Meter,
}

impl RateLimit {
    /// Learns from an attempt to an endpoint: one that delivers nothing in so many attempts is failing until the next that does.
    pub(super) fn learn(&mut self, is_delivered: bool) {
        self.failures = if is_delivered {
            0
        } else {
            self.failures.saturating_add(1)
        };
    }

    /// Returns whether the target is failing.
    pub(super) fn is_failing(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Takes the attempts that the rate lets begin, at most `most`.
    pub(super) fn take(&mut self, most: u32, now: Instant) -> u32 {
        let taken = (0..most).take_while(|_| self.take_one(now)).count();
        u32::try_from(taken).unwrap_or(most)
    }

    fn take_one(&mut self, now: Instant) -> bool {
        if !self.own_wait(now).is_zero() {
            return false;
        }
        if self.shared.as_ref().is_some_and(|shared| !shared.take(now)) {
            return false;
        }
        self.meters()
            .all(|(meter, quota)| meter.take(quota, now).is_ok())
    }

    /// Gives back attempts that were taken and not used.
    pub(super) fn give_back(&mut self, tokens: u32, now: Instant) {
        for (meter, quota) in self.meters() {
            (0..tokens).for_each(|_| meter.refund(quota, now));
        }
        if let Some(shared) = &self.shared {
            (0..tokens).for_each(|_| shared.refund(now));
        }
    }

    /// Returns the time until the rate lets the next attempt begin; zero if it does now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let shared = self.shared.as_ref().map(|shared| shared.wait(now));
        self.own_wait(now).max(shared.unwrap_or_default())
    }

    /// Returns the same by the limits of this gateway.
    fn own_wait(&self, now: Instant) -> Duration {
        let by_quota = self.quota.map(|quota| self.meter.wait(quota, now));
        let by_failures = self.is_failing().then(|| self.failing.wait(FAILING, now));
        by_quota.max(by_failures).unwrap_or_default()
    }

    /// Returns the meters that count now, with their quotas.
    fn meters(&mut self) -> impl Iterator<Item = (&mut Meter, Quota)> {
        let failing = self.is_failing().then_some(FAILING);
        let own = self.quota.map(|quota| (&mut self.meter, quota));
        let failing = failing.map(|quota| (&mut self.failing, quota));
        own.into_iter().chain(failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn failing_endpoint_gets_two_attempts_a_second_until_one_is_delivered() {
        let (mut rate, begin) = (RateLimit::default(), SystemClock.mono());
        for _ in 0..FAILURES {
            assert_eq!(rate.take(100, begin), 100);
            rate.learn(false);
        }
        assert!(rate.is_failing());
        let mut begun = 0;
        for milliseconds in 0..10_000 {
            let now = begin + Duration::from_millis(milliseconds);
            let taken = rate.take(10, now);
            begun += taken;
            if taken > 0 {
                rate.learn(false);
            }
        }
        assert!((19..=20).contains(&begun), "{begun}");
        let end = begin + Duration::from_secs(20);
        assert_eq!(rate.take(2, end), 1);
        assert!(!rate.wait(end).is_zero());
        rate.learn(true);
        assert!(rate.wait(end).is_zero());
        assert_eq!(rate.take(100, end), 100);
    }

    #[test]
    fn own_rate_holds_beside_that_of_a_failing_endpoint() {
        let quota = Quota {
            rate: Rate {
                count: NonZeroU32::MIN,
                per: Duration::from_secs(10),
            },
            burst: NonZeroU32::MIN,
        };
        let (mut rate, begin) = (RateLimit::default(), SystemClock.mono());
        rate.quota = Some(quota);
        (0..FAILURES).for_each(|_| rate.learn(false));
        assert_eq!(rate.take(3, begin), 1);
        let second = begin + Duration::from_secs(1);
        assert_eq!(rate.take(3, second), 0, "its own rate is the slower one");
        let wait = rate.wait(second).as_secs_f64();
        assert!((8.99..9.01).contains(&wait), "{wait}");
        rate.give_back(1, second);
        assert_eq!(rate.take(3, second), 1);
    }
}
