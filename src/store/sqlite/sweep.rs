//! Deliveries that need not be kept any longer are deleted, a few at a time.
use std::collections::HashMap;

use rusqlite::params;

use super::act::erase;
use super::writing::{DELIVERIES, Writing};
use super::{int, ms};
use crate::store::archive::Retention;
use crate::store::queue::{DeliveryRef, OriginId};
use crate::store::{Key, StoreError};

/// Rows looked at for each that may be deleted.
const LOOKS: usize = 4;

/// Where the sweep of each origin goes on; an origin that is not here begins with its oldest.
pub(crate) type Places = HashMap<OriginId, DeliveryRef>;

/// What a step of the sweep did.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) done: u64,
    pub(crate) places: Places,
    /// Keys whose entries left the ledger.
    pub(crate) forgotten: Vec<Key>,
}

/// Deletes at most `step` deliveries; one that waits is never among them.
pub(crate) fn sweep(writing: &Writing<'_>, keep: &[Retention], places: &Places, step: usize) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    for retention in keep {
        let left = step.saturating_sub(usize::try_from(swept.done).unwrap_or(usize::MAX));
        let place = places.get(&retention.origin).copied();
        if left == 0 {
            // its turn comes in the next step
            swept.places.insert(retention.origin, place.unwrap_or(DeliveryRef(uuid::Uuid::nil())));
            continue;
        }
        let (done, place) = sweep_one(writing, *retention, place, left, &mut swept.forgotten)?;
        swept.done += done;
        swept.places.extend(place.map(|place| (retention.origin, place)));
    }
    Ok(swept)
}

struct Old {
    id: DeliveryRef,
    at: i64,
    waits: bool,
    /// When its last unit died.
    died: Option<i64>,
}

fn sweep_one(
    writing: &Writing<'_>,
    keep: Retention,
    place: Option<DeliveryRef>,
    step: usize,
    forgotten: &mut Vec<Key>,
) -> Result<(u64, Option<DeliveryRef>), StoreError> {
    let sum = "select bytes from tally where kind = ?1 and number = ?2";
    let bytes = writing.row(sum, params![DELIVERIES, keep.origin.0], |row| row.get::<_, i64>(0))?.unwrap_or(0);
    let mut over = keep.bytes.map_or(0, |most| bytes.saturating_sub(int(most)));
    let looks = step.saturating_mul(LOOKS);
    let oldest =
        "select id, at, exists (select 1 from due where due.id = delivery.id), (select max(dead.at) from dead where dead.id = delivery.id)
        from delivery where origin = ?1 and id > ?2 order by id limit ?3";
    let from = place.unwrap_or(DeliveryRef(uuid::Uuid::nil()));
    let rows = writing.rows(oldest, params![keep.origin.0, from, int(looks)], |row| {
        Ok(Old { id: row.get(0)?, at: row.get(1)?, waits: row.get(2)?, died: row.get(3)? })
    })?;
    let whole = rows.len() < looks;
    let (mut done, mut last) = (0_u64, None);
    for row in rows {
        if done >= u64::try_from(step).unwrap_or(u64::MAX) {
            return Ok((done, last));
        }
        last = Some(row.id);
        let aged = |since: i64, most: i64| writing.now.saturating_sub(since) > most;
        let old = match row.died {
            Some(died) => aged(died, ms(keep.dead)),
            None => aged(row.at, ms(keep.age)),
        };
        if !row.waits && (old || over > 0) {
            let erased = erase(writing, row.id)?;
            over -= erased.map_or(0, |erased| erased.bytes);
            forgotten.extend(erased.and_then(|erased| erased.forgotten));
            done += 1;
        } else if over <= 0 && !aged(row.at, ms(keep.age.min(keep.dead))) {
            // all that follow are younger
            return Ok((done, None));
        }
    }
    Ok((done, if whole { None } else { last }))
}
