//! Deletes deliveries whose retention is over, a few at a time.
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::params;

use super::erase::erase;
use super::writing::{DELIVERIES, Writing};
use super::{int, ms};
use crate::store::archive::{Retention, Whose};
use crate::store::queue::{DeliveryRef, FIRST_TENANT, OriginId};
use crate::store::{Key, StoreError};

/// Bytes that a delivery needs beside its own: its rows in indexes and small tables.
const ROW: i64 = 512;
/// Rows of units and attempts that one step deletes, at most (but for those of the last delivery).
const MAX_ROWS_PER_STEP: usize = 4000;
/// The most tenants that one step looks at.
const TENANTS_PER_STEP: usize = 64;

/// The ages that can be trusted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// The store's time at which this process began. Ages of deliveries that ended since come from the monotonic clock alone.
    pub(crate) began: i64,
    /// Whether older ages count too: the wall clock, by which the pause before this process was measured, has held.
    pub(crate) all: bool,
}

/// The result of one step of the sweep.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) done: u64,
    /// Rows of units and attempts that were deleted with them.
    rows: usize,
    /// Whether there may be more to delete now.
    pub(crate) more: bool,
    /// Keys whose entries were removed from the ledger.
    pub(crate) forgotten: Vec<Key>,
}

/// Deletes at most `step` deliveries that are over: by their age since they ended, and the longest over first while an origin has too many bytes.
/// `tenant` is the last tenant that was looked at.
pub(crate) fn sweep(
    writing: &Writing<'_>,
    keep: &[Retention],
    ages: Ages,
    step: usize,
    tenant: &AtomicU32,
) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    for retention in keep {
        match retention.whose {
            Whose::One(origin) => sweep_one(writing, origin, retention, ages, step, &mut swept)?,
            Whose::Tenants => {
                let last = tenant.load(Ordering::Relaxed);
                let last = sweep_tenants(writing, last, retention, ages, step, &mut swept)?;
                tenant.store(last, Ordering::Relaxed);
            }
        }
    }
    swept.more = left(&swept, step) == 0;
    Ok(swept)
}

/// Deletes deliveries of the tenants after `last`, some of them. Returns the last one; 0 after the last of all.
fn sweep_tenants(
    writing: &Writing<'_>,
    mut last: u32,
    keep: &Retention,
    ages: Ages,
    step: usize,
    swept: &mut Swept,
) -> Result<u32, StoreError> {
    let next = "select origin from ended where origin > ?1 order by origin limit 1";
    for _ in 0..TENANTS_PER_STEP {
        let after = last.max(FIRST_TENANT - 1);
        let Some(tenant) = writing.row(next, params![after], |row| row.get(0))? else {
            return Ok(0);
        };
        sweep_one(writing, OriginId(tenant), keep, ages, step, swept)?;
        if left(swept, step) == 0 {
            // it may have more
            return Ok(last);
        }
        last = tenant;
    }
    Ok(last)
}

/// Deletes deliveries of one origin.
fn sweep_one(
    writing: &Writing<'_>,
    origin: OriginId,
    keep: &Retention,
    ages: Ages,
    step: usize,
    swept: &mut Swept,
) -> Result<(), StoreError> {
    for (dead, age) in [(false, keep.age), (true, keep.dead)] {
        let from = if ages.all {
            i64::MIN
        } else {
            ages.began.saturating_add(1)
        };
        let before = writing.now.saturating_sub(ms(age));
        for id in over(writing, origin, dead, (from, before), left(swept, step))? {
            delete(writing, id, swept)?;
            if left(swept, step) == 0 {
                break;
            }
        }
    }
    // dead ones outlive delivered ones: an operator may still want them
    for dead in [false, true] {
        let mut excess = excess(writing, origin, keep.bytes)?;
        let limit = if excess > 0 { left(swept, step) } else { 0 };
        for id in over(writing, origin, dead, (i64::MIN, i64::MAX), limit)? {
            if excess <= 0 || left(swept, step) == 0 {
                break;
            }
            excess -= delete(writing, id, swept)? + ROW;
        }
    }
    Ok(())
}

/// Returns the number of deliveries that this step may still delete.
fn left(swept: &Swept, step: usize) -> usize {
    if swept.rows >= MAX_ROWS_PER_STEP {
        return 0;
    }
    step.saturating_sub(usize::try_from(swept.done).unwrap_or(usize::MAX))
}

/// Returns deliveries of an origin that ended after one time and before another, the longest over first.
fn over(
    writing: &Writing<'_>,
    origin: OriginId,
    dead: bool,
    (from, before): (i64, i64),
    limit: usize,
) -> Result<Vec<DeliveryRef>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let ended = "select id from ended where origin = ?1 and dead = ?2 and at >= ?3 and at < ?4 order by at limit ?5";
    writing.rows(
        ended,
        params![origin.0, dead, from, before, int(limit)],
        |row| row.get(0),
    )
}

/// Returns the bytes of an origin beyond what it may keep.
fn excess(writing: &Writing<'_>, origin: OriginId, most: Option<u64>) -> Result<i64, StoreError> {
    let Some(most) = most else { return Ok(0) };
    let sum = "select bytes + rows * ?3 from tally where kind = ?1 and number = ?2";
    let bytes = writing
        .row(sum, params![DELIVERIES, origin.0, ROW], |row| {
            row.get::<_, i64>(0)
        })?
        .unwrap_or(0);
    // of this transaction, not in the row yet
    let (rows, changed) = writing.counted(DELIVERIES, origin.0);
    Ok((bytes + changed + rows * ROW).saturating_sub(int(most)))
}

fn delete(writing: &Writing<'_>, id: DeliveryRef, swept: &mut Swept) -> Result<i64, StoreError> {
    let erased = erase(writing, id)?;
    swept.done += 1;
    swept.rows += erased.map_or(0, |erased| erased.rows);
    swept
        .forgotten
        .extend(erased.and_then(|erased| erased.forgotten));
    Ok(erased.map_or(0, |erased| erased.bytes))
}
