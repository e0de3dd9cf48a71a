//! The detector: turns the observations of each look into alarms that are raised and cleared.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::latch::{CLEAR_AFTER, Latch, Level};
use super::{Alarm, Change, Code, Policy};
use crate::clock::Now;

mod finding;
mod fleet;
mod gateway;
mod observation;
mod route;
mod sending;

use finding::Finding;
pub use observation::{FleetObservation, Observation, RouteObservation, SendingObservation};
use route::{HOUR, RouteState};
use sending::SendingState;

/// The identity of an alarm: its code, and its route if it has one.
type Key = (Code, Option<Arc<str>>);

/// The state between two looks: the raised alarms, and the history of each route.
#[derive(Debug)]
pub struct Detector {
    began: Instant,
    /// `Observation::out_of_files` at the last look.
    out_of_files: u64,
    routes: HashMap<Arc<str>, RouteState>,
    sending: SendingState,
    latches: BTreeMap<Key, (Latch, Option<Alarm>)>,
}

impl Detector {
    /// Creates a detector that knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            out_of_files: 0,
            routes: HashMap::new(),
            sending: SendingState::default(),
            latches: BTreeMap::new(),
        }
    }

    /// Returns the alarms that are raised now. The text of one whose cause has ended says so.
    pub fn raised(&self) -> Vec<Alarm> {
        let minutes = CLEAR_AFTER.as_secs() / 60;
        self.latches
            .values()
            .filter_map(|(latch, alarm)| {
                let mut alarm = alarm.clone()?;
                if latch.is_ending() {
                    alarm.ending = true;
                    alarm.text = format!(
                        "over, and cleared within {minutes} minutes; it was: {}",
                        alarm.text
                    );
                }
                Some(alarm)
            })
            .collect()
    }

    /// Takes the observations of one look and returns the alarms that it raises or clears.
    pub fn step(&mut self, observation: &Observation, policy: &Policy, now: Now) -> Vec<Change> {
        let mut changes = self.forget(observation, now);
        let hour = now.mono.saturating_duration_since(self.began).as_secs() / HOUR;
        let out_of_files = observation.out_of_files
            > std::mem::replace(&mut self.out_of_files, observation.out_of_files);
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
        let mut findings = gateway::findings(observation, policy);
        findings.extend(fleet::findings(observation.fleet.as_ref()));
        let sending = observation.sending.as_ref();
        findings.extend(self.sending.findings(sending, now.mono));
        for (code, finding) in findings {
            changes.extend(self.latch(code, None, finding, now));
        }
        for route in &observation.routes {
            let known = self
                .routes
                .entry(Arc::clone(&route.name))
                .or_insert_with(|| RouteState::new(route));
            known.observe(route, hour, now.mono);
            for (code, finding) in known.findings(route, now.mono) {
                changes.extend(self.latch(code, Some(&route.name), finding, now));
            }
        }
        changes
    }

    /// Clears the alarms of routes that are gone.
    fn forget(&mut self, observation: &Observation, now: Now) -> Vec<Change> {
        let is_there = |name: &Arc<str>| observation.routes.iter().any(|route| route.name == *name);
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
                ending: false,
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

#[cfg(test)]
mod tests;
