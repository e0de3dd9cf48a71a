//! The acts of people, and their records.
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::filter::Filter;
use crate::retry::Reason;
use crate::store::Key;
use crate::store::queue::{Cause, DeliveryRef, Lane, TargetId};

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
    /// Units that wait for a later time are due now, and all that wait get a fresh budget. One that waits behind others of its lane keeps its
    /// place.
    Renew,
    /// Units that wait end here.
    Cancel,
    /// Units that wait are dead now.
    MakeDead {
        /// The reason.
        reason: Reason,
    },
    /// Deliveries that have no unit for a target of [`Act::targets`] get one, which is due now.
    Add {
        /// The cause of its attempts.
        cause: Cause,
        /// Its lane.
        lane: Option<Lane>,
    },
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
    /// The units that wait for one target. The act is about this target alone.
    Waiting(WaitingUnits),
}

/// The units that wait for one target since before the first step, in the order in which they are due: first attempts, then retries. A step looks
/// at as many units as it may change deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingUnits {
    /// The target.
    pub target: TargetId,
    /// Only units of deliveries that were accepted before.
    pub until: Option<SystemTime>,
    /// The position that the step before returned; none for the first step.
    pub after: Option<WaitingPosition>,
}

/// A position in a walk over the units that wait for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingPosition {
    /// Whether the walk has come to the retries.
    pub(crate) at_retries: bool,
    pub(crate) run_at: i64,
    pub(crate) id: DeliveryRef,
    /// The store's time of the first step. Units that wait since later are left alone.
    pub(crate) began: i64,
}

impl WaitingPosition {
    /// Encodes the position, so that it can be stored.
    pub fn to_bytes(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(POSITION_LENGTH);
        bytes.put_u8(u8::from(self.at_retries));
        bytes.put_i64(self.run_at);
        bytes.put_slice(self.id.0.as_bytes());
        bytes.put_i64(self.began);
        bytes.freeze()
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` if it is anything else.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != POSITION_LENGTH {
            return None;
        }
        Some(Self {
            at_retries: bytes.get_u8() != 0,
            run_at: bytes.get_i64(),
            id: DeliveryRef(uuid::Uuid::from_u128(bytes.get_u128())),
            began: bytes.get_i64(),
        })
    }
}

/// The length of an encoded [`WaitingPosition`].
const POSITION_LENGTH: usize = 1 + 8 + 16 + 8;

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

/// The deliveries of one step of an act.
pub(crate) struct Chosen {
    pub(crate) ids: Vec<DeliveryRef>,
    /// The position from which to go on in a list of deliveries.
    pub(crate) next: Option<DeliveryRef>,
    /// The position from which a walk over waiting units goes on.
    pub(crate) position: Option<WaitingPosition>,
    /// A description for the audit.
    pub(crate) description: String,
}

impl Chosen {
    /// Chooses the first `step` of some deliveries.
    pub(crate) fn of_ids(mut ids: Vec<DeliveryRef>, step: u16) -> Self {
        let more = ids.len() > usize::from(step);
        ids.truncate(usize::from(step));
        let shown: Vec<_> = ids.iter().map(ToString::to_string).collect();
        let next = ids.last().copied().filter(|_| more);
        Self {
            ids,
            next,
            position: None,
            description: shown.join(" "),
        }
    }

    /// Chooses the deliveries that a search found.
    pub(crate) fn of_found(
        ids: Vec<DeliveryRef>,
        next: Option<DeliveryRef>,
        filter: &Filter,
    ) -> Self {
        Self {
            ids,
            next,
            position: None,
            description: format!("{filter:?}"),
        }
    }

    /// Chooses the deliveries of units that wait for a target.
    pub(crate) fn of_waiting(
        units: &WaitingUnits,
        (ids, position): (Vec<DeliveryRef>, Option<WaitingPosition>),
    ) -> Self {
        Self {
            ids,
            next: None,
            position,
            description: format!("waiting for {}, until {:?}", units.target.0, units.until),
        }
    }
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

/// An act that changes nothing in the store, for the audit alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The person: the name of a token.
    pub who: Arc<str>,
    /// The act.
    pub what: &'static str,
    /// To what, as text.
    pub which: Arc<str>,
    /// The reason, in words.
    pub reason: Arc<str>,
    /// The number of things that it changed.
    pub done: u64,
    /// The row of the audit that it adds to.
    pub goes_on: Option<AuditRow>,
}

/// The result of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Deliveries it changed or deleted.
    pub done: u64,
    /// The position from which to go on; none if that was the last.
    pub next: Option<DeliveryRef>,
    /// The position from which a walk over waiting units goes on.
    pub position: Option<WaitingPosition>,
    /// Whether there is more to do.
    pub more: bool,
    /// Its row in the audit.
    pub audit: Option<AuditRow>,
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
