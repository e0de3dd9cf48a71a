//! The store of a fleet: PostgreSQL. The functions of the schema do the work, each in one round trip; this room gives them arrays and reads rows.
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::embedded::Embedded;
use crate::store::quota::{SharedTokens, TokenGrant, TokenRequest};
use crate::store::secret_use::{SecretMatches, SecretTotals};
use crate::store::{Answer, Health, Ledger, Nature, Store, StoreError};

mod accept;
mod act;
mod address_book;
mod agenda;
mod archive;
mod attempts;
mod call;
mod claims;
mod columns;
mod connection;
mod connector;
mod days;
mod endpoint;
mod endpoint_change;
mod errors;
pub mod facts;
mod figures;
mod fleet;
mod hints;
mod jobs;
mod lease;
mod ledger;
mod ledger_calls;
mod link;
mod maintenance;
pub mod migrate;
mod numbers;
pub mod options;
mod page;
mod queue;
mod queue_calls;
mod quota;
mod reach;
mod reschedule;
mod revive;
mod secret_use;
mod settle;
mod summary;
mod sweep;
mod tls;
pub mod transfer;
mod unanswered;
mod upkeep;
pub mod url_servers;
mod work;
mod worker;

use lease::Floors;
use ledger_calls::LedgerCalls;
use link::{Lane, Link};
use options::Options;
use queue_calls::QueueCalls;
use upkeep::Upkeep;
use work::Work;

pub use errors::NoConnection;
pub use figures::{Distribution, Figures};
pub use fleet::{Fleet, Standby};

/// The store of a fleet.
#[derive(Debug)]
pub struct Postgres {
    hash_key: [u8; 16],
    link: Link,
    ledger: LedgerCalls,
    queue: QueueCalls,
    tokens: jobs::Sender<quota::Reserve>,
    /// The targets with waiting units.
    work: Arc<Work>,
    floors: Floors,
    /// The delivery IDs that this gateway remembers itself, for the time in which no server answers.
    memory: Arc<dyn Ledger>,
    upkeep: Arc<Upkeep>,
    clock: Arc<dyn Clock>,
}

impl Postgres {
    /// Opens the store: connects, and verifies that the schema is there and of a version that this program knows. Then tells the other gateways every
    /// few seconds that this one lives, and does its part of the maintenance. The connections live on the runtime on which this is called.
    ///
    /// # Errors
    /// No server can be reached, or it has no such schema. The message holds no secret.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let store = Arc::new(Self::connect(options, clock).await?);
        store.link.spawn(Self::maintain(Arc::downgrade(&store)));
        Ok(store)
    }

    /// Opens the store without its maintenance.
    async fn connect(options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let memory = Embedded::in_memory(options.remembered, Arc::clone(&clock));
        let memory = memory.map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        let link = Link::new(options);
        let hash_key = link.open().await?;
        Ok(Self {
            hash_key,
            ledger: LedgerCalls::new(&link),
            queue: QueueCalls::new(&link),
            tokens: link.kind(Lane::Claims),
            work: Arc::new(Work::new(clock.mono())),
            floors: Floors::default(),
            memory: Arc::new(memory),
            upkeep: Arc::default(),
            link,
            clock,
        })
    }
}

impl Store for Postgres {
    fn nature(&self) -> Nature {
        Nature {
            durable: true,
            shared: true,
        }
    }

    fn health(&self) -> Health {
        Health {
            trouble: self.link.trouble(),
            clock_jump: self.upkeep.clock.jumped(),
            fleet: self.fleet(),
            away: self.link.away(),
        }
    }

    fn figures(&self) -> Option<Figures> {
        Some(self.link.figures())
    }

    fn memory(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::clone(&self.memory))
    }

    fn configured(&self, hash: &str, generation: u64) {
        self.upkeep.configured(hash.into(), generation);
    }

    fn tokens(&self) -> Option<&dyn SharedTokens> {
        Some(self)
    }

    fn count_matches(&self, matches: Vec<SecretMatches>) -> Answer<'_, Vec<SecretTotals>> {
        Box::pin(self.add_matches(matches))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // if the farewell is lost, this gateway is missed after a while
            if let Err(error) = self.leave().await {
                tracing::debug!(%error, "the other gateways do not know that this one ends");
            }
            self.link.close().await;
            Ok(())
        })
    }
}

impl SharedTokens for Postgres {
    fn reserve(&self, request: TokenRequest) -> Answer<'_, TokenGrant> {
        self.tokens.send(request)
    }
}

#[cfg(test)]
mod tests;
