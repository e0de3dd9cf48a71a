use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::name::{ALARM_AFTER, FAULT_INTERVAL, GRACE, HARD_TTL, SOFT_TTL};
use super::*;
use crate::clock::{Now, SystemClock};

const SECOND: Duration = Duration::from_secs(1);
/// A connect timeout.
const LIMIT: Duration = Duration::from_secs(2);

/// A clock that a test moves.
#[derive(Debug)]
pub(in crate::upstream) struct Moved {
    now: Mutex<Now>,
    /// Since when it also runs by itself; none: it stands still between two moves.
    runs_since: Option<Instant>,
}

impl Moved {
    pub(in crate::upstream) fn new() -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(SystemClock.now()),
            runs_since: None,
        })
    }

    pub(in crate::upstream) fn running() -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(SystemClock.now()),
            runs_since: Some(SystemClock.mono()),
        })
    }

    pub(in crate::upstream) fn by(&self, time: Duration) {
        self.now.lock().mono += time;
    }
}

impl Clock for Moved {
    fn now(&self) -> Now {
        let mut now = *self.now.lock();
        now.mono += self.runs_since.map_or(Duration::ZERO, |since| {
            SystemClock.mono().saturating_duration_since(since)
        });
        now
    }
}

/// The answers of look-ups, until a test changes them. `None`: they fail, at once or never, as `hangs` says.
#[derive(Default)]
pub(in crate::upstream) struct Answers {
    addresses: Mutex<Option<Vec<SocketAddr>>>,
    hangs: std::sync::atomic::AtomicBool,
    count: AtomicUsize,
}

impl Answers {
    pub(in crate::upstream) fn set(&self, addresses: &[SocketAddr]) {
        *self.addresses.lock() = Some(addresses.to_vec());
    }

    /// Lets no look-up end.
    pub(in crate::upstream) fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn fail(&self) {
        *self.addresses.lock() = None;
    }
}

/// Returns a resolver that asks `answers`.
pub(in crate::upstream) fn asking(answers: &Arc<Answers>, clock: &Arc<Moved>) -> Arc<Resolver> {
    let answers = Arc::clone(answers);
    let lookup: Lookup = Box::new(move |_, _| {
        answers.count.fetch_add(1, Ordering::SeqCst);
        let (found, hangs) = (
            answers.addresses.lock().clone(),
            answers.hangs.load(Ordering::SeqCst),
        );
        Box::pin(async move {
            tokio::task::yield_now().await;
            if hangs {
                std::future::pending::<()>().await;
            }
            found.ok_or_else(|| io::Error::other("no such name"))
        })
    });
    Resolver::with("app.test", 80, Arc::clone(clock) as Arc<dyn Clock>, lookup)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns a resolver whose name is at the first of two addresses.
fn resolver() -> (Arc<Resolver>, Arc<Answers>, Arc<Moved>, [SocketAddr; 2]) {
    let (answers, clock) = (Arc::<Answers>::default(), Moved::new());
    let both = [address("10.0.0.1:80"), address("10.0.0.2:80")];
    answers.set(&both[..1]);
    (asking(&answers, &clock), answers, clock, both)
}

/// Lets the look-up beside the request come to its end.
pub(in crate::upstream) async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_is_never_looked_up() {
    let clock = Moved::new();
    let resolver = Resolver::new("::1", 8080, Arc::clone(&clock) as Arc<dyn Clock>);
    clock.by(100_000 * SECOND);
    assert_eq!(
        resolver.addresses(LIMIT).await.unwrap()[..],
        [address("[::1]:8080")]
    );
    assert_eq!(
        resolver.addresses_after_fault(LIMIT).await.unwrap()[..],
        [address("[::1]:8080")]
    );
    assert_eq!(resolver.check(), None);
}

#[tokio::test]
async fn addresses_are_refreshed_beside_the_request() {
    let (resolver, answers, clock, both) = resolver();
    let first = resolver.addresses(LIMIT).await.unwrap();
    answers.set(&both[1..]);
    clock.by(SOFT_TTL - SECOND);
    assert!(Arc::ptr_eq(
        &first,
        &resolver.addresses(LIMIT).await.unwrap()
    ));
    settle().await;
    assert_eq!(answers.count(), 1);
    clock.by(SECOND);
    assert_eq!(
        resolver.addresses(LIMIT).await.unwrap(),
        first,
        "the request does not wait"
    );
    settle().await;
    assert_eq!(resolver.addresses(LIMIT).await.unwrap()[..], both[1..]);
    assert_eq!(answers.count(), 2);
}

#[tokio::test]
async fn name_is_resolved_again_after_an_idle_time() {
    let (resolver, answers, clock, both) = resolver();
    resolver.addresses(LIMIT).await.unwrap();
    answers.set(&both[1..]);
    clock.by(HARD_TTL);
    let (one, other) = tokio::join!(resolver.addresses(LIMIT), resolver.addresses(LIMIT));
    assert_eq!(
        (&one.unwrap()[..], &other.unwrap()[..]),
        (&both[1..], &both[1..])
    );
    assert_eq!(answers.count(), 2, "one look-up for both");
}

#[tokio::test]
async fn the_last_good_addresses_serve_while_look_ups_fail() {
    let (resolver, answers, clock, both) = resolver();
    let first = resolver.addresses(LIMIT).await.unwrap();
    answers.fail();
    clock.by(HARD_TTL);
    for _ in 0..3 {
        assert_eq!(resolver.addresses(LIMIT).await.unwrap(), first);
    }
    settle().await;
    assert_eq!(answers.count(), 2, "the next look-up waits a little");
    clock.by(GRACE);
    answers.set(&both[1..]);
    assert_eq!(resolver.addresses(LIMIT).await.unwrap()[..], both[1..]);
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "the time of the runtime, which stands still"
)]
async fn hanging_look_up_delays_one_request() {
    let (resolver, answers, clock, _) = resolver();
    let first = resolver.addresses(LIMIT).await.unwrap();
    answers.hang();
    clock.by(HARD_TTL);
    let begun = tokio::time::Instant::now();
    assert_eq!(resolver.addresses(LIMIT).await.unwrap(), first);
    assert!(
        begun.elapsed() <= MAX_WAIT + Duration::from_millis(10),
        "{:?}",
        begun.elapsed()
    );
    let waited = begun.elapsed();
    assert_eq!(resolver.addresses(LIMIT).await.unwrap(), first);
    assert_eq!((begun.elapsed(), answers.count()), (waited, 2));
    // a short connect timeout bounds the wait, too
    clock.by(2 * LOOKUP_TIMEOUT);
    let begun = tokio::time::Instant::now();
    resolver
        .addresses(Duration::from_millis(100))
        .await
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(110),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn connect_fault_resolves_again_at_most_once_a_second() {
    let (resolver, answers, clock, both) = resolver();
    let first = resolver.addresses(LIMIT).await.unwrap();
    answers.set(&both[1..]);
    clock.by(FAULT_INTERVAL);
    assert_eq!(
        resolver.addresses_after_fault(LIMIT).await.unwrap()[..],
        both[1..]
    );
    for _ in 0..10 {
        assert_ne!(resolver.addresses_after_fault(LIMIT).await.unwrap(), first);
        resolver.note_fault();
    }
    assert_eq!(answers.count(), 2);
    clock.by(FAULT_INTERVAL);
    resolver.note_fault();
    settle().await;
    assert_eq!(answers.count(), 3);
}

#[tokio::test]
async fn the_first_look_up_is_shared_and_may_fail() {
    let (resolver, answers, _, both) = resolver();
    answers.fail();
    assert_eq!(resolver.addresses(LIMIT).await, Err(Fault::Resolve));
    answers.set(&both);
    let (one, other) = tokio::join!(resolver.addresses(LIMIT), resolver.addresses(LIMIT));
    assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    assert_eq!(answers.count(), 2);
}

#[tokio::test]
async fn a_look_up_outlives_the_request_that_gave_up() {
    let (resolver, answers, ..) = resolver();
    tokio::select! {
        biased;
        _ = resolver.addresses(LIMIT) => panic!("it waits for the look-up"),
        () = async {} => {}
    }
    settle().await;
    assert!(resolver.addresses(LIMIT).await.is_ok());
    assert_eq!(answers.count(), 1);
}

#[tokio::test]
async fn failing_name_is_retried_and_alarms_after_a_while() {
    let (resolver, answers, clock, both) = resolver();
    answers.fail();
    assert!(resolver.addresses(LIMIT).await.is_err());
    let mut passed = Duration::ZERO;
    while passed < ALARM_AFTER {
        assert_eq!(resolver.check(), None, "after {passed:?}");
        settle().await;
        clock.by(2 * SECOND);
        passed += 2 * SECOND;
    }
    assert!(resolver.check() >= Some(ALARM_AFTER));
    assert!(
        (40..100).contains(&answers.count()),
        "{} look-ups",
        answers.count()
    );
    answers.set(&both);
    clock.by(GRACE);
    resolver.check();
    settle().await;
    assert_eq!(resolver.check(), None);
}

/// An event of a name.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask,
    Fault,
    Retry,
    Found,
    Failed,
    GaveUp,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Ask),
        2 => Just(Event::Fault),
        1 => Just(Event::Retry),
        2 => Just(Event::Found),
        2 => Just(Event::Failed),
        1 => Just(Event::GaveUp),
    ]
}

proptest! {
    /// For any order of events, one look-up runs at a time, addresses past the hard TTL serve without a wait only for a while after a
    /// failure, and faults begin at most one look-up a second.
    #[test]
    fn old_addresses_serve_only_after_a_failure(events in prop::collection::vec((event(), 0_u64..8_000), 1..200)) {
        let (mut name, mut now) = (Name::default(), SystemClock.mono());
        let (mut running, mut found, mut failed): (Option<Instant>, Option<Instant>, Option<Instant>) = (None, None, None);
        let mut began: Option<Instant> = None;
        for (event, milliseconds) in events {
            now += Duration::from_millis(milliseconds);
            // a look-up always ends in time
            if running.is_some_and(|since| now.saturating_duration_since(since) >= LOOKUP_TIMEOUT) {
                name.failed(None, now);
                (running, failed) = (None, Some(now));
            }
            let is_within = |since: Option<Instant>, time: Duration| since.is_some_and(|since| now.saturating_duration_since(since) < time);
            let (begins, served) = match event {
                Event::Ask => {
                    let step = name.ask(now);
                    (step.begins(), matches!(step, Step::Serve(_) | Step::Refresh(_)))
                }
                Event::Fault => {
                    let begins = name.ask_after_fault(now).begins();
                    prop_assert!(!begins || !is_within(began, FAULT_INTERVAL) || running.is_none() && found.is_none());
                    (begins, false)
                }
                Event::Retry => (name.retry(now), false),
                Event::Found if running.take().is_some() => {
                    name.found(vec![address("10.0.0.1:80")], now);
                    (found, failed) = (Some(now), None);
                    (false, false)
                }
                Event::Failed if running.take().is_some() => {
                    name.failed(None, now);
                    failed = Some(now);
                    (false, false)
                }
                Event::GaveUp => {
                    name.gave_up(now);
                    failed = Some(now);
                    (false, false)
                }
                Event::Found | Event::Failed => (false, false),
            };
            if begins {
                prop_assert!(running.is_none(), "two look-ups at a time");
                (running, began) = (Some(now), Some(now));
            }
            if served {
                prop_assert!(is_within(found, HARD_TTL) || is_within(failed, GRACE));
            }
            if matches!(event, Event::Ask) && is_within(found, HARD_TTL) {
                prop_assert!(served, "within the hard TTL nothing waits");
            }
        }
    }
}
