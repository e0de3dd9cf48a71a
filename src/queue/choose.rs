//! Which targets make the next attempts, and with which of their deliveries: pure.
use std::collections::HashSet;
use std::sync::Arc;

use crate::store::queue::TargetId;

/// Attempts that one round begins for one target, at most: others shall not wait long.
pub const PER_TARGET: u32 = 64;
/// Attempts that one round begins in all, at most: they are leased in one transaction.
const PER_ROUND: u32 = 512;
/// Bytes of deliveries that all targets together hold in memory, but for the last one that begins.
pub const MEMORY: usize = 32 << 20;

/// What an upstream's breaker, or the pause of a target, lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Everything.
    All,
    /// One attempt, to see whether it is back.
    Probe,
    /// Nothing.
    None,
}

/// A target with units that are due.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its number.
    pub target: TargetId,
    /// The name of its upstream; several targets may have the same.
    pub upstream: Arc<str>,
    /// What its upstream's breaker lets through.
    pub room: Room,
    /// What its own pause lets through.
    pub pause: Room,
    /// The attempts that it may have more at once.
    pub places: u32,
    /// The attempts that its rate lets it have now.
    pub tokens: u32,
}

/// The attempts of a target that may begin, as far as memory lets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its number.
    pub target: TargetId,
    /// At least 1.
    pub count: u32,
    /// Whether that one attempt is a probe.
    pub probe: bool,
}

/// Chooses as many attempts of each target, in this order, as its places, its rate, its pause and its upstream allow. Of all targets of an
/// upstream that is tried out again, one gets an attempt. A target that the round has no attempt left for comes first in the next one.
pub fn choose(candidates: &[Candidate]) -> Vec<Choice> {
    let (mut probed, mut left) = (HashSet::new(), PER_ROUND);
    let mut chosen = Vec::with_capacity(candidates.len());
    for Candidate { target, upstream, room, pause, places, tokens } in candidates {
        let most = (*places).min(*tokens).min(PER_TARGET).min(left);
        let (count, probe) = match (room, pause) {
            (Room::None, _) | (_, Room::None) => (0, false),
            (Room::All, Room::All) => (most, false),
            (Room::All, Room::Probe) => (most.min(1), true),
            (Room::Probe, _) if most > 0 && probed.insert(upstream) => (1, true),
            (Room::Probe, _) => (0, false),
        };
        if count > 0 {
            left -= count;
            chosen.push(Choice { target: *target, count, probe });
        }
    }
    chosen
}

/// Bytes of deliveries in memory: of one target, and of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The target's.
    pub target: usize,
    /// All targets'.
    pub total: usize,
}

impl Share {
    /// Whether the target may begin another delivery, however large: it holds at most what is free still, or nothing while anything is free.
    /// So at most one delivery begins that memory has no room for.
    pub fn may_begin(self) -> bool {
        self.total < MEMORY && self.target <= MEMORY - self.total
    }

    /// Whether the target may begin a delivery of `bytes` that need not be begun now.
    pub fn has_room_for(self, bytes: usize) -> bool {
        self.may_begin() && bytes <= MEMORY - self.total
    }

    /// Returns what is held once a delivery of `bytes` has begun.
    #[must_use]
    pub fn with(self, bytes: usize) -> Self {
        Self { target: self.target.saturating_add(bytes), total: self.total.saturating_add(bytes) }
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
        if attempts == 0 { Self::First } else { Self::Retry }
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

/// Takes due units of a target, in turn from each kind, `count` at most and only while memory lets the target begin another. Each kind keeps its order.
pub fn take<U>(firsts: Vec<U>, retries: Vec<U>, mut turn: Turn, count: u32, share: &mut Share, bytes: impl Fn(&U) -> usize) -> Vec<U> {
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

#[cfg(test)]
mod tests;
