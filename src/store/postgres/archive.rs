//! Looking and acting, on the store of a fleet.
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use uuid::Uuid;

use super::Postgres;
use super::call::{Blob, Call, column};
use super::columns::{bytes, count, first, int, number, text, to_text};
use super::link::Lane;
use super::page::Search;
use super::summary::{UnitsRead, deliveries};
use crate::store::archive::{
    Act, Archive, AttemptPage, AttemptPosition, AttemptsOf, Audit, AuditRow, Counts, Filter,
    Forgetting, Note, Order, Page, Retention, Row, Scope, Shown, Step, TargetCounts, TenantCounts,
    UnitsShown, WaitingCount,
};
use crate::store::queue::{DeliveryRef, FIRST_TENANT, OriginId, Stored, TargetId};
use crate::store::record::Record;
use crate::store::{Answer, StoreError};

/// The kinds of sums.
const DELIVERIES: i32 = 0;
const WAITING: i32 = 1;
const DEAD: i32 = 2;
const CANCELLED: i32 = 3;

/// Sums: rows and bytes, by kind and number.
type Sums = BTreeMap<(i32, u32), (u64, u64)>;

impl Postgres {
    async fn get_one(
        &self,
        scope: Scope,
        id: DeliveryRef,
        units: UnitsShown,
    ) -> Result<Option<Shown>, StoreError> {
        let Some((stored, row)) = self.read_one(&scope, id, units).await? else {
            return Ok(None);
        };
        let of = match units {
            UnitsShown::All => Some((TargetId(0), TargetId(u32::MAX))),
            UnitsShown::Of(target) => Some((target, target)),
            UnitsShown::First(_) => (row.units.last()).map(|unit| (TargetId(0), unit.target)),
        };
        let attempts = match of {
            Some(of) => self.attempts_of(id, of).await?,
            None => Vec::new(),
        };
        Ok(Some(Shown {
            stored,
            units: row.units,
            attempts,
        }))
    }

    /// Returns one delivery, and its summary.
    async fn read_one(
        &self,
        scope: &Scope,
        id: DeliveryRef,
        units: UnitsShown,
    ) -> Result<Option<(Stored, Row)>, StoreError> {
        let read = UnitsRead::of(units);
        let call = Call::look("get_1")
            .with(id.0)
            .with(read.only_target)
            .with(read.most);
        let rows = self.link.call(Lane::Looks, call).await?;
        let found = deliveries(&rows, units)?.remove(&id);
        let Some(found) = found.filter(|row| scope.contains(row.origin)) else {
            return Ok(None);
        };
        let Some(row) = rows.iter().find(|row| matches!(column(row, 1), Ok(0_i32))) else {
            return Ok(None);
        };
        let record = match Record::decode(bytes(row, 14)?) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(delivery = %id, %error, "a stored delivery cannot be read");
                return Ok(None);
            }
        };
        let stored = Stored {
            id,
            origin: found.origin,
            key: found.key,
            delivery_id: found.delivery_id.clone(),
            event_type: found.event_type.clone(),
            record,
            body: bytes(row, 15)?,
        };
        Ok(Some((stored, found)))
    }

    async fn audit_rows(&self, limit: u16) -> Result<Vec<Audit>, StoreError> {
        let call = Call::look("audit_1").with(i32::from(limit));
        let rows = self.link.call(Lane::Looks, call).await?;
        let read = |row| {
            Ok(Audit {
                at: column(row, 0)?,
                who: text(row, 1)?,
                what: text(row, 2)?,
                which: text(row, 3)?,
                reason: text(row, 4)?,
                done: count(row, 5)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns a number that a function counts.
    async fn counted(&self, call: Call) -> Result<u64, StoreError> {
        let rows = self.link.call(Lane::Looks, call).await?;
        count(first(&rows)?, 0)
    }

    async fn all_sums(&self) -> Result<Counts, StoreError> {
        let rows = self.link.call(Lane::Looks, Call::look("totals_1")).await?;
        let mut sums = Sums::new();
        for row in &rows {
            let of = (column(row, 0)?, number(row, 1)?);
            sums.insert(of, (positive(row, 2)?, positive(row, 3)?));
        }
        let mut counts = Counts {
            late: self.upkeep.late.load(Ordering::Relaxed),
            disk: self.upkeep.disk.load(Ordering::Relaxed),
            used: self.upkeep.disk.load(Ordering::Relaxed),
            tenants: tenant_counts(&sums, FIRST_TENANT),
            ..Counts::default()
        };
        let of_names = || {
            sums.range(..)
                .filter(|((_, number), _)| *number < FIRST_TENANT)
        };
        counts.origins = of_names()
            .filter(|((kind, _), _)| *kind == DELIVERIES)
            .map(|((_, origin), (rows, bytes))| (OriginId(*origin), *rows, *bytes))
            .collect();
        let mut targets: Vec<u32> = of_names()
            .filter(|((kind, _), _)| *kind != DELIVERIES)
            .map(|((_, target), _)| *target)
            .collect();
        targets.sort_unstable();
        targets.dedup();
        counts.targets = targets
            .into_iter()
            .map(|target| {
                let cancelled = rows_of(&sums, CANCELLED, target);
                TargetCounts {
                    target: TargetId(target),
                    waiting: rows_of(&sums, WAITING, target),
                    dead: rows_of(&sums, DEAD, target).saturating_sub(cancelled),
                    cancelled,
                }
            })
            .collect();
        Ok(counts)
    }

    async fn sums_of(&self, tenant: OriginId) -> Result<TenantCounts, StoreError> {
        let call = Call::look("sums_1").with(int(tenant.0));
        let mut sums = Sums::new();
        for row in &self.link.call(Lane::Looks, call).await? {
            let of = (column(row, 0)?, tenant.0);
            sums.insert(of, (positive(row, 1)?, positive(row, 2)?));
        }
        Ok(tenant_counts(&sums, tenant.0))
    }
}

/// Returns a sum. One that is being changed may be seen in part.
fn positive(row: &tokio_postgres::Row, index: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(column::<Option<i64>>(row, index)?.unwrap_or(0)).unwrap_or(0))
}

fn rows_of(sums: &Sums, kind: i32, number: u32) -> u64 {
    sums.get(&(kind, number)).map_or(0, |(rows, _)| *rows)
}

fn tenant_counts(sums: &Sums, tenant: u32) -> TenantCounts {
    let (deliveries, bytes) = sums.get(&(DELIVERIES, tenant)).copied().unwrap_or_default();
    TenantCounts {
        deliveries,
        bytes,
        waiting: rows_of(sums, WAITING, tenant),
        dead: rows_of(sums, DEAD, tenant).saturating_sub(rows_of(sums, CANCELLED, tenant)),
    }
}

impl Archive for Postgres {
    fn page(
        &self,
        scope: Scope,
        filter: &Filter,
        order: Order,
        after: Option<DeliveryRef>,
        limit: u16,
        units: UnitsShown,
    ) -> Answer<'_, Page> {
        let filter = filter.clone();
        Box::pin(async move {
            let search = Search {
                scope: &scope,
                filter: &filter,
                order,
                after,
                limit,
                units,
            };
            self.search(search).await
        })
    }

    fn rows(&self, scope: Scope, ids: &[DeliveryRef], units: UnitsShown) -> Answer<'_, Vec<Row>> {
        Box::pin(self.rows_of(scope, ids.to_vec(), units))
    }

    fn get(&self, scope: Scope, id: DeliveryRef, units: UnitsShown) -> Answer<'_, Option<Shown>> {
        Box::pin(self.get_one(scope, id, units))
    }

    fn stored(&self, scope: Scope, id: DeliveryRef) -> Answer<'_, Option<Stored>> {
        Box::pin(async move {
            let found = self.read_one(&scope, id, UnitsShown::First(0)).await?;
            Ok(found.map(|(stored, _)| stored))
        })
    }

    fn attempts(
        &self,
        scope: Scope,
        of: AttemptsOf,
        before: Option<AttemptPosition>,
        limit: u16,
    ) -> Answer<'_, AttemptPage> {
        Box::pin(self.list_attempts(scope, of, before, limit))
    }

    fn act(&self, scope: Scope, act: &Act, step: u16) -> Answer<'_, Step> {
        let act = act.clone();
        Box::pin(async move {
            let step = self.act_once(scope, act, step).await;
            // a unit may be due that was not before
            self.work.look_again();
            step
        })
    }

    fn forget(&self, forgetting: Forgetting) -> Answer<'_, u64> {
        let Forgetting {
            keys,
            who,
            which,
            reason,
        } = forgetting;
        let keys: Vec<_> = keys
            .iter()
            .map(|key| Blob(Bytes::copy_from_slice(&key.0)))
            .collect();
        let call = Call::write("forget_1")
            .with(keys)
            .with(to_text(&who))
            .with(to_text(&which))
            .with(to_text(&reason));
        Box::pin(self.counted(call))
    }

    fn note(&self, note: Note) -> Answer<'_, AuditRow> {
        let call = Call::write("note_1")
            .with(to_text(&note.who))
            .with(to_text(note.what))
            .with(to_text(&note.which))
            .with(to_text(&note.reason))
            .with(i64::try_from(note.done).unwrap_or(i64::MAX))
            .with(note.goes_on.map(|row| row.0));
        Box::pin(async move {
            let rows = self.link.call(Lane::Looks, call).await?;
            column(first(&rows)?, 0).map(AuditRow)
        })
    }

    fn count_waiting(&self, count: WaitingCount) -> Answer<'_, u64> {
        let WaitingCount {
            target,
            since,
            until,
            only_new,
            most,
        } = count;
        let low = since.map_or(Uuid::nil(), |since| DeliveryRef::first_of(since).0);
        let call = Call::look("count_waiting_1")
            .with(int(target.0))
            .with(low)
            .with(until.map(|until| DeliveryRef::first_of(until).0))
            .with(only_new)
            .with(int(most));
        Box::pin(self.counted(call))
    }

    fn audit(&self, limit: u16) -> Answer<'_, Vec<Audit>> {
        Box::pin(self.audit_rows(limit))
    }

    fn sweep(&self, keep: &[Retention], step: u16) -> Answer<'_, Step> {
        let keep = keep.to_vec();
        Box::pin(async move { self.sweep_once(&keep, step).await })
    }

    fn totals(&self) -> Answer<'_, Counts> {
        Box::pin(self.all_sums())
    }

    fn sums(&self, tenant: OriginId) -> Answer<'_, TenantCounts> {
        Box::pin(self.sums_of(tenant))
    }
}
