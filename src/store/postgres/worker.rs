//! A worker uses one connection: it takes waiting calls, makes them, and gives the callers their answers.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use uuid::Uuid;

use super::call::{Call, Day};
use super::connection::Connection;
use super::connector::Connector;
use super::errors::Fault;
use super::figures::Repeat;
use super::jobs::{Batch, Jobs};
use super::migrate::DAYS_AHEAD;
use super::unanswered::Unanswered;
use crate::clock::{Clock as _, SystemClock};
use crate::random;
use crate::store::StoreError;

/// The bytes that a call may send for each second more that it may take.
const BYTES_PER_SECOND: usize = 5_000_000;
/// The time after which a connection that nobody uses is closed.
const IDLE: Duration = Duration::from_secs(60);
/// The time for which rows wait before another connection helps.
const HELP_AFTER: Duration = Duration::from_millis(2);
/// The pause before a call is made once more that was rolled back because of others.
const SHORTEST_PAUSE: u64 = 5;
/// The largest part of that pause that is random, in milliseconds.
const RANDOM_PAUSE: u64 = 15;

/// A worker: it uses one connection.
pub(super) struct Worker {
    jobs: Arc<Jobs>,
    connector: Arc<Connector>,
    connection: Option<Connection>,
    /// The connections of all workers of its jobs that wait for the end of a call.
    unanswered: Arc<Unanswered>,
}

impl Worker {
    pub(super) fn new(
        jobs: Arc<Jobs>,
        connector: Arc<Connector>,
        unanswered: Arc<Unanswered>,
    ) -> Self {
        Self {
            jobs,
            connector,
            connection: None,
            unanswered,
        }
    }

    /// Makes all calls that come.
    pub(super) async fn work_always(mut self) {
        loop {
            if let Some(batch) = self.jobs.take(Duration::ZERO) {
                let busy = self.jobs.begin();
                self.make(batch).await;
                drop(busy);
            } else if self.jobs.is_closed() {
                return;
            } else if timeout(IDLE, self.jobs.arrival()).await.is_err() {
                self.connection = None;
            }
        }
    }

    /// Makes calls that would wait: near the server one connection makes the largest batches, far from it more of them hide the way.
    pub(super) async fn help(mut self) {
        while !self.jobs.is_closed() {
            if timeout(IDLE, self.jobs.call_for_help()).await.is_err() {
                self.connection = None;
                continue;
            }
            // new rows may come for as long as another is busy
            while !self.jobs.is_idle() {
                match self.jobs.take(HELP_AFTER) {
                    Some(batch) => {
                        let busy = self.jobs.begin();
                        self.make(batch).await;
                        drop(busy);
                    }
                    None => sleep(HELP_AFTER).await,
                }
            }
        }
    }

    /// Makes the call of a batch, and gives its rows their answers.
    async fn make(&mut self, batch: Box<dyn Batch>) {
        let Some(batch) = self.attempt(batch).await else {
            return;
        };
        for single in batch.singly() {
            if let Some(refused) = self.attempt(single).await {
                let why = "other gateways changed the same rows";
                refused.answer(Err(StoreError::Unavailable(why.into())));
            }
        }
    }

    /// Makes the call of a batch, twice if need be. Returns the batch if its rows have to be sent one by one.
    async fn attempt(&mut self, batch: Box<dyn Batch>) -> Option<Box<dyn Batch>> {
        let (mut again, mut days) = (true, true);
        let recorder = Arc::clone(&self.connector.recorder);
        if batch.may_have_several() {
            recorder.batch(batch.rows());
        }
        let call = batch.call();
        loop {
            let fault = match self
                .exchange(&call, batch.time(self.connector.options.timeout))
                .await
            {
                Ok(rows) => {
                    batch.answer(Ok(rows));
                    return None;
                }
                Err(fault) => fault,
            };
            match fault {
                Fault::Again(_) if again => {
                    again = false;
                    recorder.repeat(Repeat::Contended);
                    let pause = SHORTEST_PAUSE + random::number() % (RANDOM_PAUSE + 1);
                    sleep(Duration::from_millis(pause)).await;
                }
                Fault::NoDay(_) if days => {
                    days = false;
                    recorder.repeat(Repeat::NoDay);
                    self.make_days(&batch.days()).await;
                }
                Fault::Again(_) | Fault::Row(_) | Fault::NoDay(_) if batch.rows() > 1 => {
                    recorder.repeat(Repeat::BadRow);
                    return Some(batch);
                }
                Fault::Again(error)
                | Fault::Row(error)
                | Fault::NoDay(error)
                | Fault::Refused(error)
                | Fault::Lost(error) => {
                    batch.answer(Err(error));
                    return None;
                }
            }
        }
    }

    /// Makes the tables of the next days, and of the days of some IDs.
    async fn make_days(&mut self, ids: &[Uuid]) {
        let mut days: Vec<_> = ids.iter().map(|id| Some(Day::of_id(*id))).collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            days.push(None);
        }
        for day in days {
            let call = Call::write("days_make_1").with(DAYS_AHEAD).with(day);
            if let Err(fault) = self.exchange(&call, self.connector.options.timeout).await {
                let error = fault.into_error();
                tracing::warn!(%error, "cannot create the tables of a day");
            }
        }
    }

    async fn exchange(&mut self, call: &Call, time: Duration) -> Result<Vec<Row>, Fault> {
        let connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None if !self.unanswered.has_room() => {
                let why = "the database has not answered earlier calls";
                return Err(Fault::Lost(StoreError::Unavailable(why.into())));
            }
            None => self.connector.connect().await.map_err(Fault::Lost)?,
        };
        let more = u64::try_from(call.bytes / BYTES_PER_SECOND).unwrap_or(u64::MAX);
        let time = time.saturating_add(Duration::from_secs(more));
        let begun = SystemClock.mono();
        let answer = connection
            .exchange(&self.connector.options.schema, call, time)
            .await;
        let took = SystemClock.mono().saturating_duration_since(begun);
        let is_unknown = matches!(answer, Err(Fault::Lost(StoreError::Unknown(_))));
        let recorder = &self.connector.recorder;
        recorder.call(call.function, took, is_unknown);
        if !matches!(answer, Err(Fault::Lost(_))) {
            self.connection = Some(connection);
        } else if connection.is_open() {
            self.unanswered.keep(connection);
        }
        self.note(call, answer.as_ref().err());
        answer
    }

    /// Notes what an answer says about the store.
    fn note(&self, call: &Call, fault: Option<&Fault>) {
        let mut trouble = self.connector.trouble.lock();
        match fault {
            None if call.writes => *trouble = None,
            Some(Fault::Lost(error) | Fault::Refused(error)) => {
                tracing::warn!(call = call.function, %error, "a call of the database failed");
                let is_of_store = matches!(error, StoreError::Full | StoreError::Corrupted(_))
                    || (call.writes && matches!(fault, Some(Fault::Refused(_))));
                if is_of_store {
                    *trouble = Some(error.clone());
                }
            }
            None | Some(Fault::Again(_) | Fault::Row(_) | Fault::NoDay(_)) => {}
        }
    }
}
