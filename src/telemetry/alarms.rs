//! Alarms as they are shown, and the counts that they are made of.
use std::sync::Arc;

use super::outcome::Judged;
use super::{Telemetry, attempts};
use crate::alarm::{Alarm, Change};

/// Counts of a route, since the start unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteSums {
    /// Requests that verified.
    pub verified: u64,
    /// Requests that did not.
    pub unverified: u64,
    /// Of those that verified: the sender got a 2xx.
    pub succeeded: u64,
    /// Of those that verified: the sender got something else.
    pub failed: u64,
    /// Requests of the last hour that verified.
    pub authentic_of_hour: u64,
    /// The authentic requests that were answered as duplicates.
    pub duplicates_of_hour: u64,
    /// Deliveries whose last attempt failed.
    pub deaths: u64,
}

impl Telemetry {
    /// Returns the counts of a route since the start. An unverified request on a route that observes does not count as verified.
    pub fn sums(&self, route: &str) -> RouteSums {
        let mut sums = RouteSums {
            deaths: self.attempts.count_of(route, attempts::After::Dead),
            ..RouteSums::default()
        };
        let Some(counters) = self.find(route) else {
            return sums;
        };
        for (outcome, total) in counters.totals() {
            match outcome.judged() {
                Judged::Succeeded => sums.succeeded += total,
                Judged::Failed => sums.failed += total,
                Judged::NotAuthentic => sums.unverified += total,
                Judged::Unknown => {}
            }
        }
        (sums.authentic_of_hour, sums.duplicates_of_hour) =
            counters.duplicates(self.minute(self.clock.now()));
        let would_refuse: u64 = counters.would_refuse().iter().map(|(_, count)| count).sum();
        sums.verified = (sums.succeeded + sums.failed).saturating_sub(would_refuse);
        sums.unverified += would_refuse;
        sums
    }

    /// Alarms that were raised and cleared, a line each, and all that are raised now.
    pub fn alarmed(&self, changes: &[Change], raised: Vec<Alarm>) {
        for Change { alarm, raised, .. } in changes {
            let (code, route) = (alarm.code.code(), alarm.route.as_deref());
            if *raised {
                tracing::warn!(code, route, text = alarm.text, "alarm raised");
            } else {
                tracing::info!(
                    code,
                    route,
                    since = crate::clock::rfc3339(alarm.since),
                    "alarm cleared"
                );
            }
        }
        self.alarms.store(Arc::new(raised));
    }

    /// Returns the alarms that are raised now.
    pub fn alarms(&self) -> Arc<Vec<Alarm>> {
        self.alarms.load_full()
    }
}
