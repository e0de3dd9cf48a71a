//! The plan of an action: the deliveries that it would change, counted and summed up.
use std::time::Duration;

use super::errors::unavailable;
use super::show::View;
use crate::admin::answer::Denied;
use crate::api::deliveries::Plan;
use crate::clock::rfc3339;
use crate::replay::{Names, Selection, StoreAccess, Walk};
use crate::store::archive::{Order, Row};
use crate::store::queue::DeliveryRef;

/// The number of deliveries that a plan shows.
const MAX_SAMPLE: usize = 5;
/// The number of event types that a plan counts separately.
const MAX_TYPES: usize = 50;
/// The number of deliveries of one query.
const ROWS_PER_QUERY: u16 = 500;
/// The maximum duration of counting.
const MAX_DURATION: Duration = Duration::from_secs(15);

/// Sums up the selected deliveries for which `is_changed` is true.
pub(super) async fn plan(
    access: &StoreAccess,
    names: &Names,
    selection: &Selection,
    order: Order,
    is_changed: impl Fn(&Row) -> bool,
) -> Result<Plan, Denied> {
    let view = View { access, names };
    let (ends, mut walk) = (
        access.now().mono + MAX_DURATION,
        Walk::new(access, selection, order),
    );
    let mut plan = Plan {
        complete: true,
        ..Plan::default()
    };
    let (mut first, mut last) = (None::<DeliveryRef>, None::<DeliveryRef>);
    while let Some(rows) = walk
        .next(ROWS_PER_QUERY)
        .await
        .map_err(|error| unavailable(&error))?
    {
        for row in rows.iter().filter(|row| is_changed(row)) {
            plan.count += 1;
            plan.bytes += row.size;
            first = Some(first.map_or(row.id, |first| first.min(row.id)));
            last = Some(last.map_or(row.id, |last| last.max(row.id)));
            let name = row.event_type.as_deref().unwrap_or_default();
            let name = if plan.types.len() < MAX_TYPES || plan.types.contains_key(name) {
                name
            } else {
                "…"
            };
            *plan.types.entry(name.to_owned()).or_default() += 1;
            if plan.sample.len() < MAX_SAMPLE {
                plan.sample.push(view.row(row));
            }
        }
        if access.now().mono >= ends {
            plan.complete = walk.is_done();
            break;
        }
    }
    plan.first_at = first.map(|id| rfc3339(id.drawn_at()));
    plan.last_at = last.map(|id| rfc3339(id.drawn_at()));
    Ok(plan)
}
