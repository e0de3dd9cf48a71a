//! Heartbeats, and the tasks that one gateway of all does: whichever comes first when a task is due.
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::Postgres;
use super::call::{Blob, Call, column, millis};
use super::columns::{count, first, int, to_text};
use super::fleet::{Beat, Fleet};
use super::link::Lane;
use crate::clock::Now;
use crate::store::StoreError;

/// The time from one heartbeat to the next. Others miss this gateway after three times as much.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats from one measurement of the tables to the next.
const HEARTBEATS_PER_MEASUREMENT: u32 = 12;
/// The time from one round of a task to the next.
const TASK_INTERVAL: Duration = Duration::from_secs(10);
/// The time after which a walk over a whole table begins again.
const WALK_INTERVAL: Duration = Duration::from_secs(60);
/// Pages of a table that one call walks over.
const PAGES_PER_CALL: i32 = 256;
/// The most calls of one task in one round.
const CALLS_PER_ROUND: u32 = 5;
/// The most rows that one call adds up.
const COUNTERS_PER_CALL: i32 = 10_000;
/// The most lanes that one call deletes, and the most units of removed endpoints that one ends.
const ROWS_PER_CALL: i32 = 1000;

impl Postgres {
    /// Tells the others every few seconds that this gateway lives, and does what is due, until the store is closed.
    pub(super) async fn maintain(store: Weak<Self>) {
        let mut beats = 0_u32;
        loop {
            let Some(store) = store.upgrade() else { return };
            let mut leaving = store.upkeep.leaving.subscribe();
            if *leaving.borrow_and_update() {
                return;
            }
            match store.round(beats).await {
                Ok(has_sent) => beats = beats.wrapping_add(u32::from(has_sent)),
                Err(error) => {
                    tracing::debug!(%error, "the store did not take a heartbeat; the next one follows soon");
                }
            }
            drop(store);
            // the store can be dropped meanwhile
            let left = tokio::time::timeout(HEARTBEAT, leaving.wait_for(|is_leaving| *is_leaving));
            if left.await.is_ok() {
                return;
            }
        }
    }

    /// Returns the condition of the fleet at the last heartbeat; none before the first.
    pub fn fleet(&self) -> Option<Fleet> {
        self.upkeep.fleet()
    }

    /// Leaves in order: the others know that this gateway made no gap in the ledgers. It sends no heartbeat any more.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        self.upkeep.leaving.send_replace(true);
        let _sent = self.upkeep.sending.lock().await;
        // without a farewell, this gateway is missed, which is a gap too
        self.tell_gap().await?;
        let call = Call::write("goodbye_1").with(self.upkeep.me);
        self.link.call(Lane::Claims, call).await.map(drop)
    }

    /// Sends a heartbeat, and does the tasks that are due. Returns whether it was sent.
    async fn round(&self, beats: u32) -> Result<bool, StoreError> {
        let Some(due) = self.beat().await? else {
            return Ok(false);
        };
        for task in due {
            if let Err(error) = self.run(&task).await {
                tracing::debug!(%error, task = &*task, "a task of the store was not done; a gateway repeats it");
            }
        }
        if beats.is_multiple_of(HEARTBEATS_PER_MEASUREMENT) {
            let rows = self.link.call(Lane::Looks, Call::look("size_1")).await?;
            let bytes = count(first(&rows)?, 0)?;
            self.upkeep.disk.store(bytes, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// Sends a heartbeat. Returns the tasks that are due; none if none was sent, because the config of this gateway has no numbers yet, or because
    /// it leaves.
    pub(super) async fn beat(&self) -> Result<Option<Vec<Arc<str>>>, StoreError> {
        let serving = self.upkeep.serving();
        // without them, the others would take its routes for ones that nobody serves
        let Some(numbers) = serving.numbers else {
            return Ok(None);
        };
        let _sending = self.upkeep.sending.lock().await;
        if *self.upkeep.leaving.borrow() {
            return Ok(None);
        }
        // before the routes of this gateway count as complete again
        self.tell_gap().await?;
        let numbers: Vec<_> = numbers.into_iter().map(int).collect();
        let call = Call::write("heartbeat_1")
            .with(self.upkeep.me)
            .with(to_text(env!("CARGO_PKG_VERSION")))
            .with(to_text(&serving.hash))
            .with(i64::try_from(serving.generation).unwrap_or(i64::MAX))
            .with(to_text(&host(&self.upkeep.me.to_string())))
            .with(numbers);
        let sent = self.clock.now();
        let rows = self.link.call(Lane::Claims, call).await?;
        let answered = self.clock.now();
        let Beat { fleet, due } = Beat::read(first(&rows)?, (sent, answered))?;
        self.upkeep.clock.observe(Now {
            wall: fleet.at,
            mono: answered.mono,
        });
        self.upkeep.saw(fleet);
        self.keep_routes().await?;
        Ok(Some(due))
    }

    /// Tells the store that deliveries were forwarded of which it may not know, if there were any.
    async fn tell_gap(&self) -> Result<(), StoreError> {
        if !self.upkeep.gap.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let told = self
            .link
            .call(Lane::Claims, Call::write("gap_1").with(0_i64))
            .await;
        if told.is_err() {
            self.upkeep.gap.store(true, Ordering::Release);
        }
        told.map(drop)
    }

    /// Tells the store that the ledgers of this gateway's routes are still kept.
    async fn keep_routes(&self) -> Result<(), StoreError> {
        let kept = self.upkeep.serving().kept;
        if kept.is_empty() {
            return Ok(());
        }
        let policy = |of: &[u8; 16]| Blob(Bytes::copy_from_slice(of));
        let call = Call::write("keep_1")
            .with(
                kept.iter()
                    .map(|(route, _)| to_text(route))
                    .collect::<Vec<_>>(),
            )
            .with(kept.iter().map(|(_, of)| policy(&of.0)).collect::<Vec<_>>());
        self.link.call(Lane::Claims, call).await.map(drop)
    }

    /// Does one round of a task, if this gateway gets it.
    pub(super) async fn run(&self, task: &str) -> Result<(), StoreError> {
        match task {
            "days" => self.end_days().await,
            "ledger" => self.walk("ledger", "ledger_sweep_1").await,
            "own_ids" => self.walk("own_ids", "own_sweep_1").await,
            "counters" => self.fold_counters().await,
            "lanes" => self.sweep_lanes().await,
            "buckets" => match self.take("buckets", TASK_INTERVAL).await? {
                Some(_) => {
                    let call = Call::write("buckets_sweep_1");
                    self.link.call(Lane::Looks, call).await.map(drop)
                }
                None => Ok(()),
            },
            // of the sweeps, or of a newer version
            _ => Ok(()),
        }
    }

    /// Walks over some pages of a table, and deletes what has ended.
    async fn walk(&self, task: &'static str, function: &'static str) -> Result<(), StoreError> {
        let Some(mut page) = self.take(task, HEARTBEAT).await? else {
            return Ok(());
        };
        for _ in 0..CALLS_PER_ROUND {
            let call = Call::write(function).with(page).with(PAGES_PER_CALL);
            let rows = self.link.call(Lane::Looks, call).await?;
            page = column(first(&rows)?, 1)?;
            if page == 0 {
                return self.put(task, 0, Some(WALK_INTERVAL)).await;
            }
        }
        self.put(task, page, None).await
    }

    /// Adds up differences of sums.
    async fn fold_counters(&self) -> Result<(), StoreError> {
        if self.take("counters", TASK_INTERVAL).await?.is_none() {
            return Ok(());
        }
        for _ in 0..CALLS_PER_ROUND {
            let call = Call::write("counters_fold_1").with(COUNTERS_PER_CALL);
            let rows = self.link.call(Lane::Looks, call).await?;
            if column::<i32>(first(&rows)?, 0)? < COUNTERS_PER_CALL {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the rows of empty lanes, and ends what still waits for removed endpoints.
    async fn sweep_lanes(&self) -> Result<(), StoreError> {
        if self.take("lanes", WALK_INTERVAL).await?.is_none() {
            return Ok(());
        }
        for function in ["lanes_sweep_1", "removed_units_1"] {
            for _ in 0..CALLS_PER_ROUND {
                let call = Call::write(function).with(ROWS_PER_CALL);
                let rows = self.link.call(Lane::Looks, call).await?;
                if column::<i64>(first(&rows)?, 0)? < i64::from(ROWS_PER_CALL) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes a task, if it is due, until `every` has passed. Returns the position at which it goes on; none if it is not this gateway's turn.
    pub(super) async fn take(
        &self,
        task: &'static str,
        every: Duration,
    ) -> Result<Option<i64>, StoreError> {
        let call = Call::write("maintenance_1")
            .with(to_text(task))
            .with(millis(every));
        let rows = self.link.call(Lane::Looks, call).await?;
        column(first(&rows)?, 0)
    }

    /// Keeps the position of a task, and lets it be due again after `again`, if that is given.
    pub(super) async fn put(
        &self,
        task: &'static str,
        position: i64,
        again: Option<Duration>,
    ) -> Result<(), StoreError> {
        let call = Call::write("maintenance_set_1")
            .with(to_text(task))
            .with(position)
            .with(again.map(millis));
        self.link.call(Lane::Looks, call).await.map(drop)
    }
}

/// Returns the name of this machine, by which a gateway that comes back after a crash is known; else `otherwise`.
fn host(otherwise: &str) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| otherwise.to_owned())
}
