//! Changes of endpoints and of their health, with the acts and notifications that belong to them.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio_postgres::Row;

use super::Postgres;
use super::act::EncodedAct;
use super::call::{Blob, Call, column, millis};
use super::columns::{first, int, number, to_optional_text, to_text};
use super::endpoint::with_endpoint;
use super::link::Lane;
use crate::store::StoreError;
use crate::store::address_book::{AuditEntry, EndpointChange, Saved};
use crate::store::queue::{Accept, Start, TargetId};
use crate::tenant::health::Notified;

impl Postgres {
    /// Makes a change of an endpoint, with all that belongs to it.
    pub(super) async fn change_of(&self, change: EndpointChange) -> Result<Saved, StoreError> {
        let EndpointChange {
            endpoint,
            expected,
            failing_since,
            acts,
            notice,
            audit,
        } = change;
        let (acts, ids): (Vec<_>, Vec<_>) = acts.into_iter().unzip();
        let acts: Vec<_> = acts.into_iter().map(EncodedAct::of).collect();
        let places = (1_i32..).zip(&ids);
        let act_of: Vec<i32> = places
            .flat_map(|(place, ids)| ids.iter().map(move |_| place))
            .collect();
        let all_ids: Vec<_> = ids.iter().flatten().map(|id| id.0).collect();
        let call = with_endpoint(Call::write("endpoint_change_1"), &endpoint)
            .with(int(expected))
            .with(failing_since)
            .with(acts.iter().map(|act| act.kind).collect::<Vec<_>>())
            .with(acts.iter().map(|act| act.cause).collect::<Vec<_>>())
            .with(acts.iter().map(|act| act.flag).collect::<Vec<_>>())
            .with(acts.iter().map(|act| act.reason).collect::<Vec<_>>())
            .with(acts.into_iter().map(|act| act.lane).collect::<Vec<_>>())
            .with(act_of)
            .with(all_ids);
        let call = with_audit(with_notice(call, notice.as_deref()), audit.as_ref());
        let rows = self.link.call(Lane::Looks, call).await;
        // its acts and its notification may let units be due
        self.work.look_again();
        saved(first(&rows?)?)
    }

    /// Notes that a notification is stored about the failures of an endpoint, and stores it.
    pub(super) async fn notified(
        &self,
        target: TargetId,
        since: SystemTime,
        notified: Option<Notified>,
        notice: Option<Arc<Accept>>,
    ) -> Result<bool, StoreError> {
        let call = Call::write("notified_1")
            .with(int(target.0))
            .with(since)
            .with(notified.map(|notified| i16::from(notified.number())));
        let call = with_notice(call, notice.as_deref());
        let rows = self.link.call(Lane::Looks, call).await;
        self.work.look_again();
        column(first(&rows?)?, 0)
    }
}

/// Reads the result of a save.
pub(super) fn saved(row: &Row) -> Result<Saved, StoreError> {
    match column::<i32>(row, 0)? {
        0 => Ok(Saved::Done {
            number: number(row, 1)?,
            edition: number(row, 2)?,
        }),
        1 => Ok(Saved::Conflict),
        2 => Ok(Saved::Taken),
        3 => Ok(Saved::Full),
        _ => Err(StoreError::Unavailable("all numbers are used".into())),
    }
}

/// Adds an audit entry to a call, or none.
pub(super) fn with_audit(call: Call, audit: Option<&AuditEntry>) -> Call {
    let of = |part: fn(&AuditEntry) -> &Arc<str>| audit.map(|audit| to_text(part(audit)));
    call.with(of(|audit| &audit.who))
        .with(of(|audit| &audit.what))
        .with(of(|audit| &audit.which))
        .with(of(|audit| &audit.reason))
}

/// Adds a notification to a call, or none. It has no ledger key, and its units were not attempted before.
fn with_notice(call: Call, notice: Option<&Accept>) -> Call {
    let record = notice.map(|notice| notice.record.encode());
    let body = notice.map(|notice| notice.body.clone());
    let bytes = |bytes: Option<Bytes>| bytes.map(Blob);
    let units = || notice.into_iter().flat_map(|notice| &notice.to);
    let lane = |lane: [u8; 16]| Blob(Bytes::copy_from_slice(&lane));
    let delay = |start: Start| match start {
        Start::In(delay) => delay,
        Start::Mine(_) | Start::Anyone | Start::Over(_) | Start::Cancelled => Duration::ZERO,
    };
    call.with(notice.map(|notice| notice.id.0))
        .with(notice.map(|notice| int(notice.origin.0)))
        .with(to_optional_text(
            notice.and_then(|notice| notice.delivery_id.as_deref()),
        ))
        .with(to_optional_text(
            notice.and_then(|notice| notice.event_type.as_deref()),
        ))
        .with(bytes(record))
        .with(bytes(body))
        .with(units().map(|unit| int(unit.target.0)).collect::<Vec<_>>())
        .with(
            units()
                .map(|unit| unit.lane.map(|of| lane(of.0)))
                .collect::<Vec<_>>(),
        )
        .with(units().map(|_| 1_i16).collect::<Vec<_>>())
        .with(
            units()
                .map(|unit| millis(delay(unit.start)))
                .collect::<Vec<_>>(),
        )
}
