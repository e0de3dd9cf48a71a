//! Maps the outcome of an attempt to its record and to the next step of the delivery.
use std::time::Duration;

use crate::delivery::{Fault, Outcome};
use crate::queue::pause::{Signal, signal};
use crate::retry::{LastAttempt, RetryDecision, RetryState, Schedule};
use crate::store::queue::Next;

/// The longest pause between two probes with the same delivery. Other deliveries are probed in the meantime.
const MAX_PROBE_PAUSE: Duration = Duration::from_secs(60);

/// The pause after an attempt for which the gateway's own machine had no resources.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(2);

/// The state of a delivery before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeforeAttempt {
    /// The attempts counted so far.
    pub attempts: u32,
    /// The time since it was accepted or its budget was renewed.
    pub age: Duration,
    /// Whether this attempt probes a target that was unavailable.
    pub is_probe: bool,
}

/// Decides what happens to a delivery after an attempt.
///
/// `retry_after` is the delay that the upstream asked for. `random` must be drawn anew for each call. A failed probe does not count as an
/// attempt, so an outage does not use up the retry budget.
pub fn next_step(
    schedule: &Schedule,
    before: BeforeAttempt,
    outcome: Outcome,
    retry_after: Option<Duration>,
    random: u64,
) -> Next {
    // an idle connection that was closed says nothing about the app: the next attempt follows at once, also after the last that counts
    let is_stale = outcome == Outcome::Ambiguous(Fault::Stale);
    let last = match outcome {
        Outcome::Answered(status) => LastAttempt::Answered(status, retry_after),
        Outcome::Unreached(Fault::BreakerOpen(after)) => return Next::Later(after),
        Outcome::Unreached(Fault::Local(_)) => return Next::Later(SHORTAGE_PAUSE),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => LastAttempt::NoAnswer,
    };
    if is_stale || (before.is_probe && signal(outcome, true, retry_after) != Some(Signal::Answered))
    {
        let state = RetryState {
            attempts: before.attempts.max(1),
            age: before.age,
        };
        return match schedule.decide_after_probe(state, last, MAX_PROBE_PAUSE) {
            RetryDecision::Delivered => Next::Delivered,
            RetryDecision::RetryIn(delay) => {
                Next::Later(if is_stale { Duration::ZERO } else { delay })
            }
            RetryDecision::Dead(reason) => Next::Dead(reason),
        };
    }
    let state = RetryState {
        attempts: before.attempts.saturating_add(1),
        age: before.age,
    };
    match schedule.decide(state, last, random) {
        RetryDecision::Delivered => Next::Delivered,
        RetryDecision::RetryIn(delay) => Next::RetryIn(delay),
        RetryDecision::Dead(reason) => Next::Dead(reason),
    }
}

/// Returns whether a request was sent. It was not if the circuit breaker opened first, or the gateway had no resources for it.
pub fn was_attempted(outcome: Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Unreached(Fault::BreakerOpen(_) | Fault::Local(_))
    )
}

/// Returns the error code of an attempt without an answer: whether the upstream may have seen the request, and the kind of failure.
pub fn error_code(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Answered(_) => None,
        Outcome::Unreached(fault) => Some(fault.codes().0),
        Outcome::Ambiguous(fault) => Some(fault.codes().1),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::delivery::Shortage;
    use crate::retry::{Backoff, Reason};

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule() -> Schedule {
        let backoff = Backoff {
            initial: 10 * SECOND,
            factor: 2.0,
            max: 3600 * SECOND,
            max_attempts: Some(3),
        };
        Schedule::growing(backoff, 86_400 * SECOND).unwrap()
    }

    #[track_caller]
    fn check(attempts: u32, age: u64, is_probe: bool, outcome: Outcome, due: Next) {
        let before = BeforeAttempt {
            attempts,
            age: Duration::from_secs(age),
            is_probe,
        };
        assert_eq!(next_step(&schedule(), before, outcome, None, u64::MAX), due);
    }

    #[test]
    fn next_step_follows_the_outcome() {
        let (ok, down) = (
            Outcome::Answered(StatusCode::OK),
            Outcome::Unreached(Fault::Refused),
        );
        let (poison, gone) = (
            Outcome::Answered(StatusCode::INTERNAL_SERVER_ERROR),
            Outcome::Answered(StatusCode::GONE),
        );
        let full = |bound: u64| Next::RetryIn(Duration::from_nanos(bound * 1_000_000_000 - 1));
        check(0, 0, false, ok, Next::Delivered);
        check(0, 0, true, ok, Next::Delivered);
        check(0, 0, false, down, full(10));
        check(1, 0, false, down, full(20));
        let stale = Outcome::Ambiguous(Fault::Stale);
        for (attempts, is_probe) in [(0, false), (0, true), (2, false)] {
            check(attempts, 0, is_probe, stale, Next::Later(Duration::ZERO));
        }
        check(0, 86_400, false, stale, Next::Dead(Reason::Age));
        check(2, 0, false, down, Next::Dead(Reason::Attempts));
        check(2, 0, true, down, Next::Later(20 * SECOND));
        check(2, 86_400, true, down, Next::Dead(Reason::Age));
        check(
            2,
            0,
            true,
            Outcome::Ambiguous(Fault::Timeout),
            Next::Later(20 * SECOND),
        );
        check(2, 0, true, poison, Next::Dead(Reason::Attempts));
        for status in [429, 502, 503, 504] {
            let away = Outcome::Answered(StatusCode::from_u16(status).unwrap());
            check(2, 0, true, away, Next::Later(20 * SECOND));
            check(2, 86_400, true, away, Next::Dead(Reason::Age));
            check(2, 0, false, away, Next::Dead(Reason::Attempts));
        }
        let asks = |delay, age| {
            let before = BeforeAttempt {
                attempts: 0,
                age: SECOND * age,
                is_probe: true,
            };
            next_step(
                &schedule(),
                before,
                Outcome::Answered(StatusCode::TOO_MANY_REQUESTS),
                Some(SECOND * delay),
                0,
            )
        };
        assert_eq!(
            (asks(1, 0), asks(7200, 0)),
            (Next::Later(10 * SECOND), Next::Later(7200 * SECOND)),
            "its own delivery waits in full"
        );
        assert_eq!(
            asks(7200, 86_399),
            Next::Later(SECOND),
            "but not beyond its age"
        );
        check(
            0,
            0,
            true,
            gone,
            Next::Dead(Reason::Status(StatusCode::GONE)),
        );
        check(
            2,
            90_000,
            false,
            Outcome::Unreached(Fault::BreakerOpen(SECOND)),
            Next::Later(SECOND),
        );
        for shortage in Shortage::ALL {
            check(
                2,
                90_000,
                false,
                Outcome::Unreached(Fault::Local(shortage)),
                Next::Later(SHORTAGE_PAUSE),
            );
            check(
                2,
                0,
                true,
                Outcome::Unreached(Fault::Local(shortage)),
                Next::Later(SHORTAGE_PAUSE),
            );
        }
    }

    #[test]
    fn attempts_without_answer_have_error_codes() {
        assert_eq!(error_code(Outcome::Answered(StatusCode::BAD_GATEWAY)), None);
        assert_eq!(
            error_code(Outcome::Unreached(Fault::Refused)),
            Some("unreached_refused")
        );
        assert_eq!(
            error_code(Outcome::Ambiguous(Fault::Reset)),
            Some("ambiguous_reset")
        );
        assert!(!was_attempted(Outcome::Unreached(Fault::Local(
            Shortage::Descriptors
        ))));
        assert!(
            !was_attempted(Outcome::Unreached(Fault::BreakerOpen(SECOND)))
                && was_attempted(Outcome::Unreached(Fault::Refused))
        );
    }
}
