//! The history of one route, and the findings about its alarms.
use std::time::{Duration, Instant};

use super::finding::{Finding, in_words};
use super::observation::RouteObservation;
use crate::alarm::baseline::{History, Hour, Shares};
use crate::alarm::latch::Level;
use crate::alarm::{Code, DisablesAfter};

/// Seconds of an hour.
pub(super) const HOUR: u64 = 3600;
/// The time after the last dead letter after which the alarm clears although nobody looked at them.
pub(super) const DEAD_QUIET: Duration = Duration::from_secs(86_400);
/// The largest age of the counts of the store.
const COUNT_DELAY: Duration = Duration::from_secs(60);
/// The failures in a row from which on their duration counts.
const MIN_FAILURES: u64 = 3;
/// The rule that is assumed for a provider whose rule is not known.
const UNKNOWN_RULE: DisablesAfter = DisablesAfter {
    failures: None,
    lasting: Some(Duration::from_secs(86_400)),
};
/// The fall of the share of verified requests that raises an alarm.
const SHARE_FALL: f64 = 0.2;
/// The distance from the usual share at which the alarm clears.
const SHARE_RECOVERED: f64 = 0.1;
/// The fewest authentic requests of an hour of which the share of duplicates says anything.
const MIN_REQUESTS: u64 = 20;

/// The state of a route between two looks.
#[derive(Debug)]
pub(super) struct RouteState {
    before: RouteObservation,
    history: History,
    last_verified: Option<Instant>,
    /// Failures since the last success, and since when.
    streak: Option<(u64, Instant)>,
    /// The time of the last dead letter that nobody has looked at.
    died: Option<Instant>,
}

impl RouteState {
    pub(super) fn new(observation: &RouteObservation) -> Self {
        // counts from before the first look may be old
        Self {
            before: observation.clone(),
            history: History::default(),
            last_verified: None,
            streak: None,
            died: None,
        }
    }

    /// Adds the observations of one look. `hour` is the number of the present hour.
    pub(super) fn observe(&mut self, observation: &RouteObservation, hour: u64, now: Instant) {
        let before = std::mem::replace(&mut self.before, observation.clone());
        let more = |of: fn(&RouteObservation) -> u64| of(observation).saturating_sub(of(&before));
        let verified = more(|observation| observation.verified);
        self.history.add(
            hour,
            Hour {
                verified,
                unverified: more(|observation| observation.unverified),
            },
        );
        if verified > 0 {
            self.last_verified = Some(now);
        }
        let failed = more(|observation| observation.failed);
        if more(|observation| observation.succeeded) > 0 {
            self.streak = None;
        } else if failed > 0 {
            let (count, since) = self.streak.unwrap_or((0, now));
            self.streak = Some((count.saturating_add(failed), since));
        }
        if more(|observation| observation.deaths) > 0 {
            self.died = Some(now);
        }
        let quiet = self
            .died
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if quiet > DEAD_QUIET || quiet > COUNT_DELAY && observation.dead == 0 {
            self.died = None;
        }
    }

    /// Returns the findings about the alarms of a route.
    pub(super) fn findings(
        &self,
        observation: &RouteObservation,
        now: Instant,
    ) -> [(Code, Finding); 5] {
        [
            (Code::DeadLetters, self.dead(observation)),
            (Code::Failing, self.failing(observation, now)),
            (Code::Silent, self.silent(now)),
            (Code::VerifiedFalling, self.falling()),
            (Code::ManyDuplicates, duplicates(observation)),
        ]
    }

    fn dead(&self, observation: &RouteObservation) -> Finding {
        let level = if self.died.is_some() {
            Level::Bad
        } else {
            Level::Good
        };
        let text = match observation.dead {
            // it was replayed or deleted, or the store has not counted it yet
            0 => "a delivery was dead after its last attempt failed".to_owned(),
            1 => "a delivery is dead after its last attempt failed; the store has 1 dead delivery"
                .to_owned(),
            dead => format!(
                "deliveries are dead after their last attempt failed; the store has {dead} dead deliveries"
            ),
        };
        Finding(level, Duration::ZERO, text)
    }

    fn failing(&self, observation: &RouteObservation, now: Instant) -> Finding {
        let Some((count, since)) = self.streak else {
            return Finding(Level::Good, Duration::ZERO, String::new());
        };
        let lasted = now.saturating_duration_since(since);
        let rule = observation.disables_after.unwrap_or(UNKNOWN_RULE);
        // half of what it takes, so that there is time to act
        let by_count = rule
            .failures
            .is_some_and(|most| count >= u64::from(most.div_ceil(2)));
        let by_time = rule
            .lasting
            .is_some_and(|most| count >= MIN_FAILURES && lasted >= most / 2);
        let known = match (observation.disables_after.is_some(), rule) {
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
            | (false, _) => "many providers disable an endpoint that keeps failing".to_owned(),
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
            format!("no delivery has succeeded for {lasted}, and {count} failed in a row; {known}"),
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
                "no authentic request has come for {silent} hours; {hours} hours without one are unusual for this route"
            ),
        )
    }

    fn falling(&self) -> Finding {
        let Some(Shares { usual, late }) = self.history.shares() else {
            return Finding(Level::Between, Duration::ZERO, String::new());
        };
        let level = if late < usual - SHARE_FALL {
            Level::Bad
        } else if late >= usual - SHARE_RECOVERED {
            Level::Good
        } else {
            Level::Between
        };
        let text = format!(
            "{:.0} % of recent requests verified; usually {:.0} % do",
            late * 100.0,
            usual * 100.0
        );
        Finding(level, Duration::ZERO, text)
    }
}

/// Judges the duplicates of the last hour: half of what came is too much, a quarter is not.
fn duplicates(observation: &RouteObservation) -> Finding {
    let RouteObservation {
        authentic_of_hour: all,
        duplicates_of_hour: duplicates,
        ..
    } = observation;
    let level = match duplicates {
        duplicates if *all >= MIN_REQUESTS && duplicates.saturating_mul(2) >= *all => Level::Bad,
        duplicates if duplicates.saturating_mul(4) <= *all => Level::Good,
        _ => Level::Between,
    };
    let text = format!(
        "{duplicates} of {all} authentic requests of the last hour were answered as duplicates and not forwarded"
    );
    Finding(level, Duration::ZERO, text)
}
