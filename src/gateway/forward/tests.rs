use super::*;
use crate::delivery::Shortage;

const BOTH: Spill = Spill {
    unreached: true,
    ambiguous: true,
    budget: Duration::from_secs(5),
};

/// Checks the settlement without a queue, with one for all outcomes, and with one for unreached upstreams alone.
#[track_caller]
fn check(
    outcome: Outcome,
    without: Settlement,
    all: Settlement,
    unreached: Settlement,
    refused: Option<u16>,
) {
    assert_eq!(settlement(outcome, None), without);
    assert_eq!(settlement(outcome, Some(BOTH)), all);
    assert_eq!(
        settlement(
            outcome,
            Some(Spill {
                ambiguous: false,
                ..BOTH
            })
        ),
        unreached
    );
    let answered = match outcome {
        Outcome::Answered(_) => None,
        Outcome::Unreached(fault) | Outcome::Ambiguous(fault) => {
            Some(refusal_of(fault).status().as_u16())
        }
    };
    assert_eq!(answered, refused);
}

#[test]
fn settlement_and_refusal_follow_the_outcome() {
    let (commit, release, spill) = (Settlement::Commit, Settlement::Release, Settlement::Spill);
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        check(Outcome::Answered(status), commit, commit, commit, None);
    }
    for status in [
        StatusCode::FOUND,
        StatusCode::GONE,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        check(Outcome::Answered(status), release, release, release, None);
    }
    for status in [
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ] {
        check(Outcome::Answered(status), release, spill, release, None);
    }
    check(
        Outcome::Unreached(Fault::BreakerOpen(Duration::ZERO)),
        release,
        spill,
        spill,
        Some(503),
    );
    check(
        Outcome::Unreached(Fault::Refused),
        release,
        spill,
        spill,
        Some(502),
    );
    check(
        Outcome::Unreached(Fault::Resolve),
        release,
        spill,
        spill,
        Some(502),
    );
    check(
        Outcome::Unreached(Fault::ConnectTimeout),
        release,
        spill,
        spill,
        Some(504),
    );
    check(
        Outcome::Unreached(Fault::Local(Shortage::Descriptors)),
        release,
        spill,
        spill,
        Some(503),
    );
    check(
        Outcome::Ambiguous(Fault::Reset),
        release,
        spill,
        release,
        Some(502),
    );
    check(
        Outcome::Ambiguous(Fault::Stale),
        release,
        spill,
        release,
        Some(502),
    );
    check(
        Outcome::Ambiguous(Fault::Malformed),
        release,
        spill,
        release,
        Some(502),
    );
    check(
        Outcome::Ambiguous(Fault::Timeout),
        release,
        spill,
        release,
        Some(504),
    );
}
