//! Deletes deliveries whose retention is over, a few at a time.
use rusqlite::params;

use super::act::erase;
use super::writing::{DELIVERIES, Writing};
use super::{int, ms};
use crate::store::archive::Retention;
use crate::store::queue::DeliveryRef;
use crate::store::{Key, StoreError};

/// Bytes that a delivery needs beside its own: its rows in indexes and small tables.
const ROW: i64 = 512;

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
    /// Whether there may be more to delete now.
    pub(crate) more: bool,
    /// Keys whose entries were removed from the ledger.
    pub(crate) forgotten: Vec<Key>,
}

/// Deletes at most `step` deliveries that are over: by their age since they ended, and the longest over first while an origin has too many bytes.
pub(crate) fn sweep(
    writing: &Writing<'_>,
    keep: &[Retention],
    ages: Ages,
    step: usize,
) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    for retention in keep {
        for (dead, age) in [(false, retention.age), (true, retention.dead)] {
            let from = if ages.all {
                i64::MIN
            } else {
                ages.began.saturating_add(1)
            };
            let before = writing.now.saturating_sub(ms(age));
            for id in over(
                writing,
                *retention,
                dead,
                (from, before),
                left(&swept, step),
            )? {
                delete(writing, id, &mut swept)?;
            }
        }
        // dead ones outlive delivered ones: an operator may still want them
        for dead in [false, true] {
            let mut excess = excess(writing, *retention)?;
            for id in over(
                writing,
                *retention,
                dead,
                (i64::MIN, i64::MAX),
                if excess > 0 { left(&swept, step) } else { 0 },
            )? {
                if excess <= 0 {
                    break;
                }
                excess -= delete(writing, id, &mut swept)? + ROW;
            }
        }
    }
    swept.more = left(&swept, step) == 0;
    Ok(swept)
}

fn left(swept: &Swept, step: usize) -> usize {
    step.saturating_sub(usize::try_from(swept.done).unwrap_or(usize::MAX))
}

/// Returns deliveries of an origin that ended after one time and before another, the longest over first.
fn over(
    writing: &Writing<'_>,
    keep: Retention,
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
        params![keep.origin.0, dead, from, before, int(limit)],
        |row| row.get(0),
    )
}

/// Returns the bytes of an origin beyond what it may keep.
fn excess(writing: &Writing<'_>, keep: Retention) -> Result<i64, StoreError> {
    let Some(most) = keep.bytes else { return Ok(0) };
    let sum = "select bytes + rows * ?3 from tally where kind = ?1 and number = ?2";
    let bytes = writing
        .row(sum, params![DELIVERIES, keep.origin.0, ROW], |row| {
            row.get::<_, i64>(0)
        })?
        .unwrap_or(0);
    // of this transaction, not in the row yet
    let (rows, changed) = writing.counted(DELIVERIES, keep.origin.0);
    Ok((bytes + changed + rows * ROW).saturating_sub(int(most)))
}

fn delete(writing: &Writing<'_>, id: DeliveryRef, swept: &mut Swept) -> Result<i64, StoreError> {
    let erased = erase(writing, id)?;
    swept.done += 1;
    swept
        .forgotten
        .extend(erased.and_then(|erased| erased.forgotten));
    Ok(erased.map_or(0, |erased| erased.bytes))
}
