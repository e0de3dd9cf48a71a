use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::upstream::resolve::tests::Moved;

const SECOND: Duration = Duration::from_secs(1);
const TENANT: u32 = 1 << 29;

/// One answer of a look-up.
#[derive(Clone, Debug)]
pub(in crate::upstream::outside) enum Step {
    /// These addresses, for so many seconds.
    Found(Vec<IpAddr>, u64),
    /// No address, for so many seconds.
    NotFound(u64),
    /// These addresses after a time.
    Slow(Duration, Vec<IpAddr>),
    /// No answer.
    Never,
}

/// A look-up that answers by a list. The last answer is repeated.
pub(in crate::upstream::outside) struct Script {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Script {
    pub(in crate::upstream::outside) fn new(steps: impl Into<VecDeque<Step>>) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.into()),
            asked: Mutex::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    /// Returns the names that were asked for.
    pub(in crate::upstream::outside) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    fn count(&self) -> usize {
        self.asked.lock().len()
    }

    fn next(&self) -> Step {
        let mut steps = self.steps.lock();
        if steps.len() > 1 {
            steps.pop_front().unwrap()
        } else {
            steps[0].clone()
        }
    }
}

/// The end of a look-up, whether it had an answer or was given up.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl NameLookup for Script {
    fn look_up<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Found, NotFound>> {
        Box::pin(async move {
            self.asked.lock().push(name.to_owned());
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            let _ended = Ended(&self.at_once);
            let (addresses, ttl) = match self.next() {
                Step::Found(addresses, ttl) => (addresses, ttl),
                Step::NotFound(ttl) => (Vec::new(), ttl),
                Step::Slow(time, addresses) => {
                    tokio::time::sleep(time).await;
                    (addresses, 60)
                }
                Step::Never => std::future::pending().await,
            };
            let ttl = Duration::from_secs(ttl);
            if addresses.is_empty() {
                Err(NotFound { ttl })
            } else {
                Ok(Found { addresses, ttl })
            }
        })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(steps: impl Into<VecDeque<Step>>) -> (Names, Arc<Script>, Arc<Moved>) {
    let (script, clock) = (Script::new(steps), Moved::new());
    let names = Names::new(Arc::clone(&script) as _, Arc::clone(&clock) as _);
    (names, script, clock)
}

#[tokio::test]
async fn addresses_are_remembered_as_long_as_they_may_be() {
    let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
    for (ttl, remembered) in [(0, 0), (1, 1), (59, 59), (60, 60), (61, 60), (86_400, 60)] {
        let steps = [Step::Found(vec![one], ttl), Step::Found(vec![two], ttl)];
        let (names, script, clock) = names(steps);
        let at = async |seconds: u64| {
            clock.by(SECOND * u32::try_from(seconds).unwrap());
            names.addresses("a.test", TENANT, SECOND).await[0]
        };
        assert_eq!(at(0).await, one);
        if remembered > 0 {
            assert_eq!(at(remembered - 1).await, one, "{ttl}");
            assert_eq!(at(1).await, two, "{ttl}");
        } else {
            assert_eq!(at(0).await, two, "{ttl}");
        }
        assert_eq!(script.count(), 2);
    }
}

#[tokio::test]
async fn failures_are_remembered_for_a_short_time() {
    let good = ip("192.0.2.1");
    for (ttl, remembered) in [(0, 0), (5, 5), (10, 10), (3600, 10)] {
        let (names, script, clock) = names([Step::NotFound(ttl), Step::Found(vec![good], 60)]);
        assert!(names.addresses("a.test", TENANT, SECOND).await.is_empty());
        if remembered > 0 {
            clock.by(SECOND * (remembered - 1));
            assert!(names.addresses("a.test", TENANT, SECOND).await.is_empty());
            clock.by(SECOND);
        }
        assert_eq!(names.addresses("a.test", TENANT, SECOND).await[..], [good]);
        assert_eq!(script.count(), 2, "{ttl}");
    }
}

#[tokio::test]
async fn addresses_and_empty_names_are_never_looked_up() {
    let (names, script, _) = names([Step::Never]);
    for host in ["192.0.2.1", "::1", "2001:db8::1"] {
        assert_eq!(names.addresses(host, TENANT, SECOND).await[..], [ip(host)]);
    }
    assert!(names.addresses("", TENANT, SECOND).await.is_empty());
    assert_eq!(script.count(), 0);
}

#[tokio::test]
async fn case_of_a_name_does_not_matter() {
    let (names, script, _) = names([Step::Found(vec![ip("192.0.2.1")], 60)]);
    for host in ["A.test", "a.TEST", "a.test"] {
        assert_eq!(names.addresses(host, TENANT, SECOND).await.len(), 1);
    }
    assert_eq!(script.asked(), ["a.test"]);
}

#[tokio::test]
async fn no_more_addresses_are_remembered_than_a_name_may_have() {
    let many = (0..=255).map(|last| IpAddr::from([192, 0, 2, last]));
    let (names, _, _) = names([Step::Found(many.collect(), 60)]);
    let found = names.addresses("a.test", TENANT, SECOND).await;
    assert_eq!(found.len(), MAX_ADDRESSES, "one too many for `judge`");
}

#[expect(clippy::disallowed_methods, reason = "the paused time of the test")]
fn begin() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test(start_paused = true)]
async fn look_up_ends_in_time_and_counts_as_failed_for_a_second() {
    let good = vec![ip("192.0.2.1")];
    for (step, patience, waited) in [
        (Step::Never, 60 * SECOND, LOOKUP_TIMEOUT),
        (Step::Never, SECOND, SECOND),
        (
            Step::Slow(6 * SECOND, good.clone()),
            60 * SECOND,
            LOOKUP_TIMEOUT,
        ),
    ] {
        let (names, script, clock) = names([step, Step::Found(good.clone(), 60)]);
        let begun = begin();
        assert!(names.addresses("a.test", TENANT, patience).await.is_empty());
        assert_eq!(begun.elapsed().as_secs(), waited.as_secs());
        assert!(names.addresses("a.test", TENANT, patience).await.is_empty());
        assert_eq!(script.count(), 1, "it is remembered");
        clock.by(NO_ANSWER_TTL);
        assert_eq!(names.addresses("a.test", TENANT, patience).await[..], good);
    }
    let (names, ..) = names([Step::Slow(4 * SECOND, good.clone())]);
    assert_eq!(
        names.addresses("a.test", TENANT, 60 * SECOND).await[..],
        good
    );
}

/// Slow names of one tenant leave room for the others.
#[tokio::test(start_paused = true)]
async fn look_ups_at_once_are_bounded() {
    let slow = Step::Slow(4 * SECOND, vec![ip("192.0.2.1")]);
    let (names, script, _) = names([slow.clone()]);
    let names = Arc::new(names);
    let ask = |name: String, tenant: u32| {
        let names = Arc::clone(&names);
        tokio::spawn(async move { names.addresses(&name, tenant, 60 * SECOND).await.len() })
    };
    let of_one: Vec<_> = (0..100).map(|n| ask(format!("{n}.test"), TENANT)).collect();
    tokio::time::sleep(SECOND).await;
    assert_eq!(script.count(), MAX_LOOKUPS_OF_TENANT);
    let of_another = ask("b.test".to_owned(), TENANT + 1);
    tokio::time::sleep(SECOND).await;
    assert_eq!(script.count(), MAX_LOOKUPS_OF_TENANT + 1);
    assert_eq!(of_another.await.unwrap(), 1);
    let mut found = 0;
    for ask in of_one {
        found += ask.await.unwrap();
    }
    assert_eq!(found, MAX_LOOKUPS_OF_TENANT, "the others waited in vain");
    let of_many: Vec<_> = (0..1000)
        .map(|n| ask(format!("{n}.c"), TENANT + n))
        .collect();
    for ask in of_many {
        ask.await.unwrap();
    }
    assert_eq!(script.most_at_once.load(Ordering::SeqCst), MAX_LOOKUPS);
    ask("d.test".to_owned(), 1).await.unwrap();
    assert_eq!(names.slots_of_tenants.lock().len(), 1, "of the last one");
}

/// Many attempts to one place that begin together cost one look-up.
#[tokio::test(start_paused = true)]
async fn waiting_look_ups_of_one_name_share_an_answer() {
    let (names, script, _) = names([Step::Slow(SECOND, vec![ip("192.0.2.1")])]);
    let names = Arc::new(names);
    let asks: Vec<_> = (0..50)
        .map(|_| {
            let names = Arc::clone(&names);
            tokio::spawn(async move { names.addresses("a.test", TENANT, 60 * SECOND).await.len() })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await.unwrap(), 1);
    }
    assert_eq!(script.count(), MAX_LOOKUPS_OF_TENANT);
}

#[tokio::test]
async fn names_that_are_remembered_are_bounded() {
    let (names, script, _) = names([Step::Found(vec![ip("192.0.2.1")], 60)]);
    for n in 0..MAX_NAMES + 10 {
        names.addresses(&format!("{n}.test"), TENANT, SECOND).await;
    }
    assert_eq!(names.known.lock().len(), MAX_NAMES);
    assert_eq!(script.count(), MAX_NAMES + 10);
}
