//! The durable queue: what is accepted, leased, tried and settled.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use super::names::{Named, Numbers};
use super::record::Record;
use super::{Answer, Changed, Held, Key, Ledger, Token};
use crate::clock::unix_ms;
use crate::retry::{Reason, Schedule};
use crate::store::turns::Turn;

/// What a delivery belongs to: an inbound route. Numbers stand for names that may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub u32);

/// Where a delivery goes: for an inbound route, the same route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// One accepted delivery: a UUIDv7 drawn by the caller before its first try, so time order and page cursor in one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryRef(pub Uuid);

impl DeliveryRef {
    /// A new one, of the present or a little later: two of one process are in the order of their making.
    pub fn draw() -> Self {
        Self(Uuid::now_v7())
    }

    /// The first that can be of `at`.
    pub fn first_of(at: SystemTime) -> Self {
        Self(Uuid::from_u128(
            (u128::from(unix_ms(at)) & 0xffff_ffff_ffff) << 80,
        ))
    }

    /// When it was drawn, in wall time.
    pub fn drawn_at(self) -> SystemTime {
        let ms = u64::try_from(self.0.as_u128() >> 80).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }
}

impl fmt::Debug for DeliveryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for DeliveryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The error of an attempt whose outcome is not known: the gateway ended during it, or its lease passed to another.
pub const CUT_OFF: &str = "cut_off";

/// What is leased, settled, dead, replayed: one delivery on its way to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The delivery.
    pub delivery: DeliveryRef,
    /// Where it goes.
    pub target: TargetId,
}

/// The right to try a unit. Who comes back with an older number than the store knows has been overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub unit: Unit,
    /// Only grows; it is not the count of tries.
    pub number: u32,
    /// The number of the attempt that it is for, as it is sent and shown: it only grows, past replays and restarts too.
    pub attempt: u32,
}

/// Deliveries of one lane of a target go out one after the other, in the order they were accepted: a hash of what the lane is told by.
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

/// When a unit is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At once, by the caller: it gets a lease with the answer, from memory, unless others of the lane come first.
    Mine(Duration),
    /// At once, by whoever leases it.
    Anyone,
    /// After a while.
    In(Duration),
    /// Never: it was handed on within its request, or (with a reason) failed there, and is kept on record.
    Over(Option<Reason>),
}

/// One way of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// Where it goes.
    pub target: TargetId,
    /// What it must not overtake there.
    pub lane: Option<Lane>,
    /// When.
    pub start: Start,
    /// The attempts that were made before it came here, within its request.
    pub tried: Vec<Attempt>,
}

/// A delivery to be accepted.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Its ID here; a repeated call has the same.
    pub id: DeliveryRef,
    /// What it belongs to.
    pub origin: OriginId,
    /// The provider's ID of it, as it may be shown, if it has one: what people search by.
    pub delivery_id: Option<Arc<str>>,
    /// Its ledger key, where [`Dedupe`] does not say it: for one that was forwarded, and is kept on record only.
    pub key: Option<Key>,
    /// What kind of event it is, where that is known.
    pub event_type: Option<Arc<str>>,
    /// Where it goes; to each target once. Empty for a delivery that is kept on record only.
    pub to: Vec<To>,
    /// Everything but the body.
    pub record: Record,
    /// The body exactly as it came.
    pub body: Bytes,
}

/// What a duplicate of a dead or cancelled delivery does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDead {
    /// It sets it going again: a provider's "redeliver" does what the operator expects.
    Revive,
    /// Nothing.
    Keep,
}

/// Whether an accepted delivery is also the commit of its delivery ID, in the same transaction.
#[derive(Clone, Copy, Debug)]
pub enum Dedupe {
    /// It is nobody's duplicate.
    None,
    /// Claims and commits `key`.
    Key {
        /// The ledger key.
        key: Key,
        /// How long it is remembered.
        window: Duration,
        /// What a duplicate of a dead one does.
        dead: OnDead,
    },
    /// Turns a claim into its commit.
    Held {
        /// The ledger key.
        key: Key,
        /// Who holds it.
        token: Token,
        /// How long it is remembered.
        window: Duration,
        /// What a duplicate of a dead one does.
        dead: OnDead,
    },
}

/// What became of a delivery that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is on the disk; the leases are those of [`Start::Mine`].
    New(Vec<Lease>),
    /// Its ID was handed on before, or waits here already.
    Duplicate {
        /// Where, if the store has it.
        of: Option<DeliveryRef>,
    },
    /// The one it duplicates was dead or cancelled, and goes again.
    Revived {
        /// Which.
        of: DeliveryRef,
    },
    /// Another holds the claim.
    InFlight {
        /// When its lease lapses.
        lapses_in: Duration,
    },
}

/// Why a unit is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was accepted, or its schedule says so.
    Schedule,
    /// A person asked for it, or a duplicate of a dead one came.
    Replay,
    /// It is made up, to try a target out.
    Test,
    /// It is the one that tries an upstream that was down.
    Probe,
}

/// One try, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Why it was made.
    pub cause: Cause,
    /// When it began, in wall time.
    pub started: SystemTime,
    /// How long it took in all.
    pub took: Duration,
    /// How long connecting took, if a connection was made for it.
    pub connect: Option<Duration>,
    /// How long the first byte of the answer took.
    pub first_byte: Option<Duration>,
    /// The final status, if there was one.
    pub status: Option<u16>,
    /// What went wrong, in one word, if there was none.
    pub error: Option<Arc<str>>,
    /// The address connected to.
    pub peer: Option<Arc<str>>,
    /// The answer's headers, in the encoding of [`super::record::headers`].
    pub head: Bytes,
    /// The first bytes of the answer's body.
    pub body: Bytes,
}

/// What comes after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was handed on.
    Delivered,
    /// Another try after this time.
    RetryIn(Duration),
    /// Another try after this time, and this one, if there was one, does not count: it says of the upstream that it is down, not of the unit.
    Later(Duration),
    /// Nothing: it is dead.
    Dead(Reason),
    /// Nothing: a person said so.
    Cancelled,
    /// No try was made, none is counted; whoever leases it next makes it.
    GiveBack,
}

/// Which targets have work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Targets with units that are due, in the order of the ring.
    pub targets: Vec<TargetId>,
    /// The time until the first unit of the others becomes due; `None` if nothing waits for a time.
    pub next_in: Option<Duration>,
}

/// A delivery as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its ID here.
    pub id: DeliveryRef,
    /// What it belongs to.
    pub origin: OriginId,
    /// Its ledger key, if it has one.
    pub key: Option<Key>,
    /// The provider's ID of it, if it has one.
    pub delivery_id: Option<Arc<str>>,
    /// What kind of event it is.
    pub event_type: Option<Arc<str>>,
    /// Everything but the body.
    pub record: Record,
    /// The body exactly as it came.
    pub body: Bytes,
}

/// A unit that is the caller's to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The right to try it.
    pub lease: Lease,
    /// Tries made before.
    pub tries: u32,
    /// Why it is due.
    pub cause: Cause,
    /// How long ago it was accepted, or set going again: its budget runs from there. In the store's own time, in which a set clock makes no jump.
    pub age: Duration,
    /// The lane it is the first of, if it has one.
    pub lane: Option<Lane>,
    /// The bytes that it holds in memory.
    pub bytes: usize,
    /// What to hand on; one for all units of a delivery.
    pub stored: Arc<Stored>,
}

/// Units of a target that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The target.
    pub target: TargetId,
    /// How many, at most.
    pub count: u32,
    /// The bytes that units of the target hold in memory now.
    pub held: usize,
    /// The kind of units that comes first; then the kinds take turns.
    pub turn: Turn,
    /// The delivery that should not be among them, nor another of its lane, if there is any other.
    pub except: Option<Subject>,
}

impl Wanted {
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

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A webhook route of the config: an origin and a target in one.
    Route,
    /// A route that passes traffic through. No delivery has its number.
    Pass,
    /// The gate's own alarms: an origin and a target in one.
    Alarm,
}

/// The durable queue. It is a ledger too: accepting and deduplicating are one transaction, or they are a lie.
///
/// Every call may be repeated with the same IDs. An answer that a write gives is on the disk.
pub trait Queue: Ledger {
    /// Gives the names of a config their numbers, in the order of the names, and records who has which: see [`super::names`].
    fn numbers(&self, names: &[Named]) -> Answer<'_, Vec<Numbers>>;
    /// Returns every number with the name that has it, or had it last.
    fn names(&self) -> Answer<'_, Vec<(Kind, u32, Arc<str>)>>;
    /// Puts a delivery on the disk, with its commit.
    fn accept(&self, delivery: Arc<Accept>, dedupe: Dedupe) -> Answer<'_, Accepted>;
    /// Goes round all targets that have units, from the one after `after` on. However many units wait for one, it costs two index seeks.
    fn ready(&self, after: Option<TargetId>) -> Answer<'_, Ready>;
    /// Takes due units until `lease` has passed: of each target in turn as many as are wanted, the longest due of each kind first, and as many as
    /// memory lets it begin, of which all targets hold `held` bytes now (see [`crate::store::turns::take`]).
    fn lease(&self, wanted: &[Wanted], lease: Duration, held: usize) -> Answer<'_, Vec<Leased>>;
    /// Says what became of a leased unit, and records the try. [`Held::Lost`]: another has taken it over, or it is settled; the try is recorded as late.
    fn settle(&self, lease: Lease, attempt: Option<Attempt>, next: Next) -> Answer<'_, Held>;
    /// Lets no retry of a target wait longer than `schedule` lets it, unless that was done for this schedule before.
    fn reschedule(&self, target: TargetId, schedule: &Schedule) -> Answer<'_, ()>;
    /// A hint that units have become due by something other than time: early, late or never.
    fn work(&self) -> Changed;
}
