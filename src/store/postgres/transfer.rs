//! Moves the store of a stopped gateway from its directory into a database.
//!
//! All of it is one transaction of the database: a move that is cut off leaves nothing there but empty tables for days, and is made again from the
//! beginning. The server keeps the rows of an open transaction on its disk, so a large store needs no memory, here or there. Just before the
//! commit, the directory is marked: no gateway starts on it any more. If the answer to the commit is lost, the next call finds out by the hash
//! key of the schema, which is that of the directory once the store was moved.
//!
//! The numbers of names, tenants and endpoints, and the key by which delivery IDs are hashed, become those of the schema. Therefore one
//! store alone can be moved into a schema, which must be empty.
//!
//! # Where each column goes
//!
//! "Store time" is milliseconds of the directory's own time, which keeps its distance to the present: what was due in 5 minutes is due in 5
//! minutes. "Wall time" is milliseconds since 1970. Columns without a remark keep their values; texts pass [`crate::store::text::storable`].
//!
//! | SQLite | PostgreSQL |
//! |---|---|
//! | `meta.name`, `meta.value` | `meta`: `hash_key`, `seal_check` (as hex), `retry:…`. `continuity` becomes rows of `kept_route`. `schema`, `store_time`, `wall_time`, `clean_end` are the directory's own |
//! | `ledger.key`, `ledger.delivery` | `ledger` |
//! | `ledger.state` | `ledger.state`: 1 (committed) is 2 there; there is no other |
//! | `ledger.token` | null: nothing sets it |
//! | `ledger.until`, `ledger.ends` | `ledger.until`, store time: the end without the hold, because a delivery that waits holds its entry by itself. Entries that have ended are left out |
//! | `journal.row`, `journal.entries` | `ledger`, in their order: a mark cancels the entries of its key before it |
//! | `journal.until` | nowhere: each entry has its own end |
//! | `name.number`, `name.kind`, `name.name`, `name.owners` | `name` |
//! | `name.parked_at`, `name.parked` | `name`; store time, and milliseconds |
//! | `delivery.row` | nowhere: the order of insertion |
//! | `delivery.id`, `delivery.origin`, `delivery.key`, `delivery.delivery_id`, `delivery.event_type`, `delivery.body`, `delivery.lane` | `delivery`, in the table of the ID's day |
//! | `delivery.at` | `delivery.at`, store time |
//! | `delivery.record` | `delivery.record`; with a digest in it, the delivery is in `own_id` too, if it is the first of its origin with its ID |
//! | `due.id`, `due.target`, `due.lease`, `due.attempt_count`, `due.cause`, `due.lane`, `due.seq`, `due.last_attempt` | `due`, with the origin of the delivery |
//! | `due.run_at` | `due.run_at`, store time; the largest number (behind others of its lane) is `infinity` |
//! | `due.leased`, `due.leased_at` | false, and null: leases are released before, as a start of the gateway does, and their attempts recorded as cut off |
//! | `due.since` | `due.since`, store time |
//! | `attempt.row` | nowhere: `entry` counts on in this order |
//! | `attempt.id`, `attempt.target`, `attempt.lease`, `attempt.cause`, `attempt.took`, `attempt.connect`, `attempt.first_byte`, `attempt.status`, `attempt.error`, `attempt.peer`, `attempt.late`, `attempt.head`, `attempt.body`, `attempt.number`, `attempt.facts` | `attempt` |
//! | `attempt.started` | `attempt.started`, wall time |
//! | `dead.id`, `dead.target`, `dead.reason`, `dead.lease`, `dead.attempt_count`, `dead.lane`, `dead.last_attempt` | `dead`, with the origin of the delivery |
//! | `dead.at` | `dead.at`, store time |
//! | `ended.id`, `ended.at` | `attempt.at` of the delivery's attempts, store time: retention counts from it. The attempts of a delivery that waits have the time at which they ended |
//! | `ended.origin`, `ended.dead` | nowhere: `delivery` and `dead` say it |
//! | `lane.target`, `lane.lane`, `lane.waiting`, `lane.seq` | `lane`; `blocked` if its first unit waits for units in no lane |
//! | `tally.kind`, `tally.number` | `counter`, as a row of 0 of each sum of deliveries and units: a sum that was there once is not absent. Tenants and endpoints are counted in their tables |
//! | `tally.rows`, `tally.bytes` | nowhere: the sums are counted anew from the rows |
//! | `audit.row` | nowhere: `number` counts in this order |
//! | `audit.at`, `audit.who`, `audit.what`, `audit.which`, `audit.reason`, `audit.done` | `audit`; wall time |
//! | `version.row` | nowhere |
//! | `version.id`, `version.version`, `version.body` | `version` |
//! | `tenant.number`, `tenant.uid`, `tenant.edition`, `tenant.settings` | `tenant` |
//! | `tenant.created`, `tenant.removed_at` | `tenant`, wall time |
//! | `endpoint.number`, `endpoint.id`, `endpoint.tenant`, `endpoint.uid`, `endpoint.edition`, `endpoint.state`, `endpoint.url`, `endpoint.settings`, `endpoint.sealed`, `endpoint.job` | `endpoint` |
//! | `endpoint.since` | `endpoint.since`, wall time |
//! | `endpoint.cursor` | `endpoint.cursor`; store times in it become microseconds of the database's time |
//! | `secret.endpoint`, `secret.n`, `secret.name`, `secret.sealed` | `secret` |
//! | `secret.created`, `secret.ends` | `secret`, wall time |
//! | `health.endpoint`, `health.failures`, `health.hours`, `health.status`, `health.cause`, `health.first`, `health.notified` | `health` |
//! | `health.since`, `health.last` | `health`, wall time |
//! | `secret_match.key`, `secret_match.count` | `secret_match` |
//! | `secret_match.since`, `secret_match.last`, `secret_match.seen` | `secret_match`, store time |
//! | `sqlite_sequence.name`, `sqlite_sequence.seq` | the sequences of numbers of tenants and endpoints go on behind the last one. The sequences of other tables are of no use |
use std::path::Path;
use std::sync::Arc;

use super::options::Options;
use crate::clock::Clock;
use crate::store::embedded::sqlite::{Database, Directory, OpenError};
use crate::store::embedded::stopped::StoppedStore;
use crate::tenant::seal::SealKeys;

mod copy;
mod days;
mod error;
mod journal;
mod seals;
mod tables;
mod target;
mod values;
mod whole;

pub use error::TransferError;
use target::{Outcome, Target};
pub use whole::Counts;

/// A store in a directory that no gateway uses, to be moved.
#[derive(Debug)]
pub struct Source(StoppedStore);

/// The end of a move that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The store is in the database now.
    Now(Counts),
    /// An earlier call moved it already.
    Before,
}

impl Source {
    /// Opens the store of a directory, and holds it as a gateway does. Unless it is only looked at, a store of an older version is upgraded, as each
    /// start of a gateway does.
    ///
    /// # Errors
    /// There is none, a gateway uses it, or this program cannot read it.
    pub fn open(
        path: &Path,
        clock: &Arc<dyn Clock>,
        only_look: bool,
    ) -> Result<Self, TransferError> {
        let no_store = || {
            let path = path.display();
            TransferError::Refused(format!(
                "{path} holds no store: name the directory that `store.path` named"
            ))
        };
        // holding a directory makes it
        if !path.join("hookgate.db").is_file() {
            return Err(no_store());
        }
        let directory = Directory::hold(path)?;
        let versions = Database::versions(&directory).map_err(OpenError::Store)?;
        let (found, newest) = versions.ok_or_else(no_store)?;
        // opening refuses what no version upgrades
        if only_look && (1..newest).contains(&found) {
            let path = path.display();
            return Err(TransferError::Refused(format!(
                "an older version of hookgate wrote the store in {path}, and only the move itself upgrades it: leave `--dry-run` out, or run this version's gateway on the directory once"
            )));
        }
        Ok(Self(StoppedStore::open(directory, clock)?))
    }

    /// Counts what would be moved.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn counts(&self) -> Result<Counts, TransferError> {
        whole::count(self.0.reader())
    }

    /// Checks that the keys of the config open all secrets of customers in the store.
    ///
    /// # Errors
    /// They do not.
    pub fn check_seals(&self, keys: Option<&SealKeys>) -> Result<(), TransferError> {
        seals::check(self.0.reader(), keys)
    }

    /// Checks that the store can be moved into a schema that exists. `place` is the name of the database and the schema.
    ///
    /// # Errors
    /// The schema is not empty, the role may not write, or no server can be reached.
    pub async fn check_target(&self, options: &Options, place: &str) -> Result<(), TransferError> {
        self.check_mark(place)?;
        let target = Target::open(options).await?;
        target.begin().await?;
        target.check_rights().await?;
        match self.0.directory().moved_to()? {
            Some(_) if target.hash_key().await? == self.0.hash_key() => Ok(()),
            Some(_) | None => target.check_empty().await,
        }
    }

    /// Moves the store into a schema that exists. `place` is the name of the database and the schema, which the mark of the directory says. Calls
    /// `progress` with the kind of rows and the number of those that were written.
    ///
    /// # Errors
    /// Nothing was moved; or, with [`TransferError::Unknown`], the next call finds out.
    pub async fn transfer(
        &mut self,
        options: &Options,
        place: &str,
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<Moved, TransferError> {
        self.check_mark(place)?;
        let target = Target::open(options).await?;
        let was_marked = self.0.directory().moved_to()?.is_some();
        if was_marked && target.hash_key().await? == self.0.hash_key() {
            return Ok(Moved::Before);
        }
        // before anything is made for it; and again when no gateway can come in between
        target.check_rights().await?;
        target.check_empty().await?;
        days::make(&self.0, &target).await?;
        self.0.release_leases().map_err(OpenError::Store)?;
        target.begin().await?;
        target.lock().await?;
        target.check_empty().await?;
        let counts = whole::write(&self.0, &target, progress).await?;
        self.0.directory().mark_moved(place)?;
        match target.commit().await {
            Outcome::Done => Ok(Moved::Now(counts)),
            Outcome::Failed(error) => {
                // also the mark of an earlier call: under the lock, the schema was empty
                self.0.directory().unmark_moved()?;
                Err(error)
            }
            Outcome::Unknown(why) => Err(TransferError::Unknown(why)),
        }
    }

    /// Refuses a store that was moved, or was perhaps moved, to another place than `place`.
    ///
    /// # Errors
    /// It was, or the mark cannot be read.
    pub fn check_mark(&self, place: &str) -> Result<(), TransferError> {
        let directory = self.0.directory();
        match directory.moved_to()? {
            Some(to) if to != place => Err(directory
                .refuse_moved()
                .map_or_else(TransferError::from, |()| {
                    TransferError::Refused(format!("it was moved to {to}"))
                })),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
