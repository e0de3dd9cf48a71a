//! The counters of one route: totals for metrics, minutes for the last hour, secrets.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use prometheus::Histogram;

use super::observed::{Observation, Observed};
use super::outcome::{Judged, OUTCOMES, Outcome};
use super::record::Facts;
use crate::refusal::Refusal;

const MINUTES: u64 = 60;
/// The route label of a request that no route matched.
pub(super) const NO_ROUTE: &str = "-";

/// Counts of the last hour on one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Requests that ended.
    pub received: u64,
    /// Requests that were forwarded: the upstream answered 2xx.
    pub forwarded: u64,
    /// Deliveries that were accepted: stored, and acknowledged.
    pub accepted: u64,
    /// Duplicates answered without the upstream.
    pub duplicates: u64,
    /// Refused, by code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests with another outcome (`upstream_4xx`, `abandoned`, …).
    pub other: BTreeMap<&'static str, u64>,
    /// The time at which the last request since the start ended.
    pub last_at: Option<SystemTime>,
}

/// The counters of one route. Found by name once a request, then touched without another look-up.
#[derive(Debug)]
pub(super) struct RouteCounters {
    totals: [AtomicU64; OUTCOMES],
    late_retries: AtomicU64,
    ids_unchecked: AtomicU64,
    request_seconds: Histogram,
    verify_seconds: Histogram,
    signature_age: Histogram,
    tally: Mutex<Tally>,
    observed: Mutex<Observed>,
}

#[derive(Debug, Default)]
struct Tally {
    /// By minute modulo 60.
    minutes: Vec<Minute>,
    last_at: Option<SystemTime>,
    /// The last refused request that was not authentic.
    last_unauthentic: Option<LastRefusal>,
    secrets: HashMap<Arc<str>, SecretCounters>,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    number: u64,
    counts: [u32; OUTCOMES],
}

/// The matches of a secret since the start.
#[derive(Clone, Copy, Debug)]
pub struct SecretCounters {
    /// The number of requests.
    pub matches: u64,
    /// When the last one ended.
    pub last_at: SystemTime,
    /// The same by the clock that does not jump.
    pub last_mono: Instant,
}

/// The last refused request of a route that was not authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRefusal {
    /// When the request ended.
    pub at: SystemTime,
    /// The refusal's code.
    pub code: &'static str,
    /// The exact reason.
    pub why: Arc<str>,
}

/// The end of a request, and its duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedAt {
    /// Minutes since the telemetry began, monotonic.
    pub(super) minute: u64,
    pub(super) wall: SystemTime,
    pub(super) mono: Instant,
    pub(super) took: std::time::Duration,
}

impl RouteCounters {
    pub(super) fn new(
        request_seconds: Histogram,
        verify_seconds: Histogram,
        signature_age: Histogram,
    ) -> Self {
        let totals = std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            totals,
            late_retries: AtomicU64::new(0),
            ids_unchecked: AtomicU64::new(0),
            request_seconds,
            verify_seconds,
            signature_age,
            tally: Mutex::default(),
            observed: Mutex::default(),
        }
    }

    pub(super) fn count(&self, facts: &Facts, outcome: Outcome, when: EndedAt) {
        // its refusal was counted when it was received
        if facts.from_quarantine && matches!(outcome, Outcome::Refused(_)) {
            return;
        }
        if let Some(total) = self.totals.get(outcome.index()) {
            total.fetch_add(1, Ordering::Relaxed);
        }
        self.late_retries
            .fetch_add(u64::from(facts.late_retry), Ordering::Relaxed);
        self.ids_unchecked
            .fetch_add(u64::from(facts.id_unchecked), Ordering::Relaxed);
        self.request_seconds.observe(when.took.as_secs_f64());
        if let Some(took) = facts.verify_time {
            self.verify_seconds.observe(took.as_secs_f64());
        }
        if let Some(skew) = facts.skew_ms {
            // a time ahead of ours has no age
            self.signature_age.observe(
                std::time::Duration::from_millis(u64::try_from(skew).unwrap_or(0)).as_secs_f64(),
            );
        }
        if let Some(verdict) = &facts.verdict {
            self.observed().count(verdict, facts.client.ip, when.wall);
        }
        let mut tally = self.tally();
        tally.last_at = Some(when.wall);
        tally.count(outcome, when.minute);
        if let (Outcome::Refused(Refusal::NotAuthentic(code)), Some(why)) = (outcome, &facts.why) {
            tally.last_unauthentic = Some(LastRefusal {
                at: when.wall,
                code: code.code(),
                why: Arc::clone(why),
            });
        }
        // a request that is released from quarantine says nothing about the secret that the sender uses now
        if let Some(name) = facts.secret.as_ref().filter(|_| !facts.from_quarantine) {
            let before = tally.secrets.get(name).map_or(0, |known| known.matches);
            let counters = SecretCounters {
                matches: before + 1,
                last_at: when.wall,
                last_mono: when.mono,
            };
            match tally.secrets.get_mut(name) {
                Some(known) => *known = counters,
                None => drop(tally.secrets.insert(Arc::clone(name), counters)),
            }
        }
    }

    pub(super) fn totals(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::all()
            .zip(&self.totals)
            .map(|(outcome, total)| (outcome, total.load(Ordering::Relaxed)))
    }

    /// Retries that were accepted although they were older than the tolerance.
    pub(super) fn late_retries(&self) -> u64 {
        self.late_retries.load(Ordering::Relaxed)
    }

    /// Deliveries that were forwarded while the store could not be asked for their IDs.
    pub(super) fn ids_unchecked(&self) -> u64 {
        self.ids_unchecked.load(Ordering::Relaxed)
    }

    /// Returns the secrets that matched, by name.
    pub(super) fn secrets(&self) -> Vec<(Arc<str>, SecretCounters)> {
        let mut secrets: Vec<_> = self
            .tally()
            .secrets
            .iter()
            .map(|(name, counters)| (Arc::clone(name), *counters))
            .collect();
        secrets.sort_by(|(a, _), (b, _)| a.cmp(b));
        secrets
    }

    /// Returns the counts of the hour that ends with `minute`.
    pub(super) fn hour(&self, minute: u64) -> Hour {
        let tally = self.tally();
        let mut hour = Hour {
            last_at: tally.last_at,
            ..Hour::default()
        };
        for counted in tally
            .minutes
            .iter()
            .filter(|counted| counted.number.saturating_add(MINUTES) > minute)
        {
            for (outcome, count) in Outcome::all()
                .zip(counted.counts)
                .filter(|(_, count)| *count > 0)
            {
                let count = u64::from(count);
                hour.received += count;
                if outcome == Outcome::Forwarded {
                    hour.forwarded += count;
                } else if outcome == Outcome::Duplicate {
                    hour.duplicates += count;
                } else if outcome.is_accepted() {
                    hour.accepted += count;
                } else if outcome.is_refusal() {
                    *hour.refused.entry(outcome.label()).or_default() += count;
                } else {
                    *hour.other.entry(outcome.label()).or_default() += count;
                }
            }
        }
        hour
    }

    /// Returns how many requests of the hour that ends with `minute` verified, and how many of these were duplicates.
    pub(super) fn duplicates(&self, minute: u64) -> (u64, u64) {
        let tally = self.tally();
        let (mut authentic, mut duplicates) = (0, 0);
        for counted in tally
            .minutes
            .iter()
            .filter(|counted| counted.number.saturating_add(MINUTES) > minute)
        {
            for (outcome, count) in Outcome::all().zip(counted.counts) {
                if matches!(outcome.judged(), Judged::Succeeded | Judged::Failed) {
                    authentic += u64::from(count);
                }
                if outcome == Outcome::Duplicate {
                    duplicates += u64::from(count);
                }
            }
        }
        (authentic, duplicates)
    }

    /// Records that the route observes from `at` on, unless it does already.
    pub(super) fn observe(&self, at: SystemTime) {
        self.observed().begin(at);
    }

    /// Records that the route enforces.
    pub(super) fn enforce(&self) {
        self.observed().end();
    }

    /// Returns the last refused request that was not authentic.
    pub(super) fn last_unauthentic(&self) -> Option<LastRefusal> {
        self.tally().last_unauthentic.clone()
    }

    pub(super) fn observation(&self) -> Option<Observation> {
        self.observed().observation()
    }

    /// Requests that would have been refused since the start, by code.
    pub(super) fn would_refuse(&self) -> Vec<(&'static str, u64)> {
        self.observed().totals().collect()
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock()
    }
}

impl Tally {
    fn count(&mut self, outcome: Outcome, minute: u64) {
        let index = usize::try_from(minute % MINUTES).unwrap_or(0);
        while self.minutes.len() <= index {
            self.minutes.push(Minute {
                number: minute,
                counts: [0; OUTCOMES],
            });
        }
        let Some(slot) = self.minutes.get_mut(index) else {
            return;
        };
        if slot.number != minute {
            *slot = Minute {
                number: minute,
                counts: [0; OUTCOMES],
            };
        }
        if let Some(count) = slot.counts.get_mut(outcome.index()) {
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Ended;

    #[test]
    fn counts_of_an_hour_drop_older_minutes() {
        let mut tally = Tally::default();
        let refused = Outcome::of(Ended::Refused {
            refusal: Refusal::NoRoute,
            status: http::StatusCode::NOT_FOUND,
        });
        for minute in [5, 30, 64] {
            tally.count(refused, minute);
        }
        tally.count(Outcome::Forwarded, 64);
        let histogram = || Histogram::with_opts(prometheus::HistogramOpts::new("a", "b")).unwrap();
        let mut counters = RouteCounters::new(histogram(), histogram(), histogram());
        counters.tally = Mutex::new(tally);
        let at = |minute| {
            let hour = counters.hour(minute);
            (
                hour.received,
                hour.forwarded,
                hour.refused.get("no_route").copied().unwrap_or(0),
            )
        };
        assert_eq!(at(64), (4, 1, 3));
        assert_eq!(at(65), (3, 1, 2));
        assert_eq!(at(90), (2, 1, 1));
        assert_eq!(at(124), (0, 0, 0));
    }
}
