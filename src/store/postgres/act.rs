//! Does one step of an act of a person.
use std::sync::Arc;

use uuid::Uuid;

use super::Postgres;
use super::call::{Blob, Call, column};
use super::columns::{delivery, first, ids, int, numbers, to_text};
use super::link::Lane;
use super::page::Search;
use crate::store::StoreError;
use crate::store::archive::{
    Act, ActKind, AuditRow, Chosen, Order, Scope, Step, UnitsShown, WaitingPosition, WaitingUnits,
    Which,
};
use crate::store::codes::{of_cause, of_reason};
use crate::store::queue::{DeliveryRef, TargetId};

/// An act as the server has it.
#[derive(Clone, Debug)]
pub(super) struct EncodedAct {
    pub(super) kind: i32,
    pub(super) cause: Option<i16>,
    /// Whether delivered units are replayed too, or what still waits is purged too.
    pub(super) flag: bool,
    pub(super) reason: Option<i32>,
    pub(super) lane: Option<Blob>,
}

impl EncodedAct {
    pub(super) fn of(act: ActKind) -> Self {
        let plain = |kind| Self {
            kind,
            cause: None,
            flag: false,
            reason: None,
            lane: None,
        };
        let cause_of = |cause| i16::try_from(of_cause(cause)).ok();
        match act {
            ActKind::Replay { delivered, cause } => Self {
                cause: cause_of(cause),
                flag: delivered,
                ..plain(0)
            },
            ActKind::AttemptNow => plain(1),
            ActKind::Renew => plain(2),
            ActKind::Cancel => plain(3),
            ActKind::MakeDead { reason } => Self {
                reason: i32::try_from(of_reason(reason)).ok(),
                ..plain(4)
            },
            ActKind::Add { cause, lane } => Self {
                cause: cause_of(cause),
                lane: lane.map(|lane| Blob(lane.0.to_vec().into())),
                ..plain(5)
            },
            ActKind::Purge { waiting } => Self {
                flag: waiting,
                ..plain(6)
            },
        }
    }
}

impl Postgres {
    /// Does one step of an act, on `step` deliveries at most.
    pub(super) async fn act_once(
        &self,
        scope: Scope,
        act: Act,
        step: u16,
    ) -> Result<Step, StoreError> {
        let Act {
            kind,
            which,
            targets,
            who,
            reason,
            description,
            goes_on,
        } = act;
        let targets: Arc<[TargetId]> = match &which {
            Which::Waiting(units) => Arc::from([units.target]),
            Which::Ids(_) | Which::Found(..) => targets,
        };
        let adds = matches!(kind, ActKind::Add { .. });
        let chosen = self.choose(which, &scope, &targets, adds, step).await?;
        let Chosen {
            ids: of,
            next,
            position,
            description: described,
        } = chosen;
        let step = Step {
            done: 0,
            next,
            position,
            more: next.is_some() || position.is_some(),
            audit: goes_on,
        };
        if of.is_empty() {
            return Ok(step);
        }
        let EncodedAct {
            kind,
            cause,
            flag,
            reason: why_dead,
            lane,
        } = EncodedAct::of(kind);
        let call = Call::write("act_1")
            .with(kind)
            .with(ids(&of))
            .with(origins(&scope))
            .with(numbers(&targets))
            .with(cause)
            .with(flag)
            .with(why_dead)
            .with(lane)
            .with(flag)
            .with(to_text(&who))
            .with(to_text(description.as_deref().unwrap_or(&described)))
            .with(to_text(&reason))
            .with(goes_on.map(|row| row.0));
        let rows = self.link.call(Lane::Looks, call).await?;
        let row = first(&rows)?;
        Ok(Step {
            done: super::columns::count(row, 0)?,
            audit: Some(AuditRow(column(row, 1)?)),
            ..step
        })
    }

    /// Chooses the deliveries of one step of an act.
    async fn choose(
        &self,
        which: Which,
        scope: &Scope,
        targets: &Arc<[TargetId]>,
        adds: bool,
        step: u16,
    ) -> Result<Chosen, StoreError> {
        match which {
            Which::Waiting(units) => {
                let found = self.waiting(&units, step).await?;
                Ok(Chosen::of_waiting(&units, found))
            }
            Which::Ids(ids) => Ok(Chosen::of_ids(ids, step)),
            Which::Found(mut filter, after) => {
                // an act on the units of some targets finds deliveries that have one
                if filter.targets.is_empty() && !adds {
                    filter.targets = Arc::clone(targets);
                }
                let search = Search {
                    scope,
                    filter: &filter,
                    order: Order::Oldest,
                    after,
                    limit: step,
                    units: UnitsShown::First(0),
                };
                let found = self.search(search).await?;
                let ids = found.rows.iter().map(|row| row.id).collect();
                Ok(Chosen::of_found(ids, found.next, &filter))
            }
        }
    }

    /// Returns the deliveries of one step over the units that wait for a target, of `step` units at most, and where to go on.
    async fn waiting(
        &self,
        units: &WaitingUnits,
        step: u16,
    ) -> Result<(Vec<DeliveryRef>, Option<WaitingPosition>), StoreError> {
        let at_retries = units.after.is_some_and(|position| position.at_retries);
        let call = Call::look("waiting_1")
            .with(int(units.target.0))
            .with(at_retries)
            .with(units.after.map_or(i64::MIN, |position| position.run_at))
            .with(units.after.map_or(Uuid::nil(), |position| position.id.0))
            .with(units.until.map(|until| DeliveryRef::first_of(until).0))
            .with(units.after.map(|position| position.began))
            .with(i32::from(step));
        let rows = self.link.call(Lane::Looks, call).await?;
        // the last row says when the walk began
        let Some((last, found)) = rows.split_last() else {
            return Err(StoreError::Corrupted(
                "a function of the schema answered nothing".into(),
            ));
        };
        let began = column(last, 3)?;
        let next = match found.last() {
            Some(row) if found.len() >= usize::from(step) => Some(WaitingPosition {
                at_retries,
                run_at: column(row, 1)?,
                id: delivery(row, 0)?,
                began,
            }),
            _ if at_retries => None,
            _ => Some(WaitingPosition {
                at_retries: true,
                run_at: i64::MIN,
                id: DeliveryRef(Uuid::nil()),
                began,
            }),
        };
        let mut meant = Vec::with_capacity(found.len());
        for row in found {
            // a unit that the act has changed, or that came since, waits since later
            if column(row, 2)? {
                meant.push(delivery(row, 0)?);
            }
        }
        Ok((meant, next))
    }
}

/// Returns the origins of a scope; none for all.
fn origins(scope: &Scope) -> Option<Vec<i32>> {
    match scope {
        Scope::All => None,
        Scope::Origins(origins) => Some(origins.iter().map(|origin| int(origin.0)).collect()),
    }
}
