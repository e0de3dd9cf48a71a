//! The store of a fleet: PostgreSQL. The functions of the schema do the work, each in one round trip; this room gives them arrays and reads rows.
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::{Answer, Health, Nature, StoreError};

mod accept;
mod agenda;
mod call;
mod claims;
mod connection;
mod errors;
mod hints;
mod jobs;
mod lease;
mod ledger;
mod ledger_calls;
mod link;
pub mod migrate;
mod numbers;
pub mod options;
mod queue;
mod queue_calls;
mod reach;
mod reschedule;
mod revive;
mod servers;
mod settle;
mod tls;
mod work;
mod worker;

use lease::Floors;
use ledger_calls::LedgerCalls;
use link::Link;
use options::Options;
use queue_calls::QueueCalls;
use work::Work;

/// The store of a fleet.
#[derive(Debug)]
pub struct Postgres {
    hash_key: [u8; 16],
    link: Link,
    ledger: LedgerCalls,
    queue: Arc<QueueCalls>,
    /// The targets with waiting units.
    work: Arc<Work>,
    floors: Floors,
    clock: Arc<dyn Clock>,
}

impl Postgres {
    /// Opens the store: connects, and verifies that the schema is there and of a version that this program knows. The connections live on the
    /// runtime on which this is called.
    ///
    /// # Errors
    /// No server can be reached, or it has no such schema. The message holds no secret.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let link = Link::new(options);
        let hash_key = link.open().await?;
        Ok(Self {
            hash_key,
            ledger: LedgerCalls::new(&link),
            queue: QueueCalls::new(&link),
            work: Arc::new(Work::new(clock.mono())),
            floors: Floors::default(),
            link,
            clock,
        })
    }

    /// Returns the properties that it has as long as it is open.
    pub fn nature(&self) -> Nature {
        Nature {
            durable: true,
            shared: true,
        }
    }

    /// Returns its condition now.
    pub fn health(&self) -> Health {
        Health {
            trouble: self.link.trouble(),
            clock_jump: false,
        }
    }

    /// Makes the calls that wait, then closes all connections. A repeated call does nothing.
    pub fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.link.close().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
