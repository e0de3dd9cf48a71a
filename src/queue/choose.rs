//! Which targets make the next attempts, and with which of their deliveries: pure.
use std::collections::HashSet;
use std::sync::Arc;

use crate::store::queue::TargetId;

/// Attempts that one round begins for one target, at most: others shall not wait long.
pub const PER_TARGET: u32 = 64;
/// Attempts that one round begins in all, at most: they are leased in one transaction.
const PER_ROUND: u32 = 512;

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
    for Candidate {
        target,
        upstream,
        room,
        pause,
        places,
        tokens,
    } in candidates
    {
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
            chosen.push(Choice {
                target: *target,
                count,
                probe,
            });
        }
    }
    chosen
}

#[cfg(test)]
mod tests;
