//! The selection of deliveries.
use std::sync::Arc;
use std::time::SystemTime;

use crate::store::Key;
use crate::store::queue::{OriginId, TargetId};

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

/// The units of each delivery that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitsShown {
    /// All.
    #[default]
    All,
    /// The one of this target, if there is one.
    Of(TargetId),
    /// So many, by the numbers of their targets.
    First(u16),
}
