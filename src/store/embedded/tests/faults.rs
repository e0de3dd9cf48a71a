//! A disk that fails: at every step once, and for good.
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::retry::Reason;
use crate::store::archive::{Act, ActKind, Filter, Order, Scope, UnitsShown, Which};
use crate::store::contract::events::{event, own};
use crate::store::contract::queue::{attempt, delivery, new, take};
use crate::store::queue::{
    Accept, Accepted, Cause, Dedupe, FIRST_ENDPOINT, FIRST_TENANT, Next, OnDead, OriginId,
    Queue as _, Start, TargetId,
};

/// Fails at the statement that is `left` statements away, then at `more` others.
#[derive(Debug, Default)]
pub(super) struct Fault {
    left: AtomicI64,
    more: AtomicI64,
}

impl Fault {
    pub(super) fn arm(&self, left: i64, more: i64) {
        self.more.store(more, Ordering::SeqCst);
        self.left.store(left, Ordering::SeqCst);
    }

    fn hook(fault: &Arc<Self>, error: StoreError) -> FaultHook {
        fault.arm(i64::MAX, 0);
        let fault = Arc::clone(fault);
        FaultHook::new(move || {
            let left = fault.left.fetch_sub(1, Ordering::SeqCst);
            if left <= 0 && -left <= fault.more.load(Ordering::SeqCst) {
                Err(error.clone())
            } else {
                Ok(())
            }
        })
    }
}

pub(super) fn open_faulty(path: &Path, fault: &Arc<Fault>, error: StoreError) -> Embedded {
    let opening = Opening {
        fault_hook: Fault::hook(fault, error),
    };
    Embedded::open_with(path, 1000, HandClock::new(), opening)
        .unwrap()
        .ledger
}

async fn stored(store: &Embedded) -> usize {
    store
        .page(
            Scope::All,
            &Filter::default(),
            Order::Oldest,
            None,
            400,
            UnitsShown::All,
        )
        .await
        .unwrap()
        .rows
        .len()
}

/// Whichever step fails, a delivery is there completely, with its commit, or not at all, without. Repeated, it is there once.
#[tokio::test]
async fn failure_at_any_step_leaves_one_row_after_the_retry() {
    for error in [StoreError::Full, StoreError::Unavailable("io".into())] {
        let (directory, fault) = (tempfile::tempdir().unwrap(), Arc::<Fault>::default());
        let store = open_faulty(directory.path(), &fault, error.clone());
        let mut failed = 0;
        for step in 0..16_u32 {
            let one = delivery(step, Start::Mine(LEASE));
            let dedupe = Dedupe::Key {
                key: key(step),
                window: WINDOW,
                dead: OnDead::Revive,
            };
            fault.arm(i64::from(step), 0);
            let first = store.accept(Arc::new(one.clone()), dedupe).await;
            fault.arm(i64::MAX, 0);
            if let Err(reported) = &first {
                failed += 1;
                assert_eq!(reported.to_string(), error.to_string());
                assert_eq!(
                    stored(&store).await,
                    usize::try_from(step).unwrap(),
                    "nothing half-written"
                );
                assert_eq!(
                    store.claim(key(step), Token(9), LEASE).await.unwrap(),
                    ClaimResult::Fresh,
                    "and nothing claimed"
                );
                store.release_soon(key(step), Token(9));
            }
            let lease = new(store.accept(Arc::new(one.clone()), dedupe).await.unwrap()).remove(0);
            assert_eq!(stored(&store).await, usize::try_from(step).unwrap() + 1);
            assert_eq!(
                store.claim(key(step), Token(9), LEASE).await.unwrap(),
                ClaimResult::Committed
            );
            fault.arm(i64::from(step), 0);
            let settled = store
                .settle(lease, Some(attempt(200)), Next::Delivered)
                .await;
            fault.arm(i64::MAX, 0);
            if settled.is_err() {
                let targets = store.totals().await.unwrap().targets;
                assert!(
                    targets.contains(&counts_of(step, 1)),
                    "it waits still: {targets:?}"
                );
            }
            assert_eq!(
                store
                    .settle(lease, Some(attempt(200)), Next::Delivered)
                    .await
                    .unwrap(),
                Ownership::Owned
            );
            assert_eq!(
                store
                    .get(Scope::All, one.id, UnitsShown::All)
                    .await
                    .unwrap()
                    .unwrap()
                    .attempts
                    .len(),
                1,
                "one try, on record once"
            );
        }
        assert!(failed >= 4, "{failed} of the steps failed");
        drop(store);
        let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
        assert_eq!(
            other
                .query_row("pragma integrity_check", [], |row| row.get::<_, String>(0))
                .unwrap(),
            "ok"
        );
    }
}

/// Whichever statement of an act on an endpoint's units fails, nothing of the step is done. Repeated, all of it is.
#[tokio::test]
async fn act_that_fails_at_any_statement_changes_nothing() {
    let target = TargetId(FIRST_ENDPOINT + 1);
    let made_dead = ActKind::MakeDead {
        reason: Reason::Removed,
    };
    let add = ActKind::Add {
        cause: Cause::Replay,
        lane: None,
    };
    for (kind, waiting, dead) in [
        (ActKind::Renew, 3, 0),
        (ActKind::Cancel, 0, 0),
        (made_dead, 0, 3),
        (add, 4, 0),
    ] {
        let mut failed = 0;
        for statement in 0.. {
            let (directory, fault) = (tempfile::tempdir().unwrap(), Arc::<Fault>::default());
            let error = StoreError::Unavailable("io".into());
            let store = open_faulty(directory.path(), &fault, error);
            let mut ids = Vec::new();
            for (number, endpoint) in [(0, 1), (1, 1), (2, 1), (3, 2)] {
                let one = event(1, endpoint, &format!("event-{number}"), Start::Anyone);
                new(store.accept(Arc::new(one.clone()), own(1)).await.unwrap());
                ids.push(one.id);
            }
            let leased = take(&store, target.0, 1).await;
            let later = Next::RetryIn(WINDOW);
            let settled = store
                .settle(leased[0].lease, Some(attempt(500)), later)
                .await;
            assert_eq!(settled.unwrap(), Ownership::Owned);
            let which = if kind == add {
                Which::Ids(ids)
            } else {
                Which::Found(Filter::default(), None)
            };
            let act = Act {
                kind,
                which,
                targets: [target].into(),
                who: "anna".into(),
                reason: "test".into(),
                description: None,
                goes_on: None,
            };
            let tenant = OriginId(FIRST_TENANT + 1);
            let before = store.sums(tenant).await.unwrap();
            fault.arm(statement, 0);
            let first = store.act(Scope::All, &act, 9).await;
            fault.arm(i64::MAX, 0);
            if first.is_err() {
                failed += 1;
                assert_eq!(store.sums(tenant).await.unwrap(), before);
                let step = store.act(Scope::All, &act, 9).await.unwrap();
                assert_eq!(step.done, if kind == add { 1 } else { 3 });
            }
            let sums = store.sums(tenant).await.unwrap();
            // the unit of the other endpoint waits in any case
            assert_eq!((sums.waiting, sums.dead), (waiting + 1, dead), "{kind:?}");
            if first.is_ok() {
                break;
            }
        }
        assert!(failed > 5, "{kind:?}: {failed}");
    }
}

/// A claim that cannot be written still belongs to the caller.
#[tokio::test]
async fn failed_write_releases_the_claim() {
    let (directory, fault) = (tempfile::tempdir().unwrap(), Arc::<Fault>::default());
    let store: Arc<Embedded> = Arc::new(open_faulty(directory.path(), &fault, StoreError::Full));
    let ledger: Arc<dyn Ledger> = Arc::<Embedded>::clone(&store);
    let waiters = crate::dedupe::claim::Waiters::default();
    let claiming =
        crate::dedupe::claim::claim(&ledger, key(1), LEASE, waiters.of(key(2)), Duration::ZERO)
            .await;
    let crate::dedupe::claim::ClaimOutcome::Fresh(claim) = claiming else {
        panic!("{claiming:?}")
    };
    fault.arm(0, i64::MAX - 1);
    let (error, claim) = claim
        .accept(
            &*store,
            Arc::new(delivery(1, Start::Anyone)),
            WINDOW,
            OnDead::Revive,
        )
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Full));
    until("trouble is told", || store.health().trouble.is_some()).await;
    assert!(matches!(
        store.claim(key(1), Token(1), LEASE).await.unwrap(),
        ClaimResult::InFlight { .. }
    ));
    fault.arm(i64::MAX, 0);
    let accepted = claim
        .accept(
            &*store,
            Arc::new(delivery(1, Start::Anyone)),
            WINDOW,
            OnDead::Revive,
        )
        .await
        .unwrap();
    assert_eq!(accepted, Accepted::New(Vec::new()));
    assert_eq!(
        store.claim(key(1), Token(1), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    until("trouble is over", || store.health().trouble.is_none()).await;
}

/// Of many that come together, only the one that cannot be written fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_row_fails_alone() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = Arc::new(open(directory.path(), &clock));
    for _ in 0..5 {
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let mut one = delivery(1, Start::Anyone);
                if number % 25 == 7 {
                    // to one target twice: no row can say that
                    one.to.push(one.to[0].clone());
                }
                let store = Arc::clone(&store);
                tokio::spawn(
                    async move { (number, store.accept(Arc::new(one), Dedupe::None).await) },
                )
            })
            .collect();
        for task in tasks {
            let (number, accepted) = task.await.unwrap();
            assert_eq!(accepted.is_err(), number % 25 == 7, "{accepted:?}");
        }
    }
    assert_eq!(stored(&store).await, 240);
    assert_eq!(store.totals().await.unwrap().targets, [counts_of(1, 240)]);
}

/// A write that does not fit is refused at once; an accepted one is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wait_for_the_disk_is_bounded() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = Arc::new(open(directory.path(), &clock));
    let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    // the disk is held: no write ends meanwhile
    let body = bytes::Bytes::from(vec![0; 1 << 20]);
    let answers: Vec<_> = (0..200)
        .map(|_| {
            store.accept(
                Arc::new(Accept {
                    body: body.clone(),
                    ..delivery(1, Start::Anyone)
                }),
                Dedupe::None,
            )
        })
        .collect();
    let mut refused = 0;
    for (index, answer) in answers.into_iter().enumerate() {
        if index == 100 {
            other.execute_batch("rollback").unwrap();
        }
        let answer = tokio::time::timeout(
            Duration::from_millis(if index < 100 { 1 } else { 20_000 }),
            answer,
        )
        .await;
        refused += usize::from(matches!(answer, Ok(Err(StoreError::Unavailable(_)))));
    }
    assert!(refused >= 90, "{refused} of 200 MiB were refused");
}

/// The caller goes away. Its write is done, and its claim is a commit.
#[tokio::test]
async fn a_dropped_future_changes_nothing() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let one = delivery(1, Start::Anyone);
    drop(store.accept(
        Arc::new(one.clone()),
        Dedupe::Key {
            key: key(1),
            window: WINDOW,
            dead: OnDead::Keep,
        },
    ));
    for _ in 0..2000 {
        if store.claim(key(1), Token(5), LEASE).await.unwrap() == ClaimResult::Committed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(take(&store, 1, 1).await.remove(0).stored.id, one.id);
}
