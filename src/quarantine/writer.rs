//! The thread that writes, and the state that it shares with requests and with the admin API.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::bounds::{NotKept, Owner, Sum, Usage};
use super::kept::{Offered, Row};
use super::table::{Table, TableError, set_aside};

/// The most requests that one transaction writes.
const MAX_BATCH: usize = 64;
/// The most requests that are removed before new ones are written.
const MAX_SWEPT: u16 = 1000;
/// The bytes of requests that may wait to be written. A larger request may wait alone.
const MAX_QUEUED_BYTES: u64 = 4 * 1024 * 1024;

/// The settings of a route that apply to its kept requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its name.
    pub(super) route: Arc<str>,
    /// Its earlier names.
    pub(super) previously: Vec<Box<str>>,
    /// The time after which its requests are removed; `None`: as it was when they came.
    pub(super) max_age: Option<Duration>,
}

/// A message for the thread.
pub(super) enum Work {
    /// Writes a request.
    Keep(Box<Offered>),
    /// Looks at [`Due`].
    Look,
}

/// The work that is due beside writing.
#[derive(Default)]
struct Due {
    rules: Option<Arc<[Rule]>>,
    sweep: Option<SystemTime>,
}

/// The counts by which a request is accepted.
#[derive(Default)]
struct Counted {
    usage: Usage,
    /// The bytes that wait to be written.
    queued: u64,
    /// Whether the file is open, so that the usage is known.
    is_open: bool,
    /// The number of times that the file was opened. Requests that waited while it was opened again are neither counted nor written.
    epoch: u64,
}

/// The state of the quarantine. No request waits for the lock of the table.
pub(super) struct Shared {
    file: Option<PathBuf>,
    table: Mutex<Option<Table>>,
    counted: Mutex<Counted>,
    due: Mutex<Due>,
    not_kept: [AtomicU64; NotKept::ALL.len()],
    /// Whether the last write failed, so that the log says it once.
    is_failing: AtomicBool,
}

impl Shared {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            table: Mutex::default(),
            counted: Mutex::default(),
            due: Mutex::default(),
            not_kept: Default::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Returns whether there is a file from an earlier run.
    pub(super) fn has_file(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.exists())
    }

    /// Counts a request that is to be written.
    ///
    /// # Errors
    /// The reason why it cannot be kept.
    pub(super) fn reserve(&self, offered: &mut Offered, max_bytes: u64) -> Result<(), NotKept> {
        let mut counted = self.counted.lock();
        if !counted.is_open {
            return Err(NotKept::Disk);
        }
        if counted.queued > 0 && counted.queued.saturating_add(offered.bytes) > MAX_QUEUED_BYTES {
            return Err(NotKept::Busy);
        }
        counted
            .usage
            .take(&offered.owner, offered.bytes, max_bytes)?;
        counted.queued += offered.bytes;
        offered.epoch = counted.epoch;
        Ok(())
    }

    /// Takes a request off the count that is not written.
    pub(super) fn release(&self, owner: &Owner, bytes: u64, epoch: u64) {
        let mut counted = self.counted.lock();
        if counted.epoch == epoch {
            counted.usage.give_back(owner, bytes);
        }
        counted.queued = counted.queued.saturating_sub(bytes);
    }

    /// Counts a request that was not kept.
    pub(super) fn count(&self, why: NotKept) {
        if let Some(count) = self.counter(why) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counter(&self, why: NotKept) -> Option<&AtomicU64> {
        let at = NotKept::ALL.iter().position(|one| *one == why)?;
        self.not_kept.get(at)
    }

    /// Returns the number of requests that were not kept since the start, by reason.
    pub(super) fn not_kept(&self) -> Vec<(&'static str, u64)> {
        let count = |why: NotKept| {
            let count = self.counter(why);
            let count = count.map_or(0, |count| count.load(Ordering::Relaxed));
            (why.label(), count)
        };
        NotKept::ALL.into_iter().map(count).collect()
    }

    /// Returns what each route holds.
    pub(super) fn sums(&self) -> Vec<(Arc<str>, Sum)> {
        let counted = self.counted.lock();
        let sums = counted.usage.sums();
        sums.map(|(route, sum)| (Arc::clone(route), sum)).collect()
    }

    /// Follows the rules of a new config from now on.
    pub(super) fn follow(&self, rules: Arc<[Rule]>) {
        self.due.lock().rules = Some(rules);
    }

    /// Removes requests whose time is over at `now`, soon.
    pub(super) fn sweep(&self, now: SystemTime) {
        self.due.lock().sweep = Some(now);
    }

    /// Writes until the quarantine is dropped.
    pub(super) fn run(&self, work: &Receiver<Work>) {
        while let Ok(first) = work.recv() {
            let works = std::iter::once(first).chain(work.try_iter());
            let batch: Vec<Work> = works.take(MAX_BATCH).collect();
            let is_last = batch.len() < MAX_BATCH;
            let offered = batch.into_iter().filter_map(|work| match work {
                Work::Keep(offered) => Some(offered.into_row()),
                Work::Look => None,
            });
            self.write(offered.collect());
            if is_last {
                // after the requests that were offered before it: they have the names of the config before
                self.do_due();
            }
        }
    }

    fn write(&self, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let written = self.with_table(|table| {
            let epoch = self.counted.lock().epoch;
            table.keep(rows.iter().filter(|row| row.epoch == epoch))?;
            Ok(epoch)
        });
        let was_failing = self.is_failing.swap(written.is_err(), Ordering::Relaxed);
        match &written {
            Err(error) if !was_failing => tracing::error!(%error, "refused requests are not kept"),
            Ok(_) if was_failing => tracing::info!("refused requests are kept again"),
            Ok(_) | Err(_) => {}
        }
        for row in rows {
            if written.as_ref().is_ok_and(|epoch| *epoch == row.epoch) {
                let mut counted = self.counted.lock();
                counted.queued = counted.queued.saturating_sub(row.bytes);
            } else {
                self.release(&row.owner, row.bytes, row.epoch);
                self.count(NotKept::Disk);
            }
        }
    }

    /// Calls `act` with the open table. A damaged file is set aside, and a new one is begun.
    ///
    /// # Errors
    /// The table cannot be opened, or `act` failed.
    pub(super) fn with_table<T>(
        &self,
        act: impl FnOnce(&mut Table) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let mut open = self.table.lock();
        let done = self.opened(&mut open).and_then(act);
        if let Err(TableError::Damaged(_)) = &done {
            *open = None;
            self.counted.lock().is_open = false;
            self.begin_anew(&mut open);
        }
        done
    }

    /// Returns the table. Opens it first if it is not open, and counts what it holds.
    fn opened<'t>(&self, open: &'t mut Option<Table>) -> Result<&'t mut Table, TableError> {
        if open.is_none() {
            let table = Table::open(self.file.as_deref())?;
            let held = table.sums()?;
            let mut counted = self.counted.lock();
            counted.usage = Usage::default();
            counted.epoch += 1;
            for (owner, sum) in &held {
                counted.usage.add(owner, *sum);
            }
            counted.is_open = true;
            drop(counted);
            *open = Some(table);
        }
        open.as_mut()
            .ok_or_else(|| TableError::Failed("the file is not open".to_owned()))
    }

    /// Renames a damaged file, and opens a new one.
    fn begin_anew(&self, open: &mut Option<Table>) {
        let Some(file) = &self.file else { return };
        match set_aside(file) {
            Ok(aside) => {
                let aside = aside.display();
                tracing::error!(%aside, "the file of the quarantine is damaged and was set aside; a new one is begun");
            }
            Err(error) => {
                tracing::error!(%error, "the damaged file of the quarantine cannot be set aside");
                return;
            }
        }
        if let Err(error) = self.opened(open) {
            tracing::error!(%error, "no new file of the quarantine can be begun");
        }
    }

    /// Follows new rules, and removes requests whose time is over. A step that fails is done the next time.
    fn do_due(&self) {
        let Due { rules, sweep } = std::mem::take(&mut *self.due.lock());
        let followed = rules.as_ref().map_or(Ok(()), |rules| {
            self.with_table(|table| self.apply(rules, table))
        });
        if followed.is_err() {
            let mut due = self.due.lock();
            due.rules = due.rules.take().or(rules);
        }
        if let Some(now) = sweep {
            self.sweep_at(now);
        }
    }

    /// Removes requests whose time is over at `now`. If that fails, they are removed the next time.
    pub(super) fn sweep_at(&self, now: SystemTime) {
        let swept = self.with_table(|table| table.sweep(now, MAX_SWEPT));
        for (owner, bytes) in swept.into_iter().flatten() {
            self.counted.lock().usage.give_back(&owner, bytes);
        }
    }

    fn apply(&self, rules: &[Rule], table: &Table) -> Result<(), TableError> {
        for rule in rules {
            table.follow(&rule.route, &rule.previously, rule.max_age)?;
            let mut counted = self.counted.lock();
            for before in &rule.previously {
                counted.usage.rename(before, &rule.route);
            }
        }
        Ok(())
    }

    /// Removes a request. Returns whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn remove(&self, id: &str) -> Result<bool, TableError> {
        let removed = self.with_table(|table| table.remove(id))?;
        if let Some((owner, bytes)) = &removed {
            self.counted.lock().usage.give_back(owner, *bytes);
        }
        Ok(removed.is_some())
    }

    /// Returns whether nothing waits to be written.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.counted.lock().queued == 0
    }

    /// Bounds the file, as a full disk does.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.with_table(|table| {
            table.limit_pages(pages);
            Ok(())
        })
        .unwrap();
    }
}
