//! The durable queue of one process: rows on the disk, claims in memory.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::Embedded;
use super::writes::{PendingCommit, bytes_of, encoded, may_gather, recorded};
use crate::retry::Schedule;
use crate::store::embedded::sqlite::accept::{Commit, Unique, accept};
use crate::store::embedded::sqlite::batch::WriteOptions;
use crate::store::embedded::sqlite::disk::Disk;
use crate::store::embedded::sqlite::look::Reading;
use crate::store::embedded::sqlite::settle::settle;
use crate::store::embedded::sqlite::{lease, look, ms, name, reschedule};
use crate::store::names::{Kind, Named, Numbers, assign};
use crate::store::queue::{
    Accept, Accepted, Attempt, Dedupe, DeliveryRef, Lease, LeaseRequest, Leased, Next, Queue,
    Ready, Start, TargetId,
};
use crate::store::{Answer, Changed, ClaimResult, Ownership, StoreError};

/// The wait of a stored delivery whose record cannot be decoded.
const UNREADABLE: Duration = Duration::from_secs(3600);
/// The wait of units that were leased and could not be read.
const READ_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The lease of a claim while its delivery is written.
const WRITE_LEASE: Duration = Duration::from_secs(60);

impl Embedded {
    /// Returns the disk.
    pub(super) fn disk(&self) -> Result<&Disk, StoreError> {
        self.disk.as_ref().ok_or_else(|| {
            StoreError::Unavailable("there is no store on disk: `store.path` is not set".into())
        })
    }

    /// Gives a delivery to the disk, with its claim; that is done also if the answer is not waited for.
    fn offer(&self, delivery: &Arc<Accept>, dedupe: Dedupe) -> Answer<'static, Accepted> {
        let disk = match self.disk() {
            Ok(disk) => disk,
            Err(error) => return at_once(Err(error)),
        };
        let committing = PendingCommit::of(dedupe, delivery);
        let mut known = false;
        if let Some(PendingCommit { key, token, .. }) = committing {
            match self.shared.claim(key, token, WRITE_LEASE) {
                ClaimResult::Fresh => {}
                ClaimResult::Committed => known = true,
                ClaimResult::InFlight { lapses_in } => {
                    return at_once(Ok(Accepted::InFlight { lapses_in }));
                }
            }
        }
        let commit = committing.map(|c| Commit {
            key: c.key,
            window: ms(c.window),
            dead: c.dead,
            known,
        });
        let unique = match (dedupe, commit) {
            (Dedupe::Own { digest }, _) => Unique::ByOwnId(digest),
            (_, Some(commit)) => Unique::ByKey(commit),
            (_, None) => Unique::Not,
        };
        let record = encoded(&delivery.record, dedupe);
        let bytes = record.len() + bytes_of(delivery);
        // a duplicate of a stored delivery needs no room, and an alarm may be about the very lack of it
        let admitted = match disk.room().admit(bytes) {
            Err(full) if !known && delivery.origin.0 != self.alarms.load(Ordering::Relaxed) => {
                let refused = Err(full);
                if let Some(committing) = committing {
                    committing.settle(&self.shared, known, &refused);
                }
                return at_once(refused);
            }
            admitted => admitted.ok(),
        };
        let options = WriteOptions {
            key: committing.map(|c| c.key),
            bytes,
            more_units: delivery.to.len().saturating_sub(1),
            finishes: known,
            gathers: false,
        };
        let others = delivery
            .to
            .iter()
            .any(|to| !matches!(to.start, Start::Mine(_) | Start::Over(_) | Start::Cancelled));
        let (shared, offered) = (Arc::clone(&self.shared), Arc::clone(delivery));
        disk.write(
            options,
            move |writing| accept(writing, &offered, &record, unique),
            move |outcome| {
                drop(admitted);
                if let Some(committing) = committing {
                    committing.settle(&shared, known, outcome);
                }
                if matches!(outcome, Ok(Accepted::Revived { .. })) || (others && outcome.is_ok()) {
                    shared.work.notify_one();
                }
            },
        )
    }
}

/// Returns an answer that is known at once.
pub(super) fn at_once<T: Send + 'static>(answer: Result<T, StoreError>) -> Answer<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl Queue for Embedded {
    fn numbers(&self, names: &[Named]) -> Answer<'_, Vec<Numbers>> {
        let names = names.to_vec();
        match self.disk() {
            Ok(disk) => {
                let options = WriteOptions {
                    finishes: true,
                    ..WriteOptions::default()
                };
                let (alarms, kinds) = (
                    Arc::clone(&self.alarms),
                    names.iter().map(|named| named.kind).collect::<Vec<_>>(),
                );
                disk.write(
                    options,
                    move |writing| name::numbers(writing, &names),
                    move |outcome| {
                        // the first of them are the alarms
                        let mut given = outcome.iter().flatten().zip(kinds);
                        if let Some((numbers, _)) = given.find(|(_, kind)| *kind == Kind::Alarm) {
                            alarms.store(numbers.number, Ordering::Relaxed);
                        }
                    },
                )
            }
            // without a disk nothing outlives the process, but a rename within it is one all the same
            Err(_) => at_once(Ok(assign(&mut self.names.lock(), &names))),
        }
    }

    fn names(&self) -> Answer<'_, Vec<(Kind, u32, Arc<str>)>> {
        match self.disk() {
            Ok(disk) => disk.reader().read(name::names),
            Err(error) => at_once(Err(error)),
        }
    }

    fn accept(&self, delivery: Arc<Accept>, dedupe: Dedupe) -> Answer<'_, Accepted> {
        let mut offered = self.offer(&delivery, dedupe);
        Box::pin(async move {
            loop {
                let accepted = offered.await?;
                // what memory took it for a duplicate of may have been erased before this reached the disk: then it is new
                let key = PendingCommit::of(dedupe, &delivery).map(|committing| committing.key);
                if accepted != (Accepted::Duplicate { of: None })
                    || key.is_none_or(|key| self.shared.remembered(&[key]) > 0)
                {
                    return Ok(accepted);
                }
                offered = self.offer(&delivery, dedupe);
            }
        })
    }

    fn ready(&self, after: Option<TargetId>, skip: &Arc<HashSet<TargetId>>) -> Answer<'_, Ready> {
        let (shared, skip) = (Arc::clone(&self.shared), Arc::clone(skip));
        let read = move |reading: &Reading<'_>| {
            if shared.agenda.lock().next_scan(reading.now) {
                look::scan(reading, &shared.agenda, &mut shared.scanned.lock())?;
            }
            look::ready(reading, &shared.agenda, after, &skip)
        };
        match self.disk() {
            Ok(disk) => disk.reader().read(read),
            Err(error) => at_once(Err(error)),
        }
    }

    fn put_off(&self, targets: &[(TargetId, Duration)]) {
        let now = self.shared.time.now();
        let mut agenda = self.shared.agenda.lock();
        for (target, wait) in targets {
            agenda.put_off(*target, now.saturating_add(ms(*wait)));
        }
    }

    fn wake(&self, targets: &[TargetId]) {
        let mut agenda = self.shared.agenda.lock();
        for target in targets {
            agenda.wake(*target);
        }
    }

    fn oldest_due(&self, except: &HashSet<TargetId>) -> Option<Duration> {
        let now = self.shared.time.now();
        let oldest = self.shared.agenda.lock().oldest_due(now, except)?;
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
            let (disk, options) = (
                self.disk()?,
                WriteOptions {
                    finishes: true,
                    ..WriteOptions::default()
                },
            );
            let wall = self.wall();
            let taken = disk
                .write(
                    options,
                    move |writing| lease::lease(writing, &requests, lease, held, wall),
                    |_| {},
                )
                .await?;
            if taken.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<_> = taken
                .iter()
                .map(|taken| taken.lease.unit.delivery)
                .collect();
            let read = disk
                .reader()
                .read(move |reading| look::stored(reading, ids))
                .await;
            let stored = match &read {
                Ok(stored) => stored,
                Err(_) => &HashMap::new(),
            };
            let (mut leased, mut unread) = (Vec::new(), Vec::new());
            for lease::LeasedUnit {
                lease,
                attempts,
                cause,
                age,
                waited,
                lane,
                bytes,
                unsettled: _,
            } in taken
            {
                match stored.get(&lease.unit.delivery) {
                    Some(stored) => leased.push(Leased {
                        lease,
                        attempts,
                        cause,
                        age,
                        waited,
                        lane,
                        bytes,
                        stored: Arc::clone(stored),
                    }),
                    None => unread.push(lease),
                }
            }
            // a delivery that was purged meanwhile has nothing to release; one whose record cannot be decoded waits for a person, or a
            // newer version
            let next = Next::Later(if read.is_ok() {
                UNREADABLE
            } else {
                READ_RETRY_DELAY
            });
            for lease in unread {
                drop(self.settle(lease, None, next));
            }
            read.map(|_| leased)
        })
    }

    fn version(&self, id: DeliveryRef, version: u16) -> Answer<'_, Option<Bytes>> {
        match self.disk() {
            Ok(disk) => disk
                .reader()
                .read(move |reading| look::version(reading, id, version)),
            Err(error) => at_once(Err(error)),
        }
    }

    fn settle(&self, lease: Lease, attempt: Option<Attempt>, next: Next) -> Answer<'_, Ownership> {
        let disk = match self.disk() {
            Ok(disk) => disk,
            Err(error) => return at_once(Err(error)),
        };
        let was_made = attempt.is_some();
        let attempt = recorded(attempt, next, disk.room().is_full());
        let bytes = attempt.as_ref().map_or(0, |attempt| {
            attempt.head.len() + attempt.body.len() + attempt.facts.len()
        });
        let (shared, late) = (Arc::clone(&self.shared), Arc::clone(&self.late));
        let wall = self.wall();
        let settled = disk.write(
            WriteOptions {
                bytes,
                finishes: true,
                gathers: may_gather(lease, next),
                ..WriteOptions::default()
            },
            move |writing| settle(writing, lease, attempt.as_ref(), was_made, next, wall),
            move |outcome| {
                if let Ok(settled) = outcome {
                    late.fetch_add(u64::from(settled.late), Ordering::Relaxed);
                    if settled.wakes {
                        shared.work.notify_one();
                    }
                }
            },
        );
        Box::pin(async move { settled.await.map(|settled| settled.ownership) })
    }

    fn reschedule(&self, target: TargetId, schedule: &Schedule) -> Answer<'_, ()> {
        let schedule = Arc::new(schedule.clone());
        Box::pin(async move {
            let (disk, options) = (
                self.disk()?,
                WriteOptions {
                    finishes: true,
                    ..WriteOptions::default()
                },
            );
            let by = Arc::clone(&schedule);
            if disk
                .write(
                    options,
                    move |writing| reschedule::is_followed(writing, target, &by),
                    |_| {},
                )
                .await?
            {
                return Ok(());
            }
            let mut after = None;
            loop {
                let by = Arc::clone(&schedule);
                after = disk
                    .write(
                        options,
                        move |writing| reschedule::step(writing, target, &by, after),
                        |_| {},
                    )
                    .await?;
                self.shared.work.notify_one();
                if after.is_none() {
                    return Ok(());
                }
            }
        })
    }

    fn work(&self) -> Changed {
        let notified = Arc::clone(&self.shared.work).notified_owned();
        Box::pin(notified)
    }
}
