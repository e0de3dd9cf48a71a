//! The gateways that share a store: what each tells the others of itself, and what it knows of them.
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_postgres::Row;

use super::call::column;
use super::columns::{count, number};
use crate::clock::Now;
use crate::store::drift::Drift;
use crate::store::{Key, StoreError};

/// The fate of commits if the server is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standby {
    /// A commit waits for a standby, or for what the server has in its place.
    Waits,
    /// A standby is attached, and no commit waits for it.
    Ignored,
    /// No standby is attached to it: its storage may be replicated by other means.
    #[default]
    None,
}

/// The condition of the fleet and of its server, at the last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The monotonic time of the heartbeat.
    pub seen: Instant,
    /// The store's time then.
    pub at: SystemTime,
    /// Gateways that live, with this one.
    pub gates: u32,
    /// Different configs that they have.
    pub hashes: u32,
    /// Different versions of the program that they are.
    pub versions: u32,
    /// Days after today for which there are tables.
    pub days_ahead: u32,
    /// Whether commits wait for a standby.
    pub standby: Standby,
    /// Whether the server takes writes.
    pub writable: bool,
    /// Entries of the ledger, as the server estimates them.
    pub ledger_rows: u64,
    /// Bytes of the ledger, with its indexes.
    pub ledger_bytes: u64,
    /// The time by which the store's clock and this gateway's differ.
    pub skew: Duration,
    /// Whether the store's clock is ahead.
    pub is_ahead: bool,
}

/// The answer to a heartbeat.
pub(super) struct Beat {
    pub(super) fleet: Fleet,
    /// Tasks that are due.
    pub(super) due: Vec<Arc<str>>,
}

impl Beat {
    /// Reads the answer to a heartbeat that was sent at one time, and answered at another.
    pub(super) fn read(row: &Row, (sent, answered): (Now, Now)) -> Result<Self, StoreError> {
        let at: SystemTime = column(row, 0)?;
        let took = answered.mono.saturating_duration_since(sent.mono);
        let ours = sent.wall.checked_add(took / 2).unwrap_or(sent.wall);
        let (skew, is_ahead) = match at.duration_since(ours) {
            Ok(ahead) => (ahead, true),
            Err(behind) => (behind.duration(), false),
        };
        let due: Vec<&str> = column(row, 7)?;
        Ok(Self {
            fleet: Fleet {
                seen: answered.mono,
                at,
                gates: number(row, 1)?,
                hashes: number(row, 2)?,
                versions: number(row, 3)?,
                days_ahead: number(row, 4)?,
                standby: match column(row, 5)? {
                    "waits" => Standby::Waits,
                    "ignored" => Standby::Ignored,
                    _ => Standby::None,
                },
                writable: column(row, 6)?,
                ledger_rows: count(row, 8)?,
                ledger_bytes: count(row, 9)?,
                skew,
                is_ahead,
            },
            due: due.into_iter().map(Arc::from).collect(),
        })
    }
}

/// The part of this gateway's config that the others know.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving {
    /// The hash of the config, by which gateways with another one are noticed.
    pub(super) hash: Arc<str>,
    pub(super) generation: u64,
    /// The numbers of its names; none before the store was asked for them.
    pub(super) numbers: Option<Vec<u32>>,
    /// Its routes whose ledgers are complete, with their policies.
    pub(super) kept: Vec<(Arc<str>, Key)>,
}

/// The store's clock, as this gateway sees it.
#[derive(Debug, Default)]
pub(super) struct StoreClock(Mutex<Option<(Drift, Now)>>);

impl StoreClock {
    /// Takes a reading: the store's time at a monotonic time of this gateway.
    pub(super) fn observe(&self, reading: Now) {
        let mut known = self.0.lock();
        match &mut *known {
            None => *known = Some((Drift::new(reading), reading)),
            Some((drift, last)) => {
                drift.observe(reading);
                *last = reading;
            }
        }
    }

    /// Returns the store's time, if it can be trusted for deletion: it has held for ten minutes.
    pub(super) fn trusted(&self) -> Option<SystemTime> {
        let known = self.0.lock();
        let (drift, last) = known.as_ref()?;
        drift.holds(*last).then_some(last.wall)
    }

    /// Returns whether the store's clock jumped and has not held for ten minutes since.
    pub(super) fn jumped(&self) -> bool {
        let known = self.0.lock();
        known.as_ref().is_some_and(|(drift, _)| drift.jumped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn clock_of_the_store_is_trusted_once_it_has_held() {
        let (clock, start) = (StoreClock::default(), SystemClock.now());
        let at = |minutes: u32, wall: u32| Now {
            mono: start.mono + MINUTE * minutes,
            wall: start.wall + MINUTE * wall,
        };
        assert_eq!((clock.trusted(), clock.jumped()), (None, false));
        clock.observe(start);
        clock.observe(at(9, 9));
        assert_eq!(clock.trusted(), None);
        clock.observe(at(10, 10));
        assert_eq!(clock.trusted(), Some(at(10, 10).wall));
        // another server with another clock took over
        clock.observe(at(11, 71));
        assert_eq!((clock.trusted(), clock.jumped()), (None, true));
        clock.observe(at(21, 81));
        assert_eq!(
            (clock.trusted(), clock.jumped()),
            (Some(at(21, 81).wall), false)
        );
    }
}
