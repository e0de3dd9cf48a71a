use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::store::archive::{Filter, Order};
use crate::store::contract::queue::{attempt, delivery};
use crate::store::embedded::sqlite::FaultHook;
use crate::store::embedded::{Embedded, Opening};
use crate::store::queue::Lane;

const WINDOW: Duration = Duration::from_secs(3600);

/// A spool, and a store that fails while it is away.
struct Stores {
    far: Arc<dyn Store>,
    is_away: Arc<AtomicBool>,
    spool: Arc<Spool>,
    dir: tempfile::TempDir,
}

impl Stores {
    fn new(most: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let is_away = Arc::new(AtomicBool::new(false));
        let away = Arc::clone(&is_away);
        let hook = move || {
            if away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("away".into()));
            }
            Ok(())
        };
        let far = open(
            &dir.path().join("far"),
            Opening {
                fault_hook: FaultHook::new(hook),
            },
        );
        let near = open(&dir.path().join("near"), Opening::default());
        Self {
            spool: Arc::new(Spool::new(near, Arc::clone(&far), most)),
            far,
            is_away,
            dir,
        }
    }

    fn away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// The deliveries of the shared store.
    async fn handed(&self) -> Vec<Shown> {
        let page = self.far.page(
            Scope::All,
            &Filter::default(),
            Order::Oldest,
            None,
            100,
            UnitsShown::All,
        );
        let mut all = Vec::new();
        for row in page.await.unwrap().rows {
            let shown = self.far.get(Scope::All, row.id, UnitsShown::All).await;
            all.push(shown.unwrap().unwrap());
        }
        all
    }

    async fn waiting(&self) -> u64 {
        waiting(&self.spool).await
    }

    async fn hand_all_over(&self) {
        while self.spool.step().await.unwrap() {}
    }
}

async fn waiting(spool: &Spool) -> u64 {
    spool.count().await;
    spool.waiting()
}

fn open(path: &Path, opening: Opening) -> Arc<dyn Store> {
    let opened = Embedded::open_with(path, 1000, Arc::new(SystemClock), opening);
    Arc::new(opened.unwrap().ledger)
}

fn by(key: u8) -> Dedupe {
    Dedupe::Key {
        key: Key([key; 16]),
        window: WINDOW,
        dead: OnDead::Revive,
    }
}

#[tokio::test]
async fn what_the_store_did_not_take_is_handed_over_as_it_was() {
    let stores = Stores::new(u64::MAX);
    stores.away(true);
    let mut kept = delivery(7, Start::Mine(LEASE));
    kept.delivery_id = Some("id-1".into());
    kept.event_type = Some("push".into());
    if let [unit] = &mut *kept.to {
        unit.lane = Some(Lane([3; 16]));
        unit.attempts = vec![attempt(503)];
    }
    let accepted = stores.spool.keep(&kept, by(1)).await.unwrap();
    assert_eq!(accepted, Accepted::New(Vec::new()));
    assert!(stores.spool.step().await.is_err(), "the store is away");
    assert_eq!(stores.waiting().await, 1);
    assert_eq!(stores.spool.oldest(), Some(kept.id.drawn_at()));
    assert!(stores.spool.bytes() > 0);
    stores.away(false);
    tokio::time::sleep(PAUSE).await;
    stores.hand_all_over().await;
    assert_eq!(stores.waiting().await, 0);
    assert_eq!(stores.spool.oldest(), None);
    let handed = stores.handed().await.pop().unwrap();
    assert_eq!(handed.stored.id, kept.id);
    assert_eq!(handed.stored.origin, kept.origin);
    assert_eq!(handed.stored.delivery_id, kept.delivery_id);
    assert_eq!(handed.stored.event_type, kept.event_type);
    assert_eq!(handed.stored.record, kept.record);
    assert_eq!(handed.stored.body, kept.body);
    assert_eq!(handed.stored.key, Some(Key([1; 16])));
    assert_eq!(handed.attempts.len(), 1);
    let leased = stores
        .far
        .lease(&[LeaseRequest::of(kept.to[0].target, 9)], LEASE, 0);
    assert_eq!(leased.await.unwrap()[0].lane, Some(Lane([3; 16])));
    let claimed = stores
        .far
        .claim(Key([1; 16]), crate::store::Token(5), LEASE)
        .await;
    assert_eq!(claimed.unwrap(), crate::store::ClaimResult::Committed);
    let left = stores.spool.near.totals().await.unwrap();
    assert!(
        left.origins.iter().all(|(_, rows, _)| *rows == 0),
        "{left:?}"
    );
}

#[tokio::test]
async fn duplicates_are_dropped_here_and_when_they_are_handed_over() {
    let stores = Stores::new(u64::MAX);
    let other = Arc::new(delivery(7, Start::Anyone));
    stores.far.accept(other, by(1)).await.unwrap();
    stores.away(true);
    let first = delivery(7, Start::Anyone);
    for key in [1, 2] {
        let kept = Accept {
            id: crate::store::queue::DeliveryRef::draw(),
            ..first.clone()
        };
        let accepted = stores.spool.keep(&kept, by(key)).await.unwrap();
        assert_eq!(accepted, Accepted::New(Vec::new()));
    }
    let again = delivery(7, Start::Anyone);
    let accepted = stores.spool.keep(&again, by(2)).await.unwrap();
    assert!(
        matches!(accepted, Accepted::Duplicate { .. }),
        "{accepted:?}"
    );
    stores.away(false);
    stores.hand_all_over().await;
    assert_eq!(
        stores.handed().await.len(),
        2,
        "one of them was a duplicate"
    );
}

/// It is not known whether the store took it: the spool has it too, and it is there once.
#[tokio::test]
async fn handing_over_what_the_store_has_already_changes_nothing() {
    let stores = Stores::new(u64::MAX);
    let kept = delivery(7, Start::Anyone);
    stores
        .far
        .accept(Arc::new(kept.clone()), by(1))
        .await
        .unwrap();
    stores.spool.keep(&kept, by(1)).await.unwrap();
    stores.hand_all_over().await;
    assert_eq!(stores.handed().await.len(), 1);
    assert_eq!(stores.waiting().await, 0);
}

#[tokio::test]
async fn full_spool_takes_nothing() {
    let stores = Stores::new(1);
    let kept = delivery(7, Start::Anyone);
    let refused = stores.spool.keep(&kept, Dedupe::None).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
}

#[tokio::test]
async fn delivery_for_another_store_stays() {
    let stores = Stores::new(u64::MAX);
    let kept = delivery(7, Start::Anyone);
    stores.spool.keep(&kept, Dedupe::None).await.unwrap();
    let other = open(&stores.dir.path().join("other"), Opening::default());
    let moved = Arc::new(Spool::new(
        Arc::clone(&stores.spool.near),
        Arc::clone(&other),
        u64::MAX,
    ));
    assert!(moved.step().await.unwrap());
    assert!(!moved.step().await.unwrap());
    assert_eq!(waiting(&moved).await, 1);
    assert_eq!(other.totals().await.unwrap().origins, []);
}
