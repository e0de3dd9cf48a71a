//! Lists and single deliveries, for people: never more rows looked at than one step allows.
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::params;
use rusqlite::types::ToSql;

use super::look::Reading;
use super::shown::{duration, units};
use super::unsigned;
use crate::store::archive::search::{
    Bounds, MAX_BYTES_PER_STEP, MAX_ROWS_PER_STEP, MAX_UNITS_PER_STEP, Match, Rows, needed_units,
    show,
};
use crate::store::archive::{Audit, Filter, Order, Page, Row, Scope, UnitsShown};
use crate::store::queue::{DeliveryRef, OriginId};
use crate::store::record::Record;
use crate::store::{Key, StoreError};

/// Deliveries after a cursor that the filter wants.
pub(crate) fn page(
    reading: &Reading<'_>,
    scope: &Scope,
    filter: &Filter,
    order: Order,
    after: Option<DeliveryRef>,
    limit: u16,
    units: UnitsShown,
) -> Result<Page, StoreError> {
    let (ids, mut whole) = candidates(reading, scope, filter, order, after)?;
    let (mut page, mut searched, mut last) = (Page::default(), 0_u64, None);
    let (needed, mut units_read) = (needed_units(filter, units), 0);
    for id in ids {
        if page.rows.len() >= usize::from(limit)
            || searched >= MAX_BYTES_PER_STEP
            || units_read >= MAX_UNITS_PER_STEP
        {
            whole = false;
            break;
        }
        last = Some(id);
        let Some(mut row) = row(reading, id, needed)? else {
            continue;
        };
        units_read += row.units.len();
        if matches_filter(reading, scope, filter, &row, &mut searched)? {
            show(&mut row.units, units);
            page.rows.push(row);
        }
    }
    page.next = if whole { None } else { last.or(after) };
    Ok(page)
}

/// Returns IDs to look at, and whether these are the last.
fn candidates(
    reading: &Reading<'_>,
    scope: &Scope,
    filter: &Filter,
    order: Order,
    after: Option<DeliveryRef>,
) -> Result<(Vec<DeliveryRef>, bool), StoreError> {
    let origins = match scope {
        Scope::All => Vec::new(),
        Scope::Origins(origins) => origins.iter().map(|origin| origin.0).collect(),
    };
    let of_targets = || filter.targets.iter().map(|target| target.0).collect();
    let (table, column, numbers): (_, _, Vec<u32>) = match Rows::of(filter) {
        _ if filter.delivery_id.is_some() => (
            "delivery indexed by delivery_own",
            "delivery_id = ?5 and origin",
            origins,
        ),
        Rows::Deliveries => ("delivery", "origin", origins),
        Rows::Waiting => ("due", "target", of_targets()),
        Rows::Dead => ("dead", "target", of_targets()),
    };
    let Bounds {
        low,
        is_after_low,
        high,
    } = Bounds::of(filter, order, after);
    let low_sign = if is_after_low { ">" } else { ">=" };
    let direction = match order {
        Order::Oldest => "asc",
        Order::Newest => "desc",
    };
    let condition = match (&filter.delivery_id, numbers.is_empty()) {
        (Some(_), true) => "and delivery_id = ?4".to_owned(),
        (_, false) => format!("and {column} = ?4"),
        (None, true) => String::new(),
    };
    let sql = format!(
        "select distinct id from {table} where id {low_sign} ?1 and id < ?2 {condition} order by id {direction} limit ?3"
    );
    let (limit, mut ids) = (super::int(MAX_ROWS_PER_STEP), Vec::new());
    let mut look = |with: &[&dyn ToSql]| {
        reading
            .rows(&sql, with, |row| row.get(0))
            .map(|more: Vec<DeliveryRef>| ids.extend(more))
    };
    match (&filter.delivery_id, numbers.as_slice()) {
        (Some(given), []) => look(&[&low, &high, &limit, given])?,
        (None, []) => look(&[&low, &high, &limit])?,
        (Some(given), numbers) => numbers
            .iter()
            .try_for_each(|number| look(&[&low, &high, &limit, number, given]))?,
        // one seek each: a list of numbers in one statement would be sorted as a whole
        (None, numbers) => numbers
            .iter()
            .try_for_each(|number| look(&[&low, &high, &limit, number]))?,
    }
    match order {
        Order::Oldest => ids.sort_unstable(),
        Order::Newest => ids.sort_unstable_by(|one, other| other.cmp(one)),
    }
    ids.dedup();
    let whole = ids.len() < MAX_ROWS_PER_STEP;
    ids.truncate(MAX_ROWS_PER_STEP);
    Ok((ids, whole))
}

fn row(
    reading: &Reading<'_>,
    id: DeliveryRef,
    shown: UnitsShown,
) -> Result<Option<Row>, StoreError> {
    let head = "select origin, delivery_id, event_type, length(body), key, record,
        exists (select 1 from ledger where ledger.key = delivery.key and ledger.delivery = delivery.id) from delivery where id = ?1";
    let found = reading.row(head, params![id], |row| {
        let key = row.get::<_, Option<[u8; 16]>>(4)?.map(Key);
        let (delivery_id, event_type) = (row.get(1)?, row.get(2)?);
        let record = Record::decode(Bytes::from(row.get::<_, Vec<u8>>(5)?)).unwrap_or_default();
        let (origin, size, owns_key) = (OriginId(row.get(0)?), unsigned(row, 3)?, row.get(6)?);
        Ok(Row {
            id,
            origin,
            key,
            owns_key,
            delivery_id,
            event_type,
            size,
            record,
            units: Vec::new(),
        })
    })?;
    let Some(mut row) = found else {
        return Ok(None);
    };
    row.units = units(reading, id, shown)?;
    Ok(Some(row))
}

/// Returns the rows of those of `ids` that exist.
pub(crate) fn rows(
    reading: &Reading<'_>,
    scope: &Scope,
    ids: &[DeliveryRef],
    units: UnitsShown,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for id in ids {
        rows.extend(row(reading, *id, units)?.filter(|row| scope.contains(row.origin)));
    }
    Ok(rows)
}

fn matches_filter(
    reading: &Reading<'_>,
    scope: &Scope,
    filter: &Filter,
    row: &Row,
    searched: &mut u64,
) -> Result<bool, StoreError> {
    let text = match Match::of(scope, filter, row) {
        Match::No => return Ok(false),
        Match::Yes => return Ok(true),
        Match::IfBodyHas(text) => text,
    };
    *searched = searched.saturating_add(row.size);
    let found = reading.row(
        "select instr(body, ?2) > 0 from delivery where id = ?1",
        params![row.id, text],
        |row| row.get(0),
    )?;
    Ok(found.unwrap_or(false))
}

/// Returns the last acts.
pub(crate) fn audit(reading: &Reading<'_>, limit: u16) -> Result<Vec<Audit>, StoreError> {
    let last = "select at, who, what, which, reason, done from audit order by row desc limit ?1";
    reading.rows(last, params![limit], |row| {
        let at = SystemTime::UNIX_EPOCH + duration(row.get(0)?);
        let text = |at| row.get::<_, Arc<str>>(at);
        Ok(Audit {
            at,
            who: text(1)?,
            what: text(2)?,
            which: text(3)?,
            reason: text(4)?,
            done: unsigned(row, 5)?,
        })
    })
}
