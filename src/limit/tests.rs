use proptest::prelude::*;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use super::*;
use crate::clock::{Clock, SystemClock};

fn quota(count: u32, per: Duration, burst: u32) -> Quota {
    Quota {
        rate: Rate {
            count: NonZeroU32::new(count).unwrap(),
            per,
        },
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

fn start() -> Instant {
    SystemClock.now().mono
}

#[test]
fn refusal_says_when_the_next_request_passes() {
    let buckets = Buckets::new(quota(10, Duration::from_secs(1), 2));
    let now = start();
    assert_eq!(buckets.take(7, now), Ok(()));
    assert_eq!(buckets.take(7, now), Ok(()));
    let wait = buckets.take(7, now).unwrap_err();
    assert!(wait.as_millis().abs_diff(100) <= 1, "{wait:?}");
    assert!(
        buckets
            .take(7, now + wait - Duration::from_millis(1))
            .is_err()
    );
    assert_eq!(buckets.peek(7, now + wait), Ok(()));
    assert_eq!(buckets.take(7, now + wait), Ok(()));
    assert!(buckets.peek(7, now + wait).is_err());
    assert_eq!(
        buckets.take(8, now),
        Ok(()),
        "another key has its own bucket"
    );
}

#[test]
fn a_changed_quota_keeps_what_was_spent() {
    let buckets = Buckets::new(quota(1, Duration::from_secs(3600), 4));
    let now = start();
    for _ in 0..4 {
        assert_eq!(buckets.take(1, now), Ok(()));
    }
    buckets.set_quota(quota(1, Duration::from_secs(3600), 5));
    assert_eq!(buckets.take(1, now), Ok(()));
    assert!(buckets.take(1, now).is_err());
}

#[test]
fn refused_requests_do_not_delay_the_refill() {
    let buckets = Buckets::new(quota(1, Duration::from_secs(86_400), 1));
    let now = start();
    assert_eq!(buckets.take(1, now), Ok(()));
    for step in 1..100_000 {
        assert!(buckets.take(1, now + Duration::from_micros(step)).is_err());
    }
    assert!(buckets.take(1, now + Duration::from_secs(86_390)).is_err());
    assert_eq!(buckets.take(1, now + Duration::from_secs(86_401)), Ok(()));
}

#[test]
fn million_other_keys_do_not_free_a_limited_one() {
    let buckets = Buckets::new(quota(1, Duration::from_secs(3600), 100));
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let now = start();
    let slowed = hasher.hash_one("slowed");
    while buckets.take(slowed, now).is_ok() {}
    for stranger in 0..1_000_000_u32 {
        assert_eq!(buckets.take(hasher.hash_one(stranger), now), Ok(()));
    }
    assert!(buckets.take(slowed, now).is_err());
    assert!(buckets.len() <= CAPACITY);
    assert!(buckets.len() > CAPACITY * 9 / 10);
}

#[test]
fn full_buckets_are_evicted_first() {
    let buckets = Buckets::new(quota(1, Duration::from_secs(1), 5));
    let now = start();
    for round in 0..100_u64 {
        // All in one set: the low 32 bits choose the set, the high ones the shard.
        for key in 0..16_u64 {
            let key = ((round * 16 + key) * u64::try_from(SHARDS).unwrap()) << 32;
            assert_eq!(
                buckets.take(key | 1, now + Duration::from_secs(round * 2)),
                Ok(())
            );
        }
    }
    assert_eq!(buckets.len(), SLOTS_PER_SET);
}

proptest! {
    #[test]
    fn never_more_than_burst_and_rate(
        count in 1_u32..1000, per_ms in 1_u64..100_000, burst in 1_u32..50,
        steps in prop::collection::vec(0_u64..2_000_000_000, 1..200),
    ) {
        let per = Duration::from_millis(per_ms);
        let buckets = Buckets::new(quota(count, per, burst));
        let began = start();
        let mut passed: Vec<u64> = Vec::new();
        let mut at = 0;
        for step in steps {
            at += step;
            let now = began + Duration::from_nanos(at);
            let peeked = buckets.peek(3, now);
            let taken = buckets.take(3, now);
            prop_assert_eq!(peeked, taken);
            match taken {
                Ok(()) => passed.push(at),
                Err(wait) => prop_assert_eq!(buckets.peek(3, now + wait), Ok(())),
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let let_through = u128::try_from(last - first + 1).unwrap();
                let refilled = u128::from(to - from) * u128::from(count) / per.as_nanos();
                prop_assert!(let_through <= u128::from(burst) + refilled + 1);
            }
        }
    }

    #[test]
    fn a_refund_restores(burst in 1_u32..20, takes in 0_u32..30, at in 0_u64..10_000) {
        let buckets = Buckets::new(quota(5, Duration::from_secs(1), burst));
        let began = start();
        for _ in 0..takes {
            buckets.take(9, began).ok();
        }
        let now = began + Duration::from_millis(at);
        let before = buckets.peek(9, now);
        if buckets.take(9, now).is_ok() {
            buckets.refund(9, now);
        }
        prop_assert_eq!(buckets.peek(9, now), before);
        for _ in 0..100 {
            buckets.refund(9, now);
        }
        let mut free = 0;
        while buckets.take(9, now).is_ok() {
            free += 1;
        }
        prop_assert_eq!(free, burst, "refunds never give more than the burst");
    }

    /// A step of the clock may also be backwards.
    #[test]
    fn a_meter_behaves_as_one_bucket(
        quotas in prop::collection::vec((1_u32..1000, 1_u64..100_000, 1_u32..50), 1..4),
        steps in prop::collection::vec((-100_000_000_i64..2_000_000_000, 0_u8..10), 1..200),
    ) {
        let quotas: Vec<Quota> = quotas
            .into_iter()
            .map(|(count, per_ms, burst)| quota(count, Duration::from_millis(per_ms), burst))
            .collect();
        let (mut meter, mut chosen) = (Meter::default(), quotas[0]);
        let buckets = Buckets::new(chosen);
        let (began, mut at) = (start(), 0_u64);
        prop_assert_eq!(buckets.peek(0, began), Ok(()));
        for (step, act) in steps {
            at = at.saturating_add_signed(step);
            let now = began + Duration::from_nanos(at);
            match act {
                0 => {
                    chosen = quotas[usize::try_from(at).unwrap() % quotas.len()];
                    buckets.set_quota(chosen);
                }
                1..3 => {
                    buckets.refund(0, now);
                    meter.refund(chosen, now);
                }
                _ => prop_assert_eq!(buckets.take(0, now), meter.take(chosen, now)),
            }
            let wait = buckets.peek(0, now).err().unwrap_or_default();
            prop_assert_eq!(wait, meter.wait(chosen, now));
        }
    }
}

#[test]
fn a_meter_is_small() {
    assert_eq!(size_of::<Meter>(), 24);
}
