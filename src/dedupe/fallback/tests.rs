use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::store::StoreError;
use crate::store::contract::{self, HandClock};
use crate::store::embedded::Embedded;

const LEASE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(3600);

/// A store that answers, until the test takes it away.
#[derive(Debug)]
struct Far {
    ledger: Arc<dyn Ledger>,
    is_away: AtomicBool,
    hangs: AtomicBool,
    loses_answers: AtomicBool,
}

impl Far {
    fn answer<T: Send + 'static>(
        &self,
        answer: impl FnOnce() -> Answer<'static, T>,
    ) -> Answer<'static, T> {
        if self.hangs.load(Ordering::SeqCst) {
            Box::pin(std::future::pending())
        } else if self.loses_answers.load(Ordering::SeqCst) {
            Box::pin(async {
                tokio::time::sleep(CLAIM_WAIT / 2).await;
                Err(StoreError::Unknown("lost".into()))
            })
        } else if self.is_away.load(Ordering::SeqCst) {
            Box::pin(async { Err(StoreError::Unavailable("away".into())) })
        } else {
            answer()
        }
    }
}

impl Ledger for Far {
    fn hash_key(&self) -> [u8; 16] {
        self.ledger.hash_key()
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        let ledger = Arc::clone(&self.ledger);
        self.answer(|| Box::pin(async move { ledger.claim(key, token, lease).await }))
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        let ledger = Arc::clone(&self.ledger);
        self.answer(|| Box::pin(async move { ledger.commit(key, token, window).await }))
    }

    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership> {
        let ledger = Arc::clone(&self.ledger);
        self.answer(|| Box::pin(async move { ledger.extend(key, token, lease).await }))
    }

    fn release_soon(&self, key: Key, token: Token) {
        self.ledger.release_soon(key, token);
    }

    fn note_soon(&self, key: Key, window: Duration) {
        self.ledger.note_soon(key, window);
    }

    fn keep(&self, routes: &[(Arc<str>, Key)]) {
        self.ledger.keep(routes);
    }

    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered> {
        self.ledger.recall(route, key)
    }

    fn changed(&self, key: Key) -> Changed {
        self.ledger.changed(key)
    }

    fn counts(&self) -> LedgerCounts {
        self.ledger.counts()
    }
}

fn key(number: u16) -> Key {
    let mut bytes = [0; 16];
    bytes[14..].copy_from_slice(&number.to_be_bytes());
    Key(bytes)
}

fn memory() -> Arc<dyn Ledger> {
    Arc::new(Embedded::in_memory(10_000, Arc::new(SystemClock)).unwrap())
}

fn fallback() -> (Arc<Far>, Fallback) {
    let far = Arc::new(Far {
        ledger: memory(),
        is_away: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
        loses_answers: AtomicBool::new(false),
    });
    let ledger = Arc::clone(&far) as Arc<dyn Ledger>;
    let fallback = Fallback::new(ledger, memory(), Arc::new(SystemClock));
    (far, fallback)
}

/// The ledger of a store that answers, and that of this gateway alone, are ledgers like any other.
#[tokio::test]
async fn ledger_contract_holds() {
    let clock = HandClock::new();
    let memory = || -> Arc<dyn Ledger> {
        let clock = Arc::<HandClock>::clone(&clock);
        Arc::new(Embedded::in_memory(1000, clock).unwrap())
    };
    let fallback = || Fallback::new(memory(), memory(), Arc::<HandClock>::clone(&clock));
    contract::holds(&fallback(), &clock).await;
    contract::holds(&*fallback().near(), &clock).await;
    let directory = tempfile::tempdir().unwrap();
    let opened = Embedded::open(directory.path(), 1000, Arc::<HandClock>::clone(&clock));
    let far = Arc::new(opened.unwrap().ledger);
    let over_disk = Fallback::new(far, memory(), Arc::<HandClock>::clone(&clock));
    contract::holds(&over_disk, &clock).await;
}

#[expect(clippy::disallowed_methods, reason = "the time that a test has paused")]
fn paused_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Answers that are lost one after the other are waited for as long as one.
#[tokio::test(start_paused = true)]
async fn claim_whose_answers_are_lost_takes_half_a_second() {
    let (far, fallback) = fallback();
    far.loses_answers.store(true, Ordering::SeqCst);
    let begun = paused_now();
    let claimed = repeated(|| fallback.claim(key(1), Token(1), LEASE)).await;
    assert!(matches!(claimed, Err(StoreError::Unavailable(_))));
    let took = paused_now() - begun;
    assert!(took < CLAIM_WAIT + Duration::from_millis(20), "{took:?}");
}

#[tokio::test]
async fn commit_that_the_store_does_not_take_is_paid_when_it_is_back() {
    let (far, fallback) = fallback();
    for number in 0..600 {
        let claimed = fallback.claim(key(number), Token(1), LEASE).await;
        assert_eq!(claimed.unwrap(), ClaimResult::Fresh);
    }
    far.is_away.store(true, Ordering::SeqCst);
    for number in 0..600 {
        let committed = fallback.commit(key(number), Token(1), WINDOW).await;
        assert_eq!(committed.unwrap(), Ownership::Owned);
    }
    assert_eq!(fallback.counts().unsaved, 600);
    assert!(!fallback.pay_once().await);
    assert_eq!(fallback.counts().unsaved, 600);
    far.is_away.store(false, Ordering::SeqCst);
    assert!(fallback.pay_once().await);
    assert_eq!(fallback.counts().unsaved, 0);
    for number in 0..600 {
        let claimed = far.ledger.claim(key(number), Token(2), LEASE).await;
        assert_eq!(claimed.unwrap(), ClaimResult::Committed, "{number}");
    }
}

/// This gateway remembers what it committed while the store answered, but not the commits of others.
#[tokio::test]
async fn memory_finds_duplicates_of_this_gateway_while_the_store_is_away() {
    let (far, fallback) = fallback();
    fallback.claim(key(1), Token(1), LEASE).await.unwrap();
    fallback.commit(key(1), Token(1), WINDOW).await.unwrap();
    far.ledger.commit(key(2), Token(9), WINDOW).await.unwrap();
    far.is_away.store(true, Ordering::SeqCst);
    let near = fallback.near();
    let claimed = near.claim(key(1), Token(2), LEASE).await.unwrap();
    assert_eq!(claimed, ClaimResult::Committed);
    let claimed = near.claim(key(2), Token(2), LEASE).await.unwrap();
    assert_eq!(claimed, ClaimResult::Fresh, "another gateway has it");
    near.commit(key(2), Token(2), WINDOW).await.unwrap();
    let claimed = near.claim(key(3), Token(2), LEASE).await.unwrap();
    assert_eq!(claimed, ClaimResult::Fresh);
    near.release_soon(key(3), Token(2));
    let claimed = near.claim(key(3), Token(3), LEASE).await.unwrap();
    assert_eq!(claimed, ClaimResult::Fresh, "it was given back");
    assert_eq!(fallback.counts().unsaved, 1);
    far.is_away.store(false, Ordering::SeqCst);
    assert!(fallback.pay_once().await, "the other's commit is as good");
    assert_eq!(fallback.counts().unsaved, 0);
}

/// A commit past the claim of another would be lost, and with it the knowledge that the delivery was forwarded.
#[tokio::test]
async fn what_another_claims_stays_owed() {
    let (far, fallback) = fallback();
    far.ledger.claim(key(1), Token(9), LEASE).await.unwrap();
    fallback
        .near()
        .commit(key(1), Token(2), WINDOW)
        .await
        .unwrap();
    assert!(!fallback.pay_once().await);
    assert!(fallback.owes(key(1)) && fallback.counts().unsaved == 1);
    far.ledger.release_soon(key(1), Token(9));
    assert!(fallback.pay_once().await);
    assert!(!fallback.owes(key(1)));
    let claimed = fallback.claim(key(1), Token(3), LEASE).await.unwrap();
    assert_eq!(claimed, ClaimResult::Committed);
}

/// A store that hangs counts as away: nobody waits for it longer than for one that is gone.
#[tokio::test(start_paused = true)]
async fn store_that_hangs_is_away() {
    let (far, fallback) = fallback();
    far.hangs.store(true, Ordering::SeqCst);
    let claimed = fallback.claim(key(1), Token(1), LEASE).await;
    assert!(
        matches!(claimed, Err(StoreError::Unavailable(_))),
        "{claimed:?}"
    );
    let committed = fallback.commit(key(1), Token(1), WINDOW).await;
    assert_eq!(committed.unwrap(), Ownership::Owned);
    assert!(fallback.owes(key(1)));
}

/// Memory alone never calls an ID a duplicate while the store answers: a person may have had it forgotten.
#[tokio::test]
async fn store_that_answers_decides_alone() {
    let (_, fallback) = fallback();
    fallback
        .near()
        .commit(key(1), Token(1), WINDOW)
        .await
        .unwrap();
    let claimed = fallback.claim(key(1), Token(2), LEASE).await.unwrap();
    assert_eq!(claimed, ClaimResult::Fresh);
}

/// A person may have an ID forgotten whose commit is still owed: it must not come back, neither here nor in the store.
#[tokio::test]
async fn forgotten_id_is_neither_remembered_nor_paid() {
    let (far, fallback) = fallback();
    fallback.commit(key(1), Token(1), WINDOW).await.unwrap();
    far.is_away.store(true, Ordering::SeqCst);
    for number in [2, 3] {
        let committed = fallback.commit(key(number), Token(1), WINDOW).await;
        committed.unwrap();
    }
    fallback.forget_here(&[key(1), key(2)]);
    assert!(!fallback.owes(key(2)) && fallback.owes(key(3)));
    for number in [1, 2] {
        let claimed = fallback.near().claim(key(number), Token(2), LEASE).await;
        assert_eq!(claimed.unwrap(), ClaimResult::Fresh, "{number}");
    }
    far.is_away.store(false, Ordering::SeqCst);
    assert!(fallback.pay_once().await);
    let claimed = async |number| {
        far.ledger
            .claim(key(number), Token(2), LEASE)
            .await
            .unwrap()
    };
    assert_eq!(claimed(2).await, ClaimResult::Fresh);
    assert_eq!(claimed(3).await, ClaimResult::Committed);
}
