//! The usual traffic of a route, learned from its own counts by the hour. Pure: callers pass the number of the hour, which only grows.
use std::collections::VecDeque;

/// Hours that are remembered: two weeks, so that each has its like in the week before.
pub const REMEMBERED: usize = 14 * 24;
/// Hours from the first request on before a silence says anything.
const ENOUGH_HOURS: usize = 24;
/// Requests before a silence says anything.
const ENOUGH_REQUESTS: u64 = 48;
/// A route that was this long without a request may have nights and weekends…
const NIGHT_HOURS: u64 = 6;
/// …and until it has seen a weekend, so many hours of silence are none.
const WEEKEND: u64 = 72;
/// Hours after which it has seen one.
const WEEK: usize = 7 * 24;
/// Requests that a share is computed from, recently and in each piece of the past.
const SAMPLE: u64 = 20;
/// The most hours that the recent share is computed from.
const RECENT_HOURS: usize = 24;
/// Pieces of the past that there must be.
const MIN_PERIODS: usize = 6;

/// Requests of an hour that were judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Requests that verified.
    pub verified: u64,
    /// Requests that did not verify.
    pub unverified: u64,
}

/// The last hours of a route, from its first request on.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The newest last; without a gap.
    hours: VecDeque<Hour>,
    /// The number of the newest.
    newest: u64,
}

/// The share of requests that verified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Usually: the median of the past.
    pub usual: f64,
    /// Of late.
    pub late: f64,
}

impl History {
    /// Counts requests in the hour with this number. Hours of the past are gone.
    pub fn add(&mut self, hour: u64, counted: Hour) {
        if self.hours.is_empty() {
            if counted == Hour::default() {
                return;
            }
            self.newest = hour;
            self.hours.push_back(Hour::default());
        }
        let behind = usize::try_from(hour.saturating_sub(self.newest))
            .unwrap_or(usize::MAX)
            .min(REMEMBERED);
        self.hours
            .extend(std::iter::repeat_n(Hour::default(), behind));
        self.newest = self.newest.max(hour);
        while self.hours.len() > REMEMBERED {
            self.hours.pop_front();
        }
        if let Some(newest) = self.hours.back_mut() {
            newest.verified = newest.verified.saturating_add(counted.verified);
            newest.unverified = newest.unverified.saturating_add(counted.unverified);
        }
    }

    /// Returns the number of hours without a verified request that is too long: more than twice the longest so far. `None`: not enough is
    /// known.
    pub fn too_long(&self) -> Option<u64> {
        let last = self.hours.iter().rposition(|hour| hour.verified > 0)?;
        let first = self.hours.iter().position(|hour| hour.verified > 0)?;
        let total = self
            .hours
            .iter()
            .fold(0_u64, |sum, hour| sum.saturating_add(hour.verified));
        if last.saturating_sub(first) < ENOUGH_HOURS || total < ENOUGH_REQUESTS {
            return None;
        }
        let (mut longest, mut run) = (0_u64, 0_u64);
        for hour in self.hours.iter().take(last) {
            run = if hour.verified == 0 { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        let usual = 2 * longest + 2;
        Some(
            if longest >= NIGHT_HOURS && last.saturating_sub(first) < WEEK {
                usual.max(WEEKEND)
            } else {
                usual
            },
        )
    }

    /// Returns the recent and the usual share of requests that verified. `None`: not enough is known.
    pub fn shares(&self) -> Option<Shares> {
        let mut past = self.hours.iter().rev();
        let late = piece(&mut past.by_ref().take(RECENT_HOURS))?;
        let mut pieces = Vec::new();
        while let Some(share) = piece(&mut past) {
            pieces.push(share);
        }
        if pieces.len() < MIN_PERIODS {
            return None;
        }
        pieces.sort_by(f64::total_cmp);
        let usual = *pieces.get(pieces.len() / 2)?;
        Some(Shares { usual, late })
    }
}

/// Returns the share over as many hours as make a sample. `None`: there are too few.
fn piece<'a>(hours: &mut impl Iterator<Item = &'a Hour>) -> Option<f64> {
    let mut sum = Hour::default();
    for hour in hours {
        sum.verified = sum.verified.saturating_add(hour.verified);
        sum.unverified = sum.unverified.saturating_add(hour.unverified);
        if sum.verified.saturating_add(sum.unverified) >= SAMPLE {
            return Some(share(sum));
        }
    }
    None
}

/// Returns the share, rounded to a ten-thousandth.
fn share(hour: Hour) -> f64 {
    let all = hour.verified.saturating_add(hour.unverified).max(1);
    let parts = u128::from(hour.verified) * 10_000 / u128::from(all);
    f64::from(u32::try_from(parts).unwrap_or(10_000)) / 10_000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verified(count: u64) -> Hour {
        Hour {
            verified: count,
            unverified: 0,
        }
    }

    /// Feeds the hours of a healthy route. Returns the longest silence and the limit at that point.
    fn worst(hours: impl IntoIterator<Item = u64>) -> Option<(u64, u64)> {
        let (mut history, mut silent) = (History::default(), 0);
        for (number, count) in (0..).zip(hours) {
            history.add(number, verified(count));
            silent = if count == 0 { silent + 1 } else { 0 };
            if let Some(limit) = history.too_long().filter(|limit| silent >= *limit) {
                return Some((number, limit));
            }
        }
        None
    }

    /// Draws a day with the same count in each hour, except for some hours at night.
    fn day() -> impl Strategy<Value = Vec<u64>> {
        (prop::collection::vec(1_u64..50, 24), 0_usize..15).prop_map(|(mut day, night)| {
            day[..night].fill(0);
            day
        })
    }

    proptest! {
        #[test]
        fn regular_route_never_counts_as_silent(day in day()) {
            prop_assert_eq!(worst(day.iter().copied().cycle().take(30 * 24)), None);
        }

        #[test]
        fn route_idle_at_weekends_never_counts_as_silent(day in day(), from in 0_usize..7) {
            prop_assume!(day[..6].iter().all(|count| *count == 0));
            let of = |number: usize| if number % 7 >= 5 { vec![0; 24] } else { day.clone() };
            prop_assert_eq!(worst((from..from + 28).flat_map(of)), None);
        }

        #[test]
        fn stopped_route_counts_as_silent_in_time(day in day(), days in 2_usize..20) {
            let night = u64::try_from(day.iter().filter(|count| **count == 0).count()).unwrap();
            prop_assume!(day.iter().sum::<u64>() > 48);
            let known = days * 24;
            let hours = day.iter().copied().cycle().take(known).chain(std::iter::repeat_n(0, 100));
            let (at, _) = worst(hours).expect("it is told of");
            let silent = at + 1 - u64::try_from(known).unwrap();
            prop_assert!(silent <= (2 * night + 2).max(WEEKEND), "after {} hours", silent);
            prop_assert!(silent >= 2, "after {} hours", silent);
        }

        #[test]
        fn too_little_history_raises_nothing(count in 1_u64..1_000_000, hours in 1_usize..24) {
            prop_assert_eq!(worst(std::iter::repeat_n(count, hours).chain([0; 500])), None);
        }

        #[test]
        fn any_history_is_bounded_and_never_panics(adds in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..60)) {
            let mut history = History::default();
            for (hour, verified, unverified) in adds {
                history.add(hour, Hour { verified, unverified });
                prop_assert!(history.hours.len() <= REMEMBERED);
                history.too_long();
                if let Some(Shares { usual, late }) = history.shares() {
                    prop_assert!((0.0..=1.0).contains(&usual) && (0.0..=1.0).contains(&late));
                }
            }
        }

        #[test]
        fn steady_share_does_not_count_as_fallen(verified in 0_u64..100, unverified in 0_u64..100) {
            prop_assume!(verified + unverified >= 20);
            let mut history = History::default();
            for number in 0..48 {
                history.add(number, Hour { verified, unverified });
            }
            let shares = history.shares().unwrap();
            prop_assert!((shares.usual - shares.late).abs() < 0.001);
        }
    }

    #[test]
    fn fallen_share_shows_and_becomes_usual() {
        let mut history = History::default();
        let shares = |history: &History| history.shares().map(|shares| (shares.usual, shares.late));
        for number in 0..6 {
            history.add(number, verified(20));
            assert_eq!(shares(&history), None);
        }
        history.add(6, verified(20));
        assert_eq!(shares(&history), Some((1.0, 1.0)));
        let none = Hour {
            verified: 0,
            unverified: 20,
        };
        history.add(7, none);
        assert_eq!(shares(&history), Some((1.0, 0.0)));
        for number in 8..17 {
            history.add(number, none);
        }
        assert_eq!(shares(&history), Some((0.0, 0.0)));
    }

    #[test]
    fn few_requests_are_gathered_over_a_day() {
        let mut history = History::default();
        for number in 0..200 {
            history.add(number, verified(1));
        }
        assert_eq!(history.shares().map(|shares| shares.late), Some(1.0));
        let mut rare = History::default();
        for number in 0..REMEMBERED as u64 {
            rare.add(number, verified(u64::from(number % 2 == 0)));
        }
        assert_eq!(rare.shares(), None, "twelve a day are no sample");
        assert_eq!(rare.too_long(), Some(4));
    }
}
