//! Searches deliveries: the server gives candidates, and they are sifted here, by the rules that every store follows.
use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::Postgres;
use super::call::{Blob, Call};
use super::columns::{bytes, delivery, ids, int, numbers, to_optional_text};
use super::link::Lane;
use super::summary::{UnitsRead, deliveries};
use crate::store::StoreError;
use crate::store::archive::search::{
    Bounds, MAX_BYTES_PER_STEP, MAX_ROWS_PER_STEP, MAX_UNITS_PER_STEP, Match, Rows, needed_units,
    show,
};
use crate::store::archive::{Filter, Order, Page, Row, Scope, UnitsShown};
use crate::store::queue::DeliveryRef;
use crate::store::record::Record;

/// The fewest candidates whose units are read at once: an event can have as many as its tenant has endpoints.
const FEWEST_AT_ONCE: usize = 20;

/// A search for one page.
pub(super) struct Search<'a> {
    pub(super) scope: &'a Scope,
    pub(super) filter: &'a Filter,
    pub(super) order: Order,
    pub(super) after: Option<DeliveryRef>,
    pub(super) limit: u16,
    pub(super) units: UnitsShown,
}

/// IDs to look at.
struct Candidates {
    ids: Vec<DeliveryRef>,
    /// The deliveries without units and records.
    heads: HashMap<DeliveryRef, Row>,
    /// Whether these are the last.
    is_whole: bool,
}

/// The part of a page that is found.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// The last candidate that was looked at.
    last: Option<DeliveryRef>,
    /// Bytes of bodies that were searched.
    searched: u64,
    looked_at: usize,
    units_read: usize,
}

impl Postgres {
    /// Returns deliveries after a cursor that match a filter.
    pub(super) async fn search(&self, search: Search<'_>) -> Result<Page, StoreError> {
        let Candidates {
            ids,
            mut heads,
            mut is_whole,
        } = self.candidates(&search).await?;
        let needed = needed_units(search.filter, search.units);
        let (mut found, mut rest) = (Found::default(), ids.as_slice());
        while !rest.is_empty() {
            let (some, later) = rest.split_at(at_once(&search, &found, rest.len()));
            let rows = if needed == UnitsShown::First(0) {
                std::mem::take(&mut heads)
            } else {
                self.summaries(some, needed).await?
            };
            if !self.sift(&search, some, rows, &mut found).await? {
                is_whole = false;
                break;
            }
            rest = later;
        }
        let next = if is_whole {
            None
        } else {
            found.last.or(search.after)
        };
        let rows = self.with_records(found.rows).await?;
        Ok(Page { rows, next })
    }

    /// Returns those of `ids` that exist, in the given order.
    pub(super) async fn rows_of(
        &self,
        scope: Scope,
        ids: Vec<DeliveryRef>,
        units: UnitsShown,
    ) -> Result<Vec<Row>, StoreError> {
        let found = self.summaries(&ids, units).await?;
        let rows = ids.iter().filter_map(|id| found.get(id));
        let rows = rows.filter(|row| scope.contains(row.origin)).cloned();
        self.with_records(rows.collect()).await
    }

    /// Returns IDs to look at, in order.
    async fn candidates(&self, search: &Search<'_>) -> Result<Candidates, StoreError> {
        let Search {
            scope,
            filter,
            order,
            after,
            ..
        } = search;
        let origins = match scope {
            Scope::All => Vec::new(),
            Scope::Origins(origins) => origins.iter().map(|origin| int(origin.0)).collect(),
        };
        let (table, column, of) = match Rows::of(filter) {
            _ if filter.delivery_id.is_some() => ("delivery", "origin", origins),
            Rows::Deliveries => ("delivery", "origin", origins),
            Rows::Waiting => ("due", "target", numbers(&filter.targets)),
            Rows::Dead => ("dead", "target", numbers(&filter.targets)),
        };
        let Bounds {
            low,
            is_after_low,
            high,
        } = Bounds::of(filter, *order, *after);
        let look = |number: Option<i32>| {
            Call::look("page_1")
                .with(super::columns::to_text(table))
                .with(to_optional_text(number.map(|_| column)))
                .with(number)
                .with(to_optional_text(filter.delivery_id.as_deref()))
                .with(low.0)
                .with(is_after_low)
                .with(high.0)
                .with(*order == Order::Newest)
                .with(i32::try_from(MAX_ROWS_PER_STEP).unwrap_or(i32::MAX))
                .with(None::<i32>)
                .with(Some(0_i32))
        };
        // one seek each: rows of several numbers would be sorted as a whole
        let calls: Vec<_> = if of.is_empty() {
            vec![look(None)]
        } else {
            of.into_iter().map(|number| look(Some(number))).collect()
        };
        let mut heads = HashMap::new();
        for call in calls {
            let rows = self.link.call(Lane::Looks, call).await?;
            heads.extend(deliveries(&rows, UnitsShown::First(0))?);
        }
        let mut ids: Vec<_> = heads.keys().copied().collect();
        match order {
            Order::Oldest => ids.sort_unstable(),
            Order::Newest => ids.sort_unstable_by(|one, other| other.cmp(one)),
        }
        let is_whole = ids.len() < MAX_ROWS_PER_STEP;
        ids.truncate(MAX_ROWS_PER_STEP);
        Ok(Candidates {
            ids,
            heads,
            is_whole,
        })
    }

    /// Reads deliveries without their records.
    async fn summaries(
        &self,
        of: &[DeliveryRef],
        units: UnitsShown,
    ) -> Result<HashMap<DeliveryRef, Row>, StoreError> {
        if of.is_empty() {
            return Ok(HashMap::new());
        }
        let read = UnitsRead::of(units);
        let call = Call::look("rows_1")
            .with(ids(of))
            .with(read.only_target)
            .with(read.most);
        let rows = self.link.call(Lane::Looks, call).await?;
        deliveries(&rows, units)
    }

    /// Adds those of some candidates that match. Returns whether all were looked at.
    async fn sift(
        &self,
        search: &Search<'_>,
        some: &[DeliveryRef],
        mut rows: HashMap<DeliveryRef, Row>,
        found: &mut Found,
    ) -> Result<bool, StoreError> {
        let (mut sifted, mut to_search, mut text) = (Vec::new(), Vec::new(), None);
        let mut looked_at_all = true;
        for id in some {
            if found.searched >= MAX_BYTES_PER_STEP || found.units_read >= MAX_UNITS_PER_STEP {
                looked_at_all = false;
                break;
            }
            found.looked_at += 1;
            let Some(row) = rows.remove(id) else {
                sifted.push((*id, None));
                continue;
            };
            found.units_read += row.units.len();
            let row = match Match::of(search.scope, search.filter, &row) {
                Match::No => None,
                Match::Yes => Some(row),
                Match::IfBodyHas(wanted) => {
                    found.searched = found.searched.saturating_add(row.size);
                    to_search.push(*id);
                    text = Some(wanted);
                    Some(row)
                }
            };
            sifted.push((*id, row));
        }
        let having = match text {
            Some(text) => Some(self.having(&to_search, text).await?),
            None => None,
        };
        for (id, row) in sifted {
            if found.rows.len() >= usize::from(search.limit) {
                return Ok(false);
            }
            found.last = Some(id);
            let is_one = having.as_ref().is_none_or(|having| having.contains(&id));
            if let Some(mut row) = row.filter(|_| is_one) {
                show(&mut row.units, search.units);
                found.rows.push(row);
            }
        }
        Ok(looked_at_all)
    }

    /// Returns those of some deliveries whose bodies contain `text`.
    async fn having(
        &self,
        of: &[DeliveryRef],
        text: &[u8],
    ) -> Result<HashSet<DeliveryRef>, StoreError> {
        let call = Call::look("having_1")
            .with(ids(of))
            .with(Blob(Bytes::copy_from_slice(text)));
        let rows = self.link.call(Lane::Looks, call).await?;
        rows.iter().map(|row| delivery(row, 0)).collect()
    }

    /// Adds the records. A delivery that is gone meanwhile is left out.
    async fn with_records(&self, rows: Vec<Row>) -> Result<Vec<Row>, StoreError> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let of: Vec<_> = rows.iter().map(|row| row.id.0).collect();
        let call = Call::look("records_1").with(of);
        let mut records = HashMap::with_capacity(rows.len());
        for row in self.link.call(Lane::Looks, call).await? {
            // one that cannot be read is shown empty
            let record = Record::decode(bytes(&row, 1)?).unwrap_or_default();
            records.insert(delivery(&row, 0)?, record);
        }
        let with_record = |row: Row| {
            let record = records.get(&row.id)?.clone();
            Some(Row { record, ..row })
        };
        Ok(rows.into_iter().filter_map(with_record).collect())
    }
}

/// Returns the number of candidates of `left` that are read next: few at first, then twice as many as before, but no more units than a step reads.
fn at_once(search: &Search<'_>, found: &Found, left: usize) -> usize {
    if needed_units(search.filter, search.units) == UnitsShown::First(0) {
        // they are read already
        return left;
    }
    let Some(units_of_one) = found.units_read.checked_div(found.looked_at) else {
        return left.min(FEWEST_AT_ONCE);
    };
    let units_left = MAX_UNITS_PER_STEP.saturating_sub(found.units_read);
    let most = units_left / units_of_one.max(1);
    let wanted = usize::from(search.limit).saturating_sub(found.rows.len());
    wanted
        .max(found.looked_at * 2)
        .clamp(1, most.max(1))
        .min(left)
}
