use proptest::prelude::*;

use super::*;

fn endpoint(number: u32) -> TargetId {
    TargetId(FIRST_ENDPOINT + number)
}

fn none() -> Arc<HashSet<TargetId>> {
    Arc::default()
}

/// Takes up to `most` endpoints, and gives none back.
fn take(agenda: &mut Agenda, now: i64, after: Option<u32>, most: usize) -> (Vec<TargetId>, bool) {
    let Taken { targets, more } = agenda.take(now, after.map(TargetId), most, &none());
    (targets, more)
}

#[test]
fn earlier_time_of_a_target_holds() {
    let mut agenda = Agenda::default();
    for at in [7, 5, 9] {
        agenda.note(TargetId(1), at);
    }
    assert_eq!(take(&mut agenda, 4, None, 9), (Vec::new(), false));
    assert_eq!(agenda.next_after(4), Some(5));
    assert_eq!(take(&mut agenda, 5, None, 9).0, [TargetId(1)]);
    assert_eq!(agenda.next_after(0), None);
    assert_eq!(take(&mut agenda, 99, None, 9).0, []);
}

#[test]
fn names_come_in_the_order_of_the_ring_around_the_endpoints() {
    let endpoints = [endpoint(1), endpoint(2)];
    for (after, expected) in [
        (None, [1, 2, 3, 101, 102]),
        (Some(1), [2, 3, 101, 102, 1]),
        (Some(3), [101, 102, 1, 2, 3]),
        (Some(FIRST_ENDPOINT + 1), [1, 2, 3, 101, 102]),
    ] {
        let mut agenda = Agenda::default();
        for target in [3, 1, 2].map(TargetId).into_iter().chain(endpoints) {
            agenda.note(target, 0);
        }
        let expected = expected.map(|number| match number {
            1..=100 => TargetId(number),
            _ => endpoint(number - 100),
        });
        let taken = take(&mut agenda, 0, after, 9);
        assert_eq!(taken, (expected.to_vec(), false), "after {after:?}");
    }
}

#[test]
fn endpoints_take_turns() {
    let mut agenda = Agenda::default();
    let all: Vec<_> = (0..10).map(endpoint).collect();
    let mut seen = Vec::new();
    for round in 0..5 {
        for target in &all {
            agenda.note(*target, 0);
        }
        let (targets, more) = take(&mut agenda, round, None, 4);
        assert_eq!((targets.len(), more), (4, true));
        seen.extend(targets);
    }
    let twice = [all.clone(), all].concat();
    assert_eq!(seen, twice);
}

#[test]
fn target_that_is_put_off_comes_back_by_time_or_when_it_is_woken() {
    let mut agenda = Agenda::default();
    agenda.put_off(endpoint(1), 50);
    assert_eq!(agenda.next_after(0), None, "it has no units");
    for target in [endpoint(1), endpoint(2)] {
        agenda.note(target, 0);
        agenda.put_off(target, 50);
        agenda.note(target, 1);
    }
    assert_eq!(take(&mut agenda, 49, None, 9), (Vec::new(), false));
    assert_eq!(agenda.next_after(49), Some(50));
    agenda.wake(endpoint(2));
    agenda.wake(endpoint(3));
    assert_eq!(take(&mut agenda, 49, None, 9).0, [endpoint(2)]);
    assert_eq!(take(&mut agenda, 50, None, 9).0, [endpoint(1)]);
}

#[test]
fn paused_endpoints_are_left_out_until_the_set_changes() {
    let mut agenda = Agenda::default();
    let skip = |numbers: &[u32]| Arc::new(numbers.iter().copied().map(endpoint).collect());
    let both = skip(&[1, 2]);
    for number in 1..=3 {
        agenda.note(endpoint(number), 0);
    }
    let taken = agenda.take(0, None, 9, &none());
    assert_eq!(taken.targets.len(), 3);
    for number in 1..=3 {
        agenda.note(endpoint(number), 0);
    }
    for _ in 0..3 {
        let taken = agenda.take(0, None, 9, &both);
        assert!(!taken.more);
        assert!(taken.targets.iter().all(|target| *target == endpoint(3)));
        agenda.note(endpoint(1), 0);
        agenda.note(endpoint(3), 0);
    }
    let taken = agenda.take(0, None, 9, &skip(&[2]));
    assert_eq!(taken.targets, [endpoint(1), endpoint(3)]);
    assert_eq!(agenda.take(0, None, 9, &none()).targets, [endpoint(2)]);
}

#[test]
fn disk_is_scanned_once_a_second() {
    let mut agenda = Agenda::default();
    let scans = [0, 1, 999, 1000, 1500, 2000, 5, 6].map(|now| agenda.next_scan(now));
    let expected = [true, false, false, true, false, true, true, false];
    assert_eq!(scans, expected, "a clock that was set back too");
}

#[derive(Clone, Debug)]
enum Step {
    /// A unit of a target is due in this time.
    Add(u8, i64),
    /// The first unit of a target is gone.
    Remove(u8),
    /// Time passes, and targets are taken and given back.
    Take(i64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..20_u8, 0..50_i64).prop_map(|(target, wait)| Step::Add(target, wait)),
        2 => (0..20_u8).prop_map(Step::Remove),
        3 => (0..20_i64, 1..6_usize).prop_map(|(wait, most)| Step::Take(wait, most)),
    ]
}

proptest! {
    /// The model is a sorted list of all units. Every due target comes before another comes a second time.
    #[test]
    fn agenda_agrees_with_a_sorted_list(steps in prop::collection::vec(step(), 1..80)) {
        let (mut agenda, mut now) = (Agenda::default(), 0);
        let mut units: Vec<(i64, TargetId)> = Vec::new();
        // even numbers are names, odd ones endpoints
        let target = |number: u8| if number.is_multiple_of(2) { TargetId(number.into()) } else { endpoint(number.into()) };
        let earliest = |units: &[(i64, TargetId)], of: TargetId| units.iter().filter(|(_, target)| *target == of).map(|(at, _)| *at).min();
        for step in steps {
            match step {
                Step::Add(number, wait) => {
                    units.push((now + wait, target(number)));
                    agenda.note(target(number), now + wait);
                }
                Step::Remove(number) => {
                    let first = units.iter().position(|(_, other)| *other == target(number));
                    first.map(|at| units.swap_remove(at));
                }
                Step::Take(wait, most) => {
                    now += wait;
                    let mut due: BTreeSet<_> = units.iter().filter(|(at, _)| *at <= now).map(|(_, target)| *target).collect();
                    // a target whose unit is gone takes a turn, too
                    for _ in 0..20 {
                        let taken = agenda.take(now, None, most, &none());
                        let endpoints = taken.targets.iter().filter(|target| target.is_endpoint()).count();
                        prop_assert!(endpoints <= most);
                        for target in taken.targets {
                            due.remove(&target);
                            if let Some(at) = earliest(&units, target) {
                                agenda.note(target, at);
                            }
                        }
                    }
                    prop_assert!(due.is_empty(), "{due:?}");
                    let later = units.iter().map(|(at, _)| *at).filter(|at| *at > now).min();
                    let next = agenda.next_after(now);
                    let known: BTreeSet<_> = units.iter().filter(|(at, _)| *at <= now).map(|(_, target)| *target).collect();
                    // a target that is due is looked at again anyway
                    let others = units.iter().filter(|(_, target)| !known.contains(target)).map(|(at, _)| *at).min();
                    prop_assert!(next.is_none_or(|next| next > now));
                    prop_assert!(others.is_none_or(|others| next.is_some_and(|next| next <= others)), "{next:?} {later:?}");
                }
            }
        }
    }
}

#[test]
fn oldest_due_endpoint_is_known_wherever_it_waits() {
    let mut agenda = Agenda::default();
    let oldest = |agenda: &Agenda, except: &[u32]| {
        let except = except.iter().copied().map(endpoint).collect();
        agenda.oldest_due(100, &except)
    };
    agenda.note(TargetId(1), 0);
    for number in 1..=4 {
        agenda.note(endpoint(number), i64::from(number) * 10);
    }
    agenda.note(endpoint(5), 500);
    assert_eq!(oldest(&agenda, &[]), Some(10), "a route does not count");
    assert_eq!(oldest(&agenda, &[1, 2]), Some(30));
    assert_eq!(oldest(&agenda, &[1, 2, 3, 4]), None, "none is due yet");
    // what is put off, woken, or due and not taken, keeps the time at which it was due
    agenda.put_off(endpoint(1), 90);
    assert_eq!(oldest(&agenda, &[]), Some(10));
    assert_eq!(take(&mut agenda, 95, None, 0), (vec![TargetId(1)], true));
    assert_eq!(oldest(&agenda, &[]), Some(10));
    agenda.put_off(endpoint(1), 300);
    agenda.wake(endpoint(1));
    assert_eq!(oldest(&agenda, &[]), Some(10));
    // a paused endpoint does not count, and after its pause it is due since then
    let paused = Arc::new(HashSet::from([endpoint(1), endpoint(2)]));
    agenda.take(96, None, 9, &paused);
    assert_eq!(oldest(&agenda, &[]), None, "all others were taken");
    agenda.take(98, None, 0, &none());
    assert_eq!(oldest(&agenda, &[]), Some(98));
}
