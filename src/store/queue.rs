//! The durable queue: accepts deliveries, leases and settles attempts.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use super::ids::{
    DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, LAST_ENDPOINT, OriginId, TargetId,
};
use super::names::{Kind, Named, Numbers};
use super::record::Record;
use super::{Answer, Changed, Key, Ledger, Ownership, Token};
use crate::retry::{Reason, Schedule};
use crate::store::turns::Turn;

/// The error of an attempt whose outcome is not known: the gateway ended during it, or its lease passed to another.
pub const CUT_OFF: &str = "cut_off";

/// The unit that is leased, settled, dead or replayed: one delivery to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// The target.
    pub target: TargetId,
}

/// The right to attempt a unit. A holder with an older number than the store has was overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The unit that is leased.
    pub unit: Unit,
    /// The number of the lease. It only grows, and is not the count of attempts.
    pub number: u32,
    /// The number of the attempt that it is for, as it is sent and shown: it only grows, past replays and restarts too.
    pub attempt: u32,
    /// Whether the unit is in a lane, so that others may wait until it is settled.
    pub in_lane: bool,
}

/// A lane of a target: its deliveries are sent one after the other, in the order in which they were accepted. The number is a hash of the
/// lane's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(pub [u8; 16]);

/// A delivery as its target's pause sees it: the next probe is another one, and of another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// Its lane, if it has one.
    pub lane: Option<Lane>,
}

/// The time of a unit's first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At once, by the caller: it gets a lease with the answer, from memory, unless others of the lane come first.
    Mine(Duration),
    /// At once, by any worker that leases it.
    Anyone,
    /// After a while.
    In(Duration),
    /// Never: it was forwarded within its request, or (with a reason) failed there, and is only recorded.
    Over(Option<Reason>),
    /// Never: it was attempted in vain, and is recorded as cancelled, so that no replay of what is dead sends it.
    Cancelled,
}

/// The unit of a new delivery for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUnit {
    /// The target.
    pub target: TargetId,
    /// The lane whose earlier deliveries it must not overtake.
    pub lane: Option<Lane>,
    /// The time of the first attempt.
    pub start: Start,
    /// The attempts that were made before it was accepted, within its request.
    pub attempts: Vec<Attempt>,
}

/// A delivery to be accepted.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Its ID here; a repeated call has the same.
    pub id: DeliveryRef,
    /// The origin.
    pub origin: OriginId,
    /// The provider's ID of it, as it may be shown, if it has one: what people search by.
    pub delivery_id: Option<Arc<str>>,
    /// Its ledger key, where [`Dedupe`] does not have it: for one that was forwarded and is only recorded.
    pub key: Option<Key>,
    /// The event type, if it is known.
    pub event_type: Option<Arc<str>>,
    /// The targets, each once. Empty for a delivery that is only recorded.
    pub to: Vec<NewUnit>,
    /// Everything but the body.
    pub record: Record,
    /// The body exactly as it came.
    pub body: Bytes,
    /// The bodies for endpoints that get another version of its type, by version: see [`Queue::version`].
    pub versions: Vec<(u16, Bytes)>,
}

/// The effect of a duplicate of a dead or cancelled delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDead {
    /// The dead or cancelled delivery waits again, so that a provider's "redeliver" does what the operator expects.
    Revive,
    /// Nothing. An alarm that several gateways raise is sent once.
    Keep,
}

/// Whether an accepted delivery is also the commit of its delivery ID, in the same transaction.
#[derive(Clone, Copy, Debug)]
pub enum Dedupe {
    /// The delivery has no key, and duplicates nothing.
    None,
    /// Claims and commits `key`.
    Key {
        /// The ledger key.
        key: Key,
        /// The time for which it is remembered.
        window: Duration,
        /// The effect of a duplicate of a dead one.
        dead: OnDead,
    },
    /// Turns a claim into its commit.
    Claimed {
        /// The ledger key.
        key: Key,
        /// The holder.
        token: Token,
        /// The time for which it is remembered.
        window: Duration,
        /// The effect of a duplicate of a dead one.
        dead: OnDead,
    },
    /// The delivery's own ID ([`Accept::delivery_id`]) is taken once by the deliveries of its origin, as long as the one that has it is
    /// stored. There is no claim, and the ledger does not know the ID.
    Own {
        /// A hash of all that the delivery means. It is stored as a fact of the record, [`DIGEST`](super::record::DIGEST): a repeated call
        /// has the same.
        digest: [u8; 32],
    },
}

/// The result of accepting a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is on the disk; the leases are those of [`Start::Mine`].
    New(Vec<Lease>),
    /// Its ID is committed, or waits here already.
    Duplicate {
        /// The delivery that it duplicates, if the store has it.
        of: Option<DeliveryRef>,
    },
    /// Another delivery of its origin has its own ID, and means something else: see [`Dedupe::Own`].
    Other {
        /// The delivery that has the ID.
        of: DeliveryRef,
    },
    /// The one it duplicates was dead or cancelled, and goes again.
    Revived {
        /// The delivery that it revives.
        of: DeliveryRef,
    },
    /// Another holds the claim.
    InFlight {
        /// The time until its lease ends.
        lapses_in: Duration,
    },
}

/// The cause for which a unit is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was accepted, or its schedule says so.
    Schedule,
    /// A person asked for it, or a duplicate of a dead one came.
    Replay,
    /// A person made it up, to test a target. Reserved: nothing makes one yet.
    Test,
    /// It probes an upstream that was down.
    Probe,
}

/// One attempt, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The cause of the attempt.
    pub cause: Cause,
    /// The time at which it began, in wall time.
    pub started: SystemTime,
    /// The whole duration.
    pub took: Duration,
    /// The time for connecting, if a connection was made for it.
    pub connect: Option<Duration>,
    /// The time until the first byte of the response.
    pub first_byte: Option<Duration>,
    /// The final status, if there was one.
    pub status: Option<u16>,
    /// The error in one word, if there was no response.
    pub error: Option<Arc<str>>,
    /// The address connected to.
    pub peer: Option<Arc<str>>,
    /// The answer's headers, in the encoding of [`super::record::headers`].
    pub head: Bytes,
    /// The first bytes of the answer's body.
    pub body: Bytes,
    /// For an attempt to an endpoint: what was sent where, in the encoding of [`super::record::headers`]. Empty for any other.
    pub facts: Bytes,
}

/// The next step after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was delivered.
    Delivered,
    /// Another attempt after this time.
    RetryIn(Duration),
    /// Another attempt after this time. The one before, if there was one, does not count: the upstream is down, which says nothing about
    /// the unit.
    Later(Duration),
    /// Nothing: it is dead.
    Dead(Reason),
    /// Nothing: a person cancelled it.
    Cancelled,
    /// No attempt was made, and none is counted. The next holder of the lease makes it. Reserved: the gateway does not use it yet.
    GiveBack,
}

/// The targets that have work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Targets with units that are due, in the order of the ring.
    pub targets: Vec<TargetId>,
    /// Endpoints that were due and have no due unit any more.
    pub idle: Vec<TargetId>,
    /// Whether more endpoints may be due: the next call has others.
    pub more: bool,
    /// The time until a unit of another target becomes due, or a little less; `None` if nothing waits for a time.
    pub next_in: Option<Duration>,
}

/// A delivery in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its ID here.
    pub id: DeliveryRef,
    /// The origin.
    pub origin: OriginId,
    /// Its ledger key, if it has one.
    pub key: Option<Key>,
    /// The provider's ID of it, if it has one.
    pub delivery_id: Option<Arc<str>>,
    /// The event type.
    pub event_type: Option<Arc<str>>,
    /// Everything but the body.
    pub record: Record,
    /// The body exactly as it came.
    pub body: Bytes,
}

/// A unit that the caller may attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The right to attempt it.
    pub lease: Lease,
    /// Attempts made before.
    pub attempts: u32,
    /// The cause for which it is due.
    pub cause: Cause,
    /// The time since it was accepted or replayed, from which its budget runs. It is in the store's own time, which a set clock does not
    /// change.
    pub age: Duration,
    /// The time for which it has been due.
    pub waited: Duration,
    /// The lane it is the first of, if it has one.
    pub lane: Option<Lane>,
    /// The bytes that it holds in memory.
    pub bytes: usize,
    /// The delivery to send, shared by all its units.
    pub stored: Arc<Stored>,
}

/// Units of a target that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest {
    /// The target.
    pub target: TargetId,
    /// The largest number of units.
    pub count: u32,
    /// The bytes that units of the target hold in memory now.
    pub held: usize,
    /// The kind of units that comes first; then the kinds take turns.
    pub turn: Turn,
    /// The delivery that should not be among them, nor another of its lane, if there is any other.
    pub except: Option<Subject>,
}

impl LeaseRequest {
    /// Wants so many units of a target that holds none in memory.
    pub fn of(target: TargetId, count: u32) -> Self {
        Self {
            target,
            count,
            held: 0,
            turn: Turn::First,
            except: None,
        }
    }
}

/// The durable queue. It is a ledger too: accepting and deduplicating are one transaction, or they are a lie.
///
/// Every call may be repeated with the same IDs. An answer that a write gives is on the disk.
pub trait Queue: Ledger {
    /// Assigns numbers to the names of a config, in the order of the names, and records which name has which number: see [`super::names`].
    fn numbers(&self, names: &[Named]) -> Answer<'_, Vec<Numbers>>;
    /// Returns every number with the name that has it, or had it last.
    fn names(&self) -> Answer<'_, Vec<(Kind, u32, Arc<str>)>>;
    /// Puts a delivery on the disk, with its commit.
    fn accept(&self, delivery: Arc<Accept>, dedupe: Dedupe) -> Answer<'_, Accepted>;
    /// Returns the targets that have due units: all names of the config, from the one after `after` on, and of the endpoints as many as one round
    /// can serve. The endpoints take turns from call to call. However many targets and units wait, each target that is returned costs two
    /// index seeks, and any other nothing.
    ///
    /// Endpoints in `skip` are left out: they are paused. A set that has changed is another `Arc`.
    fn ready(&self, after: Option<TargetId>, skip: &Arc<HashSet<TargetId>>) -> Answer<'_, Ready>;
    /// Leaves endpoints out of [`Self::ready`] that cannot begin an attempt before a time, whatever becomes due for them; until then, or until
    /// [`Self::wake`].
    fn put_off(&self, targets: &[(TargetId, Duration)]);
    /// Lets [`Self::ready`] return endpoints again that were put off: they may be able to begin an attempt.
    fn wake(&self, targets: &[TargetId]);
    /// Returns the longest time for which an endpoint has had a due unit, or a little more; without endpoints in `except`, and without those that
    /// the last call of [`Self::ready`] skipped.
    fn oldest_due(&self, except: &HashSet<TargetId>) -> Option<Duration>;
    /// Takes due units until `lease` has passed: of each target in turn as many as are wanted, the longest due of each kind first, and as many as
    /// memory lets it begin, of which all targets hold `held` bytes now (see [`crate::store::turns::take`]).
    fn lease(
        &self,
        requests: &[LeaseRequest],
        lease: Duration,
        held: usize,
    ) -> Answer<'_, Vec<Leased>>;
    /// Returns the body of a delivery for endpoints that get this version of its type, if it was accepted with one.
    fn version(&self, id: DeliveryRef, version: u16) -> Answer<'_, Option<Bytes>>;
    /// Settles a leased unit, and records the attempt. The call is queued when this returns, before its answer is asked for: later calls come after
    /// it. [`Ownership::Lost`]: the lease has passed to another, or the unit is settled; the
    /// attempt is recorded as late.
    fn settle(&self, lease: Lease, attempt: Option<Attempt>, next: Next) -> Answer<'_, Ownership>;
    /// Lets no retry of a target wait longer than `schedule` lets it, unless that was done for this schedule before.
    fn reschedule(&self, target: TargetId, schedule: &Schedule) -> Answer<'_, ()>;
    /// Returns a hint that units have become due by something other than time. It may be early, late or missing.
    fn work(&self) -> Changed;
}
