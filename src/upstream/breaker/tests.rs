use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::delivery::{Shortage, TlsFault};

const POLICY: Policy = Policy {
    failures: 3,
    open: Duration::from_secs(5),
};
const REFUSED: Outcome = Outcome::Unreached(Fault::Refused);
/// A handshake that failed.
const EXPIRED: Fault = Fault::Tls(TlsFault::Expired(None));
const TIMEOUT: Outcome = Outcome::Ambiguous(Fault::Timeout);
const OK: Outcome = Outcome::Answered(StatusCode::OK);
const SECOND: Duration = Duration::from_secs(1);
/// The time that a permit lasts.
const LIMIT: Duration = Duration::from_secs(3);

fn start() -> Instant {
    SystemClock.now().mono
}

fn breaker() -> Arc<Breaker> {
    Breaker::new(Scope::Address, POLICY)
}

fn fail(breaker: &Arc<Breaker>, times: u32, now: Instant) {
    for _ in 0..times {
        breaker.admit(now, LIMIT).unwrap().record(REFUSED, now);
    }
}

/// Returns an open breaker, and the time from which on it lets a probe through.
fn opened() -> (Arc<Breaker>, Instant) {
    let (breaker, now) = (breaker(), start());
    fail(&breaker, 3, now);
    (breaker, now + POLICY.open)
}

#[test]
fn an_address_and_a_handler_count_different_failures() {
    let table = [
        (REFUSED, true, false),
        (Outcome::Unreached(Fault::ConnectTimeout), true, false),
        (Outcome::Unreached(Fault::Resolve), true, false),
        (Outcome::Ambiguous(Fault::Refused), true, false),
        (Outcome::Unreached(EXPIRED), true, false),
        (Outcome::Ambiguous(EXPIRED), true, false),
        (Outcome::Unreached(Fault::Unreachable), true, false),
        (Outcome::Ambiguous(Fault::TooLarge), false, false),
        (TIMEOUT, false, true),
        (Outcome::Ambiguous(Fault::Reset), false, false),
        (Outcome::Ambiguous(Fault::Malformed), false, false),
        (Outcome::Unreached(Fault::Malformed), false, false),
        (Outcome::Unreached(Fault::BreakerOpen(SECOND)), false, false),
        (
            Outcome::Unreached(Fault::Local(Shortage::Descriptors)),
            false,
            false,
        ),
        (
            Outcome::Unreached(Fault::Local(Shortage::Ports)),
            false,
            false,
        ),
        (
            Outcome::Ambiguous(Fault::Local(Shortage::Memory)),
            false,
            false,
        ),
        (OK, false, false),
        (
            Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR),
            false,
            false,
        ),
        (
            Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE),
            false,
            false,
        ),
    ];
    for (outcome, opens_address, opens_handler) in table {
        for (scope, opens) in [
            (Scope::Address, opens_address),
            (Scope::Handler, opens_handler),
        ] {
            let (breaker, now) = (Breaker::new(scope, POLICY), start());
            for _ in 0..3 {
                breaker.admit(now, LIMIT).unwrap().record(outcome, now);
            }
            assert_eq!(
                breaker.admit(now, LIMIT).is_err(),
                opens,
                "{scope:?} {outcome:?}"
            );
        }
    }
}

/// A fault that says nothing about the upstream neither adds to the count nor ends it.
#[test]
fn local_faults_leave_the_count_as_it_is() {
    let (breaker, now) = (breaker(), start());
    fail(&breaker, 2, now);
    for shortage in [Shortage::Descriptors, Shortage::Ports, Shortage::Memory] {
        breaker
            .admit(now, LIMIT)
            .unwrap()
            .record(Outcome::Unreached(Fault::Local(shortage)), now);
        assert_eq!(breaker.state(now), Shown::Closed { failures: 2 });
    }
    fail(&breaker, 1, now);
    let later = now + POLICY.open;
    breaker.admit(later, LIMIT).unwrap().record(
        Outcome::Unreached(Fault::Local(Shortage::Descriptors)),
        later,
    );
    assert!(
        breaker.admit(later, LIMIT).is_ok(),
        "the place of the probe is free again"
    );
}

#[test]
fn only_failures_in_a_row_open_it() {
    let (breaker, now) = (breaker(), start());
    for _ in 0..10 {
        fail(&breaker, 2, now);
        breaker.admit(now, LIMIT).unwrap().record(OK, now);
    }
    assert_eq!(breaker.state(now), Shown::Closed { failures: 0 });
    fail(&breaker, 3, now);
    assert_eq!(
        breaker.state(now),
        Shown::Open {
            remaining: 5 * SECOND
        }
    );
    assert_eq!(
        breaker.admit(now + 2 * SECOND, LIMIT).unwrap_err(),
        3 * SECOND
    );
    assert_eq!(breaker.opened(), 1);
}

#[test]
fn failures_at_the_same_time_count_once() {
    let (breaker, now) = (breaker(), start());
    for round in 0..3 {
        assert_eq!(breaker.state(now), Shown::Closed { failures: round });
        let at = now + SECOND * (2 * round);
        let permits: Vec<_> = (0..100)
            .map(|_| breaker.admit(at, LIMIT).unwrap())
            .collect();
        for permit in permits {
            permit.record(REFUSED, at + SECOND);
        }
    }
    assert!(matches!(
        breaker.state(now + 5 * SECOND),
        Shown::Open { .. }
    ));
}

#[test]
fn one_probe_at_a_time_decides() {
    let (breaker, later) = opened();
    assert_eq!(breaker.state(later), Shown::HalfOpen);
    let probe = breaker.admit(later, LIMIT).unwrap();
    assert_eq!(
        (
            breaker.admit(later, LIMIT).unwrap_err(),
            breaker.admission(later)
        ),
        (SECOND, Admission::None)
    );
    probe.record(REFUSED, later);
    assert_eq!(breaker.admit(later, LIMIT).unwrap_err(), 5 * SECOND);
    let again = later + 5 * SECOND;
    assert_eq!(breaker.admission(again), Admission::Probe);
    breaker
        .admit(again, LIMIT)
        .unwrap()
        .record(Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR), again);
    assert_eq!(
        (breaker.state(again), breaker.admission(again)),
        (Shown::Closed { failures: 0 }, Admission::All)
    );
}

#[test]
fn a_probe_that_never_ends_loses_its_permit() {
    let (breaker, later) = opened();
    let first = breaker.admit(later, LIMIT).unwrap();
    assert!(breaker.admit(later + LIMIT - SECOND, LIMIT).is_err());
    assert_eq!(breaker.admission(later + LIMIT), Admission::Probe);
    let second = breaker.admit(later + LIMIT, LIMIT).unwrap();
    // neither the result of the first nor its end has a part in the second
    first.record(REFUSED, later + LIMIT);
    assert!(breaker.admit(later + LIMIT, LIMIT).is_err());
    second.record(OK, later + LIMIT + SECOND);
    assert_eq!(breaker.state(later), Shown::Closed { failures: 0 });

    let (breaker, later) = opened();
    let first = breaker.admit(later, LIMIT).unwrap();
    let _second = breaker.admit(later + LIMIT, LIMIT).unwrap();
    drop(first);
    assert!(
        breaker.admit(later + LIMIT, LIMIT).is_err(),
        "the second probe is still out"
    );
}

#[test]
fn dropped_probe_frees_its_permit() {
    let (breaker, later) = opened();
    drop(breaker.admit(later, LIMIT).unwrap());
    let probe = breaker.admit(later, LIMIT).unwrap();
    assert!(breaker.admit(later, LIMIT).is_err());
    drop(probe);
    assert!(breaker.admit(later, LIMIT).is_ok());
}

#[test]
fn outcome_of_an_older_request_is_ignored() {
    let (breaker, now) = (breaker(), start());
    let slow: Vec<_> = (0..4).map(|_| breaker.admit(now, LIMIT).unwrap()).collect();
    fail(&breaker, 3, now);
    let later = now + 5 * SECOND;
    let probe = breaker.admit(later, LIMIT).unwrap();
    for (permit, outcome) in slow.into_iter().zip([OK, REFUSED, OK, REFUSED]) {
        permit.record(outcome, later);
    }
    assert!(
        breaker.admit(later, LIMIT).is_err(),
        "the probe is still out"
    );
    probe.record(OK, later);
    assert_eq!(breaker.state(later), Shown::Closed { failures: 0 });
}

#[test]
fn zero_failures_never_open_it() {
    let (breaker, now) = (
        Breaker::new(
            Scope::Address,
            Policy {
                failures: 0,
                ..POLICY
            },
        ),
        start(),
    );
    fail(&breaker, 1000, now);
    assert!(breaker.admit(now, LIMIT).is_ok());
    breaker.set_policy(POLICY);
    fail(&breaker, 1, now);
    assert!(
        breaker.admit(now, LIMIT).is_err(),
        "1001 in a row, and 3 are enough now"
    );
    breaker.set_policy(Policy {
        failures: 0,
        ..POLICY
    });
    assert!(breaker.admit(now, LIMIT).is_ok(), "switched off, it closes");
}

/// A permit as the test knows it, without a look into the breaker.
struct Out {
    permit: Option<Permit>,
    /// Whether it was given while the breaker was not closed, and until when it lasts.
    probe_until: Option<Instant>,
}

proptest! {
    /// For any order of events, at most one probe is out at a time, and time alone ends every state that holds others up, probes that
    /// never return included.
    #[test]
    fn at_most_one_probe_and_never_stuck(
        open in 0_u64..6,
        limit in 1_u64..6,
        steps in prop::collection::vec((0_u8..6, 0_u64..4, any::<prop::sample::Index>()), 1..200),
    ) {
        let policy = Policy { failures: 3, open: Duration::from_secs(open) };
        let limit = Duration::from_secs(limit);
        let breaker = Breaker::new(Scope::Address, policy);
        let mut now = start();
        let mut out: Vec<Out> = Vec::new();
        for (step, seconds, which) in steps {
            now += Duration::from_secs(seconds);
            let closed = matches!(breaker.state(now), Shown::Closed { .. });
            if closed {
                // whatever was a probe is over
                out.iter_mut().for_each(|out| out.probe_until = None);
            }
            let admission = breaker.admission(now);
            match step {
                0..=2 => {
                    let given = breaker.admit(now, limit);
                    prop_assert_eq!(given.is_ok(), admission != Admission::None);
                    prop_assert_eq!(given.is_ok(), given.as_ref().err().is_none_or(Duration::is_zero));
                    if let Ok(permit) = given {
                        out.push(Out { permit: Some(permit), probe_until: (!closed).then(|| now + limit) });
                    }
                }
                step if !out.is_empty() => {
                    let mut one = out.swap_remove(which.index(out.len()));
                    let permit = one.permit.take().unwrap();
                    match step {
                        3 => permit.record(OK, now),
                        4 => permit.record(REFUSED, now),
                        _ => drop(permit),
                    }
                }
                _ => {}
            }
            if !matches!(breaker.state(now), Shown::Closed { .. }) {
                let probes = out.iter().filter(|out| out.probe_until.is_some_and(|until| now < until)).count();
                prop_assert!(probes <= 1, "{} probes are out", probes);
            }
        }
        // all that is out stays out
        now += policy.open.max(limit);
        prop_assert!(breaker.admit(now, limit).is_ok());
    }

    /// Attempts overlap in any way: one that failed counts exactly if it began after the last that counted had ended.
    #[test]
    fn overlapping_failures_count_once(attempts in prop::collection::vec((0_u64..40, 1_u64..10, any::<bool>()), 1..60)) {
        let breaker = Breaker::new(Scope::Address, Policy { failures: u32::MAX, ..POLICY });
        let begin = start();
        let at = |second: u64| begin + Duration::from_secs(second);
        let (mut count, mut last_end) = (0, None);
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (index, (began, takes, _)) in attempts.iter().enumerate() {
            events.extend([(*began, true, index), (began + takes, false, index)]);
        }
        events.sort_unstable_by_key(|(second, begins, index)| (*second, *begins, *index));
        let mut permits: Vec<Option<Permit>> = attempts.iter().map(|_| None).collect();
        for (second, begins, index) in events {
            let (began, _, fails) = attempts[index];
            if begins {
                permits[index] = Some(breaker.admit(at(second), LIMIT).unwrap());
                continue;
            }
            permits[index].take().unwrap().record(if fails { REFUSED } else { OK }, at(second));
            if !fails {
                count = 0;
            } else if last_end.is_none_or(|end| began >= end) {
                count += 1;
                last_end = Some(second);
            }
            prop_assert_eq!(breaker.state(at(second)), Shown::Closed { failures: count });
        }
    }
}

/// Many threads ask at once: one gets the probe.
#[test]
fn one_of_many_threads_gets_the_probe() {
    for _ in 0..50 {
        let (breaker, later) = opened();
        let (given, all) = (AtomicUsize::new(0), std::sync::Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    all.wait();
                    let permit = breaker.admit(later, LIMIT);
                    given.fetch_add(usize::from(permit.is_ok()), Ordering::SeqCst);
                    all.wait();
                });
            }
        });
        assert_eq!(given.load(Ordering::SeqCst), 1);
    }
}
