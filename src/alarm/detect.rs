//! The detector: turns the observations of each look into alarms that are raised and cleared.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::latch::{Latch, Level};
use super::{Alarm, Change, Code, DisablesAfter, Policy};
use crate::clock::Now;
use crate::mount::Space;

mod gateway;
mod route;
use route::RouteState;

/// Seconds of an hour.
const HOUR: u64 = 3600;

/// The observations of one look. Counts are since the start.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The webhook routes of the config.
    pub routes: Vec<RouteObservation>,
    /// The disk of the store, if there is one.
    pub disk: Option<Space>,
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Deliveries that wait for a route that is not in the config.
    pub parked: u64,
    /// The reason why writes to the store fail, if they do.
    pub failing: Option<String>,
    /// A message about a damaged store that was set aside.
    pub set_aside: Option<String>,
    /// Whether the clock jumped recently.
    pub clock_jump: bool,
    /// The number of times that no file descriptor was left for a connection, since the start.
    pub out_of_files: u64,
    /// The certificates that end soon or are not valid, in words.
    pub certificates: Option<String>,
    /// The upstreams whose names do not resolve, and for how long, where that is long enough for an alarm.
    pub unresolved: Vec<(Arc<str>, Duration)>,
}

/// The observations of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteObservation {
    /// Its name.
    pub name: Arc<str>,
    /// Requests that verified.
    pub verified: u64,
    /// Requests that did not.
    pub unverified: u64,
    /// Authentic requests that were answered 2xx.
    pub succeeded: u64,
    /// Authentic requests that were answered otherwise.
    pub failed: u64,
    /// Authentic requests of the last hour.
    pub authentic_of_hour: u64,
    /// The authentic requests that were answered as duplicates.
    pub duplicates_of_hour: u64,
    /// Deliveries whose last attempt failed.
    pub deaths: u64,
    /// Dead deliveries in the store.
    pub dead: u64,
    /// The rule by which the provider disables the endpoint, if it is known.
    pub disables_after: Option<DisablesAfter>,
}

/// The present finding about an alarm: its level, the time that it must be bad, and its text.
struct Finding(Level, Duration, String);

/// The identity of an alarm: its code, and its route if it has one.
type Key = (Code, Option<Arc<str>>);

/// The state between two looks: the raised alarms, and the history of each route.
#[derive(Debug)]
pub struct Detector {
    began: Instant,
    /// `Observation::out_of_files` at the last look.
    out_of_files: u64,
    routes: HashMap<Arc<str>, RouteState>,
    latches: BTreeMap<Key, (Latch, Option<Alarm>)>,
}

impl Detector {
    /// Creates a detector that knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            out_of_files: 0,
            routes: HashMap::new(),
            latches: BTreeMap::new(),
        }
    }

    /// Returns the alarms that are raised now.
    pub fn raised(&self) -> Vec<Alarm> {
        self.latches
            .values()
            .filter_map(|(_, alarm)| alarm.clone())
            .collect()
    }

    /// Takes the observations of one look and returns the alarms that it raises or clears.
    pub fn step(&mut self, seen: &Observation, policy: &Policy, now: Now) -> Vec<Change> {
        let mut changes = self.forget(seen, now);
        let hour = now.mono.saturating_duration_since(self.began).as_secs() / HOUR;
        let out_of_files =
            seen.out_of_files > std::mem::replace(&mut self.out_of_files, seen.out_of_files);
        let level = if out_of_files {
            Level::Bad
        } else {
            Level::Good
        };
        let text = "the gateway has no file descriptors left: connections wait until others close"
            .to_owned();
        changes.extend(self.latch(
            Code::OutOfFiles,
            None,
            Finding(level, Duration::ZERO, text),
            now,
        ));
        for (code, finding) in gateway::findings(seen, policy) {
            changes.extend(self.latch(code, None, finding, now));
        }
        for route in &seen.routes {
            let known = self
                .routes
                .entry(Arc::clone(&route.name))
                .or_insert_with(|| RouteState::new(route));
            known.look(route, hour, now.mono);
            for (code, finding) in known.findings(route, now.mono) {
                changes.extend(self.latch(code, Some(&route.name), finding, now));
            }
        }
        changes
    }

    /// Clears the alarms of routes that are gone.
    fn forget(&mut self, seen: &Observation, now: Now) -> Vec<Change> {
        let is_there = |name: &Arc<str>| seen.routes.iter().any(|route| route.name == *name);
        self.routes.retain(|name, _| is_there(name));
        let mut changes = Vec::new();
        self.latches.retain(|(_, route), (_, alarm)| {
            let stays = route.as_ref().is_none_or(is_there);
            if !stays && let Some(alarm) = alarm.take() {
                changes.push(Change {
                    alarm,
                    raised: false,
                    at: now.wall,
                });
            }
            stays
        });
        changes
    }

    fn latch(
        &mut self,
        code: Code,
        route: Option<&Arc<str>>,
        finding: Finding,
        now: Now,
    ) -> Option<Change> {
        let Finding(level, hold, text) = finding;
        let (latch, alarm) = self.latches.entry((code, route.cloned())).or_default();
        let changed = latch.step(level, hold, now.mono);
        if latch.is_raised() {
            let since = alarm.as_ref().map_or(now.wall, |alarm| alarm.since);
            let text = alarm
                .take()
                .filter(|_| level != Level::Bad)
                .map_or(text, |alarm| alarm.text);
            *alarm = Some(Alarm {
                code,
                route: route.cloned(),
                since,
                text,
            });
        }
        let raised = changed?;
        let alarm = if raised { alarm.clone() } else { alarm.take() };
        Some(Change {
            alarm: alarm?,
            raised,
            at: now.wall,
        })
    }
}

/// Formats a duration for people, such as `1h 30m`, with two units at most.
fn in_words(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
