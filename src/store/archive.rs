//! Queries and bulk operations for the admin API and the retention sweep. Each call does a bounded amount of work and returns a cursor.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::queue::{Attempt, DeliveryRef, OriginId, Stored, TargetId};
use super::record::Record;
use super::{Answer, Key};
use crate::retry::Reason;

mod act;
mod filter;
pub(crate) mod search;

pub(crate) use act::Chosen;
pub use act::{
    Act, ActKind, Audit, AuditRow, Forgetting, Note, Step, WaitingPosition, WaitingUnits, Which,
};
pub use filter::{Filter, Order, Scope, Status, Statuses, UnitsShown};

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

/// A position in a list of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptPosition(pub i64);

/// The attempts that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptsOf {
    /// Attempts to an endpoint.
    Endpoint(TargetId),
    /// Attempts of a delivery, to all of its targets.
    Delivery(DeliveryRef),
}

/// An attempt in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptOf {
    /// The delivery that was sent.
    pub delivery: DeliveryRef,
    /// Its event type.
    pub event_type: Option<Arc<str>>,
    /// The attempt.
    pub shown: AttemptShown,
}

/// A piece of a list of attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptPage {
    /// The attempts, newest first.
    pub rows: Vec<AttemptOf>,
    /// The position from which to go on; none at the end.
    pub next: Option<AttemptPosition>,
}

/// A piece of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows found. They can be fewer than asked for although there are more: a step looks at a bounded number of rows.
    pub rows: Vec<Row>,
    /// The position from which to go on; none at the end.
    pub next: Option<DeliveryRef>,
}

/// The origins that a retention is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// This one.
    One(OriginId),
    /// Each tenant. One step looks at some of them, the next one at the next.
    Tenants,
}

/// The retention of an origin's deliveries. A delivery that still waits is never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The origins.
    pub whose: Whose,
    /// The age at which they are removed.
    pub age: Duration,
    /// The age at which deliveries with a dead unit are removed.
    pub dead: Duration,
    /// The largest size in bytes; the oldest are removed first.
    pub bytes: Option<u64>,
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

/// The units to be counted that wait for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingCount {
    /// The target.
    pub target: TargetId,
    /// Only units of deliveries that were accepted at this time or later.
    pub since: Option<SystemTime>,
    /// Only units of deliveries that were accepted before this time.
    pub until: Option<SystemTime>,
    /// Only units without an attempt.
    pub only_new: bool,
    /// The largest count of each kind: of units without an attempt, and of others.
    pub most: u32,
}

/// The sums of a tenant, or of all tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantCounts {
    /// Events that are stored.
    pub deliveries: u64,
    /// Bytes of bodies, heads and answers.
    pub bytes: u64,
    /// Units that wait.
    pub waiting: u64,
    /// Dead units, without cancelled ones.
    pub dead: u64,
}

/// Numbers for metrics. They are maintained, not counted at each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By origin that the config names: deliveries, and bytes of bodies, heads and answers.
    pub origins: Vec<(OriginId, u64, u64)>,
    /// The units of each target that the config names.
    pub targets: Vec<TargetCounts>,
    /// The sums of all tenants.
    pub tenants: TenantCounts,
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
        units: UnitsShown,
    ) -> Answer<'_, Page>;
    /// Returns a summary of those of `ids` that exist, in the given order.
    fn rows(&self, scope: Scope, ids: &[DeliveryRef], units: UnitsShown) -> Answer<'_, Vec<Row>>;
    /// Returns one delivery with the attempts of the units that are shown.
    fn get(&self, scope: Scope, id: DeliveryRef, units: UnitsShown) -> Answer<'_, Option<Shown>>;
    /// Returns one delivery without its units.
    fn stored(&self, scope: Scope, id: DeliveryRef) -> Answer<'_, Option<Stored>>;
    /// Returns attempts, newest first, before a position.
    fn attempts(
        &self,
        scope: Scope,
        of: AttemptsOf,
        before: Option<AttemptPosition>,
        limit: u16,
    ) -> Answer<'_, AttemptPage>;
    /// Does one step of an act, on `step` deliveries at most; its audit row is in the same transaction.
    fn act(&self, scope: Scope, act: &Act, step: u16) -> Answer<'_, Step>;
    /// Forgets committed IDs, whatever waits for them. Returns how many there were. IDs in flight are left alone.
    /// A duplicate is new afterwards.
    fn forget(&self, forgetting: Forgetting) -> Answer<'_, u64>;
    /// Writes an act that changes nothing here into the audit. Returns its row.
    fn note(&self, note: Note) -> Answer<'_, AuditRow>;
    /// Counts the units that wait for a target, as far as `most` of each kind.
    fn count_waiting(&self, count: WaitingCount) -> Answer<'_, u64>;
    /// Returns the last acts, newest first.
    fn audit(&self, limit: u16) -> Answer<'_, Vec<Audit>>;
    /// Deletes at most `step` deliveries whose retention is over. Looks at some times as many.
    fn sweep(&self, keep: &[Retention], step: u16) -> Answer<'_, Step>;
    /// Numbers for metrics.
    fn totals(&self) -> Answer<'_, Counts>;
    /// Returns the sums of one tenant.
    fn sums(&self, tenant: OriginId) -> Answer<'_, TenantCounts>;
}
