//! The time since which the ledger of each route is complete. Only then does a missing key mean that nothing was delivered.
//! Times are milliseconds of the store's own time.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Key;

/// A gap is noted this far ahead, so that a ledger that is full notes it once a minute and not with every ID.
pub(super) const GAP_AHEAD: i64 = 60_000;

/// The routes with a ledger, each with the inputs of its keys and the time since which it is complete.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Continuity(BTreeMap<Arc<str>, (Key, i64)>);

impl Continuity {
    /// Reads what [`Self::text`] wrote; text that cannot be read says that nothing is known.
    pub(super) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (since, policy, route) = (
                words.next()?.parse().ok()?,
                hex::decode(words.next()?).ok()?,
                words.next()?,
            );
            Some((Arc::from(route), (Key(policy.try_into().ok()?), since)))
        };
        Self(
            text.lines()
                .map(line)
                .collect::<Option<_>>()
                .unwrap_or_default(),
        )
    }

    /// Returns each route with the inputs of its keys and the time since which its ledger is complete.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&Arc<str>, Key, i64)> {
        self.0
            .iter()
            .map(|(route, (policy, since))| (route, *policy, *since))
    }

    /// Returns it as text, for the store.
    pub(super) fn text(&self) -> String {
        self.0
            .iter()
            .map(|(route, (policy, since))| format!("{since} {} {route}\n", hex::encode(policy.0)))
            .collect()
    }

    /// Sets the routes with a ledger. A route that had the same policy before continues; every other one begins. Returns whether anything
    /// changed.
    pub(super) fn keep(&mut self, routes: &[(Arc<str>, Key)], now: i64) -> bool {
        let since = |route: &Arc<str>, policy: Key| {
            self.0
                .get(route)
                .filter(|(known, _)| *known == policy)
                .map_or(now, |(_, since)| *since)
        };
        let continuity = Self(
            routes
                .iter()
                .map(|(route, policy)| (Arc::clone(route), (*policy, since(route, *policy))))
                .collect(),
        );
        let changed = continuity != *self;
        *self = continuity;
        changed
    }

    /// Notes that an ID was lost before its time: all routes begin again, `ahead` of now. Returns whether that has to be written.
    pub(super) fn gap(&mut self, now: i64, ahead: i64) -> bool {
        let mut changed = false;
        for (_, since) in self.0.values_mut().filter(|(_, since)| *since <= now) {
            (*since, changed) = (now.saturating_add(ahead), true);
        }
        changed
    }

    /// Returns the time for which the ledger of a route has been complete.
    pub(super) fn complete_for(&self, route: &str, now: i64) -> Option<Duration> {
        let (_, since) = self.0.get(route)?;
        u64::try_from(now.saturating_sub(*since))
            .ok()
            .map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(named: &[(&str, u8)]) -> Vec<(Arc<str>, Key)> {
        named
            .iter()
            .map(|(name, policy)| (Arc::from(*name), Key([*policy; 16])))
            .collect()
    }

    #[test]
    fn changed_policy_gap_or_absence_restarts_the_time() {
        let mut continuity = Continuity::default();
        assert!(continuity.keep(&routes(&[("a", 1), ("b b", 2)]), 1000));
        assert!(
            !continuity.keep(&routes(&[("b b", 2), ("a", 1)]), 5000),
            "nothing changed"
        );
        let again = Continuity::parse(&continuity.text());
        assert_eq!(again, continuity);
        let ms = |continuity: &Continuity, route, now| {
            continuity
                .complete_for(route, now)
                .map(|time| time.as_millis())
        };
        assert_eq!(
            [
                ms(&continuity, "a", 6000),
                ms(&continuity, "b b", 6000),
                ms(&continuity, "c", 6000)
            ],
            [Some(5000), Some(5000), None]
        );
        assert!(continuity.keep(&routes(&[("a", 9)]), 7000));
        assert!(continuity.keep(&routes(&[("a", 1), ("b b", 2)]), 8000));
        assert_eq!(
            [ms(&continuity, "a", 9000), ms(&continuity, "b b", 9000)],
            [Some(1000), Some(1000)],
            "what was kept before does not come back"
        );
        assert!(
            continuity.gap(10_000, GAP_AHEAD) && !continuity.gap(10_001, GAP_AHEAD),
            "once a minute"
        );
        assert_eq!(
            [ms(&continuity, "a", 10_000), ms(&continuity, "a", 71_000)],
            [None, Some(1000)]
        );
    }

    #[test]
    fn text_that_cannot_be_read_is_a_gap() {
        for text in [
            "x",
            "1 00 a",
            "1 zz a",
            "12 0000000000000000000000000000000 a",
            "1 00000000000000000000000000000000 a\nx",
        ] {
            assert_eq!(Continuity::parse(text), Continuity::default(), "{text}");
        }
    }
}
