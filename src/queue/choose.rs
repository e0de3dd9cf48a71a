//! Chooses the targets of the next attempts, and how many each gets. Pure.
use std::collections::HashSet;
use std::sync::Arc;

use crate::store::queue::TargetId;

/// The most attempts that one round begins for one target, so that others do not wait long.
pub const PER_TARGET: u32 = 64;
/// The most attempts that one round begins in all. They are leased in one transaction.
const PER_ROUND: u32 = 512;

/// The attempts that a circuit breaker, or the pause of a target, lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// All attempts.
    All,
    /// One attempt, to find out whether the target is available again.
    Probe,
    /// No attempt.
    None,
}

/// A target with due deliveries.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The number of the target.
    pub target: TargetId,
    /// The name of its upstream; several targets may have the same.
    pub upstream: Arc<str>,
    /// The attempts that its upstream's breaker lets through.
    pub admission: Admission,
    /// The attempts that its own pause lets through.
    pub pause: Admission,
    /// The free slots for attempts at the same time.
    pub slots: u32,
    /// The attempts that its rate lets begin now.
    pub tokens: u32,
}

/// The attempts of a target that may begin, if memory permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The number of the target.
    pub target: TargetId,
    /// The number of attempts, at least 1.
    pub count: u32,
    /// Whether it is one attempt, which probes the target or its upstream.
    pub is_probe: bool,
}

/// Chooses as many attempts of each target, in this order, as its slots, its rate, its pause and its upstream permit. Of all targets of an
/// upstream that is probed, one gets an attempt. A target for which the round has no attempt left comes first in the next round.
pub fn choose(candidates: &[Candidate]) -> Vec<Choice> {
    let (mut probed, mut left) = (HashSet::new(), PER_ROUND);
    let mut chosen = Vec::with_capacity(candidates.len());
    for Candidate {
        target,
        upstream,
        admission,
        pause,
        slots,
        tokens,
    } in candidates
    {
        let most = (*slots).min(*tokens).min(PER_TARGET).min(left);
        let (count, is_probe) = match (admission, pause) {
            (Admission::None, _) | (_, Admission::None) => (0, false),
            (Admission::All, Admission::All) => (most, false),
            (Admission::All, Admission::Probe) => (most.min(1), true),
            (Admission::Probe, _) if most > 0 && probed.insert(upstream) => (1, true),
            (Admission::Probe, _) => (0, false),
        };
        if count > 0 {
            left -= count;
            chosen.push(Choice {
                target: *target,
                count,
                is_probe,
            });
        }
    }
    chosen
}

#[cfg(test)]
mod tests;
