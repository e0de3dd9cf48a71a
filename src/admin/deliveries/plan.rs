//! What an act would be done to: counted, summed up, and a few shown.
use std::time::Duration;

use super::act::{Wanted, is_waiting};
use super::desk::{Desk, Names, unavailable};
use super::show::View;
use crate::admin::answer::Denied;
use crate::api::deliveries::Plan;
use crate::store::StoreError;
use crate::store::archive::{Order, Row, Scope};
use crate::store::queue::DeliveryRef;
use crate::telemetry::rfc3339;

/// Deliveries that a plan shows.
const SAMPLE: usize = 5;
/// Kinds of events that a plan counts apart.
const TYPES: usize = 50;
/// Deliveries of one step.
const STEP: u16 = 500;
/// How long counting may take.
const LONGEST: Duration = Duration::from_secs(15);

/// Rows, a step at a time.
pub(super) struct Walk<'a> {
    desk: &'a dyn Desk,
    wanted: &'a Wanted,
    order: Order,
    /// After which delivery it goes on.
    pub(super) after: Option<DeliveryRef>,
    place: usize,
    ended: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(desk: &'a dyn Desk, wanted: &'a Wanted, order: Order) -> Self {
        Self {
            desk,
            wanted,
            order,
            after: None,
            place: 0,
            ended: false,
        }
    }

    /// The next few rows, which can be none; nothing at the end.
    pub(super) async fn next(&mut self, limit: u16) -> Result<Option<Vec<Row>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        match self.wanted {
            Wanted::Ids(ids) => {
                let left = ids.get(self.place..).unwrap_or_default();
                let some = left.get(..usize::from(limit)).unwrap_or(left);
                self.place += some.len();
                self.ended = self.place >= ids.len();
                self.desk.store().rows(Scope::All, some).await.map(Some)
            }
            Wanted::Found(sought) => {
                let page = self
                    .desk
                    .store()
                    .page(
                        sought.scope.clone(),
                        &sought.filter,
                        self.order,
                        self.after,
                        limit,
                    )
                    .await?;
                self.after = page.next;
                self.ended = page.next.is_none();
                Ok(Some(page.rows))
            }
        }
    }
}

/// Counts those of `wanted` that `counts`.
pub(super) async fn plan(
    desk: &dyn Desk,
    names: &Names,
    wanted: &Wanted,
    order: Order,
    counts: impl Fn(&Row) -> bool,
) -> Result<Plan, Denied> {
    let view = View { desk, names };
    let (ends, mut walk) = (desk.now().mono + LONGEST, Walk::new(desk, wanted, order));
    let mut plan = Plan {
        complete: true,
        ..Plan::default()
    };
    let (mut first, mut last) = (None::<DeliveryRef>, None::<DeliveryRef>);
    while let Some(rows) = walk.next(STEP).await.map_err(|error| unavailable(&error))? {
        for row in rows.iter().filter(|row| counts(row)) {
            plan.count += 1;
            plan.bytes += row.size;
            first = Some(first.map_or(row.id, |first| first.min(row.id)));
            last = Some(last.map_or(row.id, |last| last.max(row.id)));
            let name = row.event_type.as_deref().unwrap_or_default();
            let name = if plan.types.len() < TYPES || plan.types.contains_key(name) {
                name
            } else {
                "…"
            };
            *plan.types.entry(name.to_owned()).or_default() += 1;
            if plan.sample.len() < SAMPLE {
                plan.sample.push(view.row(row));
            }
        }
        if desk.now().mono >= ends {
            plan.complete = walk.ended;
            break;
        }
    }
    plan.first_at = first.map(|id| rfc3339(id.drawn_at()));
    plan.last_at = last.map(|id| rfc3339(id.drawn_at()));
    Ok(plan)
}

/// Whether it waits on any of its ways.
pub(super) fn waits(row: &Row) -> bool {
    row.units.iter().any(|unit| is_waiting(unit.status))
}
