//! Looking and acting: for the admin API and the sweeper, nobody else. Every act is a small step that says where to go on.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::queue::{Attempt, Cause, DeliveryRef, OriginId, Stored, TargetId};
use super::record::Record;
use super::{Answer, Key, StoreError};
use crate::retry::Reason;

/// Whose deliveries are looked at. There is no default: one tenant never reads another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those of these origins: a route can own several.
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

/// Where a unit is. No row says so: it is where the unit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits for its first try.
    Pending,
    /// It waits for another.
    Retrying,
    /// Its tries are over.
    Dead,
    /// A person ended it.
    Cancelled,
    /// It was handed on.
    Delivered,
}

/// Some of the statuses; none of them named: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses(u8);

impl Statuses {
    /// Those given.
    pub fn of(statuses: &[Status]) -> Self {
        Self(
            statuses
                .iter()
                .fold(0, |set, status| set | Self::bit(*status)),
        )
    }

    /// Those that wait.
    pub fn waiting() -> Self {
        Self::of(&[Status::Pending, Status::Retrying])
    }

    /// Whether none is named.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `status` is named.
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

/// Which deliveries. What is not said does not matter; all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of its units goes to one of these; empty: anywhere.
    pub targets: Arc<[TargetId]>,
    /// One of its units (of these targets) is one of these.
    pub statuses: Statuses,
    /// Targets that nobody delivers to now. A unit that waits for one of them is parked: it has none of the statuses.
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
    /// Where it goes.
    pub target: TargetId,
    /// Where it is.
    pub status: Status,
    /// Whether somebody has it leased now.
    pub leased: bool,
    /// Tries made, in this round.
    pub tries: u32,
    /// The number of the last lease: far above the tries, it is a delivery that kills gates.
    pub leases: u32,
    /// The time until the next try, if one is planned; zero if it is due. None also for one that waits behind others of its lane.
    pub next_in: Option<Duration>,
    /// Why it is dead; none if it was cancelled or is not dead.
    pub reason: Option<Reason>,
    /// Its last try, if there was one.
    pub last: Option<LastTry>,
}

/// The last try of a unit, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastTry {
    /// The number of its lease.
    pub number: u32,
    /// When it began, in wall time.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The final status, if there was one.
    pub status: Option<u16>,
    /// What went wrong, in one word, if there was none.
    pub error: Option<Arc<str>>,
}

/// One try as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptShown {
    /// Where it went.
    pub target: TargetId,
    /// Its number: it only grows, past replays and restarts too, and is the one that was sent with it.
    pub number: u32,
    /// Whether it came back after another had taken over.
    pub late: bool,
    /// What was recorded.
    pub attempt: Attempt,
}

/// A delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its ID here.
    pub id: DeliveryRef,
    /// What it belongs to.
    pub origin: OriginId,
    /// Its ledger key, if it has one.
    pub key: Option<Key>,
    /// Whether the ledger's entry of that key is its own: it was accepted with it, not only recorded.
    pub owns_key: bool,
    /// The provider's ID of it, if it has one.
    pub delivery_id: Option<Arc<str>>,
    /// What kind of event it is.
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
    /// What was accepted.
    pub stored: Stored,
    /// Its ways.
    pub units: Vec<UnitShown>,
    /// Every try, in order.
    pub attempts: Vec<AttemptShown>,
}

/// A piece of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What was found; it can be less than asked for although there is more: a step looks at a bounded number of rows.
    pub rows: Vec<Row>,
    /// Where to go on; none at the end.
    pub next: Option<DeliveryRef>,
}

/// What is done to deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Dead and cancelled units, with `delivered` those handed on too, go again, with a fresh budget and past the ledger. Those that wait are due now.
    Replay {
        /// Whether units that were handed on go again too: a duplicate for the app.
        delivered: bool,
        /// Why.
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

/// Which deliveries an act is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// These.
    Ids(Vec<DeliveryRef>),
    /// Those found, oldest first, after this one.
    Found(Filter, Option<DeliveryRef>),
}

/// An act of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What is done.
    pub deed: Deed,
    /// To what.
    pub which: Which,
    /// Only units of these targets; empty: of any.
    pub targets: Arc<[TargetId]>,
    /// Who: the name of a token.
    pub who: Arc<str>,
    /// Why, in words.
    pub reason: Arc<str>,
    /// To what, as the audit says it; none: as `which` does. An act that is made one by one says what all of it is about.
    pub said: Option<Arc<str>>,
    /// The row of the audit that an earlier step of this act wrote: this one adds to it.
    pub goes_on: Option<AuditRow>,
}

/// A row of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRow(pub i64);

/// Keys that a person wants forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgetting {
    /// Which.
    pub keys: Vec<Key>,
    /// Who wants it: the name of a token.
    pub who: Arc<str>,
    /// To what, as text.
    pub which: Arc<str>,
    /// Why, in words.
    pub reason: Arc<str>,
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Deliveries it changed or deleted.
    pub done: u64,
    /// Where to go on; none if that was the last.
    pub next: Option<DeliveryRef>,
    /// Whether there is more to do.
    pub more: bool,
    /// Its row in the audit.
    pub audit: Option<AuditRow>,
}

/// How long deliveries of an origin are kept. What still waits is kept in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whose.
    pub origin: OriginId,
    /// How long.
    pub age: Duration,
    /// How long those with a dead unit.
    pub dead: Duration,
    /// How many bytes at most; the oldest go first.
    pub bytes: Option<u64>,
}

/// An act as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When, in wall time.
    pub at: SystemTime,
    /// Who.
    pub who: Arc<str>,
    /// What.
    pub what: Arc<str>,
    /// To what, as text.
    pub which: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// Deliveries it changed.
    pub done: u64,
}

/// The units of one target, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetCounts {
    /// The target.
    pub target: TargetId,
    /// Units that are pending, retrying or parked.
    pub waiting: u64,
    /// Units whose attempts are exhausted.
    pub dead: u64,
    /// Units that a person cancelled.
    pub cancelled: u64,
}

/// Numbers for metrics, kept, not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By origin: deliveries, and bytes of bodies, heads and answers.
    pub origins: Vec<(OriginId, u64, u64)>,
    /// By target.
    pub targets: Vec<TargetCounts>,
    /// Late tries recorded since the start.
    pub late: u64,
    /// Bytes of the files.
    pub disk: u64,
    /// Bytes of the database that are in use: the rest of it is free for what comes, or goes back to the disk.
    pub used: u64,
    /// Writes that wait.
    pub waiting: usize,
    /// How long the last write took until it was on the disk.
    pub last_write: Option<Duration>,
}

/// Looking and acting.
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
    /// Those of these that are there, in short, in the order asked for.
    fn rows(&self, scope: Scope, ids: &[DeliveryRef]) -> Answer<'_, Vec<Row>>;
    /// One delivery with its tries.
    fn get(&self, scope: Scope, id: DeliveryRef) -> Answer<'_, Option<Shown>>;
    /// Does one step of an act, on `step` deliveries at most; its audit row is in the same transaction.
    fn act(&self, scope: Scope, act: &Act, step: u16) -> Answer<'_, Step>;
    /// Forgets IDs that were handed on, whatever waits for them; how many there were. What is in flight is left alone.
    /// A duplicate is then taken for new.
    fn forget(&self, forgetting: Forgetting) -> Answer<'_, u64>;
    /// The last acts, newest first.
    fn audit(&self, limit: u16) -> Answer<'_, Vec<Audit>>;
    /// Deletes at most `step` deliveries that need not be kept; looks at some times as many.
    fn sweep(&self, keep: &[Retention], step: u16) -> Answer<'_, Step>;
    /// Numbers for metrics.
    fn totals(&self) -> Answer<'_, Counts>;
    /// Why what is written does not reach the disk, if it does not; IDs are kept in memory and tried again.
    fn trouble(&self) -> Option<StoreError>;
}
