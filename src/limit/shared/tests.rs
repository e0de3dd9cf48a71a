use proptest::prelude::*;

use super::*;
use crate::clock::{Clock as _, SystemClock};

const MS: Duration = Duration::from_millis(1);
/// A key that is used in most tests.
const KEY: u64 = 7;

fn quota(count: u32, per: Duration, burst: u32) -> Quota {
    let count = NonZeroU32::new(count).unwrap();
    Quota {
        rate: Rate { count, per },
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

/// A store as `reserve_1` is: GCRA, in nanoseconds.
#[derive(Default)]
struct Store(HashMap<u64, u128>);

impl Store {
    fn reserve(&mut self, ask: &Ask, now: Duration) -> (u32, Duration) {
        let (each, burst) = (ask.each.as_nanos(), u128::from(ask.burst));
        let now = now.as_nanos();
        let tat = self.0.entry(ask.key).or_default();
        let base = (*tat).max(now) + u128::from(ask.spent) * each;
        let free = (now + burst * each).saturating_sub(base) / each;
        let granted = free.min(u128::from(ask.want));
        *tat = (base + granted * each).min(now + 2 * burst * each);
        let wait = tat.saturating_sub(now + (burst - 1) * each);
        let wait = Duration::from_nanos(wait.try_into().unwrap());
        (granted.try_into().unwrap(), wait)
    }
}

/// A gateway, and its call under way.
struct Gateway {
    limit: SharedLimit,
    call: Option<Call>,
}

struct Call {
    /// The time at which the answers come.
    due: Duration,
    /// The answers; none where it fails.
    answers: Vec<(Ask, Option<(u32, Duration)>)>,
}

/// Some gateways over one store, by a time of their own.
struct Fleet {
    began: Instant,
    now: Duration,
    store: Store,
    is_away: bool,
    /// The time from a call to its answer.
    latency: Duration,
    gateways: Vec<Gateway>,
    calls: u32,
}

impl Fleet {
    fn new(quota: Quota, gateways: u32, counts_strangers: bool) -> Self {
        let share = Share {
            quota,
            gateways: NonZeroU32::new(gateways).unwrap(),
        };
        let gateway = || Gateway {
            limit: SharedLimit::new(share, counts_strangers, Arc::default()),
            call: None,
        };
        Self {
            began: SystemClock.mono(),
            // far from zero, so that buckets of the store can be full
            now: Duration::from_secs(1_000_000),
            store: Store::default(),
            is_away: false,
            latency: MS * 2,
            gateways: std::iter::repeat_with(gateway)
                .take(gateways.try_into().unwrap())
                .collect(),
            calls: 0,
        }
    }

    fn at(&self) -> Instant {
        self.began + (self.now - Duration::from_secs(1_000_000))
    }

    /// Lets time pass, and makes the calls that are due.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let at = self.at();
        for gateway in &mut self.gateways {
            if let Some(call) = gateway.call.take_if(|call| call.due <= self.now) {
                for (ask, answer) in call.answers {
                    match answer {
                        Some((granted, wait)) => gateway.limit.answer(&ask, granted, wait, at),
                        None => gateway.limit.fail(&ask, false, at),
                    }
                }
            }
            if gateway.call.is_some() {
                continue;
            }
            let asks = gateway.limit.due(at, 256);
            if asks.is_empty() {
                continue;
            }
            self.calls += 1;
            let reserve = |ask: Ask| {
                let answer = (!self.is_away).then(|| self.store.reserve(&ask, self.now));
                (ask, answer)
            };
            let answers = asks.into_iter().map(reserve).collect();
            gateway.call = Some(Call {
                due: self.now + self.latency,
                answers,
            });
        }
    }

    fn take(&self, gateway: usize, key: u64) -> bool {
        self.gateways[gateway].limit.take(key, self.at()).is_ok()
    }

    /// Lets some gateways take as many tokens of a key as they get, for some milliseconds. Returns how many that are.
    fn exhaust(&mut self, gateways: std::ops::Range<usize>, key: u64, ms: u32) -> u32 {
        let mut taken = 0;
        for _ in 0..ms {
            for gateway in gateways.clone() {
                // more than there is in a millisecond
                taken += (0..20).filter(|_| self.take(gateway, key)).count();
            }
            self.pass(MS);
        }
        taken.try_into().unwrap()
    }
}

#[test]
fn one_hot_key_gets_what_the_limit_allows_and_no_more() {
    for (gateways, count, burst) in [(4, 1000, 200), (4, 100, 100), (8, 50, 5), (1, 500, 50)] {
        let mut fleet = Fleet::new(quota(count, Duration::from_secs(1), burst), gateways, false);
        let taken = fleet.exhaust(0..gateways.try_into().unwrap(), KEY, 4000);
        let most = burst + count * 4;
        assert!(
            (most * 9 / 10..=most).contains(&taken),
            "{gateways} gateways: {taken} of {most}"
        );
    }
}

#[test]
fn busy_gateway_gets_what_the_others_do_not_use() {
    for (gateways, count, burst) in [
        (4, 1000, 200),
        (4, 100, 100),
        (4, 100, 10),
        (12, 1000, 1000),
    ] {
        let mut fleet = Fleet::new(quota(count, Duration::from_secs(1), burst), gateways, false);
        let taken = fleet.exhaust(1..2, KEY, 4000);
        let most = burst + count * 4;
        assert!((most * 9 / 10..=most).contains(&taken), "{taken} of {most}");
    }
}

#[test]
fn calls_are_few_however_many_requests_come() {
    let mut fleet = Fleet::new(quota(1000, Duration::from_secs(1), 1000), 2, false);
    fleet.exhaust(0..2, KEY, 2000);
    assert!(fleet.calls <= 60, "{}", fleet.calls);
}

/// A slow limit is not used up by tokens that are reserved in vain, and one gateway can use all of it.
#[test]
fn requests_within_a_slow_limit_are_never_refused() {
    for strangers in [false, true] {
        let mut fleet = Fleet::new(quota(10, Duration::from_secs(3600), 10), 4, strangers);
        for number in 0..60 {
            assert!(fleet.take(2, KEY), "request {number}");
            for _ in 0..100 {
                fleet.pass(MS);
            }
            for _ in 0..361 {
                fleet.pass(Duration::from_secs(1));
            }
        }
    }
}

#[test]
fn burst_that_comes_at_once_passes() {
    let mut fleet = Fleet::new(quota(10, Duration::from_secs(1), 10), 2, false);
    let at_once = (0..10).filter(|number| fleet.take(number % 2, KEY)).count();
    assert_eq!(at_once, 10);
    fleet.pass(MS * 10);
    assert!(!fleet.take(0, KEY));
}

#[test]
fn refusal_says_when_the_store_has_a_token() {
    let mut fleet = Fleet::new(quota(1, Duration::from_secs(3600), 2), 1, false);
    for _ in 0..2 {
        assert!(fleet.take(0, KEY));
        (0..5).for_each(|_| fleet.pass(MS * 10));
    }
    let limit = &fleet.gateways[0].limit;
    for refused in [limit.take(KEY, fleet.at()), limit.peek(KEY, fleet.at())] {
        let wait = refused.unwrap_err().as_secs();
        assert!((3590..=3600).contains(&wait), "{wait}");
    }
}

/// A key that is used up does not wait for the time that the former limit would have taken.
#[test]
fn raised_limit_holds_at_once() {
    let mut fleet = Fleet::new(quota(1, Duration::from_secs(3600), 2), 1, false);
    for _ in 0..2 {
        assert!(fleet.take(0, KEY));
        (0..5).for_each(|_| fleet.pass(MS * 10));
    }
    assert!(!fleet.take(0, KEY));
    let limit = &fleet.gateways[0].limit;
    limit.set_quota(quota(100, Duration::from_secs(1), 200));
    assert!(fleet.take(0, KEY));
}

#[test]
fn share_follows_the_number_of_gateways() {
    let fleet = Fleet::new(quota(1, Duration::from_secs(3600), 12), 4, false);
    let limit = &fleet.gateways[0].limit;
    let passes = |key| (0..20).filter(|_| fleet.take(0, key)).count();
    assert_eq!(passes(1), 3);
    limit.set_gateways(NonZeroU32::new(2).unwrap());
    assert_eq!(passes(2), 6);
    limit.set_quota(quota(1, Duration::from_secs(3600), 20));
    assert_eq!(passes(3), 10);
}

#[test]
fn client_addresses_take_no_place_in_the_store_before_they_are_busy() {
    let mut fleet = Fleet::new(quota(100, Duration::from_secs(1), 200), 4, true);
    for stranger in 0..50_000 {
        assert!(fleet.take(0, stranger << 20));
    }
    fleet.pass(MS * 200);
    assert_eq!(fleet.calls, 0);
    let mut spent = 0;
    while fleet.calls == 0 {
        assert!(
            fleet.take(0, KEY),
            "it is asked for before the share is spent"
        );
        spent += 1;
        fleet.pass(Duration::from_micros(10));
    }
    assert_eq!(spent, 21, "a tenth of the burst is not counted");
}

#[test]
fn authentic_requests_are_counted_from_the_first_on() {
    let mut fleet = Fleet::new(quota(100, Duration::from_secs(1), 200), 4, false);
    assert!(fleet.take(0, KEY));
    fleet.pass(MS);
    fleet.pass(MS * 3);
    let each = Duration::from_millis(10).as_nanos();
    let spent = (fleet.store.0[&KEY] - Duration::from_secs(1_000_000).as_nanos()) / each;
    assert_eq!(spent, 1);
}

#[test]
fn share_decides_while_the_store_is_away_and_the_fleet_afterwards() {
    let mut fleet = Fleet::new(quota(400, Duration::from_secs(1), 40), 4, false);
    fleet.exhaust(0..4, KEY, 1000);
    fleet.is_away = true;
    fleet.exhaust(0..1, KEY, 500);
    let away = fleet.exhaust(0..1, KEY, 2000);
    assert!((190..=210).contains(&away), "a quarter of the rate: {away}");
    assert!(fleet.gateways[0].limit.local_decisions() > 0);
    fleet.is_away = false;
    fleet.exhaust(0..1, KEY, 1500);
    let back = fleet.exhaust(0..1, KEY, 1000);
    assert!((360..=400).contains(&back), "the whole rate: {back}");
    let local = fleet.gateways[0].limit.local_decisions();
    fleet.exhaust(0..1, KEY, 100);
    assert_eq!(fleet.gateways[0].limit.local_decisions(), local);
}

#[test]
fn token_that_was_given_back_can_be_taken_again() {
    for strangers in [false, true] {
        let mut fleet = Fleet::new(quota(1, Duration::from_secs(3600), 3), 1, strangers);
        for _ in 0..3 {
            assert!(fleet.take(0, KEY));
            fleet.pass(MS * 10);
        }
        let limit = &fleet.gateways[0].limit;
        limit.refund(KEY, fleet.at());
        assert_eq!(limit.peek(KEY, fleet.at()), Ok(()));
        assert!(fleet.take(0, KEY));
        assert!(!fleet.take(0, KEY));
    }
}

#[test]
fn unused_keys_are_forgotten() {
    let mut fleet = Fleet::new(quota(100, Duration::from_secs(1), 10), 2, false);
    for key in 0..20_000 {
        fleet.take(0, key);
    }
    assert_eq!(fleet.gateways[0].limit.keys.lock().reserves.len(), MAX_KEYS);
    for _ in 0..10_000 {
        fleet.pass(MS);
    }
    let keys = fleet.gateways[0].limit.keys.lock();
    assert!(keys.reserves.is_empty() && keys.due.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However requests come, whatever the store does: in no stretch of time do more pass than the rate, the burst, and one burst more.
    #[test]
    fn never_more_than_one_burst_over_the_limit(
        gateways in 1_u32..6, count in 1_u32..500, per_s in prop::sample::select(vec![1_u64, 10, 60]), burst in 1_u32..100,
        strangers in any::<bool>(), latency in 1_u32..80,
        steps in prop::collection::vec((0_usize..6, 0_u32..40, 1_u64..200, 0_u32..100), 1..400),
    ) {
        let quota = quota(count, Duration::from_secs(per_s), burst);
        let mut fleet = Fleet::new(quota, gateways, strangers);
        fleet.latency = MS * latency;
        let each = quota.rate.per.as_secs_f64() / f64::from(count);
        // the level of a bucket that drains at the rate is the largest number over it in any stretch that ends now
        let (mut level, mut highest) = (0.0_f64, 0.0_f64);
        let share = burst.div_ceil(gateways);
        let mut lost = 0;
        for (gateway, requests, ms, turn) in steps {
            let gateway = gateway % fleet.gateways.len();
            let taken = (0..requests).filter(|_| fleet.take(gateway, KEY)).count();
            level += f64::from(u32::try_from(taken).unwrap());
            highest = highest.max(level);
            if turn == 0 {
                fleet.is_away = !fleet.is_away;
                // nobody knows whether a call whose answer was lost was charged, so it is not charged again
                lost += u32::from(fleet.is_away) * gateways * share;
            }
            for _ in 0..ms.div_ceil(10) {
                fleet.pass(MS * 10);
                let uncounted = if strangers { 1.1 } else { 1.0 };
                level = (level - 0.01 * uncounted / each).max(0.0);
            }
        }
        prop_assert!(highest <= f64::from(burst + gateways * share + lost) + 1.0, "{highest} of {burst}");
    }
}
