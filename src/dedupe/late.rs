//! Late retries: a request whose signed time is older than the tolerance, from a provider whose retries repeat the time of the first
//! attempt.
//! Pure: takes ages and the ledger's knowledge, returns a decision.
use std::time::Duration;

use crate::store::Remembered;

/// The rule by which a request that is older than the tolerance is accepted as a retry of one that was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateRule {
    /// The age of a signed time that is accepted without this rule.
    pub tolerance: Duration,
    /// The time for which the provider retries.
    pub retries_for: Duration,
    /// The time for which the ledger remembers a delivery of the route.
    pub window: Duration,
    /// Whether the signature covers the body.
    pub covers_body: bool,
}

impl LateRule {
    /// Returns the greatest age that can be accepted. A first attempt may come `tolerance` before its own signed time, and what was
    /// delivered then must still be remembered: otherwise a captured request would be delivered again.
    pub fn oldest(self) -> Duration {
        self.tolerance
            .saturating_add(self.retries_for)
            .min(self.window.saturating_sub(self.tolerance))
    }

    /// Returns whether the rule can accept anything that the tolerance does not.
    pub fn applies(self) -> bool {
        self.oldest() > self.tolerance
    }

    /// Returns whether a request of that age is a retry of one that was not delivered. A delivered one is in the ledger and stays a
    /// duplicate.
    pub fn accepts(self, age: Duration, known: Remembered) -> bool {
        // without a gap, the ledger knows every attempt that reached the gateway; what it does not know met a restart or another server
        let complete = known
            .complete_for
            .is_some_and(|complete_for| age <= complete_for);
        age <= self.oldest() && (known.noted || self.covers_body && complete)
    }

    /// Returns how long a request of that age, which was not delivered, is noted.
    pub fn noted_for(self, age: Duration) -> Duration {
        self.tolerance
            .saturating_add(self.retries_for)
            .saturating_sub(age)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LINEAR: LateRule = LateRule {
        tolerance: MINUTE,
        retries_for: Duration::from_secs(7 * 3600),
        window: DAY,
        covers_body: true,
    };
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn late_retry_needs_a_note_or_a_complete_ledger() {
        let known = |noted, complete_for| Remembered {
            noted,
            complete_for,
        };
        let hour = 60 * MINUTE;
        let body_free = LateRule {
            covers_body: false,
            ..LINEAR
        };
        for (rule, age, known, accepted) in [
            (LINEAR, hour, known(true, None), true),
            (LINEAR, hour, known(false, Some(hour)), true),
            (LINEAR, hour, known(false, Some(hour - MINUTE)), false),
            (LINEAR, hour, known(false, None), false),
            (LINEAR, 7 * hour + MINUTE, known(true, None), true),
            (LINEAR, 7 * hour + 2 * MINUTE, known(true, Some(DAY)), false),
            (body_free, hour, known(true, None), true),
            (body_free, hour, known(false, Some(DAY)), false),
            (
                LateRule {
                    window: hour,
                    ..LINEAR
                },
                hour,
                known(true, Some(DAY)),
                false,
            ),
            (
                LateRule {
                    window: hour,
                    ..LINEAR
                },
                hour - MINUTE,
                known(true, Some(DAY)),
                true,
            ),
        ] {
            assert_eq!(
                rule.accepts(age, known),
                accepted,
                "{rule:?} {age:?} {known:?}"
            );
        }
        assert!(
            LINEAR.applies()
                && !LateRule {
                    window: 2 * MINUTE,
                    ..LINEAR
                }
                .applies()
        );
        assert!(
            !LateRule {
                retries_for: Duration::ZERO,
                ..LINEAR
            }
            .applies()
        );
        assert_eq!(LINEAR.noted_for(MINUTE), 7 * hour);
    }

    /// An event of one request: an attempt whose delivery succeeds or fails, or the loss of the ledger.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Attempt { succeeds: bool },
        Loss,
    }

    fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let event = prop_oneof![4 => any::<bool>().prop_map(|succeeds| Event::Attempt { succeeds }), 1 => Just(Event::Loss)];
        prop::collection::vec((0_u64..60, event), 1..12)
    }

    proptest! {
        /// Seconds. The request is signed at 1000. However often it comes, and by whom: once delivered, no late copy of it is delivered,
        /// unless the ledger was lost while copies in time pass anyhow.
        #[test]
        fn delivered_request_is_never_delivered_again_late(
            tolerance in 0_u64..20, retries_for in 0_u64..200, window in 0_u64..300, covers_body: bool, early in 0_u64..20, events in events()
        ) {
            let seconds = Duration::from_secs;
            let rule = LateRule { tolerance: seconds(tolerance), retries_for: seconds(retries_for), window: seconds(window), covers_body };
            let signed = 1000;
            let mut now = signed - early.min(tolerance);
            let (mut complete_since, mut committed, mut noted) = (0, None::<u64>, None::<u64>);
            let (mut delivered, mut lost_early) = (false, false);
            for (pause, event) in events {
                now += pause;
                let Event::Attempt { succeeds } = event else {
                    (complete_since, committed, noted) = (now, None, None);
                    lost_early |= now <= signed + tolerance;
                    continue;
                };
                let age = seconds(now.saturating_sub(signed));
                let known = Remembered { noted: noted.is_some_and(|until| now < until), complete_for: Some(seconds(now - complete_since)) };
                let late = age > rule.tolerance;
                if late && !rule.accepts(age, known) || committed.is_some_and(|until| now < until) {
                    continue;
                }
                prop_assert!(!(late && delivered && !lost_early), "delivered again after {age:?}");
                if succeeds {
                    (committed, delivered) = (Some(now + window), true);
                } else {
                    noted = Some(now + rule.noted_for(age).as_secs());
                }
            }
        }
    }
}
