use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Returns a key that is spread like a hash.
fn key(number: u64) -> Key {
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        ^ (u128::from(number) << 77);
    Key(spread
        .wrapping_mul(0xd1b5_4a32_d192_ed03_8cb9_2ba7_2f3d_8dd7)
        .to_be_bytes())
}

#[derive(Clone, Debug)]
enum Step {
    Claim { key: u64, token: u128, lease: u64 },
    Commit { key: u64, token: u128, window: u64 },
    Extend { key: u64, token: u128, lease: u64 },
    Release { key: u64, token: u128 },
    Advance(u64),
    Tidy,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, token) = (|| 0_u64..12, || 0_u128..4);
    prop_oneof![
        4 => (key(), token(), 1_u64..20_000).prop_map(|(key, token, lease)| Step::Claim { key, token, lease }),
        4 => (key(), token(), prop_oneof![1_u64..10_000, 1_u64..10_000_000]).prop_map(|(key, token, window)| Step::Commit { key, token, window }),
        1 => (key(), token(), 1_u64..20_000).prop_map(|(key, token, lease)| Step::Extend { key, token, lease }),
        2 => (key(), token()).prop_map(|(key, token)| Step::Release { key, token }),
        2 => (0_u64..15_000).prop_map(Step::Advance),
        1 => Just(Step::Tidy),
    ]
}

/// The rules, written down as plainly as can be.
#[derive(Default)]
struct Model {
    committed: HashMap<u64, u64>,
    in_flight: HashMap<u64, (u128, u64)>,
    tokens: Vec<(u64, u128)>,
}

impl Model {
    /// Returns whether the ID is remembered. Time counts in whole seconds: to the end of the second in which its window ends.
    fn remembers(&self, key: u64, now: u64) -> bool {
        self.committed
            .get(&key)
            .is_some_and(|until| until.div_ceil(1000) > now / 1000)
    }

    fn claim(&mut self, key: u64, token: u128, lease: u64, now: u64) -> ClaimResult {
        if self.remembers(key, now) {
            return ClaimResult::Committed;
        }
        match self.in_flight.get(&key) {
            Some((holder, lapses)) if *holder != token && *lapses > now => ClaimResult::InFlight {
                lapses_in: Duration::from_millis(lapses - now),
            },
            _ => {
                self.in_flight.insert(key, (token, now + lease));
                ClaimResult::Fresh
            }
        }
    }

    fn commit(&mut self, key: u64, token: u128, window: u64, now: u64) -> Ownership {
        let holder = self.in_flight.get(&key);
        let holder = holder.filter(|(holder, lapses)| *holder == token || *lapses > now);
        let holder = holder.map(|(holder, _)| *holder);
        if holder == Some(token) || (holder.is_none() && !self.remembers(key, now)) {
            self.in_flight.remove(&key);
            self.committed.insert(key, now + window);
            self.tokens.push((key, token));
            return Ownership::Owned;
        }
        let recent = self
            .tokens
            .iter()
            .rev()
            .take(RECENT)
            .any(|known| *known == (key, token));
        if recent && self.remembers(key, now) {
            Ownership::Owned
        } else {
            Ownership::Lost
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn ledger_matches_its_model(steps in prop::collection::vec(step(), 1..300)) {
        let (mut memory, mut model, mut now) = (Memory::new(1000), Model::default(), 0);
        for step in steps {
            match step {
                Step::Claim { key: number, token, lease } => prop_assert_eq!(
                    memory.claim(key(number), Token(token), Duration::from_millis(lease), now),
                    model.claim(number, token, lease, now)
                ),
                Step::Commit { key: number, token, window } => {
                    let commit = memory.commit(key(number), Token(token), Duration::from_millis(window), now);
                    prop_assert_eq!(commit, Commit { ownership: model.commit(number, token, window, now), forgot: None });
                }
                Step::Extend { key: number, token, lease } => {
                    let ownership = memory.extend(key(number), Token(token), Duration::from_millis(lease), now);
                    let known = model.in_flight.get_mut(&number).filter(|(holder, _)| *holder == token);
                    prop_assert_eq!(ownership == Ownership::Owned, known.is_some());
                    if let Some((_, lapses)) = known {
                        *lapses = (*lapses).max(now + lease);
                    }
                }
                Step::Release { key: number, token } => {
                    let known = model.in_flight.get(&number).is_some_and(|(holder, _)| *holder == token);
                    prop_assert_eq!(memory.release(key(number), Token(token)), known);
                    if known {
                        model.in_flight.remove(&number);
                    }
                }
                Step::Advance(by) => now += by,
                Step::Tidy => memory.tidy(now),
            }
            prop_assert_eq!(memory.in_flight(), model.in_flight.len());
            for number in 0..12 {
                prop_assert_eq!(memory.remembers(key(number), now), model.remembers(number, now));
            }
        }
        prop_assert_eq!(memory.forgotten_early(), 0);
    }

    /// The table alone, small enough that probing wraps around and removal has to move entries back.
    #[test]
    fn segment_matches_a_map(steps in prop::collection::vec((0_u64..60, 0_u32..40, any::<bool>()), 1..400)) {
        let (mut segment, mut model, mut now) = (Segment::default(), HashMap::new(), 0);
        for (number, by, insert) in steps {
            let id = u128::from_be_bytes(key(number).0);
            if insert {
                segment.insert(id, now + by + 1, now);
                model.insert(id, now + by + 1);
            } else {
                segment.sweep(now, usize::try_from(by).unwrap());
                now += by / 20;
            }
            for (id, until) in &model {
                if *until > now {
                    prop_assert_eq!(segment.until(*id), Some(*until));
                } else {
                    prop_assert!(segment.until(*id).is_none_or(|until| until <= now));
                }
            }
            let known = (0..60).filter(|number| segment.has(u128::from_be_bytes(key(*number).0))).count();
            prop_assert_eq!(segment.len(), known);
        }
        let mut last = 0;
        while let Some((_, until)) = segment.remove_soonest() {
            prop_assert!(until >= last);
            last = until;
        }
        prop_assert_eq!(segment.len(), 0);
    }
}

#[test]
fn id_takes_less_than_32_bytes_at_any_size() {
    let mut memory = Memory::new(1_000_000);
    for number in 0..1_000_000 {
        memory.remember(key(number), 3_600_000, 0);
        // Below that the empty segments weigh more than the IDs; it is a few dozen KiB.
        if number % 1000 == 0 && number > 50_000 {
            assert!(
                memory.bytes() <= 32 * memory.committed(),
                "{} bytes for {} IDs",
                memory.bytes(),
                memory.committed()
            );
        }
    }
    assert_eq!(memory.committed(), 1_000_000);
    assert_eq!(memory.forgotten_early(), 0);
    assert!(memory.bytes() <= 28 * 1_000_000, "{} bytes", memory.bytes());
    assert!((0..1_000_000).all(|number| memory.remembers(key(number), 3_599_000)));
}

#[test]
fn full_ledger_forgets_and_counts_the_soonest_expiry() {
    let mut memory = Memory::new(100);
    for number in 0..100 {
        assert_eq!(
            memory.remember(key(number), 1_000_000 + number * 1000, 0),
            None
        );
    }
    assert_eq!(memory.remember(key(1000), 5_000_000, 0), Some(key(0)));
    assert_eq!(memory.remember(key(1001), 5_000_000, 0), Some(key(1)));
    assert_eq!(
        memory.remember(key(1001), 6_000_000, 0),
        None,
        "it is there already"
    );
    assert_eq!((memory.committed(), memory.forgotten_early()), (100, 2));
    // When the windows have passed there is room, and nothing is forgotten early.
    assert_eq!(memory.remember(key(1002), 9_000_000, 4_000_000), None);
    assert_eq!(memory.forgotten_early(), 2);
}

#[test]
fn a_steady_stream_over_mixed_windows_keeps_its_size() {
    let mut memory = Memory::new(1_000_000);
    let (mut now, mut most, mut most_bytes) = (0, 0, 0);
    for number in 0..600_000_u64 {
        now += 10; // 100 a second
        let window = if number % 4 == 0 { 1_200_000 } else { 120_000 };
        memory.remember(key(number), now + window, now);
        if now > 2_400_000 {
            most = most.max(memory.committed());
            most_bytes = most_bytes.max(memory.bytes());
        }
    }
    // Alive at any time: 25/s for 1200 s and 75/s for 120 s.
    let alive = 25 * 1200 + 75 * 120;
    assert!(most <= alive * 125 / 100, "{most} for {alive}");
    assert!(most_bytes <= alive * 40, "{most_bytes} bytes for {alive}");
    for _ in 0..1024 {
        memory.tidy(now + 10_000_000);
    }
    assert_eq!(memory.committed(), 0);
    assert!(
        memory.bytes() < 512 * 1024,
        "memory is given back: {}",
        memory.bytes()
    );
}

#[test]
fn lapsed_claims_are_removed() {
    let mut memory = Memory::new(1000);
    for number in 0..100_000 {
        memory.claim(
            key(number),
            Token(1),
            Duration::from_secs(20),
            number * 10_000,
        );
    }
    assert!(memory.in_flight() <= 1024, "{}", memory.in_flight());
}

#[test]
fn lapsed_claim_without_new_owner_can_be_committed() {
    let (lease, window) = (Duration::from_secs(20), Duration::from_secs(3600));
    let mut memory = Memory::new(10);
    assert_eq!(memory.claim(key(1), Token(1), lease, 0), ClaimResult::Fresh);
    assert_eq!(
        memory.commit(key(1), Token(1), window, 30_000).ownership,
        Ownership::Owned
    );
    assert_eq!(
        memory.commit(key(1), Token(1), window, 30_000).ownership,
        Ownership::Owned,
        "repeated"
    );
    assert_eq!(memory.claim(key(2), Token(1), lease, 0), ClaimResult::Fresh);
    assert_eq!(
        memory.claim(key(2), Token(2), lease, 30_000),
        ClaimResult::Fresh,
        "taken over"
    );
    assert_eq!(
        memory.commit(key(2), Token(1), window, 31_000).ownership,
        Ownership::Lost
    );
    assert_eq!(
        memory.commit(key(2), Token(2), window, 32_000).ownership,
        Ownership::Owned
    );
    assert_eq!(
        memory.commit(key(2), Token(1), window, 32_000).ownership,
        Ownership::Lost
    );
}
