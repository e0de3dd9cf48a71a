use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::store::Answer;
use crate::store::embedded::Embedded;
use crate::store::{Changed, LedgerCounts, Remembered};

const LEASE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);
const KEY: Key = Key([7; 16]);
const SENDER: Key = Key([8; 16]);

fn ledger() -> Arc<dyn Ledger> {
    Arc::new(Embedded::in_memory(100, Arc::new(SystemClock)).unwrap())
}

async fn fresh(ledger: &Arc<dyn Ledger>, waiters: &Waiters) -> Claim {
    let claimed = claim(ledger, KEY, LEASE, waiters.of(SENDER), PATIENCE).await;
    if let ClaimOutcome::Fresh(claim) = claimed {
        claim
    } else {
        panic!("{claimed:?}")
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_claim_is_released_unless_committed() {
    let (ledger, waiters) = (ledger(), Waiters::default());
    drop(fresh(&ledger, &waiters).await);
    assert_eq!(ledger.counts().in_flight, 0);
    assert_eq!(
        fresh(&ledger, &waiters).await.commit(WINDOW).await.unwrap(),
        Ownership::Owned
    );
    assert!(matches!(
        claim(&ledger, KEY, LEASE, waiters.of(SENDER), PATIENCE).await,
        ClaimOutcome::Committed
    ));
}

#[tokio::test(start_paused = true)]
async fn waiting_duplicate_learns_of_the_commit() {
    let (ledger, waiters) = (ledger(), Arc::new(Waiters::default()));
    let first = fresh(&ledger, &waiters).await;
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (ledger, waiters) = (Arc::clone(&ledger), Arc::clone(&waiters));
            tokio::spawn(
                async move { claim(&ledger, KEY, LEASE, waiters.of(SENDER), PATIENCE).await },
            )
        })
        .collect();
    while waiters.len() < 4 {
        tokio::task::yield_now().await;
    }
    assert!(
        matches!(
            claim(&ledger, KEY, LEASE, waiters.of(SENDER), PATIENCE).await,
            ClaimOutcome::StillInFlight { .. }
        ),
        "the fifth does not wait"
    );
    assert_eq!(first.commit(WINDOW).await.unwrap(), Ownership::Owned);
    for waiter in waiting {
        assert!(matches!(waiter.await.unwrap(), ClaimOutcome::Committed));
    }
    assert!(waiters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn exactly_one_waiter_gets_a_released_claim() {
    let (ledger, waiters) = (ledger(), Arc::new(Waiters::default()));
    let first = fresh(&ledger, &waiters).await;
    let calls = Arc::new(AtomicU32::new(0));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (ledger, waiters, calls) = (
                Arc::clone(&ledger),
                Arc::clone(&waiters),
                Arc::clone(&calls),
            );
            tokio::spawn(async move {
                match claim(&ledger, KEY, LEASE, waiters.of(SENDER), PATIENCE).await {
                    ClaimOutcome::Fresh(claim) => {
                        calls.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        assert_eq!(claim.commit(WINDOW).await.unwrap(), Ownership::Owned);
                    }
                    ClaimOutcome::Committed => {}
                    other @ (ClaimOutcome::StillInFlight { .. } | ClaimOutcome::Store(_)) => {
                        panic!("{other:?}")
                    }
                }
            })
        })
        .collect();
    while waiters.len() < 4 {
        tokio::task::yield_now().await;
    }
    drop(first);
    for waiter in waiting {
        waiter.await.unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_claim_ends() {
    let (ledger, waiters) = (ledger(), Waiters::default());
    let _first = fresh(&ledger, &waiters).await;
    let asked = tokio::time::timeout(
        PATIENCE + Duration::from_secs(1),
        claim(&ledger, KEY, LEASE, waiters.of(SENDER), PATIENCE),
    )
    .await
    .unwrap();
    assert!(
        matches!(asked, ClaimOutcome::StillInFlight { lapses_in } if lapses_in <= LEASE),
        "{asked:?}"
    );
    assert!(waiters.is_empty());
    assert_eq!(ledger.counts().in_flight, 1);
}

#[test]
fn number_of_waiters_is_bounded() {
    let waiters = Waiters::default();
    let keys = (0..20).flat_map(|key| (0..5).map(move |_| Key([key; 16])));
    let slots: Vec<_> = keys.filter_map(|key| waiters.of(key).enter(key)).collect();
    assert_eq!((slots.len(), waiters.len()), (64, 64));
    drop(slots);
    assert!(waiters.is_empty());
    assert!(waiters.used_slots().by_sender.is_empty() && waiters.used_slots().by_key.is_empty());
}

#[test]
fn one_sender_never_takes_all_waiter_slots() {
    let waiters = Waiters::default();
    let all = |sender: u8| {
        (0..100)
            .filter_map(|key| waiters.of(Key([sender; 16])).enter(Key([key; 16])))
            .collect::<Vec<_>>()
    };
    let greedy = all(1);
    let second = all(2);
    assert_eq!((greedy.len(), second.len()), (33, 16));
    assert!(waiters.of(Key([3; 16])).enter(Key([200; 16])).is_some());
}

/// A ledger over a bad network: answers late, and says `Unknown` `unknown` times although it did what was asked.
#[derive(Debug)]
struct Far {
    inner: Arc<dyn Ledger>,
    unknown: AtomicU32,
}

impl Far {
    fn over(unknown: u32) -> (Arc<dyn Ledger>, Arc<dyn Ledger>) {
        let inner = ledger();
        (
            Arc::new(Self {
                inner: Arc::clone(&inner),
                unknown: AtomicU32::new(unknown),
            }),
            inner,
        )
    }

    fn late<'a, T: Send + 'a>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let answer = answer.await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let lost = self
                .unknown
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
            if lost {
                Err(StoreError::Unknown("connection lost".into()))
            } else {
                answer
            }
        })
    }
}

impl Ledger for Far {
    fn hash_key(&self) -> [u8; 16] {
        self.inner.hash_key()
    }
    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        self.late(self.inner.claim(key, token, lease))
    }
    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        self.late(self.inner.commit(key, token, window))
    }
    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership> {
        self.late(self.inner.extend(key, token, lease))
    }
    fn release_soon(&self, key: Key, token: Token) {
        self.inner.release_soon(key, token);
    }
    fn note_soon(&self, key: Key, window: Duration) {
        self.inner.note_soon(key, window);
    }
    fn keep(&self, routes: &[(Arc<str>, Key)]) {
        self.inner.keep(routes);
    }
    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered> {
        self.late(self.inner.recall(route, key))
    }
    fn changed(&self, _key: Key) -> Changed {
        Box::pin(std::future::pending())
    }
    fn counts(&self) -> LedgerCounts {
        self.inner.counts()
    }
}

#[tokio::test(start_paused = true)]
async fn claim_with_unknown_result_is_repeated() {
    let (far, _) = Far::over(2);
    let waiters = Waiters::default();
    let claimed = fresh(&far, &waiters).await;
    assert_eq!(claimed.commit(WINDOW).await.unwrap(), Ownership::Owned);
    let (far, near) = Far::over(9);
    assert!(matches!(
        claim(&far, KEY, LEASE, waiters.of(SENDER), PATIENCE).await,
        ClaimOutcome::Store(StoreError::Unknown(_))
    ));
    assert_eq!(
        near.counts().in_flight,
        0,
        "what may have been granted is given back"
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_future_releases_its_claim_unless_committed() {
    let (far, near) = Far::over(0);
    let waiters = Waiters::default();
    let cut = tokio::time::timeout(
        Duration::from_millis(50),
        claim(&far, KEY, LEASE, waiters.of(SENDER), PATIENCE),
    )
    .await;
    assert!(cut.is_err());
    assert_eq!(near.counts().in_flight, 0);
    let claimed = fresh(&far, &waiters).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), claimed.commit(WINDOW))
            .await
            .is_err()
    );
    assert_eq!(near.counts().committed, 1);
}

#[tokio::test(start_paused = true)]
async fn lost_hint_is_made_up_by_polling() {
    let (far, _) = Far::over(0);
    let waiters = Waiters::default();
    let first = fresh(&far, &waiters).await;
    let (second, committed) = tokio::join!(
        claim(&far, KEY, LEASE, waiters.of(SENDER), PATIENCE),
        async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            first.commit(WINDOW).await
        }
    );
    assert!(matches!(
        (second, committed),
        (ClaimOutcome::Committed, Ok(Ownership::Owned))
    ));
}
