//! Which targets get the next tries: pure.
use std::collections::HashSet;
use std::sync::Arc;

use crate::store::queue::TargetId;

/// Tries that one round begins for one target, at most: others shall not wait long.
const ROUND: u32 = 64;

/// What an upstream's breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Everything.
    All,
    /// One try, to see whether it is back.
    Probe,
    /// Nothing.
    None,
}

/// A target with units that are due.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which.
    pub target: TargetId,
    /// The name of its upstream; several targets may have the same.
    pub upstream: Arc<str>,
    /// What its upstream's breaker lets through.
    pub room: Room,
    /// Tries that it may have more at once.
    pub places: u32,
    /// Tries that its rate lets it have now.
    pub tokens: u32,
}

/// How many units of a target are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub target: TargetId,
    /// How many; at least 1.
    pub count: u32,
    /// Whether that one is a probe.
    pub probe: bool,
}

/// As many of each as its places, its rate and its upstream allow; of all targets of an upstream that is tried out again, one.
pub fn choose(candidates: &[Candidate]) -> Vec<Choice> {
    let mut probed = HashSet::new();
    let mut chosen = Vec::with_capacity(candidates.len());
    for Candidate { target, upstream, room, places, tokens } in candidates {
        let most = (*places).min(*tokens).min(ROUND);
        let (count, probe) = match room {
            Room::All => (most, false),
            Room::Probe if most > 0 && probed.insert(upstream) => (1, true),
            Room::Probe | Room::None => (0, false),
        };
        if count > 0 {
            chosen.push(Choice { target: *target, count, probe });
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(target: u32, upstream: &str, room: Room, places: u32, tokens: u32) -> Candidate {
        Candidate { target: TargetId(target), upstream: upstream.into(), room, places, tokens }
    }

    #[test]
    fn the_tightest_bound_counts() {
        let chosen = choose(&[
            candidate(1, "a", Room::All, 3, 9),
            candidate(2, "a", Room::All, 9, 2),
            candidate(3, "a", Room::All, 1000, 1000),
            candidate(4, "a", Room::All, 0, 5),
            candidate(5, "b", Room::None, 5, 5),
            candidate(6, "c", Room::Probe, 0, 5),
            candidate(7, "c", Room::Probe, 5, 5),
            candidate(8, "c", Room::Probe, 5, 5),
        ]);
        let of = |target, count, probe| Choice { target: TargetId(target), count, probe };
        assert_eq!(chosen, [of(1, 3, false), of(2, 2, false), of(3, ROUND, false), of(7, 1, true)]);
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let room = prop_oneof![Just(Room::All), Just(Room::Probe), Just(Room::None)];
        prop::collection::vec((0..3_u32, room, 0..200_u32, 0..200_u32), 0..20).prop_map(|all| {
            let all = all.into_iter().zip(0..);
            all.map(|((upstream, room, places, tokens), target)| candidate(target, &upstream.to_string(), room, places, tokens)).collect()
        })
    }

    proptest! {
        /// Nobody gets more than it may; whoever may have some and is not behind a breaker gets some, whatever the others do.
        #[test]
        fn nobody_is_passed_over(all in candidates()) {
            let chosen = choose(&all);
            for one in &all {
                let count = chosen.iter().find(|choice| choice.target == one.target).map_or(0, |choice| choice.count);
                prop_assert!(count <= one.places && count <= one.tokens);
                prop_assert_eq!(count > 0 || one.room != Room::All, one.places > 0 && one.tokens > 0 || one.room != Room::All);
            }
            for upstream in ["0", "1", "2"] {
                let of = |choice: &&Choice| choice.probe && all.iter().any(|one| one.target == choice.target && &*one.upstream == upstream);
                prop_assert!(chosen.iter().filter(of).count() <= 1);
            }
        }
    }
}
