//! The days whose tables hold deliveries: they are made ahead, and each ends when nothing of it must be kept.
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::Postgres;
use super::call::{Call, Day, column};
use super::columns::{age_ms, count, first, int, number};
use super::link::Lane;
use super::migrate::DAYS_AHEAD;
use crate::store::StoreError;
use crate::store::archive::{Retention, Whose};
use crate::store::queue::{FIRST_TENANT, OriginId};

/// The task. Its position is the last day that was ended and not all of which went.
const DAYS: &str = "days";
const DAYS_INTERVAL: Duration = Duration::from_secs(60);
/// The most deliveries of a day that stay when it ends. A day with more stays as it is, and its deliveries are deleted one by one.
const MOST_KEPT: i32 = 2000;
/// The most days that one round takes away.
const DAYS_PER_ROUND: usize = 8;
const DAY: Duration = Duration::from_secs(86_400);
/// The days from 1970 to 2000, from which on the server counts.
const DAYS_TO_2000: i64 = 10_957;

impl Day {
    /// Returns the day of a time, in UTC.
    #[cfg(test)]
    pub(super) fn of(at: SystemTime) -> Self {
        Self::of_id(crate::store::queue::DeliveryRef::first_of(at).0)
    }

    /// Returns the time at which it is over.
    fn end(self) -> SystemTime {
        let days = i64::from(self.0) + DAYS_TO_2000 + 1;
        let seconds = u64::try_from(days).unwrap_or(0) * DAY.as_secs();
        UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

impl<'r> FromSql<'r> for Day {
    fn from_sql(
        kind: &Type,
        raw: &'r [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        i32::from_sql(kind, raw).map(Self)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::DATE
    }
}

/// A day that ends, with the ages at which deliveries of it go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ending {
    day: Day,
    origins: Vec<i32>,
    ages: Vec<i64>,
    /// The age for all other origins: tenants.
    other_age: i64,
}

impl Postgres {
    /// Makes the tables of the next days, and ends days that are over.
    pub(super) async fn end_days(&self) -> Result<(), StoreError> {
        let Some(position) = self.take(DAYS, DAYS_INTERVAL).await? else {
            return Ok(());
        };
        self.make_days(None).await?;
        let keep = self.upkeep.keep.lock().clone();
        // what the sweeps keep is known when the first one has begun
        let (Some(now), false) = (self.upkeep.clock.trusted(), keep.is_empty()) else {
            return Ok(());
        };
        let rows = self.link.call(Lane::Looks, Call::look("days_1")).await?;
        let last = Day(i32::try_from(position).unwrap_or(i32::MIN));
        for ending in endings(&days(&rows)?, &keep, now, last) {
            let day = ending.day;
            let answer = self.end_day(ending).await?;
            tracing::debug!(day = day.0, answer, "a day of the store ended");
            match answer.split(' ').next() {
                Some("gone") => {}
                // another holds its tables: a later round does it
                Some("busy") | None => break,
                Some(_) => {
                    let last = day.max(last);
                    return self.put(DAYS, i64::from(last.0), None).await;
                }
            }
        }
        Ok(())
    }

    /// Makes the tables of the next days, and of one more.
    pub(super) async fn make_days(&self, also: Option<Day>) -> Result<(), StoreError> {
        let call = Call::write("days_make_1").with(DAYS_AHEAD).with(also);
        self.link.call(Lane::Looks, call).await.map(drop)
    }

    async fn end_day(&self, ending: Ending) -> Result<String, StoreError> {
        let call = Call::write("day_end_1")
            .with(ending.day)
            .with(ending.origins)
            .with(ending.ages)
            .with(ending.other_age)
            .with(MOST_KEPT);
        let rows = self.link.call(Lane::Looks, call).await?;
        column(first(&rows)?, 0)
    }
}

/// The origins that have deliveries of a day, by day. A day without any is there if it has tables.
type Days = BTreeMap<Day, Vec<OriginId>>;

fn days(rows: &[Row]) -> Result<Days, StoreError> {
    let mut days = Days::new();
    for row in rows {
        let origins = days.entry(column(row, 0)?).or_default();
        if column::<Option<i32>>(row, 1)?.is_some() && count(row, 2)? > 0 {
            origins.push(OriginId(number(row, 1)?));
        }
    }
    Ok(days)
}

/// Returns the days that end now, the oldest first: those of which no origin must keep anything for its age. One that has ended before, as `last`
/// says, ends again only when it is empty: the sweeps take what is left of it.
fn endings(days: &Days, keep: &[Retention], now: SystemTime, last: Day) -> Vec<Ending> {
    let is_over = |day: Day, age: Duration| {
        now.duration_since(day.end())
            .is_ok_and(|since| since >= age)
    };
    let of_one = |keep: &Retention| match keep.whose {
        Whose::One(origin) => Some((int(origin.0), age_ms(keep.age))),
        Whose::Tenants => None,
    };
    let (origins, ages): (Vec<_>, Vec<_>) = keep.iter().filter_map(of_one).unzip();
    let of_tenants = keep.iter().find(|keep| keep.whose == Whose::Tenants);
    let longest = keep.iter().map(|keep| keep.age).max().unwrap_or_default();
    let other_age = age_ms(of_tenants.map_or(longest, |keep| keep.age));
    let ends = |(day, of): (&Day, &Vec<OriginId>)| {
        // an origin without a retention keeps everything
        let kept_for: Option<Vec<_>> = of.iter().map(|origin| age_of(keep, *origin)).collect();
        let longest = kept_for?.into_iter().max().unwrap_or_default();
        let is_new = of.is_empty() || *day > last;
        (is_new && is_over(*day, longest)).then(|| Ending {
            day: *day,
            origins: origins.clone(),
            ages: ages.clone(),
            other_age,
        })
    };
    days.iter().filter_map(ends).take(DAYS_PER_ROUND).collect()
}

/// Returns the age for which an origin keeps its deliveries.
fn age_of(keep: &[Retention], origin: OriginId) -> Option<Duration> {
    let whose = if origin.0 >= FIRST_TENANT {
        Whose::Tenants
    } else {
        Whose::One(origin)
    };
    let found = keep.iter().find(|keep| keep.whose == whose);
    found.map(|keep| keep.age)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(whose: Whose, days: u32) -> Retention {
        Retention {
            whose,
            age: DAY * days,
            dead: DAY * 30,
            bytes: None,
        }
    }

    #[test]
    fn days_are_counted_from_the_year_2000() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(Day::of(at(946_684_800)), Day(0));
        assert_eq!(Day::of(at(946_684_799)), Day(-1));
        assert_eq!(Day(-1).end(), at(946_684_800));
        assert_eq!(Day::of(Day(9000).end()), Day(9001));
    }

    #[test]
    fn day_ends_when_no_origin_keeps_anything_of_it() {
        let (route, other, tenant) = (OriginId(1), OriginId(2), OriginId(FIRST_TENANT + 7));
        let of_route = kept(Whose::One(route), 7);
        let keep = [
            of_route,
            kept(Whose::One(other), 2),
            kept(Whose::Tenants, 3),
        ];
        let today = Day(9000);
        let now = today.end() - DAY / 2;
        let ending = |days: &[(i32, &[OriginId])], keep: &[Retention], last| {
            let days = days.iter().map(|(day, of)| (Day(*day), of.to_vec()));
            let found = endings(&days.collect(), keep, now, Day(last));
            found.iter().map(|ending| ending.day.0).collect::<Vec<_>>()
        };
        // half of today is over, too
        let of_days: &[(i32, &[OriginId])] = &[
            (8992, &[route, tenant]),
            (8993, &[route]),
            (8996, &[tenant]),
            (8997, &[other]),
            (8998, &[]),
        ];
        assert_eq!(ending(of_days, &keep, 0), [8992, 8996, 8997, 8998]);
        assert_eq!(ending(of_days, &keep, 8996), [8997, 8998], "ended before");
        let unknown: &[(i32, &[OriginId])] = &[(8000, &[route, OriginId(3)]), (8001, &[tenant])];
        assert_eq!(ending(unknown, &[of_route], 0), [0_i32; 0], "kept for ever");
    }

    #[test]
    fn ages_of_all_origins_are_given() {
        let keep = [kept(Whose::One(OriginId(1)), 7), kept(Whose::Tenants, 3)];
        let days = Days::from([(Day(1), Vec::new())]);
        let found = endings(&days, &keep, Day(99).end(), Day(0)).remove(0);
        assert_eq!((found.origins, found.ages), (vec![1], vec![7 * 86_400_000]));
        assert_eq!(found.other_age, 3 * 86_400_000);
        let found = endings(&days, &keep[..1], Day(99).end(), Day(0)).remove(0);
        assert_eq!(found.other_age, 7 * 86_400_000, "there are no others");
    }
}
