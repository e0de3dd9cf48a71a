use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn rules() -> PauseRules {
    PauseRules::new(5 * DAY, 20)
}

fn begin() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_500_000)
}

fn failure(at: SystemTime) -> Failure {
    Failure {
        at,
        cause: Cause::Status(500),
        event: Uuid::from_u128(7),
    }
}

/// Returns a streak of failures at these times.
fn streak(times: impl IntoIterator<Item = SystemTime>) -> Streak {
    let streak = times.into_iter().fold(None, |before, at| {
        Some(Streak::after_failure(before, &failure(at)))
    });
    streak.unwrap()
}

#[test]
fn pause_needs_age_failures_and_hours() {
    let every = |count: u32, gap: Duration| streak((0..count).map(|n| begin() + gap * n));
    for (streak, age, due_then) in [
        (every(24, HOUR), 5 * DAY, true),
        (every(24, HOUR), 5 * DAY - HOUR, false),
        (every(23, HOUR), 5 * DAY, false),
        (every(24, HOUR / 2), 5 * DAY, false),
        (every(10_000, HOUR / 600), 5 * DAY, false),
        (every(19, 6 * HOUR), 10 * DAY, false),
        (every(24, 6 * HOUR), 10 * DAY, true),
    ] {
        let is_due = due(&streak, &rules(), begin() + age) == Due::Pause;
        assert_eq!(is_due, due_then, "{streak:?} {age:?}");
    }
    let many = PauseRules::new(5 * DAY, 30);
    assert_ne!(due(&every(29, HOUR), &many, begin() + 6 * DAY), Due::Pause);
    assert_eq!(due(&every(30, HOUR), &many, begin() + 6 * DAY), Due::Pause);
}

#[test]
fn short_age_needs_fewer_hours() {
    for (after, hours) in [
        (Duration::from_secs(1), 1),
        (HOUR, 1),
        (3 * HOUR, 3),
        (DAY, 24),
        (5 * DAY, 24),
        (Duration::MAX, 24),
    ] {
        assert_eq!(PauseRules::new(after, 20).hours, hours, "{after:?}");
    }
}

#[test]
fn app_is_warned_twice_and_notified_of_the_end() {
    let mut row = streak([begin()]);
    let at = |row: &Streak, age| due(row, &rules(), begin() + age);
    assert_eq!(at(&row, DAY - HOUR), Due::Nothing);
    assert_eq!(at(&row, DAY), Due::Warn(Notified::Once));
    row = row.after_warning(Notified::Once);
    assert_eq!(at(&row, 3 * DAY - HOUR), Due::Nothing);
    assert_eq!(at(&row, 3 * DAY), Due::Warn(Notified::Twice));
    row = row.after_warning(Notified::Twice);
    assert_eq!(at(&row, 100 * DAY), Due::Nothing);
    let AfterSuccess::Keep(over) = row.after_success() else {
        panic!("the row was removed");
    };
    assert_eq!(at(&over, 3 * DAY), Due::Recovered);
    // it fails again before that was sent
    let again = Streak::after_failure(Some(over), &failure(begin() + 4 * DAY));
    assert_eq!((again.failures, again.since), (1, begin() + 4 * DAY));
    assert_eq!(at(&again, 4 * DAY), Due::Nothing);
    assert!(matches!(again.after_success(), AfterSuccess::Keep(_)));
    assert_eq!(at(&again, 5 * DAY), Due::Warn(Notified::Once));
}

#[test]
fn first_warning_is_left_out_when_it_is_late() {
    let row = streak([begin()]);
    assert_eq!(
        due(&row, &rules(), begin() + 4 * DAY),
        Due::Warn(Notified::Twice)
    );
    assert_eq!(row.after_success(), AfterSuccess::Remove);
    assert_eq!(due(&row, &rules(), begin() - DAY), Due::Nothing);
}

#[test]
fn row_keeps_the_first_event_and_the_last_cause() {
    let first = streak([begin()]);
    let last = Streak::after_failure(
        Some(first),
        &Failure {
            at: begin() + HOUR,
            cause: Cause::Unknown,
            event: Uuid::from_u128(8),
        },
    );
    assert_eq!((last.first, last.since), (Uuid::from_u128(7), begin()));
    assert_eq!((last.cause, last.last), (Cause::Unknown, begin() + HOUR));
}

#[test]
fn numbers_are_those_of_the_store() {
    for number in [0, 1, 2, 3, u8::MAX] {
        assert_eq!(
            Notified::from_number(number).map(Notified::number),
            Some(number)
        );
    }
    assert_eq!(Notified::from_number(4), None);
}

/// A step of the model: an attempt ends, or the rules are looked at.
#[derive(Clone, Debug)]
enum Step {
    Failed(u64),
    Succeeded,
    Look(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // minutes from the beginning, in any order
    prop_oneof![
        12 => (0..20_000_u64).prop_map(Step::Failed),
        1 => Just(Step::Succeeded),
        4 => (0..20_000_u64).prop_map(Step::Look),
    ]
}

proptest! {
    /// Whatever the order: no pause before 5 days, 20 failures and 24 distinct hours since the last success, and each warning once.
    #[test]
    fn nothing_is_due_before_its_time(steps in prop::collection::vec(step(), 0..400)) {
        let at = |minutes: u64| begin() + Duration::from_secs(60 * minutes);
        let mut row: Option<Streak> = None;
        // all failures since the last success, as a list
        let mut failed: Vec<u64> = Vec::new();
        let mut warned = BTreeSet::new();
        for step in steps {
            match step {
                Step::Failed(minutes) => {
                    row = Some(Streak::after_failure(row, &failure(at(minutes))));
                    failed.push(minutes);
                }
                Step::Succeeded => {
                    row = row.and_then(|row| match row.after_success() {
                        AfterSuccess::Remove => None,
                        AfterSuccess::Keep(row) => Some(row),
                    });
                    failed.clear();
                    warned.clear();
                }
                Step::Look(minutes) => {
                    let Some(streak) = row else { continue };
                    let age = minutes.saturating_sub(*failed.first().unwrap_or(&0));
                    let hours: BTreeSet<u64> = failed.iter().map(|minutes| unix_ms(at(*minutes)) / HOUR_MS).collect();
                    let count = u32::try_from(failed.len()).unwrap();
                    match due(&streak, &rules(), at(minutes)) {
                        Due::Nothing => {}
                        Due::Warn(notified) => {
                            prop_assert!(age >= 24 * 60 && (notified == Notified::Once || age >= 72 * 60));
                            prop_assert!(warned.insert(notified));
                            row = Some(streak.after_warning(notified));
                        }
                        Due::Pause => {
                            prop_assert!(age >= 5 * 24 * 60 && count >= 20 && hours.len() >= 24);
                            row = None;
                            failed.clear();
                            warned.clear();
                        }
                        Due::Recovered => {
                            prop_assert!(failed.is_empty());
                            row = None;
                        }
                    }
                    if let Some(streak) = row {
                        prop_assert!(failed.is_empty() || streak.failures == count);
                        prop_assert!(failed.is_empty() || usize::try_from(streak.hours).unwrap() <= hours.len());
                    }
                }
            }
        }
    }

    /// Failures in their order are counted exactly.
    #[test]
    fn hours_are_exact_in_order(mut minutes in prop::collection::vec(0..20_000_u64, 1..100)) {
        minutes.sort_unstable();
        let times: Vec<SystemTime> = minutes.iter().map(|minutes| begin() + Duration::from_secs(60 * minutes)).collect();
        let hours: BTreeSet<u64> = times.iter().map(|at| unix_ms(*at) / HOUR_MS).collect();
        let row = streak(times.iter().copied());
        prop_assert_eq!(usize::try_from(row.hours).unwrap(), hours.len());
        prop_assert_eq!(Some(&row.last), times.last());
    }
}
