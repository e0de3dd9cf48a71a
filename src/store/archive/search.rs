//! The rules of a search that every store follows: where it looks, how much a step looks at, and which deliveries match.
use uuid::Uuid;

use super::{Filter, Order, Row, Scope, Status, Statuses, UnitShown, UnitsShown};
use crate::retry::Reason;
use crate::store::queue::DeliveryRef;

/// Rows that a step looks at, at most.
pub(crate) const MAX_ROWS_PER_STEP: usize = 500;
/// Units that a step reads, at most (but for those of the last delivery).
pub(crate) const MAX_UNITS_PER_STEP: usize = 20_000;
/// Bytes of bodies that a step searches, at most (but for the last one).
pub(crate) const MAX_BYTES_PER_STEP: u64 = 8 << 20;

/// The rows in which a search looks. The kind of row that a unit has is its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The rows of units that wait.
    Waiting,
    /// The rows of dead and cancelled units.
    Dead,
    /// The rows of deliveries.
    Deliveries,
}

impl Rows {
    /// Returns the fewest rows that have all deliveries that the filter can match.
    pub(crate) fn of(filter: &Filter) -> Self {
        let wants = |some: &[Status]| some.iter().any(|status| filter.statuses.contains(*status));
        let waiting = filter.parked || wants(&[Status::Pending, Status::Retrying]);
        match (
            waiting,
            wants(&[Status::Dead, Status::Cancelled]),
            wants(&[Status::Delivered]),
        ) {
            (true, false, false) => Self::Waiting,
            (false, true, false) => Self::Dead,
            _ => Self::Deliveries,
        }
    }
}

/// The IDs among which a page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The lowest.
    pub(crate) low: DeliveryRef,
    /// Whether `low` is left out: it is the cursor, whose delivery was on the page before.
    pub(crate) is_after_low: bool,
    /// The first one past them.
    pub(crate) high: DeliveryRef,
}

impl Bounds {
    /// Returns the bounds of a page: one is the cursor's, the other the filter's. The first page has no cursor.
    pub(crate) fn of(filter: &Filter, order: Order, after: Option<DeliveryRef>) -> Self {
        let (first, end) = (DeliveryRef(Uuid::nil()), DeliveryRef(Uuid::max()));
        let since = filter.since.map_or(first, DeliveryRef::first_of);
        let until = filter.until.map_or(end, DeliveryRef::first_of);
        let (low, high) = match order {
            Order::Oldest => (after.map_or(since, |after| after.max(since)), until),
            Order::Newest => (since, after.map_or(until, |after| after.min(until))),
        };
        Self {
            low,
            // a bound that the filter set is one that belongs to it
            is_after_low: order == Order::Oldest && after.is_some_and(|after| after >= since),
            high,
        }
    }
}

/// Whether a delivery matches a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match<'f> {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// It does if its body contains these bytes.
    IfBodyHas(&'f [u8]),
}

impl<'f> Match<'f> {
    /// Judges a delivery by all that a filter says but the text of its body.
    pub(crate) fn of(scope: &Scope, filter: &'f Filter, row: &Row) -> Self {
        // No `..`: a new field must be dealt with here.
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
            let is_parked =
                Statuses::waiting().contains(unit.status) && gone.contains(&unit.target);
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
        match text {
            _ if !all => Self::No,
            None => Self::Yes,
            Some(text) => Self::IfBodyHas(text),
        }
    }
}

/// Returns the units that must be read to know whether a delivery matches, and to show it.
pub(crate) fn needed_units(filter: &Filter, shown: UnitsShown) -> UnitsShown {
    let any = filter.statuses.is_empty() && !filter.parked;
    match (&*filter.targets, shown) {
        ([], _) if any => shown,
        ([one], UnitsShown::Of(target)) if *one == target => shown,
        _ => UnitsShown::All,
    }
}

/// Leaves the units that are shown.
pub(crate) fn show(units: &mut Vec<UnitShown>, shown: UnitsShown) {
    match shown {
        UnitsShown::All => {}
        UnitsShown::Of(target) => units.retain(|unit| unit.target == target),
        UnitsShown::First(most) => units.truncate(usize::from(most)),
    }
}

/// Returns the status of a unit that waits.
pub(crate) fn waiting_status(attempts: u32) -> Status {
    if attempts == 0 {
        Status::Pending
    } else {
        Status::Retrying
    }
}

/// Returns the status of a unit that ended without being delivered.
pub(crate) fn dead_status(reason: Option<Reason>) -> Status {
    if reason.is_some() {
        Status::Dead
    } else {
        Status::Cancelled
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn page_goes_on_past_its_cursor() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let id = |seconds| DeliveryRef::first_of(at(seconds));
        let filter = Filter {
            since: Some(at(10)),
            until: Some(at(20)),
            ..Filter::default()
        };
        let of = |order, after| {
            let bounds = Bounds::of(&filter, order, after);
            (bounds.low, bounds.is_after_low, bounds.high)
        };
        for order in [Order::Oldest, Order::Newest] {
            assert_eq!(of(order, None), (id(10), false, id(20)));
        }
        assert_eq!(of(Order::Oldest, Some(id(15))), (id(15), true, id(20)));
        assert_eq!(of(Order::Oldest, Some(id(10))), (id(10), true, id(20)));
        assert_eq!(of(Order::Oldest, Some(id(5))), (id(10), false, id(20)));
        assert_eq!(of(Order::Newest, Some(id(15))), (id(10), false, id(15)));
        assert_eq!(of(Order::Newest, Some(id(25))), (id(10), false, id(20)));
    }

    #[test]
    fn search_looks_at_the_fewest_rows() {
        let of = |statuses: &[Status], parked| {
            Rows::of(&Filter {
                statuses: Statuses::of(statuses),
                parked,
                ..Filter::default()
            })
        };
        assert_eq!(of(&[], false), Rows::Deliveries);
        assert_eq!(of(&[], true), Rows::Waiting);
        assert_eq!(of(&[Status::Pending], false), Rows::Waiting);
        assert_eq!(of(&[Status::Retrying], true), Rows::Waiting);
        assert_eq!(of(&[Status::Dead, Status::Cancelled], false), Rows::Dead);
        assert_eq!(of(&[Status::Dead], true), Rows::Deliveries);
        assert_eq!(of(&[Status::Delivered], false), Rows::Deliveries);
    }
}
