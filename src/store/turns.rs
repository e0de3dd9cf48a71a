//! Chooses the due deliveries of a target that begin next: first attempts and retries in turn, as far as memory allows. Pure.

/// Bytes of deliveries that all targets together hold in memory, but for the last one that begins.
pub const MEMORY: usize = 32 << 20;

/// Bytes of deliveries in memory: of one target, and of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The target's.
    pub target: usize,
    /// All targets'.
    pub total: usize,
}

impl Share {
    /// Returns whether the target may begin another delivery of any size: it holds at most the free memory, or nothing while any memory is
    /// free.
    /// So at most one delivery begins that memory has no room for.
    pub fn may_begin(self) -> bool {
        self.total < MEMORY && self.target <= MEMORY - self.total
    }

    /// Returns whether the target may begin a delivery of `bytes` that can also wait.
    pub fn has_room_for(self, bytes: usize) -> bool {
        self.may_begin() && bytes <= MEMORY - self.total
    }

    /// Returns what is held once a delivery of `bytes` has begun.
    #[must_use]
    pub fn with(self, bytes: usize) -> Self {
        Self {
            target: self.target.saturating_add(bytes),
            total: self.total.saturating_add(bytes),
        }
    }
}

/// The kinds of deliveries of a target that take turns: many that fail shall not keep new ones from being attempted, nor the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Deliveries without an attempt that counted.
    #[default]
    First,
    /// Deliveries that are attempted again.
    Retry,
}

impl Turn {
    /// Returns the kind of a delivery by its attempts that counted.
    pub fn of(attempts: u32) -> Self {
        if attempts == 0 {
            Self::First
        } else {
            Self::Retry
        }
    }

    /// Returns the other kind.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Retry,
            Self::Retry => Self::First,
        }
    }
}

/// Selects due units of a target, in turn from each kind, `count` at most and only while memory lets the target begin another. Each kind
/// stays in its order.
pub fn take<U>(
    firsts: Vec<U>,
    retries: Vec<U>,
    mut turn: Turn,
    count: u32,
    share: &mut Share,
    bytes: impl Fn(&U) -> usize,
) -> Vec<U> {
    let (mut firsts, mut retries) = (firsts.into_iter(), retries.into_iter());
    let mut taken = Vec::new();
    for _ in 0..count {
        if !share.may_begin() {
            break;
        }
        let next = match turn {
            Turn::First => firsts.next().or_else(|| retries.next()),
            Turn::Retry => retries.next().or_else(|| firsts.next()),
        };
        let Some(unit) = next else { break };
        *share = share.with(bytes(&unit));
        taken.push(unit);
        turn = turn.other();
    }
    taken
}
