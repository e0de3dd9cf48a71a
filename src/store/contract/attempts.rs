//! The contract of every queue for the attempts of a delivery: their numbers, their order over replays, and a success that comes after a
//! cancel.
use std::sync::Arc;

use super::queue::{Both, MS, attempt, delivery, keyed, new, status, take};
use super::{HandClock, LEASE};
use crate::retry::Reason;
use crate::store::Ownership;
use crate::store::archive::{Act, ActKind, Scope, Status, UnitsShown, Which};
use crate::store::queue::{
    Accepted, Attempt, Cause, Dedupe, DeliveryRef, Lane, Next, OnDead, Start,
};

/// Runs everything below.
pub(crate) async fn holds(queue: &dyn Both, clock: &HandClock) {
    attempt_numbers_only_grow(queue, clock).await;
    replay_of_a_delivered_delivery_keeps_its_lane(queue, clock).await;
    successful_attempt_overrides_a_cancel(queue).await;
}

async fn act_on(queue: &dyn Both, kind: ActKind, id: DeliveryRef) {
    let act = Act {
        kind,
        which: Which::Ids(vec![id]),
        targets: Arc::default(),
        who: "t".into(),
        reason: "do".into(),
        description: None,
        goes_on: None,
    };
    assert_eq!(
        queue.act(Scope::All, &act, 9).await.unwrap().done,
        1,
        "{kind:?}"
    );
}

const REPLAY: ActKind = ActKind::Replay {
    delivered: true,
    cause: Cause::Replay,
};

/// Attempts on record: number, status or error, and whether it was late.
async fn attempts(queue: &dyn Both, id: DeliveryRef) -> Vec<(u32, String, bool)> {
    let shown = queue
        .get(Scope::All, id, UnitsShown::All)
        .await
        .unwrap()
        .unwrap()
        .attempts
        .into_iter();
    let word = |attempt: Attempt| {
        attempt.status.map_or_else(
            || attempt.error.unwrap().to_string(),
            |status| status.to_string(),
        )
    };
    shown
        .map(|shown| (shown.number, word(shown.attempt), shown.late))
        .collect()
}

/// A lease without an attempt has no number, an attempt that was cut off has one, and a replay goes on counting with a fresh budget.
async fn attempt_numbers_only_grow(queue: &dyn Both, clock: &HandClock) {
    let mut spilled = delivery(31, Start::Mine(LEASE));
    spilled.to[0].attempts = vec![attempt(503)];
    let born = new(queue
        .accept(Arc::new(spilled.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    assert_eq!((born.number, born.attempt), (2, 2));
    assert_eq!(
        queue.settle(born, None, Next::GiveBack).await.unwrap(),
        Ownership::Owned
    );
    let next = async || take(queue, 31, 9).await.remove(0);
    let second = next().await;
    assert_eq!(
        (second.lease.number, second.lease.attempt),
        (3, 2),
        "no attempt was made before"
    );
    clock.advance(LEASE + MS);
    let third = next().await;
    assert_eq!(
        (third.lease.attempt, third.attempts),
        (3, 1),
        "the budget counts what is settled"
    );
    let cut_off = ("cut_off".to_owned(), false);
    let of = |number, what: &str| (number, what.to_owned(), false);
    assert_eq!(
        attempts(queue, spilled.id).await,
        [of(1, "503"), (2, cut_off.0, cut_off.1)]
    );
    assert_eq!(
        queue
            .settle(second.lease, Some(attempt(500)), Next::RetryIn(LEASE))
            .await
            .unwrap(),
        Ownership::Lost
    );
    assert_eq!(
        queue
            .settle(third.lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        attempts(queue, spilled.id).await,
        [of(1, "503"), (2, "500".to_owned(), true), of(3, "200")]
    );
    for (number, status) in [(4, 410), (5, 200)] {
        act_on(queue, REPLAY, spilled.id).await;
        let replayed = next().await;
        assert_eq!((replayed.lease.attempt, replayed.attempts), (number, 0));
        let then = if status == 200 {
            Next::Delivered
        } else {
            Next::Dead(Reason::Attempts)
        };
        assert_eq!(
            queue
                .settle(replayed.lease, Some(attempt(status)), then)
                .await
                .unwrap(),
            Ownership::Owned
        );
    }
    assert_eq!(
        attempts(queue, spilled.id).await[3..],
        [of(4, "410"), of(5, "200")]
    );
}

async fn replay_of_a_delivered_delivery_keeps_its_lane(queue: &dyn Both, clock: &HandClock) {
    let laned = || {
        let mut one = delivery(32, Start::Mine(LEASE));
        one.to[0].lane = Some(Lane([7; 16]));
        one
    };
    let (first, second) = (laned(), laned());
    let lease = new(queue
        .accept(Arc::new(first.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    assert_eq!(
        queue
            .settle(lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    act_on(queue, REPLAY, first.id).await;
    assert_eq!(
        new(queue
            .accept(Arc::new(second.clone()), Dedupe::None)
            .await
            .unwrap()),
        [],
        "it must not overtake"
    );
    let replayed = take(queue, 32, 9).await;
    assert_eq!(
        replayed
            .iter()
            .map(|leased| leased.stored.id)
            .collect::<Vec<_>>(),
        [first.id]
    );
    assert_eq!(
        queue
            .settle(replayed[0].lease, Some(attempt(503)), Next::RetryIn(LEASE))
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert!(take(queue, 32, 9).await.is_empty());
    clock.advance(LEASE);
    let retried = take(queue, 32, 9).await;
    assert_eq!(
        queue
            .settle(retried[0].lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        take(queue, 32, 9)
            .await
            .iter()
            .map(|leased| leased.stored.id)
            .collect::<Vec<_>>(),
        [second.id]
    );
}

/// The delivery is delivered then, whatever a person did meanwhile, and a resend is a duplicate.
async fn successful_attempt_overrides_a_cancel(queue: &dyn Both) {
    let again = async |byte, dead| {
        queue
            .accept(Arc::new(delivery(33, Start::Anyone)), keyed(byte, dead))
            .await
            .unwrap()
    };
    for (byte, revived) in [(80, false), (81, true)] {
        let one = delivery(33, Start::Mine(LEASE));
        let lease = new(queue
            .accept(Arc::new(one.clone()), keyed(byte, OnDead::Revive))
            .await
            .unwrap())
        .remove(0);
        act_on(queue, ActKind::Cancel, one.id).await;
        assert_eq!(status(queue, one.id).await, [Status::Cancelled]);
        if revived {
            assert_eq!(
                again(byte, OnDead::Revive).await,
                Accepted::Revived { of: one.id }
            );
        }
        for _ in 0..2 {
            assert_eq!(
                queue
                    .settle(lease, Some(attempt(200)), Next::Delivered)
                    .await
                    .unwrap(),
                Ownership::Owned
            );
        }
        assert_eq!(status(queue, one.id).await, [Status::Delivered]);
        assert_eq!(
            attempts(queue, one.id).await,
            [(1, "200".to_owned(), false)]
        );
        assert_eq!(
            again(byte, OnDead::Revive).await,
            Accepted::Duplicate { of: Some(one.id) }
        );
        assert!(take(queue, 33, 9).await.is_empty(), "it does not go again");
    }
    let failed = delivery(33, Start::Mine(LEASE));
    let lease = new(queue
        .accept(Arc::new(failed.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    act_on(queue, ActKind::Cancel, failed.id).await;
    assert_eq!(
        queue
            .settle(lease, Some(attempt(500)), Next::RetryIn(LEASE))
            .await
            .unwrap(),
        Ownership::Lost
    );
    assert_eq!(
        (
            status(queue, failed.id).await,
            attempts(queue, failed.id).await
        ),
        (vec![Status::Cancelled], vec![(1, "500".to_owned(), true)])
    );
}
