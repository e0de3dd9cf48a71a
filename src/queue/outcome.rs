//! What a try came to, as it is recorded and as it is settled.
use std::time::Duration;

use crate::delivery::{Fault, Outcome, Shortage};
use crate::queue::pause::{Sign, sign};
use crate::retry::{Schedule, Standing, Tried, Verdict};
use crate::store::queue::Next;

/// The longest pause between two probes with the same delivery: others are tried with meanwhile.
const PROBE_PAUSE: Duration = Duration::from_secs(60);

/// The pause after an attempt for which the gateway's own machine had no resources.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(2);

/// Where a delivery stood before a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// Tries that counted.
    pub tries: u32,
    /// How long ago it was accepted, or given a fresh budget.
    pub age: Duration,
    /// Whether it was the one that tries an upstream which was down.
    pub probe: bool,
}

/// Returns what follows from an attempt. `asked` is the wait that the upstream asked for, `random` any number, drawn anew for each call.
///
/// A probe that finds the upstream still away does not count: a dead app costs its deliveries no attempts.
pub fn next(
    schedule: &Schedule,
    before: Before,
    outcome: Outcome,
    asked: Option<Duration>,
    random: u64,
) -> Next {
    // a kept connection that turned out closed says nothing of the app: the next attempt uses another one, at once, also after the last that counts
    let is_stale = outcome == Outcome::Ambiguous(Fault::Stale);
    let tried = match outcome {
        Outcome::Answered(status) => Tried::Answered(status, asked),
        Outcome::Unreached(Fault::BreakerOpen(after)) => return Next::Later(after),
        Outcome::Unreached(Fault::Local(_)) => return Next::Later(SHORTAGE_PAUSE),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => Tried::NoAnswer,
    };
    if is_stale || (before.probe && sign(outcome, true, asked) != Some(Sign::Answered)) {
        let standing = Standing {
            tries: before.tries.max(1),
            age: before.age,
        };
        return match schedule.verdict_of_probe(standing, tried, PROBE_PAUSE) {
            Verdict::Delivered => Next::Delivered,
            Verdict::RetryIn(delay) => Next::Later(if is_stale { Duration::ZERO } else { delay }),
            Verdict::Dead(reason) => Next::Dead(reason),
        };
    }
    let standing = Standing {
        tries: before.tries.saturating_add(1),
        age: before.age,
    };
    match schedule.verdict(standing, tried, random) {
        Verdict::Delivered => Next::Delivered,
        Verdict::RetryIn(delay) => Next::RetryIn(delay),
        Verdict::Dead(reason) => Next::Dead(reason),
    }
}

/// Returns whether an attempt was made. It was not if the circuit breaker opened first, or the gateway had no resources for it.
pub fn was_tried(outcome: Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Unreached(Fault::BreakerOpen(_) | Fault::Local(_))
    )
}

/// The word that stands in a record for a try without an answer: whether the upstream can have seen it, and what went wrong.
pub fn error(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Answered(_) => None,
        Outcome::Unreached(fault) => Some(match fault {
            Fault::BreakerOpen(_) => "unreached_breaker_open",
            Fault::Resolve => "unreached_resolve",
            Fault::Connect => "unreached_connect",
            Fault::ConnectTimeout => "unreached_connect_timeout",
            Fault::Reset => "unreached_reset",
            Fault::Stale => "unreached_stale",
            Fault::Timeout => "unreached_timeout",
            Fault::Malformed => "unreached_malformed",
            Fault::Local(Shortage::Descriptors) => "unreached_out_of_descriptors",
            Fault::Local(Shortage::Ports) => "unreached_out_of_ports",
            Fault::Local(Shortage::Memory) => "unreached_out_of_memory",
        }),
        Outcome::Ambiguous(fault) => Some(match fault {
            Fault::BreakerOpen(_) => "ambiguous_breaker_open",
            Fault::Resolve => "ambiguous_resolve",
            Fault::Connect => "ambiguous_connect",
            Fault::ConnectTimeout => "ambiguous_connect_timeout",
            Fault::Reset => "ambiguous_reset",
            Fault::Stale => "ambiguous_stale",
            Fault::Timeout => "ambiguous_timeout",
            Fault::Malformed => "ambiguous_malformed",
            Fault::Local(Shortage::Descriptors) => "ambiguous_out_of_descriptors",
            Fault::Local(Shortage::Ports) => "ambiguous_out_of_ports",
            Fault::Local(Shortage::Memory) => "ambiguous_out_of_memory",
        }),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
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
    fn check(tries: u32, age: u64, probe: bool, outcome: Outcome, due: Next) {
        let before = Before {
            tries,
            age: Duration::from_secs(age),
            probe,
        };
        assert_eq!(next(&schedule(), before, outcome, None, u64::MAX), due);
    }

    #[test]
    fn what_follows() {
        let (ok, down) = (
            Outcome::Answered(StatusCode::OK),
            Outcome::Unreached(Fault::Connect),
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
        for (tries, probe) in [(0, false), (0, true), (2, false)] {
            check(tries, 0, probe, stale, Next::Later(Duration::ZERO));
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
        let asks = |asked, age| {
            let before = Before {
                tries: 0,
                age: SECOND * age,
                probe: true,
            };
            next(
                &schedule(),
                before,
                Outcome::Answered(StatusCode::TOO_MANY_REQUESTS),
                Some(SECOND * asked),
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
    fn every_try_without_an_answer_has_a_word() {
        assert_eq!(error(Outcome::Answered(StatusCode::BAD_GATEWAY)), None);
        assert_eq!(
            error(Outcome::Unreached(Fault::Connect)),
            Some("unreached_connect")
        );
        assert_eq!(
            error(Outcome::Ambiguous(Fault::Reset)),
            Some("ambiguous_reset")
        );
        assert!(!was_tried(Outcome::Unreached(Fault::Local(
            Shortage::Descriptors
        ))));
        assert!(
            !was_tried(Outcome::Unreached(Fault::BreakerOpen(SECOND)))
                && was_tried(Outcome::Unreached(Fault::Connect))
        );
    }
}
