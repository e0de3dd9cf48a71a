use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SystemClock};

const POLICY: Policy = Policy { failures: 3, open: Duration::from_secs(5) };
const REFUSED: Outcome = Outcome::Unreached(Fault::Connect);
const OK: Outcome = Outcome::Answered(StatusCode::OK);
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Instant {
    SystemClock.now().mono
}

fn fail(breaker: &Arc<Breaker>, times: u32, now: Instant) {
    for _ in 0..times {
        breaker.admit(now).unwrap().record(REFUSED, now);
    }
}

#[test]
fn which_outcomes_count() {
    let table = [
        (REFUSED, true),
        (Outcome::Unreached(Fault::ConnectTimeout), true),
        (Outcome::Unreached(Fault::Resolve), true),
        (Outcome::Ambiguous(Fault::Timeout), true),
        (Outcome::Ambiguous(Fault::Connect), true),
        (Outcome::Ambiguous(Fault::Reset), false),
        (Outcome::Ambiguous(Fault::Malformed), false),
        (OK, false),
        (Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR), false),
        (Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE), false),
    ];
    for (outcome, opens) in table {
        let (breaker, now) = (Breaker::new(POLICY), start());
        for _ in 0..3 {
            breaker.admit(now).unwrap().record(outcome, now);
        }
        assert_eq!(breaker.admit(now).is_err(), opens, "{outcome:?}");
    }
}

#[test]
fn only_failures_in_a_row_open_it() {
    let (breaker, now) = (Breaker::new(POLICY), start());
    for _ in 0..10 {
        fail(&breaker, 2, now);
        breaker.admit(now).unwrap().record(OK, now);
    }
    assert_eq!(breaker.state(now), Shown::Closed { failures: 0 });
    fail(&breaker, 3, now);
    assert_eq!(breaker.state(now), Shown::Open { remaining: 5 * SECOND });
    assert_eq!(breaker.admit(now + 2 * SECOND).unwrap_err(), 3 * SECOND);
    assert_eq!(breaker.opened(), 1);
}

#[test]
fn one_probe_at_a_time_decides() {
    let (breaker, now) = (Breaker::new(POLICY), start());
    fail(&breaker, 3, now);
    let later = now + 5 * SECOND;
    assert_eq!(breaker.state(later), Shown::HalfOpen);
    let probe = breaker.admit(later).unwrap();
    assert_eq!(breaker.admit(later).unwrap_err(), SECOND);
    probe.record(REFUSED, later);
    assert_eq!(breaker.admit(later).unwrap_err(), 5 * SECOND);
    let probe = breaker.admit(later + 5 * SECOND).unwrap();
    probe.record(Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR), later + 5 * SECOND);
    assert_eq!(breaker.state(later), Shown::Closed { failures: 0 });
}

#[test]
fn a_dropped_probe_frees_its_place() {
    let (breaker, now) = (Breaker::new(POLICY), start());
    fail(&breaker, 3, now);
    let later = now + 5 * SECOND;
    drop(breaker.admit(later).unwrap());
    let probe = breaker.admit(later).unwrap();
    assert!(breaker.admit(later).is_err());
    drop(probe);
    assert!(breaker.admit(later).is_ok());
}

#[test]
fn what_began_before_it_opened_says_nothing_afterwards() {
    let (breaker, now) = (Breaker::new(POLICY), start());
    let slow: Vec<_> = (0..4).map(|_| breaker.admit(now).unwrap()).collect();
    fail(&breaker, 3, now);
    let later = now + 5 * SECOND;
    let probe = breaker.admit(later).unwrap();
    for (permit, outcome) in slow.into_iter().zip([OK, REFUSED, OK, REFUSED]) {
        permit.record(outcome, later);
    }
    assert!(breaker.admit(later).is_err(), "the probe is still out");
    probe.record(OK, later);
    assert_eq!(breaker.state(later), Shown::Closed { failures: 0 });
}

#[test]
fn zero_failures_never_open_it() {
    let (breaker, now) = (Breaker::new(Policy { failures: 0, ..POLICY }), start());
    fail(&breaker, 1000, now);
    assert!(breaker.admit(now).is_ok());
    breaker.set_policy(POLICY);
    fail(&breaker, 1, now);
    assert!(breaker.admit(now).is_err(), "1001 in a row, and 3 are enough now");
    breaker.set_policy(Policy { failures: 0, ..POLICY });
    assert!(breaker.admit(now).is_ok(), "switched off, it closes");
}

proptest! {
    /// Whatever happens in whatever order: while half-open at most one permit is out, and time alone always ends being open.
    #[test]
    fn never_two_probes_and_never_stuck(steps in prop::collection::vec((0_u8..5, 0_u64..4), 1..200)) {
        let breaker = Breaker::new(POLICY);
        let mut now = start();
        let mut out = Vec::new();
        for (step, seconds) in steps {
            now += Duration::from_secs(seconds);
            match step {
                0 | 1 => out.extend(breaker.admit(now)),
                2 => if let Some(permit) = out.pop() { permit.record(OK, now) },
                3 => if let Some(permit) = out.pop() { permit.record(REFUSED, now) },
                _ => drop(out.pop()),
            }
            let epoch = breaker.lock().epoch;
            prop_assert!(out.iter().filter(|permit| permit.probe && permit.epoch == epoch).count() <= 1);
        }
        out.clear();
        prop_assert!(breaker.admit(now + 5 * SECOND).is_ok());
    }
}
