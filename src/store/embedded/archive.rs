//! Looking and acting, on the store of one process.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Embedded;
use super::queue::at_once;
use crate::store::archive::{
    Act, ActKind, Archive, AttemptPage, AttemptPosition, AttemptsOf, Audit, AuditRow, Chosen,
    Counts, Filter, Forgetting, Note, Order, Page, Retention, Row, Scope, Shown, Step,
    TargetCounts, TenantCounts, UnitsShown, WaitingCount, Which,
};
use crate::store::embedded::sqlite::act::{self, Entry};
use crate::store::embedded::sqlite::batch::WriteOptions;
use crate::store::embedded::sqlite::disk::Disk;
use crate::store::embedded::sqlite::look::Reading;
use crate::store::embedded::sqlite::sweep::{Ages, sweep};
use crate::store::embedded::sqlite::writing::{
    ALL_TENANTS, CANCELLED, DEAD, DELIVERIES, WAITING, Writing,
};
use crate::store::embedded::sqlite::{page, shown, size, waiting};
use crate::store::queue::{DeliveryRef, OriginId, Stored, TargetId};
use crate::store::{Answer, StoreError};

/// The options of writes that finish earlier work. They are accepted even when new deliveries are not.
pub(super) const FINISHES_WORK: WriteOptions = WriteOptions {
    key: None,
    bytes: 0,
    more_units: 0,
    finishes: true,
    gathers: false,
};

impl Embedded {
    /// Milliseconds of wall time.
    pub(super) fn wall(&self) -> i64 {
        i64::try_from(self.shared.time.clock().now().unix_ms()).unwrap_or(i64::MAX)
    }

    /// Reads for a person: beside what the worker reads, so that a search does not delay deliveries.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        match self.disk() {
            Ok(disk) => disk.archive_reader().read(read),
            Err(error) => at_once(Err(error)),
        }
    }
}

/// Chooses the deliveries of one step of an act.
async fn chosen(
    disk: &Disk,
    which: Which,
    scope: &Scope,
    targets: &Arc<[TargetId]>,
    adds: bool,
    step: u16,
) -> Result<Chosen, StoreError> {
    match which {
        Which::Waiting(units) => {
            let wanted = units.clone();
            let read = move |reading: &Reading<'_>| waiting::waiting(reading, &wanted, step);
            let found = disk.archive_reader().read(read).await?;
            Ok(Chosen::of_waiting(&units, found))
        }
        Which::Ids(ids) => Ok(Chosen::of_ids(ids, step)),
        Which::Found(mut filter, after) => {
            // an act on the units of some targets finds deliveries that have one
            if filter.targets.is_empty() && !adds {
                filter.targets = Arc::clone(targets);
            }
            let (scope, wanted) = (scope.clone(), filter.clone());
            let found = disk
                .archive_reader()
                .read(move |reading| {
                    let units = UnitsShown::First(0);
                    page::page(reading, &scope, &wanted, Order::Oldest, after, step, units)
                })
                .await?;
            let ids = found.rows.iter().map(|row| row.id).collect();
            Ok(Chosen::of_found(ids, found.next, &filter))
        }
    }
}

impl Archive for Embedded {
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
        self.read(move |reading| page::page(reading, &scope, &filter, order, after, limit, units))
    }

    fn rows(&self, scope: Scope, ids: &[DeliveryRef], units: UnitsShown) -> Answer<'_, Vec<Row>> {
        let ids = ids.to_vec();
        self.read(move |reading| page::rows(reading, &scope, &ids, units))
    }

    fn get(&self, scope: Scope, id: DeliveryRef, units: UnitsShown) -> Answer<'_, Option<Shown>> {
        self.read(move |reading| shown::get(reading, &scope, id, units))
    }

    fn stored(&self, scope: Scope, id: DeliveryRef) -> Answer<'_, Option<Stored>> {
        self.read(move |reading| shown::stored(reading, &scope, id))
    }

    fn attempts(
        &self,
        scope: Scope,
        of: AttemptsOf,
        before: Option<AttemptPosition>,
        limit: u16,
    ) -> Answer<'_, AttemptPage> {
        self.read(move |reading| shown::attempts(reading, &scope, of, before, limit))
    }

    fn act(&self, scope: Scope, act_on: &Act, step: u16) -> Answer<'_, Step> {
        let Act {
            kind,
            which,
            targets,
            who,
            reason,
            description,
            goes_on,
        } = act_on.clone();
        Box::pin(async move {
            let disk = self.disk()?;
            let targets: Arc<[TargetId]> = match &which {
                Which::Waiting(units) => Arc::from([units.target]),
                Which::Ids(_) | Which::Found(..) => targets,
            };
            let adds = matches!(kind, ActKind::Add { .. });
            let chosen = chosen(disk, which, &scope, &targets, adds, step).await?;
            let Chosen {
                ids,
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
            if ids.is_empty() {
                return Ok(step);
            }
            let entry = Entry {
                at: self.wall(),
                who: who.to_string(),
                which: description.map_or(described, |description| description.to_string()),
                reason: reason.to_string(),
                goes_on,
            };
            let shared = Arc::clone(&self.shared);
            let apply = move |writing: &Writing<'_>| {
                act::act(writing, &scope, kind, &ids, &targets, &entry)
            };
            let after = move |outcome: &Result<act::Done, StoreError>| {
                if let Ok(done) = outcome {
                    shared.forget(&done.forgotten);
                }
                shared.work.notify_one();
            };
            let done = disk.write(FINISHES_WORK, apply, after).await?;
            Ok(Step {
                done: done.count,
                audit: Some(done.audit),
                ..step
            })
        })
    }

    fn forget(&self, forgetting: Forgetting) -> Answer<'_, u64> {
        let Forgetting {
            keys,
            who,
            which,
            reason,
        } = forgetting;
        // an ID whose row is not written yet counts
        let known = self.shared.remembered(&keys);
        let Ok(disk) = self.disk() else {
            // one without a disk has no audit
            self.shared.forget(&keys);
            return at_once(Ok(known));
        };
        let entry = Entry {
            at: self.wall(),
            who: who.to_string(),
            which: which.to_string(),
            reason: reason.to_string(),
            goes_on: None,
        };
        let (shared, of_memory) = (Arc::clone(&self.shared), keys.clone());
        disk.write(
            FINISHES_WORK,
            move |writing| act::forget(writing, &keys, known, &entry),
            move |outcome| {
                // memory last: a duplicate that comes meanwhile is one
                if outcome.is_ok() {
                    shared.forget(&of_memory);
                }
            },
        )
    }

    fn note(&self, note: Note) -> Answer<'_, AuditRow> {
        let entry = Entry {
            at: self.wall(),
            who: note.who.to_string(),
            which: note.which.to_string(),
            reason: note.reason.to_string(),
            goes_on: note.goes_on,
        };
        Box::pin(async move {
            let write =
                move |writing: &Writing<'_>| act::note(writing, note.what, &entry, note.done);
            self.disk()?.write(FINISHES_WORK, write, |_| {}).await
        })
    }

    fn count_waiting(&self, count: WaitingCount) -> Answer<'_, u64> {
        self.read(move |reading| waiting::count(reading, count))
    }

    fn audit(&self, limit: u16) -> Answer<'_, Vec<Audit>> {
        self.read(move |reading| page::audit(reading, limit))
    }

    fn sweep(&self, keep: &[Retention], step: u16) -> Answer<'_, Step> {
        let disk = match self.disk() {
            Ok(disk) => disk,
            Err(error) => return at_once(Err(error)),
        };
        let (keep, ages) = (
            keep.to_vec(),
            Ages {
                began: self.shared.time.began(),
                all: self.may_delete(),
            },
        );
        let shared = Arc::clone(&self.shared);
        let tenant = Arc::clone(&self.swept_tenant);
        let swept = disk.write(
            FINISHES_WORK,
            move |writing| sweep(writing, &keep, ages, usize::from(step), &tenant),
            move |outcome| {
                if let Ok(swept) = outcome {
                    shared.forget(&swept.forgotten);
                }
            },
        );
        Box::pin(async move {
            swept.await.map(|swept| Step {
                done: swept.done,
                more: swept.more,
                ..Step::default()
            })
        })
    }

    fn totals(&self) -> Answer<'_, Counts> {
        let disk = match self.disk() {
            Ok(disk) => disk,
            Err(error) => return at_once(Err(error)),
        };
        let (tally, unsigned) = (disk.writes().tally(), |number: i64| {
            u64::try_from(number).unwrap_or(0)
        });
        let mut counts = Counts {
            late: self.late.load(Ordering::Relaxed),
            disk: disk.bytes(),
            used: disk.writes().used(),
            waiting: disk.writes().len(),
            last_write: disk.writes().last_write(),
            ..Counts::default()
        };
        let of = |kind, number| {
            tally
                .get(&(kind, number))
                .map_or(0, |(rows, _)| unsigned(*rows))
        };
        let mut targets: Vec<u32> = tally
            .keys()
            .filter(|(kind, number)| {
                matches!(*kind, WAITING | DEAD | CANCELLED) && *number < ALL_TENANTS
            })
            .map(|(_, number)| *number)
            .collect();
        targets.sort_unstable();
        targets.dedup();
        counts.targets = targets
            .iter()
            .map(|target| {
                let cancelled = of(CANCELLED, *target);
                TargetCounts {
                    target: TargetId(*target),
                    waiting: of(WAITING, *target),
                    dead: of(DEAD, *target).saturating_sub(cancelled),
                    cancelled,
                }
            })
            .collect();
        counts.origins = (tally.iter())
            .filter(|((kind, number), _)| *kind == DELIVERIES && *number < ALL_TENANTS)
            .map(|((_, origin), (rows, bytes))| {
                (OriginId(*origin), unsigned(*rows), unsigned(*bytes))
            })
            .collect();
        counts.origins.sort_unstable();
        let (deliveries, bytes) = tally
            .get(&(DELIVERIES, ALL_TENANTS))
            .copied()
            .unwrap_or_default();
        counts.tenants = TenantCounts {
            deliveries: unsigned(deliveries),
            bytes: unsigned(bytes),
            waiting: of(WAITING, ALL_TENANTS),
            dead: of(DEAD, ALL_TENANTS).saturating_sub(of(CANCELLED, ALL_TENANTS)),
        };
        at_once(Ok(counts))
    }

    fn sums(&self, tenant: OriginId) -> Answer<'_, TenantCounts> {
        self.read(move |reading| size::sums(reading, tenant))
    }
}
