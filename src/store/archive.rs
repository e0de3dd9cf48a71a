//! Queries and bulk operations for the admin API and the retention sweep. Each call does a bounded amount of work and returns a cursor.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::queue::{Attempt, Cause, DeliveryRef, OriginId, Stored, TargetId};
use super::record::Record;
use super::{Answer, Key, StoreError};
use crate::retry::Reason;

/// The owner of the deliveries that are looked at. There is no default: one tenant never reads another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Deliveries of these origins. A route can own several.
    Origins(Arc<[OriginId]>),
}

impl Scope {
    /// Returns the scope of one origin.
    pub fn of(origin: OriginId) -> Self {
        Self::Origins(Arc::new([origin]))
    }

    /// Returns whether deliveries of `origin` are in it.
    pub fn contains(&self, origin: OriginId) -> bool {
        match self {
            Self::All => true,
            Self::Origins(origins) => origins.contains(&origin),
        }
    }
}

/// The state of a unit. No column holds it: it follows from the table that the unit is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits for its first attempt.
    Pending,
    /// It waits for another.
    Retrying,
    /// Its attempts are exhausted.
    Dead,
    /// A person ended it.
    Cancelled,
    /// It was delivered.
    Delivered,
}

/// Some of the statuses; none of them named: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses(u8);

impl Statuses {
    /// Returns the set of the given ones.
    pub fn of(statuses: &[Status]) -> Self {
        Self(
            statuses
                .iter()
                .fold(0, |set, status| set | Self::bit(*status)),
        )
    }

    /// Returns the set of all states that wait.
    pub fn waiting() -> Self {
        Self::of(&[Status::Pending, Status::Retrying])
    }

    /// Returns whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the set has `status`.
    pub fn contains(self, status: Status) -> bool {
        self.0 & Self::bit(status) != 0
    }

    fn bit(status: Status) -> u8 {
        match status {
            Status::Pending => 1,
            Status::Retrying => 2,
            Status::Dead => 4,
            Status::Cancelled => 8,
            Status::Delivered => 16,
        }
    }
}

/// A selection of deliveries. A field that is not set does not matter; all fields that are set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of its units goes to one of these; empty: anywhere.
    pub targets: Arc<[TargetId]>,
    /// One of its units (of these targets) is one of these.
    pub statuses: Statuses,
    /// Targets to which no route delivers now. A unit that waits for one of them is parked: it has none of the other states.
    pub gone: Arc<[TargetId]>,
    /// Or one of its units is parked.
    pub parked: bool,
    /// Accepted at this time or later.
    pub since: Option<SystemTime>,
    /// Accepted before.
    pub until: Option<SystemTime>,
    /// The provider's ID of it.
    pub delivery_id: Option<Arc<str>>,
    /// Its kind of event.
    pub event_type: Option<Arc<str>>,
    /// Its ledger key.
    pub key: Option<Key>,
    /// The body contains these bytes.
    pub text: Option<Arc<[u8]>>,
}

/// In which direction a page goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// One unit as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitShown {
    /// The target.
    pub target: TargetId,
    /// The state.
    pub status: Status,
    /// Whether it is leased now.
    pub leased: bool,
    /// Attempts made in this round.
    pub attempts: u32,
    /// The number of the last lease. If it is far above the attempts, the process probably crashes while handling this delivery.
    pub leases: u32,
    /// The time until the next attempt, if one is planned; zero if it is due. None also for one that waits behind others of its lane.
    pub next_in: Option<Duration>,
    /// The reason for which it is dead; none if it was cancelled or is not dead.
    pub reason: Option<Reason>,
    /// Its last attempt, if there was one.
    pub last: Option<AttemptSummary>,
}

/// A summary of the last attempt of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptSummary {
    /// The number of its lease.
    pub number: u32,
    /// The time at which it began, in wall time.
    pub started: SystemTime,
    /// The duration.
    pub took: Duration,
    /// The final status, if there was one.
    pub status: Option<u16>,
    /// The error in one word, if there was no response.
    pub error: Option<Arc<str>>,
}

/// One attempt, for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptShown {
    /// The target.
    pub target: TargetId,
    /// Its number: it only grows, past replays and restarts too, and is the one that was sent with it.
    pub number: u32,
    /// Whether it ended after its lease had passed to another.
    pub late: bool,
    /// The recorded attempt.
    pub attempt: Attempt,
}

/// A delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its ID here.
    pub id: DeliveryRef,
    /// The origin.
    pub origin: OriginId,
    /// Its ledger key, if it has one.
    pub key: Option<Key>,
    /// Whether the ledger's entry of that key is its own: it was accepted with it, not only recorded.
    pub owns_key: bool,
    /// The provider's ID of it, if it has one.
    pub delivery_id: Option<Arc<str>>,
    /// The event type.
    pub event_type: Option<Arc<str>>,
    /// Bytes of its body.
    pub size: u64,
    /// Everything but its body; empty if it cannot be read.
    pub record: Record,
    /// Its ways.
    pub units: Vec<UnitShown>,
}

/// A delivery with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The delivery as it was accepted.
    pub stored: Stored,
    /// Its ways.
    pub units: Vec<UnitShown>,
    /// Every attempt, in order.
    pub attempts: Vec<AttemptShown>,
}

/// A piece of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows found. They can be fewer than asked for although there are more: a step looks at a bounded number of rows.
    pub rows: Vec<Row>,
    /// The position from which to go on; none at the end.
    pub next: Option<DeliveryRef>,
}

/// An act on deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActKind {
    /// Sends dead and cancelled units again, and with `delivered` also delivered ones, with a fresh budget and without asking the ledger.
    /// Units that wait are due now.
    Replay {
        /// Whether delivered units are sent again too: a duplicate for the upstream.
        delivered: bool,
        /// The cause.
        cause: Cause,
    },
    /// Units that wait for a later time are due now. Nothing else of them changes.
    AttemptNow,
    /// Units that wait end here.
    Cancel,
    /// All of it is deleted.
    Purge {
        /// Whether what still waits is deleted too.
        waiting: bool,
    },
}

/// The deliveries that an act applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// These.
    Ids(Vec<DeliveryRef>),
    /// The deliveries that match, oldest first, after this one.
    Found(Filter, Option<DeliveryRef>),
}

/// An act of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The act.
    pub kind: ActKind,
    /// To what.
    pub which: Which,
    /// Only units of these targets; empty: of any.
    pub targets: Arc<[TargetId]>,
    /// The person: the name of a token.
    pub who: Arc<str>,
    /// The reason, in words.
    pub reason: Arc<str>,
    /// To what, as the audit says it; none: as `which` does. An act that is made one by one says what all of it is about.
    pub description: Option<Arc<str>>,
    /// The row of the audit that an earlier step of this act wrote: this one adds to it.
    pub goes_on: Option<AuditRow>,
}

/// A row of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRow(pub i64);

/// Keys that a person wants forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgetting {
    /// The keys to forget.
    pub keys: Vec<Key>,
    /// The person: the name of a token.
    pub who: Arc<str>,
    /// To what, as text.
    pub which: Arc<str>,
    /// The reason, in words.
    pub reason: Arc<str>,
}

/// The result of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Deliveries it changed or deleted.
    pub done: u64,
    /// The position from which to go on; none if that was the last.
    pub next: Option<DeliveryRef>,
    /// Whether there is more to do.
    pub more: bool,
    /// Its row in the audit.
    pub audit: Option<AuditRow>,
}

/// The retention of an origin's deliveries. A delivery that still waits is never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The origin.
    pub origin: OriginId,
    /// The age at which they are removed.
    pub age: Duration,
    /// The age at which deliveries with a dead unit are removed.
    pub dead: Duration,
    /// The largest size in bytes; the oldest are removed first.
    pub bytes: Option<u64>,
}

/// An act as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The time, in wall time.
    pub at: SystemTime,
    /// The person.
    pub who: Arc<str>,
    /// The act.
    pub what: Arc<str>,
    /// To what, as text.
    pub which: Arc<str>,
    /// The reason.
    pub reason: Arc<str>,
    /// Deliveries it changed.
    pub done: u64,
}

/// The units of one target, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetCounts {
    /// The target.
    pub target: TargetId,
    /// Units that wait.
    pub waiting: u64,
    /// Dead units, without cancelled ones.
    pub dead: u64,
    /// Cancelled units.
    pub cancelled: u64,
}

/// Numbers for metrics. They are maintained, not counted at each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By origin: deliveries, and bytes of bodies, heads and answers.
    pub origins: Vec<(OriginId, u64, u64)>,
    /// The units of each target.
    pub targets: Vec<TargetCounts>,
    /// Late attempts recorded since the start.
    pub late: u64,
    /// Bytes of the files.
    pub disk: u64,
    /// Bytes of the database that are in use: the rest of it is free for what comes, or goes back to the disk.
    pub used: u64,
    /// Writes that wait.
    pub waiting: usize,
    /// The time that the last write took until it was on the disk.
    pub last_write: Option<Duration>,
}

/// Queries and bulk operations.
pub trait Archive: Send + Sync {
    /// Deliveries after a cursor.
    fn page(
        &self,
        scope: Scope,
        filter: &Filter,
        order: Order,
        after: Option<DeliveryRef>,
        limit: u16,
    ) -> Answer<'_, Page>;
    /// Returns a summary of those of `ids` that exist, in the given order.
    fn rows(&self, scope: Scope, ids: &[DeliveryRef]) -> Answer<'_, Vec<Row>>;
    /// Returns one delivery with its attempts.
    fn get(&self, scope: Scope, id: DeliveryRef) -> Answer<'_, Option<Shown>>;
    /// Does one step of an act, on `step` deliveries at most; its audit row is in the same transaction.
    fn act(&self, scope: Scope, act: &Act, step: u16) -> Answer<'_, Step>;
    /// Forgets committed IDs, whatever waits for them. Returns how many there were. IDs in flight are left alone.
    /// A duplicate is new afterwards.
    fn forget(&self, forgetting: Forgetting) -> Answer<'_, u64>;
    /// Returns the last acts, newest first.
    fn audit(&self, limit: u16) -> Answer<'_, Vec<Audit>>;
    /// Deletes at most `step` deliveries whose retention is over. Looks at some times as many.
    fn sweep(&self, keep: &[Retention], step: u16) -> Answer<'_, Step>;
    /// Numbers for metrics.
    fn totals(&self) -> Answer<'_, Counts>;
    /// Returns the reason why writes do not reach the disk, if they do not. IDs stay in memory and are written later.
    fn trouble(&self) -> Option<StoreError>;
}
