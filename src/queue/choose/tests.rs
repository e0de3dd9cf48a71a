use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::store::turns::{MEMORY, Share, Turn, take};

const MIB: usize = 1 << 20;

fn candidate(
    target: u32,
    upstream: &str,
    admission: Admission,
    slots: u32,
    tokens: u32,
) -> Candidate {
    Candidate {
        target: TargetId(target),
        upstream: upstream.into(),
        admission,
        pause: Admission::All,
        slots,
        tokens,
    }
}

#[test]
fn tightest_bound_applies() {
    let paused = |target, pause| Candidate {
        pause,
        ..candidate(target, "p", Admission::All, 5, 5)
    };
    let chosen = choose(&[
        candidate(1, "a", Admission::All, 3, 9),
        candidate(2, "a", Admission::All, 9, 2),
        candidate(3, "a", Admission::All, 1000, 1000),
        candidate(4, "a", Admission::All, 0, 5),
        candidate(5, "b", Admission::None, 5, 5),
        candidate(6, "c", Admission::Probe, 0, 5),
        candidate(7, "c", Admission::Probe, 5, 5),
        candidate(8, "c", Admission::Probe, 5, 5),
        paused(9, Admission::None),
        paused(10, Admission::Probe),
        paused(11, Admission::Probe),
        Candidate {
            pause: Admission::None,
            ..candidate(12, "d", Admission::Probe, 5, 5)
        },
        Candidate {
            pause: Admission::Probe,
            ..candidate(13, "d", Admission::Probe, 5, 5)
        },
    ]);
    let of = |target, count, is_probe| Choice {
        target: TargetId(target),
        count,
        is_probe,
    };
    let all = [
        of(1, 3, false),
        of(2, 2, false),
        of(3, PER_TARGET, false),
        of(7, 1, true),
        of(10, 1, true),
        of(11, 1, true),
        of(13, 1, true),
    ];
    assert_eq!(
        chosen, all,
        "a pause is a target's own, a breaker its upstream's"
    );
}

#[test]
fn total_of_a_round_is_bounded() {
    let all: Vec<_> = (0..20)
        .map(|target| candidate(target, "a", Admission::All, 64, 64))
        .collect();
    let chosen = choose(&all);
    assert_eq!(
        (
            chosen.len(),
            chosen.iter().map(|choice| choice.count).sum::<u32>()
        ),
        (8, PER_ROUND)
    );
}

#[test]
fn target_takes_at_most_the_free_memory() {
    let may = |target: usize, total: usize| {
        Share {
            target: target * MIB,
            total: total * MIB,
        }
        .may_begin()
    };
    for (target, total, expected) in [
        (0, 31, true),
        (0, 32, false),
        (16, 16, true),
        (17, 17, false),
        (4, 28, true),
        (5, 28, false),
    ] {
        assert_eq!(may(target, total), expected, "{target} of {total}");
    }
    let almost = Share {
        target: 0,
        total: MEMORY - 10,
    };
    assert!(almost.has_room_for(10) && !almost.has_room_for(11) && almost.may_begin());
}

#[test]
fn first_attempts_and_retries_take_turns() {
    let taken = |firsts: &[u32], retries: &[u32], turn, count| {
        let mut share = Share::default();
        take(
            firsts.to_vec(),
            retries.to_vec(),
            turn,
            count,
            &mut share,
            |_| 1,
        )
    };
    assert_eq!(
        taken(&[1, 2, 3], &[11, 12, 13], Turn::First, 4),
        [1, 11, 2, 12]
    );
    assert_eq!(
        taken(&[1, 2, 3], &[11, 12, 13], Turn::Retry, 3),
        [11, 1, 12]
    );
    assert_eq!(taken(&[1, 2, 3], &[], Turn::Retry, 9), [1, 2, 3]);
    assert_eq!(taken(&[1], &[11, 12, 13], Turn::First, 9), [1, 11, 12, 13]);
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let admission = || {
        prop_oneof![
            Just(Admission::All),
            Just(Admission::Probe),
            Just(Admission::None)
        ]
    };
    prop::collection::vec(
        (0..3_u32, admission(), admission(), 0..200_u32, 0..200_u32),
        0..20,
    )
    .prop_map(|all| {
        let all = all.into_iter().zip(0..);
        let one =
            |((upstream, admission, pause, slots, tokens), target): ((u32, _, _, _, _), _)| {
                Candidate {
                    pause,
                    ..candidate(target, &upstream.to_string(), admission, slots, tokens)
                }
            };
        all.map(one).collect()
    })
}

/// A model of a target: the sizes of the due deliveries of each kind, and the attempts under way.
#[derive(Clone, Debug, Default)]
struct Model {
    slots: u32,
    firsts: VecDeque<usize>,
    retries: VecDeque<usize>,
    under_way: Vec<usize>,
    turn: Turn,
}

impl Model {
    fn is_due(&self) -> bool {
        !self.firsts.is_empty() || !self.retries.is_empty()
    }

    fn held(&self) -> usize {
        self.under_way.iter().sum()
    }
}

/// Makes one round over the ring, from the target after the last one served. Returns what each began.
fn round(targets: &mut BTreeMap<u32, Model>, after: &mut Option<u32>) -> Vec<(u32, Turn, usize)> {
    let begin = after.map_or(0, |after| after + 1);
    let ring: Vec<u32> = targets
        .range(begin..)
        .chain(targets.range(..begin))
        .filter(|(_, one)| one.is_due())
        .map(|(id, _)| *id)
        .collect();
    let all: Vec<_> = ring
        .iter()
        .map(|id| {
            let one = &targets[id];
            candidate(
                *id,
                &id.to_string(),
                Admission::All,
                one.slots - u32::try_from(one.under_way.len()).unwrap(),
                u32::MAX,
            )
        })
        .collect();
    let mut total: usize = targets.values().map(Model::held).sum();
    let mut begun = Vec::new();
    for choice in choose(&all) {
        let one = targets.get_mut(&choice.target.0).unwrap();
        let mut share = Share {
            target: one.held(),
            total,
        };
        let kind =
            |of: &VecDeque<usize>, turn| of.iter().map(|size| (turn, *size)).collect::<Vec<_>>();
        let (firsts, retries) = (
            kind(&one.firsts, Turn::First),
            kind(&one.retries, Turn::Retry),
        );
        for (turn, size) in take(
            firsts,
            retries,
            one.turn,
            choice.count,
            &mut share,
            |(_, size)| *size,
        ) {
            match turn {
                Turn::First => one.firsts.pop_front(),
                Turn::Retry => one.retries.pop_front(),
            };
            one.under_way.push(size);
            one.turn = turn.other();
            begun.push((choice.target.0, turn, size));
            *after = Some(choice.target.0);
        }
        total = share.total;
    }
    begun
}

proptest! {
    /// No target gets more than it may; each that may have some and is neither paused nor behind a breaker gets some, whatever the others do.
    #[test]
    fn every_eligible_target_gets_an_attempt(all in candidates()) {
        let chosen = choose(&all);
        for one in &all {
            let count = chosen.iter().find(|choice| choice.target == one.target).map_or(0, |choice| choice.count);
            prop_assert!(count <= one.slots && count <= one.tokens);
            let may = one.slots > 0 && one.tokens > 0;
            match (one.admission, one.pause) {
                (Admission::None, _) | (_, Admission::None) => prop_assert_eq!(count, 0),
                (Admission::All, Admission::All) if chosen.iter().map(|choice| choice.count).sum::<u32>() < PER_ROUND => prop_assert_eq!(count > 0, may),
                (Admission::All, Admission::All) => {}
                (Admission::Probe, _) | (_, Admission::Probe) => prop_assert!(count <= 1),
            }
        }
        for upstream in ["0", "1", "2"] {
            let of = |choice: &&Choice| all.iter().any(|one| one.target == choice.target && &*one.upstream == upstream && one.admission == Admission::Probe);
            prop_assert!(chosen.iter().filter(of).count() <= 1);
        }
    }

    /// However large the bodies of others, and however long they stay: at most one body is over the memory there is, each target with something
    /// due begins before every other has begun twice, and its first attempts and retries take turns.
    #[test]
    fn no_target_starves(
        slots in prop::collection::vec(1..20_u32, 1..80),
        sizes in prop::collection::vec(prop_oneof![0..4096_usize, MIB..6 * MIB, 20 * MIB..60 * MIB], 1..20),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 400),
    ) {
        let mut targets: BTreeMap<u32, Model> = (0..).zip(&slots).map(|(id, slots)| (id, Model { slots: *slots, ..Model::default() })).collect();
        let (mut after, mut size, mut since) = (None, sizes.iter().cycle(), BTreeMap::<u32, usize>::new());
        let mut last_turn = BTreeMap::<u32, Turn>::new();
        for end in ends {
            // every target always has some of each kind
            for one in targets.values_mut() {
                while one.firsts.len() < 3 { one.firsts.push_back(*size.next().unwrap()); }
                while one.retries.len() < 3 { one.retries.push_back(*size.next().unwrap()); }
            }
            let begun = round(&mut targets, &mut after);
            let total: usize = targets.values().map(Model::held).sum();
            if let Some((_, _, last)) = begun.last() {
                prop_assert!(total - last < MEMORY, "at most one is over");
            }
            for (id, one) in &targets {
                let mine = begun.iter().filter(|(target, ..)| target == id);
                for (_, turn, _) in mine.clone() {
                    prop_assert_ne!(last_turn.insert(*id, *turn), Some(*turn), "kinds take turns");
                }
                // counted are the rounds in which others began while this one held nothing
                let rounds = since.entry(*id).or_default();
                *rounds = if mine.count() > 0 || !one.under_way.is_empty() { 0 } else { *rounds + usize::from(!begun.is_empty()) };
            }
            prop_assert!(since.values().all(|rounds| *rounds <= slots.len()), "{since:?}");
            prop_assert!(!begun.is_empty() || total >= MEMORY || targets.values().all(|one| !one.under_way.is_empty()), "nothing begins though memory is free");
            // one attempt ends
            let mut under_way: Vec<u32> = targets.iter().flat_map(|(id, one)| std::iter::repeat_n(*id, one.under_way.len())).collect();
            if !under_way.is_empty() {
                let id = under_way.swap_remove(end.index(under_way.len()));
                targets.get_mut(&id).unwrap().under_way.remove(0);
            }
        }
    }
}
