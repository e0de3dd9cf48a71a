//! The detector: what is known between two looks, and what follows from the next.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::baseline::{History, Hour, Shares};
use super::latch::{Latch, Level};
use super::{Alarm, Change, Code, DisablesAfter, Policy};
use crate::clock::Now;

/// How long a measure must be bad before it is told.
const HOLD: Duration = Duration::from_secs(20);
/// How long after the last death an alarm that nobody looked at goes by itself.
const DEAD_QUIET: Duration = Duration::from_secs(86_400);
/// The counts of the store are this old at most.
const COUNTS_LATE: Duration = Duration::from_secs(60);
/// Failures in a row before the time they last counts.
const FEWEST_FAILURES: u64 = 3;
/// What is taken for the rule of a provider whose rule is not known.
const UNKNOWN_RULE: DisablesAfter = DisablesAfter {
    failures: None,
    lasting: Some(Duration::from_secs(86_400)),
};
/// How far the share of what verifies must fall before it is told, and how near it must be again.
const FALL: f64 = 0.2;
const NEAR: f64 = 0.1;
/// The fewest authentic requests of an hour of which the share of duplicates says anything.
const FEWEST_REQUESTS: u64 = 20;
/// Seconds of an hour.
const HOUR: u64 = 3600;

/// What one look saw. Counts are since the start.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The webhook routes of the config.
    pub routes: Vec<RouteSeen>,
    /// The disk of the store, if there is one.
    pub disk: Option<Disk>,
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Deliveries that wait for a route that the config does not have.
    pub parked: u64,
    /// Why the store does not take what is written.
    pub failing: Option<String>,
    /// What was done with a damaged store.
    pub set_aside: Option<String>,
    /// Whether the clock was set of late.
    pub clock_jump: bool,
    /// How often the gateway had no file descriptor for a connection, since the start.
    pub out_of_files: u64,
    /// The certificates that end soon or are not valid, in words.
    pub certificates: Option<String>,
    /// The upstreams whose names do not resolve, and for how long, where that is long enough for an alarm.
    pub unresolved: Vec<(Arc<str>, Duration)>,
}

/// A route, as it was seen.
#[derive(Clone, Debug, Default)]
pub struct RouteSeen {
    /// Its name.
    pub name: Arc<str>,
    /// Requests that verified.
    pub verified: u64,
    /// Requests that did not.
    pub unverified: u64,
    /// Authentic requests that the sender got a 2xx for.
    pub succeeded: u64,
    /// Authentic requests that the sender got something else for.
    pub failed: u64,
    /// Authentic requests of the last hour.
    pub authentic_of_hour: u64,
    /// The authentic requests that were answered as duplicates.
    pub duplicates_of_hour: u64,
    /// Deliveries whose last try failed.
    pub deaths: u64,
    /// Deliveries that lie dead in the store.
    pub dead: u64,
    /// When the provider disables the endpoint, if that is known.
    pub disables_after: Option<DisablesAfter>,
}

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that can be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What is known of a route.
#[derive(Debug)]
struct RouteKnown {
    before: RouteSeen,
    history: History,
    last_verified: Option<Instant>,
    /// Failures since the last success, and since when.
    streak: Option<(u64, Instant)>,
    /// When the last delivery died that nobody has looked at.
    died: Option<Instant>,
}

/// How an alarm looks now: its level, how long it must be bad, and its words.
struct Finding(Level, Duration, String);

/// What an alarm is told by: its code, and its route if it has one.
type Key = (Code, Option<Arc<str>>);

/// Knows what is raised.
#[derive(Debug)]
pub struct Detector {
    began: Instant,
    /// `Seen::out_of_files` at the last look.
    out_of_files: u64,
    routes: HashMap<Arc<str>, RouteKnown>,
    latches: BTreeMap<Key, (Latch, Option<Alarm>)>,
}

impl Detector {
    /// One that knows nothing.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            out_of_files: 0,
            routes: HashMap::new(),
            latches: BTreeMap::new(),
        }
    }

    /// What is raised now.
    pub fn raised(&self) -> Vec<Alarm> {
        self.latches
            .values()
            .filter_map(|(_, alarm)| alarm.clone())
            .collect()
    }

    /// What changes with a look.
    pub fn step(&mut self, seen: &Seen, policy: &Policy, now: Now) -> Vec<Change> {
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
        for (code, finding) in of_gate(seen, policy) {
            changes.extend(self.latch(code, None, finding, now));
        }
        for route in &seen.routes {
            let known = self
                .routes
                .entry(Arc::clone(&route.name))
                .or_insert_with(|| RouteKnown::new(route));
            known.look(route, hour, now.mono);
            for (code, finding) in known.findings(route, now.mono) {
                changes.extend(self.latch(code, Some(&route.name), finding, now));
            }
        }
        changes
    }

    /// Clears what was raised on routes that are gone.
    fn forget(&mut self, seen: &Seen, now: Now) -> Vec<Change> {
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

impl RouteKnown {
    fn new(seen: &RouteSeen) -> Self {
        // what was counted before the first look is not known to be of now
        Self {
            before: seen.clone(),
            history: History::default(),
            last_verified: None,
            streak: None,
            died: None,
        }
    }

    fn look(&mut self, seen: &RouteSeen, hour: u64, now: Instant) {
        let before = std::mem::replace(&mut self.before, seen.clone());
        let more = |of: fn(&RouteSeen) -> u64| of(seen).saturating_sub(of(&before));
        let verified = more(|seen| seen.verified);
        self.history.add(
            hour,
            Hour {
                verified,
                unverified: more(|seen| seen.unverified),
            },
        );
        if verified > 0 {
            self.last_verified = Some(now);
        }
        let failed = more(|seen| seen.failed);
        if more(|seen| seen.succeeded) > 0 {
            self.streak = None;
        } else if failed > 0 {
            let (count, since) = self.streak.unwrap_or((0, now));
            self.streak = Some((count.saturating_add(failed), since));
        }
        if more(|seen| seen.deaths) > 0 {
            self.died = Some(now);
        }
        let quiet = self
            .died
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if quiet > DEAD_QUIET || quiet > COUNTS_LATE && seen.dead == 0 {
            self.died = None;
        }
    }

    fn findings(&self, seen: &RouteSeen, now: Instant) -> [(Code, Finding); 5] {
        [
            (Code::DeadLetters, self.dead(seen)),
            (Code::Failing, self.failing(seen, now)),
            (Code::Silent, self.silent(now)),
            (Code::VerifiedFalling, self.falling()),
            (Code::ManyDuplicates, duplicates(seen)),
        ]
    }

    fn dead(&self, seen: &RouteSeen) -> Finding {
        let level = if self.died.is_some() {
            Level::Bad
        } else {
            Level::Good
        };
        let text = format!(
            "deliveries died: their tries are over, and {} lie dead in the store",
            seen.dead.max(1)
        );
        Finding(level, Duration::ZERO, text)
    }

    fn failing(&self, seen: &RouteSeen, now: Instant) -> Finding {
        let Some((count, since)) = self.streak else {
            return Finding(Level::Good, Duration::ZERO, String::new());
        };
        let lasted = now.saturating_duration_since(since);
        let rule = seen.disables_after.unwrap_or(UNKNOWN_RULE);
        // half of what it takes, so that there is time to act
        let by_count = rule
            .failures
            .is_some_and(|most| count >= u64::from(most.div_ceil(2)));
        let by_time = rule
            .lasting
            .is_some_and(|most| count >= FEWEST_FAILURES && lasted >= most / 2);
        let known = match (seen.disables_after.is_some(), rule) {
            (
                true,
                DisablesAfter {
                    failures: Some(most),
                    ..
                },
            ) => format!("the provider disables the endpoint after {most} in a row"),
            (
                true,
                DisablesAfter {
                    lasting: Some(most),
                    ..
                },
            ) => {
                format!(
                    "the provider disables the endpoint after {}",
                    in_words(most)
                )
            }
            (
                true,
                DisablesAfter {
                    failures: None,
                    lasting: None,
                },
            )
            | (false, _) => "many providers disable an endpoint that goes on like this".to_owned(),
        };
        let level = if by_count || by_time {
            Level::Bad
        } else {
            Level::Between
        };
        let lasted = in_words(Duration::from_secs(lasted.as_secs()));
        Finding(
            level,
            Duration::ZERO,
            format!("no delivery has succeeded for {lasted}, {count} failed in a row; {known}"),
        )
    }

    fn silent(&self, now: Instant) -> Finding {
        let (Some(last), Some(hours)) = (self.last_verified, self.history.too_long()) else {
            return Finding(Level::Between, Duration::ZERO, String::new());
        };
        let silent = now.saturating_duration_since(last);
        let level = if silent >= Duration::from_secs(hours.saturating_mul(HOUR)) {
            Level::Bad
        } else {
            Level::Good
        };
        let silent = silent.as_secs() / HOUR;
        Finding(
            level,
            Duration::ZERO,
            format!(
                "nothing authentic has come for {silent} hours; {hours} are more than is usual here"
            ),
        )
    }

    fn falling(&self) -> Finding {
        let Some(Shares { usual, late }) = self.history.shares() else {
            return Finding(Level::Between, Duration::ZERO, String::new());
        };
        let level = if late < usual - FALL {
            Level::Bad
        } else if late >= usual - NEAR {
            Level::Good
        } else {
            Level::Between
        };
        let text = format!(
            "{:.0} % of requests verify of late, usually {:.0} %",
            late * 100.0,
            usual * 100.0
        );
        Finding(level, Duration::ZERO, text)
    }
}

/// Judges the duplicates of the last hour: half of what came is too much, a quarter is not.
fn duplicates(seen: &RouteSeen) -> Finding {
    let RouteSeen {
        authentic_of_hour: all,
        duplicates_of_hour: duplicates,
        ..
    } = seen;
    let level = match duplicates {
        duplicates if *all >= FEWEST_REQUESTS && duplicates.saturating_mul(2) >= *all => Level::Bad,
        duplicates if duplicates.saturating_mul(4) <= *all => Level::Good,
        _ => Level::Between,
    };
    let text = format!(
        "{duplicates} of {all} authentic requests of the last hour were answered as duplicates and did not reach the app"
    );
    Finding(level, Duration::ZERO, text)
}

/// What concerns no route.
fn of_gate(seen: &Seen, policy: &Policy) -> Vec<(Code, Finding)> {
    let said = |said: &Option<String>| {
        let level = if said.is_some() {
            Level::Bad
        } else {
            Level::Good
        };
        Finding(level, Duration::ZERO, said.clone().unwrap_or_default())
    };
    let parked = if seen.parked > 0 {
        Level::Bad
    } else {
        Level::Good
    };
    let waits = format!(
        "{} deliveries wait for a route that the config does not have: add the route again, or write its name under `previously` of another",
        seen.parked
    );
    let clock = if seen.clock_jump {
        Level::Bad
    } else {
        Level::Good
    };
    let mut findings = vec![
        (Code::Parked, Finding(parked, Duration::ZERO, waits)),
        (Code::StoreSetAside, said(&seen.set_aside)),
        (Code::StoreFailing, said(&seen.failing)),
        (Code::CertificateExpiry, said(&seen.certificates)),
        (Code::NameUnresolved, unresolved(&seen.unresolved)),
        (
            Code::ClockJump,
            Finding(
                clock,
                Duration::ZERO,
                "the clock was set: nothing expires or is purged until it has held".to_owned(),
            ),
        ),
    ];
    let disk = seen.disk.map(|Disk { free, total }| {
        let due = policy.disk_free.of(total);
        let text = format!(
            "{} of {} are free on the disk of the store",
            bytes(free),
            bytes(total)
        );
        // a fifth more than is due before it is good again
        let level = match free {
            free if free < due => Level::Bad,
            free if free >= due.saturating_add(due / 5).min(total) => Level::Good,
            _ => Level::Between,
        };
        Finding(level, HOLD, text)
    });
    // a disk that is not there any more, or no bound: nothing is wrong
    let none = || Finding(Level::Good, HOLD, String::new());
    let size = policy.store_size.map(|most| {
        let level = match seen.store_bytes {
            size if size > most => Level::Bad,
            size if size <= most - most / 10 => Level::Good,
            _ => Level::Between,
        };
        Finding(
            level,
            HOLD,
            format!(
                "the store has {}, more than {}",
                bytes(seen.store_bytes),
                bytes(most)
            ),
        )
    });
    findings.push((Code::DiskNearlyFull, disk.unwrap_or_else(none)));
    findings.push((Code::StoreLarge, size.unwrap_or_else(none)));
    findings
}

/// Returns the finding about upstreams whose names do not resolve.
fn unresolved(upstreams: &[(Arc<str>, Duration)]) -> Finding {
    let level = if upstreams.is_empty() {
        Level::Good
    } else {
        Level::Bad
    };
    let named: Vec<_> = upstreams
        .iter()
        .map(|(name, lasted)| format!("{name} for {}", in_words(*lasted)))
        .collect();
    let text = format!(
        "the name of an upstream does not resolve ({}): its last addresses are used, if it had any",
        named.join(", ")
    );
    Finding(level, Duration::ZERO, text)
}

/// `1h 30m`, for people: two units are enough.
fn in_words(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests;
