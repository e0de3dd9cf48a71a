use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn growing(max_attempts: u32) -> Schedule {
    let backoff = Backoff {
        initial: secs(5),
        factor: 2.0,
        max: secs(3600),
        max_attempts: Some(max_attempts),
    };
    Schedule::growing(backoff, DAY * 3).unwrap()
}

fn after(attempts: u32, age: Duration) -> RetryState {
    RetryState { attempts, age }
}

fn answered(status: u16, asked: Option<u64>) -> LastAttempt {
    LastAttempt::Answered(StatusCode::from_u16(status).unwrap(), asked.map(secs))
}

#[test]
fn invalid_schedules_are_refused() {
    let good = Backoff {
        initial: secs(5),
        factor: 2.0,
        max: secs(60),
        max_attempts: Some(3),
    };
    let check = |backoff, age, expected| assert_eq!(Schedule::growing(backoff, age), Err(expected));
    check(
        Backoff {
            initial: Duration::ZERO,
            ..good
        },
        DAY,
        InvalidSchedule::NoInitial,
    );
    for factor in [0.5, f64::NAN, f64::INFINITY, -2.0] {
        check(Backoff { factor, ..good }, DAY, InvalidSchedule::Factor);
    }
    check(
        Backoff {
            max: secs(4),
            ..good
        },
        DAY,
        InvalidSchedule::MaxBelowInitial,
    );
    check(
        Backoff {
            max: Duration::MAX,
            ..good
        },
        DAY,
        InvalidSchedule::TooLong,
    );
    check(
        Backoff {
            max_attempts: Some(0),
            ..good
        },
        DAY,
        InvalidSchedule::NoAttempts,
    );
    check(good, Duration::ZERO, InvalidSchedule::NoAge);
    assert_eq!(Schedule::fixed([], DAY), Err(InvalidSchedule::NoWaits));
    assert_eq!(
        Schedule::fixed([Duration::ZERO], DAY),
        Err(InvalidSchedule::NoInitial)
    );
    assert_eq!(
        Schedule::fixed([secs(1), Duration::MAX], DAY),
        Err(InvalidSchedule::TooLong)
    );
}

#[test]
fn wait_doubles_up_to_its_maximum() {
    let schedule = growing(100);
    let bounds: Vec<_> = [1, 2, 3, 4, 10, 11, 12, 5000, u32::MAX]
        .map(|attempts| schedule.bound(attempts).as_secs())
        .into();
    assert_eq!(bounds, [5, 10, 20, 40, 2560, 3600, 3600, 3600, 3600]);
    let verdict = |random| schedule.decide(after(1, secs(1)), LastAttempt::NoAnswer, random);
    assert_eq!(verdict(0), RetryDecision::RetryIn(Duration::ZERO));
    assert_eq!(
        verdict(1 << 63),
        RetryDecision::RetryIn(Duration::from_millis(2500))
    );
}

#[test]
fn fixed_waits_are_used_as_written() {
    let schedule = Schedule::fixed([secs(5), secs(300)], DAY).unwrap();
    assert_eq!(schedule.max_attempts(), Some(3));
    for random in [0, u64::MAX] {
        assert_eq!(
            schedule.decide(after(1, secs(1)), answered(500, None), random),
            RetryDecision::RetryIn(secs(5))
        );
        assert_eq!(
            schedule.decide(after(2, secs(6)), LastAttempt::NoAnswer, random),
            RetryDecision::RetryIn(secs(300))
        );
        assert_eq!(
            schedule.decide(after(3, secs(310)), LastAttempt::NoAnswer, random),
            RetryDecision::Dead(Reason::Attempts)
        );
    }
}

#[test]
fn jitter_spreads_fixed_waits_on_both_sides() {
    let jitter = Jitter::percent(20).unwrap();
    let schedule = Schedule::fixed_with([secs(5), secs(300)], jitter, DAY).unwrap();
    let wait =
        |attempts, random| schedule.decide(after(attempts, secs(1)), LastAttempt::NoAnswer, random);
    assert_eq!(wait(1, 0), RetryDecision::RetryIn(secs(4)));
    assert_eq!(wait(1, 1 << 63), RetryDecision::RetryIn(secs(5)));
    assert_eq!(
        wait(2, u64::MAX),
        RetryDecision::RetryIn(secs(360) - Duration::from_nanos(1))
    );
    assert_eq!((schedule.bound(1), schedule.bound(2)), (secs(6), secs(360)));
    assert_eq!(wait(3, 0), RetryDecision::Dead(Reason::Attempts));
    assert_eq!(Jitter::percent(51), None);
}

#[test]
fn final_statuses_end_the_schedule() {
    let schedule = growing(3).ending_on([StatusCode::NOT_FOUND]);
    let verdict = |last| schedule.decide(after(1, secs(1)), last, 0);
    for status in [200, 202, 204, 299] {
        assert_eq!(verdict(answered(status, None)), RetryDecision::Delivered);
    }
    for status in [404, 410] {
        assert_eq!(
            verdict(answered(status, Some(1))),
            RetryDecision::Dead(Reason::Status(StatusCode::from_u16(status).unwrap()))
        );
    }
    for status in [301, 400, 403, 429, 500, 503] {
        assert_eq!(
            verdict(answered(status, None)),
            RetryDecision::RetryIn(Duration::ZERO),
            "{status}"
        );
    }
    // the last attempt may still succeed
    assert_eq!(
        schedule.decide(after(3, DAY * 9), answered(200, None), 0),
        RetryDecision::Delivered
    );
}

#[test]
fn retry_after_is_bounded() {
    let schedule = growing(9);
    let verdict =
        |status, asked, age| schedule.decide(after(1, age), answered(status, Some(asked)), 0);
    assert_eq!(
        verdict(429, 7200, secs(1)),
        RetryDecision::RetryIn(secs(7200)),
        "longer than the greatest own wait"
    );
    assert_eq!(
        verdict(503, 0, secs(1)),
        RetryDecision::RetryIn(Duration::ZERO)
    );
    assert_eq!(
        verdict(500, 7200, secs(1)),
        RetryDecision::RetryIn(Duration::ZERO),
        "only 429 and 503 ask"
    );
    assert_eq!(
        verdict(429, u64::MAX, secs(1)),
        RetryDecision::RetryIn(DAY),
        "a day at most"
    );
    assert_eq!(
        verdict(429, 7200, DAY * 3 - secs(60)),
        RetryDecision::RetryIn(secs(60)),
        "the last attempt comes at the end of the age"
    );
    assert_eq!(
        verdict(429, 7200, DAY * 3),
        RetryDecision::Dead(Reason::Age)
    );
    let patient = growing(9).with_max_retry_after(secs(60));
    assert_eq!(
        patient.decide(after(1, secs(1)), answered(429, Some(7200)), 0),
        RetryDecision::RetryIn(secs(60))
    );
}

#[test]
fn last_attempt_is_at_the_end_of_the_age() {
    let schedule = Schedule::fixed([secs(100)], secs(60)).unwrap();
    let verdict = |age| schedule.decide(after(1, secs(age)), LastAttempt::NoAnswer, 0);
    assert_eq!(verdict(20), RetryDecision::RetryIn(secs(40)));
    assert_eq!(verdict(60), RetryDecision::Dead(Reason::Age));
    assert_eq!(verdict(6000), RetryDecision::Dead(Reason::Age));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = UNIX_EPOCH + secs(784_111_777);
    let seconds = |text: &str| parse_retry_after(text.as_bytes(), now).map(|delay| delay.as_secs());
    assert_eq!(seconds("120"), Some(120));
    assert_eq!(seconds(" 0 "), Some(0));
    assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
    assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
    assert_eq!(seconds("Sunday, 06-Nov-94 08:49:47 GMT"), Some(10));
    assert_eq!(seconds("Sun Nov  6 08:49:47 1994"), Some(10));
    assert_eq!(
        seconds("Sun, 06 Nov 1994 08:49:17 GMT"),
        Some(0),
        "in the past"
    );
    for nonsense in ["", "-1", "+5", "1.5", "soon", "1 2", "Sun, 06 Nov 1994"] {
        assert_eq!(seconds(nonsense), None, "{nonsense}");
    }
    assert_eq!(parse_retry_after(&[0xff, b'1'], now), None);
}

fn jitters() -> impl Strategy<Value = Jitter> {
    (0..=Jitter::MAX_PERCENT).prop_map(|percent| Jitter::percent(percent).unwrap())
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let age = (1_u64..1_000_000_000).prop_map(Duration::from_millis);
    let growing = (
        1_u64..10_000_000,
        1.0_f64..1e6,
        0_u64..10_000_000,
        prop::option::of(1_u32..200),
        age.clone(),
    )
        .prop_map(|(initial, factor, more, max_attempts, age)| {
            let initial = Duration::from_millis(initial);
            Schedule::growing(
                Backoff {
                    initial,
                    factor,
                    max: initial + Duration::from_millis(more),
                    max_attempts,
                },
                age,
            )
            .unwrap()
        });
    let waits = prop::collection::vec(1_u64..100_000_000, 1..20);
    let fixed = (waits, jitters(), age).prop_map(|(waits, jitter, age)| {
        let waits: Vec<_> = waits.into_iter().map(Duration::from_millis).collect();
        Schedule::fixed_with(waits, jitter, age).unwrap()
    });
    prop_oneof![growing, fixed]
}

fn last() -> impl Strategy<Value = LastAttempt> {
    let answered = (100_u16..1000, prop::option::of(any::<u64>()))
        .prop_map(|(status, asked)| answered(status, asked));
    prop_oneof![Just(LastAttempt::NoAnswer), answered]
}

proptest! {
    #[test]
    fn a_wait_is_within_its_bounds(schedule in schedules(), attempts in any::<u32>(), age in any::<u64>(), last in last(), random in any::<u64>()) {
        let standing = RetryState { attempts, age: Duration::from_millis(age) };
        if let RetryDecision::RetryIn(wait) = schedule.decide(standing, last, random) {
            let asked = match last {
                LastAttempt::Answered(_, Some(asked)) => asked.min(DEFAULT_MAX_RETRY_AFTER),
                LastAttempt::Answered(..) | LastAttempt::NoAnswer => Duration::ZERO,
            };
            prop_assert!(wait <= schedule.bound(attempts).max(asked));
            prop_assert!(schedule.max_attempts().is_none_or(|most| attempts < most));
            prop_assert!(standing.age + wait <= schedule.max_age());
        }
    }

    #[test]
    fn jitter_stays_within_its_part_of_the_wait(wait in 1_u64..100_000_000, percent in 0..=Jitter::MAX_PERCENT, random in any::<u64>()) {
        let wait = Duration::from_millis(wait);
        let schedule = Schedule::fixed_with([wait], Jitter::percent(percent).unwrap(), DAY).unwrap();
        let most = wait * percent / 100;
        let drawn = schedule.wait(1, random);
        prop_assert!(wait - most <= drawn && drawn <= wait + most, "{drawn:?}");
        prop_assert!(drawn <= schedule.bound(1));
    }

    #[test]
    fn every_schedule_ends(schedule in schedules(), last in last(), random in any::<u64>()) {
        let (mut age, mut attempts) = (Duration::ZERO, 1);
        while let RetryDecision::RetryIn(wait) = schedule.decide(RetryState { attempts, age }, last, random) {
            age += wait;
            attempts += 1;
            prop_assert!(schedule.max_attempts().is_none_or(|most| attempts <= most));
            if attempts > 1000 {
                break;
            }
        }
    }

    /// A delivery that has attempts and time left gets its next attempt, whatever delay the app asks for.
    #[test]
    fn a_long_retry_after_never_ends_a_delivery(schedule in schedules(), age in any::<u64>(), status in prop_oneof![Just(429), Just(503)], asked in any::<u64>()) {
        let standing = RetryState { attempts: 1, age: Duration::from_millis(age) };
        if schedule.max_attempts() != Some(1) && standing.age < schedule.max_age() {
            let verdict = schedule.decide(standing, answered(status, Some(asked)), 0);
            prop_assert!(matches!(verdict, RetryDecision::RetryIn(_)), "{verdict:?}");
        }
    }

    #[test]
    fn jitter_is_drawn_from_the_whole_range(random in any::<u64>()) {
        let RetryDecision::RetryIn(wait) = growing(9).decide(RetryState { attempts: 2, age: Duration::ZERO }, LastAttempt::NoAnswer, random) else { panic!() };
        let expected = 10.0 * (random as f64 / 2.0_f64.powi(64));
        prop_assert!((wait.as_secs_f64() - expected).abs() < 1e-6);
    }

    #[test]
    fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..40)) {
        let _asked = parse_retry_after(&value, UNIX_EPOCH);
    }
}
