//! The durable queue that gateways share.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::accept::{AcceptRow, Commit, Verdict};
use super::call::{Call, column};
use super::claims::form;
use super::errors::{MAX_CALLS, contended};
use super::link::Lane;
use super::revive::ReviveRow;
use super::settle::{SettleRow, Settled, due_in};
use super::upkeep::Upkeep;
use super::work::Work;
use super::{Postgres, agenda, lease, numbers, reschedule};
use crate::clock::Clock;
use crate::retry::Schedule;
use crate::store::names::{Kind, Named, Numbers};
use crate::store::queue::{
    Accept, Accepted, Attempt, Dedupe, DeliveryRef, Lease, LeaseRequest, Leased, Next, Queue,
    Ready, Start, TargetId,
};
use crate::store::{Answer, Changed, Ownership, StoreError};

/// The wait of a stored delivery whose record cannot be read: for a person, or a newer version of the program.
const UNREADABLE: Duration = Duration::from_secs(3600);

impl Postgres {
    /// Sends a dead delivery again, of which a duplicate came.
    async fn revive(&self, commit: Commit, of: DeliveryRef) -> Result<Accepted, StoreError> {
        let row = ReviveRow {
            key: commit.key,
            of,
            window: commit.window,
        };
        if !self.queue.revives.send(row).await? {
            return Ok(Accepted::Duplicate { of: Some(of) });
        }
        // its targets may be others than those of the duplicate
        self.work.look_again();
        Ok(Accepted::Revived { of })
    }

    /// Notes when the units of an accepted delivery are due.
    fn note_units(&self, delivery: &Accept) {
        let now = self.clock.mono();
        let mut others = false;
        for unit in &delivery.to {
            match unit.start {
                Start::Mine(lease) => self.work.note(unit.target, now, lease),
                Start::Anyone => self.work.note(unit.target, now, Duration::ZERO),
                Start::In(delay) => self.work.note(unit.target, now, delay),
                Start::Over(_) | Start::Cancelled => continue,
            }
            others |= !matches!(unit.start, Start::Mine(_));
        }
        if others {
            self.work.wake_workers();
        }
    }

    /// Reads the answer for a delivery, and offers it again if things changed at that moment. `sent`: its first call, if that is made already.
    async fn accepted(
        &self,
        row: AcceptRow,
        mut sent: Option<Answer<'static, Verdict>>,
    ) -> Result<Accepted, StoreError> {
        let commit = row.commit();
        for _ in 0..MAX_CALLS {
            let answer = match sent.take() {
                Some(answer) => answer,
                None => {
                    if let Some(commit) = commit {
                        self.ledger.released(commit.key).await;
                    }
                    self.queue.accepts.send(row.clone())
                }
            };
            let verdict = answer.await;
            if let Some(commit) = commit {
                self.ledger.wake(commit.key);
            }
            return Ok(match (verdict?, commit) {
                (Verdict::New(leases), _) => {
                    self.note_units(&row.delivery);
                    Accepted::New(leases)
                }
                (Verdict::Duplicate(of), _) => Accepted::Duplicate { of },
                (Verdict::Revive(of), Some(commit)) => return self.revive(commit, of).await,
                (Verdict::Revive(of), None) => Accepted::Duplicate { of: Some(of) },
                (Verdict::InFlight(lapses_in), _) => Accepted::InFlight { lapses_in },
                (Verdict::Other(of), _) => Accepted::Other { of },
                (Verdict::Again, _) => continue,
            });
        }
        Err(contended())
    }
}

/// The steps after a unit was settled, which are made also if the caller is gone by then.
struct AfterSettle {
    upkeep: Arc<Upkeep>,
    work: Arc<Work>,
    clock: Arc<dyn Clock>,
}

impl AfterSettle {
    fn note(&self, target: TargetId, next: Next, settled: Settled) -> Ownership {
        match settled {
            Settled::Lost => Ownership::Lost,
            Settled::Late => {
                self.upkeep.late.fetch_add(1, Ordering::Relaxed);
                Ownership::Lost
            }
            Settled::Owned(wakes) => {
                let after = due_in(next);
                if wakes || after.is_some() {
                    let after = after.unwrap_or_default();
                    self.work.note(target, self.clock.mono(), after);
                    self.work.wake_workers();
                }
                Ownership::Owned
            }
            // it is settled by another call
            Settled::DeliveredLate => Ownership::Lost,
        }
    }
}

impl Queue for Postgres {
    fn numbers(&self, names: &[Named]) -> Answer<'_, Vec<Numbers>> {
        let names = names.to_vec();
        Box::pin(async move {
            let numbers = numbers::assign_numbers(self, &names).await?;
            // heartbeats tell the others of them
            let served = numbers.iter().flat_map(Numbers::all).collect();
            self.upkeep.serves(served);
            Ok(numbers)
        })
    }

    fn names(&self) -> Answer<'_, Vec<(Kind, u32, Arc<str>)>> {
        Box::pin(numbers::all_names(self))
    }

    fn accept(&self, delivery: Arc<Accept>, dedupe: Dedupe) -> Answer<'_, Accepted> {
        let row = AcceptRow::new(delivery, dedupe);
        let is_clear = row
            .commit()
            .is_none_or(|commit| self.ledger.is_released(commit.key));
        // it is sent even if nobody waits for the answer
        let sent = is_clear.then(|| self.queue.accepts.send(row.clone()));
        Box::pin(self.accepted(row, sent))
    }

    fn ready(&self, after: Option<TargetId>, skip: &Arc<HashSet<TargetId>>) -> Answer<'_, Ready> {
        let skip = Arc::clone(skip);
        Box::pin(async move { agenda::ready(self, after, &skip).await })
    }

    fn put_off(&self, targets: &[(TargetId, Duration)]) {
        let now = self.work.at(self.clock.mono());
        let mut agenda = self.work.agenda();
        for (target, wait) in targets {
            agenda.put_off(*target, now.saturating_add(super::call::millis(*wait)));
        }
    }

    fn wake(&self, targets: &[TargetId]) {
        let mut agenda = self.work.agenda();
        for target in targets {
            agenda.wake(*target);
        }
    }

    fn oldest_due(&self, except: &HashSet<TargetId>) -> Option<Duration> {
        let now = self.work.at(self.clock.mono());
        let oldest = self.work.agenda().oldest_due(now, except)?;
        let waited = u64::try_from(now.saturating_sub(oldest)).unwrap_or(0);
        Some(Duration::from_millis(waited))
    }

    fn lease(
        &self,
        requests: &[LeaseRequest],
        lease: Duration,
        held: usize,
    ) -> Answer<'_, Vec<Leased>> {
        let requests = requests.to_vec();
        Box::pin(async move {
            let targets = requests.iter().map(|request| request.target);
            let floors = self.floors.of(targets, self.clock.mono());
            let call = lease::call(&requests, lease, held, floors);
            let answer = self.link.call(Lane::Writes, call).await?;
            let units = lease::read(&answer, &requests, &self.floors)?;
            for lease in units.unreadable {
                drop(self.settle(lease, None, Next::Later(UNREADABLE)));
            }
            Ok(units.leased)
        })
    }

    fn version(&self, id: DeliveryRef, version: u16) -> Answer<'_, Option<Bytes>> {
        Box::pin(async move {
            let call = Call::look("version_1").with(id.0).with(i32::from(version));
            let answer = self.link.call(Lane::Writes, call).await?;
            let body: Option<&[u8]> = column(answer.first().ok_or_else(form)?, 0)?;
            Ok(body.map(Bytes::copy_from_slice))
        })
    }

    fn settle(&self, lease: Lease, attempt: Option<Attempt>, next: Next) -> Answer<'_, Ownership> {
        let row = SettleRow {
            lease,
            attempt: attempt.clone(),
            next,
        };
        let sent = self.queue.settles.send(row);
        let after = AfterSettle {
            upkeep: Arc::clone(&self.upkeep),
            work: Arc::clone(&self.work),
            clock: Arc::clone(&self.clock),
        };
        let late = Arc::clone(&self.queue.late);
        let (answer, answered) = tokio::sync::oneshot::channel();
        // what follows is done even if nobody waits for the answer
        self.link.spawn(async move {
            let target = lease.unit.target;
            let mut settled = sent.await;
            if matches!(settled, Ok(Settled::DeliveredLate)) {
                let row = SettleRow {
                    lease,
                    attempt,
                    next,
                };
                settled = late.send(row).await;
            }
            let ownership = settled.map(|settled| after.note(target, next, settled));
            answer.send(ownership).ok();
        });
        Box::pin(async move {
            let lost = || StoreError::Unknown("the store was closed".into());
            answered.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn reschedule(&self, target: TargetId, schedule: &Schedule) -> Answer<'_, ()> {
        let schedule = schedule.clone();
        Box::pin(async move { reschedule::reschedule(self, target, &schedule).await })
    }

    fn work(&self) -> Changed {
        self.work.notified()
    }
}
