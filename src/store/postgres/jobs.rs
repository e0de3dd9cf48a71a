//! The calls that wait for a connection. Rows of many callers go out as one call, where their kind allows it.
use std::any::type_name;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot};
use tokio_postgres::Row;
use uuid::Uuid;

use super::call::Call;
use crate::clock::{Clock as _, SystemClock};
use crate::store::{Answer, StoreError};

/// The most rows of one call.
const MAX_ROWS: usize = 256;
/// The most bytes of one call, but for a single row that has more.
const MAX_BYTES: usize = 2 << 20;
/// The most rows that wait.
const MAX_JOBS: usize = 4096;
/// The most bytes that wait.
const MAX_WAITING: usize = 64 << 20;

/// A kind of calls.
pub(super) trait Kind: Send + Sync + 'static {
    /// The question of one caller.
    type Row: Send + Sync + 'static;
    /// The answer for one caller.
    type Answer: Send + 'static;
    /// The most rows that go into one call.
    const MAX_ROWS: usize = MAX_ROWS;
    /// Whether it ends work that is begun: such calls are let in while others are refused.
    const FINISHES: bool = false;
    /// The part of the timeout that it has.
    const HURRY: u32 = 1;

    /// Returns hashes of what no two rows of a call may have in common.
    fn keys(row: &Self::Row) -> Vec<u64>;
    /// Returns the bytes that the row sends.
    fn bytes(_row: &Self::Row) -> usize {
        0
    }
    /// Returns the ID whose day must have a table.
    fn day_of(_row: &Self::Row) -> Option<Uuid> {
        None
    }
    /// Returns the call for some rows.
    fn call(rows: &[Arc<Self::Row>]) -> Call;
    /// Reads the answers, one for each row in order.
    ///
    /// # Errors
    /// The server answered in another form.
    fn answers(rows: &[Arc<Self::Row>], answer: Vec<Row>) -> Result<Vec<Self::Answer>, StoreError>;
}

/// Rows of one kind that are sent together.
pub(super) trait Batch: Send {
    /// Returns the call.
    fn call(&self) -> Call;
    /// Returns the time that it may take, of the timeout.
    fn time(&self, timeout: Duration) -> Duration;
    /// Returns the number of rows.
    fn rows(&self) -> usize;
    /// Returns whether rows of several callers can be in it.
    fn may_have_several(&self) -> bool;
    /// Returns the IDs whose days must have tables.
    fn days(&self) -> Vec<Uuid>;
    /// Gives each caller its answer.
    fn answer(self: Box<Self>, answer: Result<Vec<Row>, StoreError>);
    /// Splits it into batches of one row.
    fn singly(self: Box<Self>) -> Vec<Box<dyn Batch>>;
}

/// The rows of one kind that wait.
trait Waiting: Send + Sync {
    /// Returns the number of the oldest row, and the time since which it waits.
    fn oldest(&self) -> Option<(u64, Instant)>;
    /// Takes the oldest rows that may be sent together.
    fn take(&self, load: &Load) -> Option<Box<dyn Batch>>;
}

/// Rows and bytes that wait.
#[derive(Debug, Default)]
struct Load {
    jobs: AtomicUsize,
    bytes: AtomicUsize,
}

impl Load {
    /// Counts a row, unless there are too many.
    fn admit(&self, bytes: usize, finishes: bool) -> bool {
        let share = if finishes { 2 } else { 1 };
        let (jobs, waiting) = (
            self.jobs.fetch_add(1, Ordering::Relaxed),
            self.bytes.fetch_add(bytes, Ordering::Relaxed),
        );
        // one that is larger than all that may wait is let in if none waits
        let fits = jobs < MAX_JOBS * share
            && (waiting == 0 || waiting.saturating_add(bytes) <= MAX_WAITING * share);
        if !fits {
            self.release(1, bytes);
        }
        fits
    }

    fn release(&self, jobs: usize, bytes: usize) {
        self.jobs.fetch_sub(jobs, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// All that waits for some connections.
#[derive(Default)]
pub(super) struct Jobs {
    kinds: RwLock<Vec<Arc<dyn Waiting>>>,
    load: Load,
    next: AtomicU64,
    closed: AtomicBool,
    /// Connections that make a call now.
    busy: AtomicUsize,
    /// Tells the first worker of a new row.
    first: Notify,
    /// Tells the other workers that there is more than one can do.
    others: Notify,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("load", &self.load)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Jobs {
    /// Adds a kind of calls. What is sent through the result waits here.
    pub(super) fn kind<K: Kind>(self: &Arc<Self>) -> Sender<K> {
        let rows = Arc::<Rows<K>>::default();
        self.kinds.write().push(Arc::<Rows<K>>::clone(&rows));
        Sender {
            rows,
            jobs: Arc::clone(self),
        }
    }

    /// Takes the rows of the kind whose oldest row waits longest, if that waits for `patience` at least.
    pub(super) fn take(&self, patience: Duration) -> Option<Box<dyn Batch>> {
        let kinds = self.kinds.read();
        let oldest = |kind: &Arc<dyn Waiting>| Some((kind.oldest()?, Arc::clone(kind)));
        let oldest = kinds.iter().filter_map(oldest);
        let ((_, since), kind) = oldest.min_by_key(|((number, _), _)| *number)?;
        if !patience.is_zero() && SystemClock.mono() < since + patience {
            return None;
        }
        kind.take(&self.load)
    }

    /// Returns whether nothing waits, and no connection makes a call.
    pub(super) fn is_idle(&self) -> bool {
        self.load.jobs.load(Ordering::Relaxed) == 0 && self.busy.load(Ordering::Relaxed) == 0
    }

    /// Counts a connection that makes a call, until the result is dropped. Tells another worker of it.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.others.notify_one();
        Busy(Arc::clone(self))
    }

    /// Waits until a row may have come.
    pub(super) async fn arrival(&self) {
        self.first.notified().await;
    }

    /// Waits until another worker may need help, or this is closed.
    pub(super) async fn call_for_help(&self) {
        let mut called = std::pin::pin!(self.others.notified());
        called.as_mut().enable();
        if !self.is_closed() {
            called.await;
        }
    }

    /// Refuses new rows. What waits is still sent.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.first.notify_one();
        self.others.notify_waiters();
    }

    /// Returns whether it refuses new rows.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A connection that makes a call.
#[derive(Debug)]
pub(super) struct Busy(Arc<Jobs>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends rows of one kind.
pub(super) struct Sender<K: Kind> {
    rows: Arc<Rows<K>>,
    jobs: Arc<Jobs>,
}

impl<K: Kind> fmt::Debug for Sender<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&type_name::<K>()).finish()
    }
}

impl<K: Kind> Sender<K> {
    /// Sends a row. It is sent also if the answer is not waited for.
    pub(super) fn send(&self, row: K::Row) -> Answer<'static, K::Answer> {
        let refused = |why: &str| -> Answer<'static, K::Answer> {
            Box::pin(std::future::ready(Err(StoreError::Unavailable(why.into()))))
        };
        if self.jobs.is_closed() {
            return refused("the store is closed");
        }
        let bytes = K::bytes(&row);
        if !self.jobs.load.admit(bytes, K::FINISHES) {
            return refused("too many calls wait for the database");
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut rows = self.rows.0.lock();
            rows.push_back(Job {
                row: Arc::new(row),
                bytes,
                number: self.jobs.next.fetch_add(1, Ordering::Relaxed),
                since: SystemClock.mono(),
                answer,
            });
        }
        self.jobs.first.notify_one();
        Box::pin(async move {
            let lost = || StoreError::Unknown("the store was closed".into());
            answered.await.unwrap_or_else(|_| Err(lost()))
        })
    }
}

struct Job<K: Kind> {
    row: Arc<K::Row>,
    bytes: usize,
    number: u64,
    since: Instant,
    answer: oneshot::Sender<Result<K::Answer, StoreError>>,
}

struct Rows<K: Kind>(Mutex<VecDeque<Job<K>>>);

impl<K: Kind> Default for Rows<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Waiting for Rows<K> {
    fn oldest(&self) -> Option<(u64, Instant)> {
        let rows = self.0.lock();
        rows.front().map(|job| (job.number, job.since))
    }

    fn take(&self, load: &Load) -> Option<Box<dyn Batch>> {
        let mut waiting = self.0.lock();
        let (mut rows, mut answers) = (Vec::new(), Vec::new());
        let (mut keys, mut bytes, mut left) = (HashSet::new(), 0_usize, VecDeque::new());
        while rows.len() < K::MAX_ROWS && (rows.is_empty() || bytes < MAX_BYTES) {
            let Some(job) = waiting.pop_front() else {
                break;
            };
            let of_row = K::keys(&job.row);
            // what comes after a row that stays must not overtake it
            let stays = of_row.iter().any(|key| keys.contains(key))
                || (!rows.is_empty() && bytes + job.bytes > MAX_BYTES);
            keys.extend(of_row);
            if stays {
                left.push_back(job);
            } else {
                bytes += job.bytes;
                rows.push(job.row);
                answers.push(job.answer);
            }
        }
        while let Some(job) = left.pop_back() {
            waiting.push_front(job);
        }
        drop(waiting);
        load.release(rows.len(), bytes);
        (!rows.is_empty()).then(|| Box::new(Taken::<K> { rows, answers }) as Box<dyn Batch>)
    }
}

struct Taken<K: Kind> {
    rows: Vec<Arc<K::Row>>,
    answers: Vec<oneshot::Sender<Result<K::Answer, StoreError>>>,
}

impl<K: Kind> Batch for Taken<K> {
    fn call(&self) -> Call {
        let mut call = K::call(&self.rows);
        call.bytes = self.rows.iter().map(|row| K::bytes(row)).sum();
        call
    }

    fn time(&self, timeout: Duration) -> Duration {
        timeout / K::HURRY
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn may_have_several(&self) -> bool {
        K::MAX_ROWS > 1
    }

    fn days(&self) -> Vec<Uuid> {
        self.rows.iter().filter_map(|row| K::day_of(row)).collect()
    }

    fn answer(self: Box<Self>, answer: Result<Vec<Row>, StoreError>) {
        let answers = answer.and_then(|answer| K::answers(&self.rows, answer));
        let answers = answers.and_then(|answers| {
            let is_whole = answers.len() == self.answers.len();
            let form = || StoreError::Corrupted("a function of the schema left rows out".into());
            if is_whole { Ok(answers) } else { Err(form()) }
        });
        // a caller that has gone needs no answer
        match answers {
            Ok(answers) => {
                for (caller, answer) in self.answers.into_iter().zip(answers) {
                    caller.send(Ok(answer)).ok();
                }
            }
            Err(error) => {
                for caller in self.answers {
                    caller.send(Err(error.clone())).ok();
                }
            }
        }
    }

    fn singly(self: Box<Self>) -> Vec<Box<dyn Batch>> {
        let single = |(row, answer)| {
            let (rows, answers) = (vec![row], vec![answer]);
            Box::new(Self { rows, answers }) as Box<dyn Batch>
        };
        self.rows
            .into_iter()
            .zip(self.answers)
            .map(single)
            .collect()
    }
}

/// Calls that are made one by one.
pub(super) struct Single;

impl Kind for Single {
    type Row = Call;
    type Answer = Vec<Row>;
    const MAX_ROWS: usize = 1;

    fn keys(_: &Call) -> Vec<u64> {
        Vec::new()
    }

    fn bytes(row: &Call) -> usize {
        row.bytes
    }

    fn call(rows: &[Arc<Call>]) -> Call {
        let first = rows.first().map(|call| Call::clone(call));
        // there is one
        first.unwrap_or_else(|| Call::look("store_1"))
    }

    fn answers(_: &[Arc<Call>], answer: Vec<Row>) -> Result<Vec<Vec<Row>>, StoreError> {
        Ok(vec![answer])
    }
}

#[cfg(test)]
mod tests;
