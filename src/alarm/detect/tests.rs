use std::time::SystemTime;

use proptest::prelude::*;

use super::gateway::HOLD;
use super::route::DEAD_QUIET;
use super::*;
use crate::alarm::latch::CLEAR_AFTER;
use crate::alarm::{DisablesAfter, Share};
use crate::clock::{Clock as _, SystemClock};
use crate::mount::Space;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A detector, and time that goes as it is told.
struct Bench {
    detector: Detector,
    policy: Policy,
    observation: Observation,
    begun: Now,
    passed: Duration,
}

impl Bench {
    fn new() -> Self {
        let begun = Now {
            wall: SystemTime::UNIX_EPOCH + 1_000_000 * SECOND,
            mono: SystemClock.mono(),
        };
        let observation = Observation {
            routes: vec![RouteObservation {
                name: "a".into(),
                ..RouteObservation::default()
            }],
            ..Observation::default()
        };
        let mut bench = Self {
            detector: Detector::new(begun.mono),
            policy: Policy::default(),
            observation,
            begun,
            passed: Duration::ZERO,
        };
        assert_eq!(bench.after(Duration::ZERO), Vec::<String>::new());
        bench
    }

    fn route(&mut self) -> &mut RouteObservation {
        &mut self.observation.routes[0]
    }

    /// Returns the changes of a look after `passed`: `+code route` or `-code`.
    fn after(&mut self, passed: Duration) -> Vec<String> {
        self.passed += passed;
        let now = Now {
            wall: self.begun.wall + self.passed,
            mono: self.begun.mono + self.passed,
        };
        let changes = self.detector.step(&self.observation, &self.policy, now);
        let text = |change: &Change| {
            let sign = if change.raised { '+' } else { '-' };
            assert!(
                !change.alarm.text.is_empty()
                    && change.at == now.wall
                    && change.alarm.since <= now.wall
            );
            change
                .alarm
                .route
                .as_ref()
                .map_or(format!("{sign}{}", change.alarm.code), |route| {
                    format!("{sign}{} {route}", change.alarm.code)
                })
        };
        changes.iter().map(text).collect()
    }

    fn text(&self) -> String {
        self.detector
            .raised()
            .into_iter()
            .map(|alarm| alarm.text)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

const NONE: [&str; 0] = [];

#[test]
fn dead_letters_alarm_until_none_is_left() {
    let mut bench = Bench::new();
    bench.route().deaths = 2;
    assert_eq!(
        bench.after(SECOND),
        ["+dead_letters a"],
        "before the store has counted them"
    );
    bench.route().dead = 2;
    assert_eq!(bench.after(10 * MINUTE), NONE);
    assert_eq!(
        bench.text(),
        "deliveries are dead after their last attempt failed; the store has 2 dead deliveries"
    );
    bench.route().dead = 0;
    assert_eq!(bench.after(SECOND), NONE);
    assert_eq!(
        bench.text(),
        "over, and cleared within 5 minutes; it was: deliveries are dead after their last attempt failed; the store has 2 dead deliveries"
    );
    let raised = bench.detector.raised();
    assert!(raised.iter().all(|alarm| alarm.ending), "{raised:?}");
    assert_eq!(bench.after(CLEAR_AFTER), ["-dead_letters a"]);
    bench.route().dead = 7;
    assert_eq!(bench.after(10 * MINUTE), NONE, "cancelled ones are no news");
    bench.route().deaths = 3;
    assert_eq!(bench.after(SECOND), ["+dead_letters a"]);
    assert_eq!(bench.after(2 * DEAD_QUIET), NONE);
    assert_eq!(bench.after(CLEAR_AFTER), ["-dead_letters a"]);
}

#[test]
fn failures_alarm_at_half_of_the_providers_limit() {
    let by = |failures, lasting| Some(DisablesAfter { failures, lasting });
    for (rule, count, lasting) in [
        (by(Some(10), None), 5, Duration::ZERO),
        (by(Some(5), None), 3, Duration::ZERO),
        (by(None, Some(4 * MINUTE)), 3, 2 * MINUTE),
        (None, 3, 12 * 60 * MINUTE),
    ] {
        let mut bench = Bench::new();
        bench.route().disables_after = rule;
        bench.route().failed = 1;
        assert_eq!(bench.after(SECOND), NONE);
        bench.route().failed = count - 1;
        assert_eq!(bench.after(lasting), NONE, "{rule:?}");
        bench.route().failed = count;
        assert_eq!(bench.after(SECOND), ["+failing a"], "{rule:?}");
        assert!(
            bench.text().contains(&format!("{count} failed in a row; ")),
            "{}",
            bench.text()
        );
        bench.route().succeeded = 1;
        assert_eq!(bench.after(SECOND), NONE);
        assert_eq!(bench.after(CLEAR_AFTER), ["-failing a"]);
        bench.route().failed += count - 1;
        assert_eq!(bench.after(SECOND), NONE, "it counts anew");
    }
}

/// Runs `hours` of one look a minute with so many requests an hour.
fn hours(bench: &mut Bench, hours: u64, verified: u64, unverified: u64) -> Vec<String> {
    let mut changes = Vec::new();
    for _ in 0..hours {
        bench.route().verified += verified;
        bench.route().unverified += unverified;
        changes.extend((0..12).flat_map(|_| bench.after(5 * MINUTE)));
    }
    changes
}

#[test]
fn silent_route_alarms_and_clears_on_its_return() {
    let mut bench = Bench::new();
    assert_eq!(hours(&mut bench, 30, 5, 0), NONE);
    assert_eq!(hours(&mut bench, 1, 0, 0), NONE);
    assert_eq!(
        hours(&mut bench, 4, 0, 1),
        ["+silent a"],
        "what does not verify is no sign of life"
    );
    assert!(
        bench
            .text()
            .starts_with("no authentic request has come for "),
        "{}",
        bench.text()
    );
    assert_eq!(hours(&mut bench, 1, 5, 0), ["-silent a"]);
    assert_eq!(
        hours(&mut bench, 8, 0, 0),
        NONE,
        "it has been as silent before"
    );
}

#[test]
fn falling_share_of_verified_requests_alarms() {
    let mut bench = Bench::new();
    assert_eq!(hours(&mut bench, 10, 50, 2), NONE);
    assert_eq!(hours(&mut bench, 2, 30, 22), ["+verified_falling a"]);
    assert_eq!(
        bench.text(),
        "58 % of recent requests verified; usually 96 % do"
    );
    assert_eq!(hours(&mut bench, 1, 40, 12), NONE, "neither bad nor good");
    assert_eq!(hours(&mut bench, 2, 50, 2), ["-verified_falling a"]);
}

#[test]
fn many_duplicates_raise_an_alarm() {
    let mut bench = Bench::new();
    let mut look = |authentic, duplicates, passed| {
        let route = bench.route();
        (route.authentic_of_hour, route.duplicates_of_hour) = (authentic, duplicates);
        (bench.after(passed), bench.text())
    };
    assert_eq!(look(19, 19, SECOND).0, NONE, "too few to say anything");
    assert_eq!(look(21, 10, SECOND).0, NONE, "less than half");
    let (raised, text) = look(20, 10, SECOND);
    assert_eq!(raised, ["+many_duplicates a"]);
    assert_eq!(
        text,
        "10 of 20 authentic requests of the last hour were answered as duplicates and not forwarded"
    );
    assert_eq!(look(30, 10, 10 * MINUTE).0, NONE, "neither bad nor good");
    assert_eq!(look(40, 10, SECOND).0, NONE);
    assert_eq!(look(40, 10, CLEAR_AFTER).0, ["-many_duplicates a"]);
    assert_eq!(look(0, 0, 60 * MINUTE).0, NONE);
}

#[test]
fn filling_disk_alarms() {
    let mut bench = Bench::new();
    let disk = |free| {
        Some(Space {
            free,
            total: 1000 << 30,
        })
    };
    bench.observation.disk = disk(99 << 30);
    assert_eq!(bench.after(SECOND), NONE);
    assert_eq!(bench.after(HOLD), ["+disk_nearly_full"]);
    assert_eq!(
        bench.text(),
        "99.0 GiB of 1000.0 GiB are free on the disk of the store"
    );
    bench.observation.disk = disk(110 << 30);
    assert_eq!(bench.after(10 * CLEAR_AFTER), NONE, "not yet good enough");
    bench.observation.disk = disk(121 << 30);
    assert_eq!(
        (bench.after(SECOND), bench.after(CLEAR_AFTER)),
        (vec![], vec!["-disk_nearly_full".to_owned()])
    );
    bench.policy.disk_free = Share::Bytes(200 << 30);
    assert_eq!(
        (bench.after(SECOND), bench.after(HOLD)),
        (vec![], vec!["+disk_nearly_full".to_owned()])
    );
    bench.observation.store_bytes = 2000;
    assert_eq!(
        (bench.after(SECOND), bench.after(HOLD)),
        (vec![], vec![]),
        "no bound"
    );
    bench.policy.store_size = Some(1999);
    assert_eq!(
        (bench.after(SECOND), bench.after(HOLD)),
        (vec![], vec!["+store_large".to_owned()])
    );
    bench.observation.store_bytes = 1900;
    assert_eq!(bench.after(10 * CLEAR_AFTER), NONE);
    bench.observation.store_bytes = 1000;
    assert_eq!(
        (bench.after(SECOND), bench.after(CLEAR_AFTER)),
        (vec![], vec!["-store_large".to_owned()])
    );
}

#[test]
fn store_and_clock_troubles_alarm_with_their_text() {
    let mut bench = Bench::new();
    bench.observation.set_aside = Some("a damaged store was set aside".to_owned());
    bench.observation.failing = Some("no space left".to_owned());
    bench.observation.clock_jump = true;
    assert_eq!(
        bench.after(SECOND),
        ["+store_set_aside", "+store_failing", "+clock_jump"]
    );
    assert!(
        bench
            .text()
            .contains("no space left; a damaged store was set aside"),
        "{}",
        bench.text()
    );
    bench.observation.failing = None;
    bench.observation.clock_jump = false;
    assert_eq!(
        (bench.after(SECOND), bench.after(CLEAR_AFTER)),
        (
            vec![],
            vec!["-store_failing".to_owned(), "-clock_jump".to_owned()]
        )
    );
    assert_eq!(bench.text(), "a damaged store was set aside");
}

#[test]
fn unresolved_name_alarms() {
    let mut bench = Bench::new();
    bench.observation.unresolved = vec![("app".into(), 6 * MINUTE), ("other".into(), 300 * MINUTE)];
    assert_eq!(bench.after(SECOND), ["+name_unresolved"]);
    assert!(
        bench.text().contains("(app for 6m, other for 5h)"),
        "{}",
        bench.text()
    );
    bench.observation.unresolved.clear();
    assert_eq!(
        (bench.after(SECOND), bench.after(CLEAR_AFTER)),
        (vec![], vec!["-name_unresolved".to_owned()])
    );
}

#[test]
fn removed_route_clears_its_alarms() {
    let mut bench = Bench::new();
    bench.route().deaths = 1;
    assert_eq!(bench.after(SECOND), ["+dead_letters a"]);
    bench.observation.routes.clear();
    assert_eq!(bench.after(SECOND), ["-dead_letters a"]);
    assert!(bench.detector.raised().is_empty() && bench.detector.routes.is_empty());
}

proptest! {
    /// For any counts, an alarm is raised and cleared in turn, never twice within its hold time, and `raised` agrees.
    #[test]
    fn raised_and_cleared_alternate(looks in prop::collection::vec((0_u64..400, 0_u64..3, 0_u64..3, 0_u64..2, 0_u64..200, any::<bool>()), 1..200)) {
        let mut bench = Bench::new();
        bench.route().disables_after = Some(DisablesAfter { failures: Some(4), lasting: None });
        let mut up = BTreeMap::new();
        for (seconds, succeeded, failed, deaths, free, jump) in looks {
            bench.route().succeeded += succeeded / 2;
            bench.route().failed += failed;
            bench.route().deaths += deaths;
            bench.observation.disk = Some(Space { free, total: 1000 });
            bench.observation.clock_jump = jump;
            for change in bench.after(Duration::from_secs(seconds)) {
                let (sign, code) = change.split_at(1);
                if sign == "+" {
                    prop_assert!(up.insert(code.to_owned(), bench.passed).is_none(), "{}", change);
                } else {
                    let since = up.remove(code).expect("it was raised");
                    prop_assert!(bench.passed - since >= CLEAR_AFTER, "{}", change);
                }
            }
            prop_assert_eq!(bench.detector.raised().len(), up.len());
        }
    }
}

#[test]
fn parked_deliveries_alarm_at_once() {
    let mut bench = Bench::new();
    bench.observation.parked = 3;
    assert_eq!(bench.after(SECOND), ["+parked"]);
    assert!(
        bench
            .text()
            .starts_with("3 deliveries wait for a route that is not in the config"),
        "{}",
        bench.text()
    );
    bench.observation.parked = 0;
    assert_eq!(
        (bench.after(SECOND), bench.after(CLEAR_AFTER)),
        (vec![], vec!["-parked".to_owned()])
    );
}

#[test]
fn newly_paused_endpoints_need_attention_for_a_day() {
    let mut bench = Bench::new();
    let paused = |bench: &mut Bench, paused, pauses| {
        bench.observation.sending = Some(SendingObservation {
            paused,
            pauses,
            oldest_due: None,
        });
        bench.after(SECOND)
    };
    assert_eq!(
        paused(&mut bench, 3, 0),
        NONE,
        "they are known since before"
    );
    assert_eq!(paused(&mut bench, 4, 1), ["+endpoints_paused"]);
    assert_eq!(bench.after(1439 * MINUTE), NONE);
    assert_eq!(bench.after(MINUTE), NONE);
    assert_eq!(bench.after(CLEAR_AFTER), ["-endpoints_paused"]);
    // another one was resumed in the meantime
    assert_eq!(paused(&mut bench, 4, 2), ["+endpoints_paused"]);
    assert_eq!(paused(&mut bench, 0, 2), NONE);
    assert_eq!(bench.after(CLEAR_AFTER), ["-endpoints_paused"]);
    assert_eq!(paused(&mut bench, 0, 3), NONE, "it was resumed at once");
    assert_eq!(paused(&mut bench, 1, 4), ["+endpoints_paused"]);
}

#[test]
fn sending_is_behind_if_an_event_is_due_for_a_minute() {
    let mut bench = Bench::new();
    let oldest = |bench: &mut Bench, seconds: u32, passed| {
        bench.observation.sending = Some(SendingObservation {
            oldest_due: Some(seconds * SECOND),
            ..SendingObservation::default()
        });
        bench.after(passed)
    };
    assert_eq!(oldest(&mut bench, 60, SECOND), NONE);
    assert_eq!(oldest(&mut bench, 61, SECOND), NONE);
    assert_eq!(oldest(&mut bench, 0, SECOND), NONE);
    assert_eq!(oldest(&mut bench, 61, SECOND), NONE);
    assert_eq!(oldest(&mut bench, 121, MINUTE), ["+outbound_behind"]);
    assert_eq!(oldest(&mut bench, 45, 2 * CLEAR_AFTER), NONE);
    assert_eq!(oldest(&mut bench, 2, SECOND), NONE);
    assert_eq!(oldest(&mut bench, 2, CLEAR_AFTER), ["-outbound_behind"]);
}

/// A failover takes some seconds, and a change of the config takes a rollout: neither is an alarm.
#[test]
fn trouble_of_a_shared_store_is_raised_once_it_lasts() {
    let mut bench = Bench::new();
    let fleet = |change: fn(&mut FleetObservation)| {
        let mut fleet = FleetObservation {
            days_ahead: Some(7),
            configs: 1,
            ..FleetObservation::default()
        };
        change(&mut fleet);
        Some(fleet)
    };
    type Case = (fn(&mut FleetObservation), Duration, &'static str);
    let cases: [Case; 4] = [
        (
            |of| of.down = Some("no answer".to_owned()),
            HOLD,
            "store_down",
        ),
        (
            |of| of.standby_ignored = Some("it is ignored"),
            HOLD,
            "store_standby_ignored",
        ),
        (|of| of.days_ahead = Some(2), HOLD, "store_days"),
        (|of| of.configs = 2, 10 * MINUTE, "store_configs_differ"),
    ];
    for (change, hold, code) in cases {
        bench.observation.fleet = fleet(change);
        assert_eq!(bench.after(SECOND), [""; 0], "{code}");
        assert_eq!(bench.after(hold - SECOND), [""; 0], "{code}");
        assert_eq!(bench.after(SECOND), [format!("+{code}")]);
        bench.observation.fleet = fleet(|_| {});
        assert_eq!(bench.after(SECOND), [""; 0], "{code}");
        assert_eq!(bench.after(CLEAR_AFTER), [format!("-{code}")]);
    }
    bench.observation.fleet = None;
    assert_eq!(bench.after(20 * MINUTE), [""; 0]);
}
