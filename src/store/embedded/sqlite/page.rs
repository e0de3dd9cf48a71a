//! Lists and single deliveries, for people: never more rows looked at than one step allows.
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::params;
use rusqlite::types::ToSql;

use super::look::Reading;
use super::shown::{duration, units};
use super::unsigned;
use crate::store::archive::{
    Audit, Filter, Order, Page, Row, Scope, Status, Statuses, UnitShown, UnitsShown,
};
use crate::store::queue::{DeliveryRef, OriginId};
use crate::store::record::Record;
use crate::store::{Key, StoreError};

/// Rows that a step looks at, at most.
const MAX_ROWS_PER_STEP: usize = 500;
/// Units that a step reads, at most (but for those of the last delivery).
const MAX_UNITS_PER_STEP: usize = 20_000;
/// Bytes of bodies that a step searches, at most (but for the last one).
const MAX_BYTES_PER_STEP: u64 = 8 << 20;

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

/// Returns the units that must be read to know whether a delivery matches, and to show it.
fn needed_units(filter: &Filter, shown: UnitsShown) -> UnitsShown {
    let any = filter.statuses.is_empty() && !filter.parked;
    match (&*filter.targets, shown) {
        ([], _) if any => shown,
        ([one], UnitsShown::Of(target)) if *one == target => shown,
        _ => UnitsShown::All,
    }
}

/// Leaves the units that are shown.
fn show(units: &mut Vec<UnitShown>, shown: UnitsShown) {
    match shown {
        UnitsShown::All => {}
        UnitsShown::Of(target) => units.retain(|unit| unit.target == target),
        UnitsShown::First(most) => units.truncate(usize::from(most)),
    }
}

/// Returns the smallest table that has all columns that the filter needs.
fn table(filter: &Filter) -> &'static str {
    let wants = |some: &[Status]| some.iter().any(|status| filter.statuses.contains(*status));
    let waiting = filter.parked || wants(&[Status::Pending, Status::Retrying]);
    match (
        waiting,
        wants(&[Status::Dead, Status::Cancelled]),
        wants(&[Status::Delivered]),
    ) {
        (true, false, false) => "due",
        (false, true, false) => "dead",
        _ => "delivery",
    }
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
    let (table, column, numbers): (_, _, Vec<u32>) = match table(filter) {
        _ if filter.delivery_id.is_some() => (
            "delivery indexed by delivery_own",
            "delivery_id = ?5 and origin",
            origins,
        ),
        "delivery" => ("delivery", "origin", origins),
        table => (
            table,
            "target",
            filter.targets.iter().map(|target| target.0).collect(),
        ),
    };
    let first = DeliveryRef(uuid::Uuid::nil());
    let end = DeliveryRef(uuid::Uuid::max());
    let since = filter.since.map_or(first, DeliveryRef::first_of);
    let until = filter.until.map_or(end, DeliveryRef::first_of);
    // one bound is the cursor's, the other the filter's; the first query of a page has no cursor
    let (low, high, direction) = match order {
        Order::Oldest => (after.map_or(since, |after| after.max(since)), until, "asc"),
        Order::Newest => (since, after.map_or(until, |after| after.min(until)), "desc"),
    };
    // the cursor itself was seen; a bound that the filter set is one that belongs to it
    let low_sign = if order == Order::Oldest && after.is_some_and(|after| after >= since) {
        ">"
    } else {
        ">="
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
    let Filter {
        targets,
        statuses,
        gone,
        parked,
        since: _,
        until: _,
        delivery_id,
        event_type,
        key,
        text,
    } = filter;
    let any = statuses.is_empty() && !parked;
    let unit = |unit: &UnitShown| {
        let is_parked = Statuses::waiting().contains(unit.status) && gone.contains(&unit.target);
        let is_one = if is_parked {
            *parked
        } else {
            statuses.contains(unit.status)
        };
        (targets.is_empty() || targets.contains(&unit.target)) && (any || is_one)
    };
    let all = scope.contains(row.origin)
        && (targets.is_empty() && any || row.units.iter().any(unit))
        && (delivery_id.is_none() || row.delivery_id == *delivery_id)
        && (event_type.is_none() || row.event_type == *event_type)
        && (key.is_none() || row.key == *key);
    let Some(text) = text.as_ref().filter(|_| all) else {
        return Ok(all);
    };
    *searched = searched.saturating_add(row.size);
    let found = reading.row(
        "select instr(body, ?2) > 0 from delivery where id = ?1",
        params![row.id, &text[..]],
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
