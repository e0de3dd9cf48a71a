use std::collections::VecDeque;

use http::Method;

use super::reading::{GRACE, capacity};
use super::*;
use crate::clock::{Clock, Now, SystemClock};
use crate::request::{Client, HeaderLines, RequestId};
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A clock that follows tokio's paused time.
#[derive(Debug)]
struct PausedClock;

impl Clock for PausedClock {
    #[expect(clippy::disallowed_methods, reason = "the clock of the test")]
    fn now(&self) -> Now {
        Now {
            wall: SystemClock.now().wall,
            mono: tokio::time::Instant::now().into_std(),
        }
    }
}

/// A source of chunks, each with the time since the one before; then it ends, or waits for ever.
struct Script {
    pieces: VecDeque<(Duration, usize)>,
    ends: bool,
    invited: usize,
}

impl Script {
    fn of(pieces: impl IntoIterator<Item = (u64, usize)>, ends: bool) -> Self {
        let pieces = pieces
            .into_iter()
            .map(|(millis, size)| (Duration::from_millis(millis), size))
            .collect();
        Self {
            pieces,
            ends,
            invited: 0,
        }
    }
}

impl BodySource for Script {
    async fn invite_body(&mut self) {
        self.invited += 1;
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, BodyFault> {
        match self.pieces.pop_front() {
            Some((after, size)) => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                Ok(Some(vec![b'x'; size].into()))
            }
            None if self.ends => Ok(None),
            None => std::future::pending().await,
        }
    }
}

fn head(declared_size: Option<u64>, expects: bool) -> RequestHead {
    let mut headers = HeaderLines::default();
    if expects {
        headers.insert(&http::header::EXPECT, &"100-Continue".parse().unwrap());
    }
    RequestHead {
        request_id: RequestId::from_u128(0),
        method: Method::POST,
        target: Bytes::from_static(b"/x"),
        authority: "gate.test".to_owned(),
        tls: false,
        headers,
        certificate: None,
        declared_size,
        client: Client {
            ip: [192, 0, 2, 1].into(),
            own: true,
            behind_trusted_proxy: false,
        },
        received: PausedClock.now(),
    }
}

/// Runs a script. Returns the result and the time that it took.
async fn run(
    script: &mut Script,
    head: &RequestHead,
    budget: &Arc<Budget>,
) -> (Result<Arrived, Refusal>, Duration) {
    let route = Arc::from("a");
    let bounds = BodyBounds {
        max: 4 * MIB,
        timeout: Duration::from_secs(10),
        route: &route,
        budget,
        clock: &PausedClock,
    };
    let arrived = read(script, head, bounds, &mut |_| ()).await;
    (arrived, PausedClock.mono() - head.received.mono)
}

#[tokio::test(start_paused = true)]
async fn body_in_time_arrives_complete() {
    let budget = Budget::new(16 * MIB);
    for (declared, pieces) in [
        (Some(5), vec![(0, 5)]),
        (Some(5), vec![(1, 5)]),
        (Some(5), vec![(1500, 2), (300, 3)]),
        (None, vec![(0, 5), (0, 70_000), (10, 900_000)]),
        (Some(MIB), vec![(500, 64 * KIB); 16]),
        (None, vec![]),
    ] {
        let whole: usize = pieces.iter().map(|(_, size)| size).sum();
        let (arrived, _) = run(
            &mut Script::of(pieces, true),
            &head(declared.map(|size| size as u64), false),
            &budget,
        )
        .await;
        let arrived = arrived.unwrap();
        assert_eq!(arrived.body.bytes().len(), whole);
        assert!(budget.held() >= whole);
        drop(arrived);
        assert_eq!(budget.held(), 0);
    }
}

#[track_caller]
fn assert_cut(found: (Result<Arrived, Refusal>, Duration), after: Duration) {
    let (arrived, took) = found;
    assert_eq!(arrived.unwrap_err(), Refusal::BodyTimeout);
    assert!(
        took >= after && took < after + Duration::from_millis(1500),
        "cut after {took:?}, not {after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn slow_body_is_cut_off() {
    let (budget, head) = (Budget::new(16 * MIB), |size| head(Some(size), false));
    let nothing = run(&mut Script::of([], false), &head(100), &budget).await;
    assert_cut(nothing, GRACE);
    let drip = run(
        &mut Script::of([(1000, 1); 100], false),
        &head(100),
        &budget,
    )
    .await;
    assert_cut(drip, GRACE);
    let stops = run(
        &mut Script::of([(0, MIB), (0, MIB)], false),
        &head(3 << 20),
        &budget,
    )
    .await;
    assert_cut(stops, GRACE);
    let half_the_pace = run(
        &mut Script::of([(1000, 16 * KIB); 100], false),
        &head(2 << 20),
        &budget,
    )
    .await;
    assert_cut(half_the_pace, Duration::from_secs(3));
    let not_in_time = run(
        &mut Script::of([(1000, 40 * KIB); 100], false),
        &head(3 << 20),
        &budget,
    )
    .await;
    assert_cut(not_in_time, Duration::from_secs(10));
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn endless_body_is_cut_off_at_the_deadline() {
    let budget = Budget::new(16 * MIB);
    let mut pieces = vec![(0, 1); 1000];
    pieces.push((1900, 64 * KIB));
    pieces.extend([(1900, 64 * KIB); 10]);
    assert_cut(
        run(&mut Script::of(pieces, true), &head(None, false), &budget).await,
        Duration::from_secs(10),
    );
}

/// Checks that `100 Continue` is not sent for a body that does not fit.
#[tokio::test(start_paused = true)]
async fn continue_is_sent_after_the_checks() {
    let budget = Budget::new(MIB);
    for (declared, refusal) in [
        (5 << 20, Refusal::BodyTooLarge),
        (1 << 20, Refusal::Overloaded),
    ] {
        let mut script = Script::of([(0, 5)], true);
        let (arrived, _) = run(&mut script, &head(Some(declared), true), &budget).await;
        assert_eq!((arrived.unwrap_err(), script.invited), (refusal, 0));
    }
    let mut script = Script::of([(5, 5)], true);
    let (arrived, _) = run(&mut script, &head(Some(5), true), &budget).await;
    assert_eq!(
        (arrived.unwrap().body.bytes().len(), script.invited),
        (5, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn body_beyond_the_budget_is_refused_and_given_back() {
    let budget = Budget::new(2 * MIB);
    let (arrived, _) = run(
        &mut Script::of([(0, 64 * KIB); 60], true),
        &head(None, false),
        &budget,
    )
    .await;
    assert_eq!(arrived.unwrap_err(), Refusal::Overloaded);
    let (arrived, _) = run(
        &mut Script::of([(0, MIB); 5], true),
        &head(None, false),
        &Budget::new(64 * MIB),
    )
    .await;
    assert_eq!(arrived.unwrap_err(), Refusal::BodyTooLarge);
    assert_eq!(budget.held(), 0);
}

/// Checks that a spare mapping costs its own size, and that one much larger than the body is left alone.
#[tokio::test(start_paused = true)]
async fn spare_mapping_is_charged_with_its_size() {
    let route = Arc::from("a");
    for (spare, most) in [(MIB + MIB / 8, MIB + MIB / 8), (2 * MIB, 64 * KIB)] {
        let budget = Budget::new(16 * MIB);
        budget.put_spare(memmap2::MmapMut::map_anon(spare).unwrap());
        let bounds = BodyBounds {
            max: 4 * MIB,
            timeout: Duration::from_secs(10),
            route: &route,
            budget: &budget,
            clock: &PausedClock,
        };
        let mut script = Script::of([(0, 64 * KIB), (5, MIB - 64 * KIB)], true);
        let mut first = None;
        let head = head(Some(MIB as u64), false);
        let mut feed = |_: &[u8]| {
            first.get_or_insert(budget.held());
        };
        let arrived = read(&mut script, &head, bounds, &mut feed).await.unwrap();
        assert_eq!(arrived.body.bytes().len(), MIB);
        let (first, beside) = (first.unwrap(), 128 * KIB + 16 * KIB);
        assert!(
            (most..=most + beside).contains(&first),
            "{first} of {spare}"
        );
    }
}

#[test]
fn capacity_grows_in_few_steps_up_to_the_limit() {
    assert_eq!(capacity(0, 10, Some(100), 4 * MIB), 100);
    assert_eq!(capacity(0, 10, Some(3 * MIB), 4 * MIB), 256 * KIB);
    assert_eq!(
        capacity(256 * KIB, 256 * KIB + 1, Some(3 * MIB), 4 * MIB),
        3 * MIB
    );
    assert_eq!(capacity(0, 10, None, 4 * MIB), 16 * KIB);
    assert_eq!(capacity(16 * KIB, 17 * KIB, None, 4 * MIB), 256 * KIB);
    assert_eq!(capacity(256 * KIB, 300 * KIB, None, 300 * KIB), 300 * KIB);
}
