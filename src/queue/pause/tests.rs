use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::delivery::Shortage;
use crate::store::queue::DeliveryRef;

const OPEN: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

fn of(delivery: u128) -> Subject {
    Subject {
        delivery: DeliveryRef(Uuid::from_u128(delivery)),
        lane: None,
    }
}

fn answered(status: u16) -> Outcome {
    Outcome::Answered(StatusCode::from_u16(status).unwrap())
}

/// Returns a target that five attempts of three deliveries have paused at `now`.
fn paused(now: Instant, asked: Option<Duration>) -> Pause {
    let mut pause = Pause::default();
    for delivery in [1, 2, 3, 1, 2] {
        pause.record(Signal::Unavailable(asked), of(delivery), None, OPEN, now);
    }
    pause
}

#[test]
fn outcomes_count_as_failure_success_or_neither() {
    for status in [429, 502, 503, 504] {
        assert_eq!(
            signal(answered(status), false, Some(SECOND)),
            Some(Signal::Unavailable(Some(SECOND)))
        );
    }
    for status in [200, 302, 400, 404, 410, 500, 501, 505] {
        assert_eq!(
            signal(answered(status), true, Some(SECOND)),
            Some(Signal::Answered),
            "{status}"
        );
    }
    assert_eq!(
        signal(Outcome::Ambiguous(Fault::Reset), true, None),
        Some(Signal::Unavailable(None)),
        "accepted and closed"
    );
    assert_eq!(
        signal(Outcome::Ambiguous(Fault::Reset), false, None),
        Some(Signal::NoAnswer),
        "an idle connection that ended"
    );
    for outcome in [
        Outcome::Unreached(Fault::Refused),
        Outcome::Ambiguous(Fault::Timeout),
        Outcome::Ambiguous(Fault::Malformed),
    ] {
        assert_eq!(signal(outcome, true, None), Some(Signal::NoAnswer));
    }
    let shortage = Fault::Local(Shortage::Descriptors);
    for outcome in [
        Outcome::Unreached(Fault::BreakerOpen(SECOND)),
        Outcome::Unreached(shortage),
        Outcome::Ambiguous(Fault::Stale),
    ] {
        assert_eq!(
            signal(outcome, true, None),
            None,
            "nothing is learnt of the app"
        );
    }
}

#[test]
fn five_failures_of_three_deliveries_pause() {
    let now = SystemClock.mono();
    let mut pause = Pause::default();
    for delivery in [1, 2, 1, 2, 1, 2, 1] {
        pause.record(Signal::Unavailable(None), of(delivery), None, OPEN, now);
    }
    assert_eq!(
        pause.admission(now),
        Admission::All,
        "two deliveries, however often"
    );
    pause.record(Signal::Answered, of(9), None, OPEN, now);
    for delivery in [1, 2, 3, 4] {
        pause.record(Signal::Unavailable(None), of(delivery), None, OPEN, now);
    }
    assert_eq!(pause.admission(now), Admission::All, "four");
    pause.record(Signal::NoAnswer, of(5), None, OPEN, now);
    assert_eq!(
        (pause.admission(now), pause.remaining(now)),
        (Admission::All, None),
        "the breaker judges a timeout"
    );
    pause.record(Signal::Unavailable(None), of(5), None, OPEN, now);
    assert_eq!(
        (
            pause.admission(now),
            pause.shut_for(now),
            pause.remaining(now)
        ),
        (Admission::None, OPEN, Some(OPEN))
    );
    assert_eq!(pause.begin_probe(now), None);
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_a_minute() {
    let mut now = SystemClock.mono();
    let mut pause = paused(now, None);
    for (delivery, wait) in (4..).zip([5, 10, 20, 40, 60, 60]) {
        assert_eq!(pause.shut_for(now), SECOND * wait);
        now += SECOND * wait;
        assert_eq!(pause.admission(now), Admission::Probe);
        let probe = pause.begin_probe(now);
        assert_eq!(
            (
                probe.is_some(),
                pause.begin_probe(now),
                pause.admission(now),
                pause.shut_for(now)
            ),
            (true, None, Admission::None, SECOND)
        );
        let sign = if delivery == 5 {
            Signal::NoAnswer
        } else {
            Signal::Unavailable(None)
        };
        pause.record(sign, of(delivery), probe, OPEN, now);
        assert_eq!(
            pause.failed(),
            Some(of(delivery)),
            "the next one is another"
        );
    }
    let probe = pause.begin_probe(now + MAX_PAUSE);
    pause.record(Signal::Answered, of(99), probe, OPEN, now + MAX_PAUSE);
    assert_eq!(
        (pause.admission(now + MAX_PAUSE), pause.failed()),
        (Admission::All, None)
    );
}

#[test]
fn retry_after_sets_the_pause() {
    let now = SystemClock.mono();
    for (asked, left) in [(0, 1), (1, 1), (30, 30), (60, 60), (86_400, 60)] {
        let mut pause = paused(now, Some(SECOND * asked));
        assert_eq!(pause.shut_for(now), SECOND * left, "{asked}");
        let later = now + SECOND * left;
        let probe = pause.begin_probe(later);
        pause.record(
            Signal::Unavailable(Some(SECOND * asked)),
            of(4),
            probe,
            OPEN,
            later,
        );
        assert_eq!(pause.shut_for(later), SECOND * left, "{asked}");
    }
    let mut pause = paused(now, None);
    pause.record(
        Signal::Unavailable(Some(SECOND * 9)),
        of(7),
        None,
        OPEN,
        now + SECOND,
    );
    assert_eq!(pause.shut_for(now), SECOND * 10, "one that was under way");
    pause.record(
        Signal::Unavailable(Some(SECOND)),
        of(7),
        None,
        OPEN,
        now + SECOND,
    );
    pause.record(Signal::Unavailable(None), of(7), None, OPEN, now + SECOND);
    assert_eq!(pause.shut_for(now), SECOND * 10, "never shorter");
}

#[test]
fn unsent_probe_is_released() {
    let now = SystemClock.mono();
    let mut pause = paused(now, None);
    let later = now + OPEN;
    let probe = pause.begin_probe(later).unwrap();
    pause.release(probe);
    let next = pause.begin_probe(later).unwrap();
    pause.release(probe);
    assert_eq!(
        pause.admission(later),
        Admission::None,
        "an old one frees nothing"
    );
    pause.record(Signal::Unavailable(None), of(4), Some(probe), OPEN, later);
    assert_eq!(pause.shut_for(later), SECOND, "nor does it count");
    pause.record(Signal::Unavailable(None), of(4), Some(next), OPEN, later);
    assert_eq!(pause.shut_for(later), OPEN * 2);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An attempt that is no probe ends.
    Heard(Signal, u128),
    Probe,
    /// The probe ends, or is given back.
    Ends(Option<Signal>, u128),
    Passes(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let sign = prop_oneof![
        4 => prop::option::of(0..100_u64).prop_map(|asked| Signal::Unavailable(asked.map(Duration::from_secs))),
        1 => Just(Signal::Answered),
        1 => Just(Signal::NoAnswer),
    ];
    prop_oneof![
        3 => (sign.clone(), 0..6_u128).prop_map(|(sign, of)| Step::Heard(sign, of)),
        1 => Just(Step::Probe),
        2 => (prop::option::of(sign), 0..6_u128).prop_map(|(sign, of)| Step::Ends(sign, of)),
        1 => (0..70_u64).prop_map(Step::Passes),
    ]
}

proptest! {
    /// In any sequence of attempts, the target pauses by the rule alone and for at most a minute, at most one probe is under way, and the pause
    /// can always end.
    #[test]
    fn pause_follows_the_rule_and_always_ends(steps in prop::collection::vec(step(), 0..120)) {
        let (mut now, mut pause, mut out) = (SystemClock.mono(), Pause::default(), None);
        // the deliveries of attempts since the last answer that said the app is away
        let (mut row, mut is_paused) = (Vec::new(), false);
        for step in steps {
            match step {
                Step::Passes(seconds) => now += SECOND * u32::try_from(seconds).unwrap(),
                Step::Probe => {
                    let free = pause.admission(now) == Admission::Probe;
                    let probe = pause.begin_probe(now);
                    prop_assert_eq!(probe.is_some(), free);
                    prop_assert!(probe.is_none() || out.is_none(), "two at once");
                    out = probe.or(out);
                }
                Step::Heard(sign, delivery) => {
                    pause.record(sign, of(delivery), None, OPEN, now);
                    match sign {
                        Signal::Answered => {
                            row.clear();
                            (is_paused, out) = (false, None);
                        }
                        Signal::Unavailable(_) if !is_paused => {
                            row.push(delivery);
                            let mut last: Vec<_> = row.iter().rev().take(5).collect();
                            let all = last.len();
                            last.sort_unstable();
                            last.dedup();
                            is_paused = all == 5 && last.len() >= 3;
                        }
                        Signal::Unavailable(_) | Signal::NoAnswer => {}
                    }
                }
                Step::Ends(sign, delivery) => {
                    let Some(probe) = out.take() else { continue };
                    match sign {
                        None => pause.release(probe),
                        Some(sign) => {
                            pause.record(sign, of(delivery), Some(probe), OPEN, now);
                        }
                    }
                    if sign == Some(Signal::Answered) {
                        row.clear();
                        is_paused = false;
                    }
                }
            }
            prop_assert_eq!(pause.remaining(now).is_some(), is_paused);
            prop_assert!(pause.shut_for(now) <= MAX_PAUSE);
            // once the pause is over and no probe is out, one may begin
            prop_assert_eq!(pause.admission(now + MAX_PAUSE) == Admission::Probe, is_paused && out.is_none());
        }
    }
}
