//! The events that a recovery of an endpoint is about, found in steps: the plan counts them, and the job begins their attempts.
use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use super::endpoint::ORDERED;
use super::event_facts::is_test;
use crate::event::EventType;
use crate::store::address_book::Endpoint;
use crate::store::archive::{ActKind, Filter, Order, Row, Scope, Status, Statuses, UnitsShown};
use crate::store::queue::{Cause, DeliveryRef, Lane, TargetId};
use crate::store::{Store, StoreError};
use crate::tenant::job::{JobCursor, Recover, RecoverWhat};
use crate::tenant::settings::EndpointSettings;

/// A pass over the events of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Over the events that are dead or cancelled at the endpoint.
    Failed,
    /// Over the events that the endpoint did not get.
    Missing,
    /// Over the events that are named.
    Named,
}

/// An event of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecoveredEvent {
    /// The event.
    pub(crate) id: DeliveryRef,
    /// Its type.
    pub(crate) event_type: Option<Arc<str>>,
    /// Whether it was never for the endpoint.
    pub(crate) is_missing: bool,
}

/// The events of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecoveryStep {
    /// The events, oldest first. There can be none although there are more.
    pub(crate) events: Vec<RecoveredEvent>,
    /// The position of the next step; none at the end.
    pub(crate) next: Option<JobCursor>,
}

/// The selection of a recovery's events.
pub(crate) struct Recovery<'a> {
    store: &'a dyn Store,
    target: TargetId,
    scope: Scope,
    settings: EndpointSettings,
    recover: &'a Recover,
    /// Only events that were accepted before.
    until: SystemTime,
}

impl<'a> Recovery<'a> {
    /// Makes the selection of a recovery that was started at `started`: later events are not in it. `None` if the settings of the endpoint cannot
    /// be read.
    pub(crate) fn new(
        store: &'a dyn Store,
        row: &Endpoint,
        recover: &'a Recover,
        started: SystemTime,
    ) -> Option<Self> {
        let until = recover.until.map_or(started, |until| until.min(started));
        Some(Self {
            store,
            target: row.target,
            scope: Scope::of(row.tenant),
            settings: EndpointSettings::from_json(&row.settings).ok()?,
            recover,
            until,
        })
    }

    /// Returns the passes over the events.
    fn passes(&self) -> &'static [Pass] {
        match self.recover.what {
            RecoverWhat::Failed => &[Pass::Failed],
            RecoverWhat::Missing => &[Pass::Missing],
            RecoverWhat::Both => &[Pass::Failed, Pass::Missing],
            RecoverWhat::Ids => &[Pass::Named],
        }
    }

    /// Returns the events after a position, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn step(
        &self,
        cursor: &JobCursor,
        limit: u16,
    ) -> Result<RecoveryStep, StoreError> {
        let Some(pass) = self.passes().get(usize::from(cursor.phase)) else {
            return Ok(RecoveryStep::default());
        };
        let after = Uuid::from_slice(&cursor.after).ok().map(DeliveryRef);
        let (events, next) = match pass {
            Pass::Failed => self.failed(after, limit).await?,
            Pass::Missing => self.missing(after, limit).await?,
            Pass::Named => self.named(after, limit).await?,
        };
        let next = match next {
            Some(after) => Some(JobCursor {
                phase: cursor.phase,
                after: after.0.as_bytes().to_vec(),
            }),
            None => Some(JobCursor {
                phase: cursor.phase.saturating_add(1),
                after: Vec::new(),
            })
            .filter(|next| usize::from(next.phase) < self.passes().len()),
        };
        Ok(RecoveryStep { events, next })
    }

    /// Returns the acts that begin the attempts of events.
    pub(crate) fn acts(&self, events: &[RecoveredEvent]) -> Vec<(ActKind, Vec<DeliveryRef>)> {
        let of = |is_missing: bool| {
            let chosen = events.iter().filter(|event| event.is_missing == is_missing);
            chosen.map(|event| event.id).collect::<Vec<_>>()
        };
        let again = ActKind::Replay {
            // an event that is named is sent again, whatever became of it
            delivered: self.recover.what == RecoverWhat::Ids,
            cause: Cause::Replay,
        };
        let add = ActKind::Add {
            cause: Cause::Replay,
            lane: self.lane(),
        };
        [(again, of(false)), (add, of(true))]
            .into_iter()
            .filter(|(_, ids)| !ids.is_empty())
            .collect()
    }

    fn lane(&self) -> Option<Lane> {
        self.settings.ordered.then_some(ORDERED)
    }

    /// Returns events that are dead or cancelled at the endpoint, and the last one that was looked at if there may be more.
    async fn failed(
        &self,
        after: Option<DeliveryRef>,
        limit: u16,
    ) -> Result<(Vec<RecoveredEvent>, Option<DeliveryRef>), StoreError> {
        let filter = Filter {
            targets: Arc::new([self.target]),
            statuses: Statuses::of(&[Status::Dead, Status::Cancelled]),
            since: self.recover.since,
            until: Some(self.until),
            ..Filter::default()
        };
        let page = self.page(&filter, after, limit).await?;
        let chosen = page.rows.iter().filter(|row| self.has_type(row));
        Ok((chosen.map(|row| event(row, false)).collect(), page.next))
    }

    /// Returns events that the endpoint did not get, although it wants them.
    async fn missing(
        &self,
        after: Option<DeliveryRef>,
        limit: u16,
    ) -> Result<(Vec<RecoveredEvent>, Option<DeliveryRef>), StoreError> {
        let filter = Filter {
            since: self.recover.since,
            until: Some(self.until),
            ..Filter::default()
        };
        let page = self.page(&filter, after, limit).await?;
        let chosen = page
            .rows
            .iter()
            .filter(|row| row.units.is_empty() && self.has_type(row) && self.is_wanted(row));
        Ok((chosen.map(|row| event(row, true)).collect(), page.next))
    }

    /// Returns events that are named.
    async fn named(
        &self,
        after: Option<DeliveryRef>,
        limit: u16,
    ) -> Result<(Vec<RecoveredEvent>, Option<DeliveryRef>), StoreError> {
        let left = self.recover.ids.iter().copied().map(DeliveryRef);
        let ids: Vec<DeliveryRef> = left
            .filter(|id| after.is_none_or(|after| *id > after))
            .take(usize::from(limit))
            .collect();
        let shown = UnitsShown::Of(self.target);
        let rows = self.store.rows(self.scope.clone(), &ids, shown).await?;
        let chosen = rows.iter().filter(|row| !is_test(&row.record));
        let events = chosen.map(|row| event(row, row.units.is_empty())).collect();
        Ok((events, ids.last().copied()))
    }

    async fn page(
        &self,
        filter: &Filter,
        after: Option<DeliveryRef>,
        limit: u16,
    ) -> Result<crate::store::archive::Page, StoreError> {
        let shown = UnitsShown::Of(self.target);
        let scope = self.scope.clone();
        self.store
            .page(scope, filter, Order::Oldest, after, limit, shown)
            .await
    }

    /// Returns whether an event is of a type that is recovered. Tests never are.
    fn has_type(&self, row: &Row) -> bool {
        let types = &self.recover.types;
        let is_chosen = types.is_empty()
            || event_type(row).is_some_and(|of| types.iter().any(|pattern| pattern.matches(&of)));
        is_chosen && !is_test(&row.record)
    }

    /// Returns whether the endpoint wants an event.
    fn is_wanted(&self, row: &Row) -> bool {
        event_type(row).is_some_and(|of| self.settings.wants(&of))
    }
}

fn event_type(row: &Row) -> Option<EventType> {
    EventType::new(row.event_type.as_deref()?).ok()
}

fn event(row: &Row, is_missing: bool) -> RecoveredEvent {
    RecoveredEvent {
        id: row.id,
        event_type: row.event_type.clone(),
        is_missing,
    }
}
