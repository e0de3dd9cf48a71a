//! Deletes deliveries whose retention is over, a few at a time. One gateway of all does it.
//!
//! Most deliveries go with the day on which they were accepted, see [`super::days`]: that costs as much for a million as for one. Single ones
//! are deleted here: those that are kept for so short a time that their day would be too long, those that stayed when their day ended, and the
//! oldest ones of an origin that has too many bytes.
use std::time::Duration;

use uuid::Uuid;

use super::Postgres;
use super::call::{Call, column};
use super::columns::{age_ms, count, first, int, number};
use super::link::Lane;
use super::upkeep::Resumed;
use crate::store::StoreError;
use crate::store::archive::{Retention, Step, Whose};
use crate::store::queue::FIRST_TENANT;

/// The task of sweeping the deliveries of routes. Its position is the last origin that is done.
const ROUTES: &str = "rows";
/// The task of sweeping the events of tenants. Its position is the last tenant that is done.
const TENANTS: &str = "tenants";
/// The time from one walk over all origins to the next.
const WALK_INTERVAL: Duration = Duration::from_secs(60);
/// The time after which a walk goes on that has more to look at.
const NEXT_INTERVAL: Duration = Duration::from_secs(1);
/// The most calls of one step.
const CALLS_PER_STEP: u32 = 32;
/// The most tenants that one call names.
const TENANTS_PER_CALL: i32 = 64;
/// An age from which on a delivery goes with its day.
const GOES_WITH_ITS_DAY: Duration = Duration::from_secs(2 * 86_400);

/// One step of a sweep.
struct Sweeping {
    /// Deliveries that may still be deleted.
    left: u16,
    calls_left: u32,
    done: u64,
}

impl Sweeping {
    fn is_over(&self) -> bool {
        self.left == 0 || self.calls_left == 0
    }
}

/// Ages in milliseconds, as the function takes them; none while the store's clock is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ages {
    age: Option<i64>,
    dead: Option<i64>,
}

impl Ages {
    fn of(keep: &Retention, is_trusted: bool) -> Self {
        // what does not go with its day in time, because others of that day stay longer or too many stay, is deleted here a little later
        let age = if keep.age < GOES_WITH_ITS_DAY {
            keep.age
        } else {
            keep.age.saturating_add(GOES_WITH_ITS_DAY)
        };
        let trusted = |age| is_trusted.then(|| age_ms(age));
        Self {
            age: trusted(age),
            dead: trusted(keep.dead),
        }
    }
}

impl Postgres {
    /// Deletes at most `step` deliveries whose retention is over, if no other gateway does.
    pub(super) async fn sweep_once(
        &self,
        keep: &[Retention],
        step: u16,
    ) -> Result<Step, StoreError> {
        *self.upkeep.keep.lock() = keep.into();
        let mut sweeping = Sweeping {
            left: step,
            calls_left: CALLS_PER_STEP,
            done: 0,
        };
        self.sweep_routes(keep, &mut sweeping).await?;
        let of_tenants = keep.iter().find(|keep| keep.whose == Whose::Tenants);
        if let (Some(keep), false) = (of_tenants, sweeping.is_over()) {
            self.sweep_tenants(keep, &mut sweeping).await?;
        }
        Ok(Step {
            done: sweeping.done,
            more: sweeping.left == 0,
            ..Step::default()
        })
    }

    /// Sweeps the origins that have a retention of their own, in the order of their numbers.
    async fn sweep_routes(
        &self,
        keep: &[Retention],
        sweeping: &mut Sweeping,
    ) -> Result<(), StoreError> {
        let of_one = |keep: &Retention| match keep.whose {
            Whose::One(origin) => Some((origin.0, *keep)),
            Whose::Tenants => None,
        };
        let mut routes: Vec<_> = keep.iter().filter_map(of_one).collect();
        routes.sort_unstable_by_key(|(origin, _)| *origin);
        if routes.is_empty() {
            return Ok(());
        }
        let Some(mut position) = self.take(ROUTES, WALK_INTERVAL).await? else {
            return Ok(());
        };
        for (origin, keep) in routes {
            if i64::from(origin) <= position {
                continue;
            }
            if !self.sweep_origin(origin, &keep, sweeping).await? {
                return self.go_on(ROUTES, position, sweeping).await;
            }
            position = i64::from(origin);
        }
        self.begin_again(ROUTES, sweeping).await
    }

    /// Sweeps some tenants, from the one after the last on.
    async fn sweep_tenants(
        &self,
        keep: &Retention,
        sweeping: &mut Sweeping,
    ) -> Result<(), StoreError> {
        let Some(mut position) = self.take(TENANTS, WALK_INTERVAL).await? else {
            return Ok(());
        };
        let after = i32::try_from(position).unwrap_or(0);
        let call = Call::look("origins_1")
            .with(after.max(int(FIRST_TENANT - 1)))
            .with(TENANTS_PER_CALL);
        let rows = self.link.call(Lane::Looks, call).await?;
        for row in &rows {
            let tenant = number(row, 0)?;
            if !self.sweep_origin(tenant, keep, sweeping).await? {
                return self.go_on(TENANTS, position, sweeping).await;
            }
            position = i64::from(tenant);
        }
        if i32::try_from(rows.len()).is_ok_and(|found| found < TENANTS_PER_CALL) {
            return self.begin_again(TENANTS, sweeping).await;
        }
        self.put(TENANTS, position, Some(NEXT_INTERVAL)).await
    }

    /// Ends a step within a walk: at once if it deleted as much as it could, so that the next step is this gateway's too.
    async fn go_on(
        &self,
        task: &'static str,
        position: i64,
        sweeping: &Sweeping,
    ) -> Result<(), StoreError> {
        let again = if sweeping.left == 0 {
            Duration::ZERO
        } else {
            NEXT_INTERVAL
        };
        self.put(task, position, Some(again)).await
    }

    /// Ends a walk. The next one begins soon if this one found something: there may be more meanwhile.
    async fn begin_again(&self, task: &'static str, sweeping: &Sweeping) -> Result<(), StoreError> {
        let again = (sweeping.done > 0).then_some(NEXT_INTERVAL);
        self.put(task, 0, again).await
    }

    /// Sweeps one origin. Returns whether its walk came to the end.
    async fn sweep_origin(
        &self,
        origin: u32,
        keep: &Retention,
        sweeping: &mut Sweeping,
    ) -> Result<bool, StoreError> {
        let ages = Ages::of(keep, self.upkeep.clock.trusted().is_some());
        let bytes = keep
            .bytes
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let resumed = self.upkeep.resumed.lock().remove(&origin);
        let mut place = resumed.unwrap_or_default();
        loop {
            if sweeping.is_over() {
                self.upkeep.resumed.lock().insert(origin, place);
                return Ok(false);
            }
            let call = Call::write("sweep_1")
                .with(int(origin))
                .with(ages.age)
                .with(ages.dead)
                .with(bytes)
                .with(place.with_dead)
                .with(place.after)
                .with(i32::from(sweeping.left));
            let rows = self.link.call(Lane::Looks, call).await?;
            let row = first(&rows)?;
            let done = count(row, 0)?;
            sweeping.calls_left -= 1;
            sweeping.done += done;
            sweeping.left = sweeping
                .left
                .saturating_sub(u16::try_from(done).unwrap_or(u16::MAX));
            let has_excess: bool = column(row, 2)?;
            match column::<Option<Uuid>>(row, 1)? {
                Some(next) => place.after = next,
                // dead ones outlive others: an operator may still want them
                None if has_excess && !place.with_dead => {
                    place = Resumed {
                        with_dead: true,
                        ..Resumed::default()
                    };
                }
                None => return Ok(true),
            }
        }
    }
}
