//! Looking and acting, on the store of one process.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Embedded;
use super::disk::Disk;
use super::queue::at_once;
use crate::store::archive::{
    Act, Archive, Audit, Counts, Filter, Forgetting, Order, Page, Retention, Row, Scope, Shown,
    Step, TargetCounts, Which,
};
use crate::store::embedded::sqlite::act::{self, Entry};
use crate::store::embedded::sqlite::page;
use crate::store::embedded::sqlite::sweep::{Ages, sweep};
use crate::store::embedded::sqlite::writing::{CANCELLED, DEAD, DELIVERIES, WAITING, Writing};
use crate::store::queue::{DeliveryRef, OriginId, TargetId};
use crate::store::{Answer, StoreError, WriteOptions};

/// The options of writes that finish earlier work. They are accepted even when new deliveries are not.
pub(super) const FINISHES_WORK: WriteOptions = WriteOptions {
    key: None,
    bytes: 0,
    finishes: true,
};

impl Embedded {
    /// Milliseconds of wall time.
    pub(super) fn wall(&self) -> i64 {
        i64::try_from(self.shared.time.clock().now().unix_ms()).unwrap_or(i64::MAX)
    }
}

/// The deliveries of one step, the position from which to go on, and a description for the audit.
type Chosen = (Vec<DeliveryRef>, Option<DeliveryRef>, String);

/// Chooses the deliveries of one step of an act.
async fn chosen(
    disk: &Disk,
    which: Which,
    scope: &Scope,
    targets: &Arc<[TargetId]>,
    step: u16,
) -> Result<Chosen, StoreError> {
    match which {
        Which::Ids(mut ids) => {
            let more = ids.len() > usize::from(step);
            ids.truncate(usize::from(step));
            let shown: Vec<_> = ids.iter().map(ToString::to_string).collect();
            let next = ids.last().copied().filter(|_| more);
            Ok((ids, next, shown.join(" ")))
        }
        Which::Found(mut filter, after) => {
            // an act on the units of some targets finds deliveries that have one
            if filter.targets.is_empty() {
                filter.targets = Arc::clone(targets);
            }
            let scope = scope.clone();
            let shown = format!("{filter:?}");
            let found = disk
                .reader()
                .read(move |reading| {
                    page::page(reading, &scope, &filter, Order::Oldest, after, step)
                })
                .await?;
            let ids = found.rows.into_iter().map(|row| row.id).collect();
            Ok((ids, found.next, shown))
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
    ) -> Answer<'_, Page> {
        let filter = filter.clone();
        match self.disk() {
            Ok(disk) => disk
                .reader()
                .read(move |reading| page::page(reading, &scope, &filter, order, after, limit)),
            Err(error) => at_once(Err(error)),
        }
    }

    fn rows(&self, scope: Scope, ids: &[DeliveryRef]) -> Answer<'_, Vec<Row>> {
        let ids = ids.to_vec();
        match self.disk() {
            Ok(disk) => disk
                .reader()
                .read(move |reading| page::rows(reading, &scope, &ids)),
            Err(error) => at_once(Err(error)),
        }
    }

    fn get(&self, scope: Scope, id: DeliveryRef) -> Answer<'_, Option<Shown>> {
        match self.disk() {
            Ok(disk) => disk
                .reader()
                .read(move |reading| page::get(reading, &scope, id)),
            Err(error) => at_once(Err(error)),
        }
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
            let (ids, next, shown) = chosen(disk, which, &scope, &targets, step).await?;
            let more = next.is_some();
            if ids.is_empty() {
                return Ok(Step {
                    done: 0,
                    next,
                    more,
                    audit: goes_on,
                });
            }
            let entry = Entry {
                at: self.wall(),
                who: who.to_string(),
                which: description.map_or(shown, |description| description.to_string()),
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
                next,
                more,
                audit: Some(done.audit),
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

    fn audit(&self, limit: u16) -> Answer<'_, Vec<Audit>> {
        match self.disk() {
            Ok(disk) => disk
                .reader()
                .read(move |reading| page::audit(reading, limit)),
            Err(error) => at_once(Err(error)),
        }
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
        let swept = disk.write(
            FINISHES_WORK,
            move |writing| sweep(writing, &keep, ages, usize::from(step)),
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
            .filter(|(kind, _)| matches!(*kind, WAITING | DEAD | CANCELLED))
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
            .filter(|((kind, _), _)| *kind == DELIVERIES)
            .map(|((_, origin), (rows, bytes))| {
                (OriginId(*origin), unsigned(*rows), unsigned(*bytes))
            })
            .collect();
        counts.origins.sort_unstable();
        at_once(Ok(counts))
    }

    fn trouble(&self) -> Option<StoreError> {
        let disk = self.disk.as_ref()?;
        disk.writes()
            .trouble()
            .or_else(|| disk.room().is_full().then_some(StoreError::Full))
    }
}
