//! Fairness between targets, and between the deliveries of one.
use std::sync::Arc;

use bytes::Bytes;

use super::LEASE;
use super::queue::{Both, MS, attempt, delivery, new, take};
use crate::store::Ownership;
use crate::store::queue::{Accept, Dedupe, Lane, LeaseRequest, Next, Start, Subject, TargetId};
use crate::store::turns::{MEMORY, Turn};

/// Runs everything below on a queue whose other units have targets of their own.
pub(super) async fn holds(queue: &dyn Both) {
    every_target_gets_its_turn(queue).await;
    leases_are_bounded(queue).await;
    first_attempts_and_retries_take_turns(queue).await;
    excepted_targets_come_last(queue).await;
}

/// The ring has each target with something due once, whatever kinds of units it has, and begins after the given one.
async fn every_target_gets_its_turn(queue: &dyn Both) {
    let due = 9001..9101_u32;
    for target in due.clone() {
        new(queue
            .accept(Arc::new(delivery(target, Start::Anyone)), Dedupe::None)
            .await
            .unwrap());
    }
    for target in [9001, 9050, 9100] {
        new(queue
            .accept(Arc::new(retry(target)), Dedupe::None)
            .await
            .unwrap());
    }
    new(queue
        .accept(Arc::new(delivery(9200, Start::In(LEASE))), Dedupe::None)
        .await
        .unwrap());
    for after in [
        None,
        Some(9000),
        Some(9001),
        Some(9050),
        Some(9100),
        Some(9200),
        Some(u32::MAX),
    ] {
        let found = queue
            .ready(after.map(TargetId), &Arc::default())
            .await
            .unwrap();
        let (before, behind): (Vec<_>, Vec<_>) = due
            .clone()
            .partition(|target| after.is_some_and(|after| *target <= after));
        let ours: Vec<_> = found
            .targets
            .iter()
            .map(|target| target.0)
            .filter(|target| (9001..9300).contains(target))
            .collect();
        assert_eq!(ours, [behind, before].concat(), "after {after:?}");
        assert!(
            found.next_in.is_some_and(|next| next <= LEASE),
            "{:?}",
            found.next_in
        );
    }
    new(queue
        .accept(Arc::new(delivery(9201, Start::In(MS))), Dedupe::None)
        .await
        .unwrap());
    assert_eq!(
        queue.ready(None, &Arc::default()).await.unwrap().next_in,
        Some(MS),
        "the first of all that are not due"
    );
}

/// Returns a delivery that was attempted before it was queued.
fn retry(target: u32) -> Accept {
    let mut retry = delivery(target, Start::Anyone);
    retry.to[0].attempts = vec![attempt(503)];
    retry
}

/// A target that holds more than the free memory waits, and the next one begins. At most one begins that is too large for it.
async fn leases_are_bounded(queue: &dyn Both) {
    for target in [19, 19, 19, 19, 9401, 9401, 9401, 9401] {
        let big = Accept {
            body: Bytes::from(vec![7; 10_000]),
            ..delivery(target, Start::Anyone)
        };
        new(queue.accept(Arc::new(big), Dedupe::None).await.unwrap());
    }
    let request = |target, count, held| LeaseRequest {
        held,
        ..LeaseRequest::of(TargetId(target), count)
    };
    let lease = async |requests: &[LeaseRequest], held| {
        let leased = queue.lease(requests, LEASE, held).await.unwrap();
        assert!(
            leased
                .iter()
                .all(|leased| (10_000..10_200).contains(&leased.bytes))
        );
        leased
            .iter()
            .map(|leased| leased.lease.unit.target.0)
            .collect::<Vec<_>>()
    };
    assert!(
        lease(&[request(19, 9, 0), request(9401, 9, 0)], MEMORY)
            .await
            .is_empty()
    );
    assert_eq!(
        lease(
            &[request(19, 9, 21_000), request(9401, 1, 0)],
            MEMORY - 20_000
        )
        .await,
        [9401]
    );
    assert_eq!(lease(&[request(19, 9, 0)], MEMORY - 31_000).await, [19, 19]);
    assert_eq!(
        lease(&[request(19, 9, 0), request(9401, 9, 0)], MEMORY - 1).await,
        [19],
        "one, though it is too large"
    );
    assert!(lease(&[request(19, 0, 0)], 0).await.is_empty());
    assert_eq!(
        lease(&[request(19, 9, 0), request(9401, 2, 0)], 0).await,
        [19, 9401, 9401]
    );
}

async fn first_attempts_and_retries_take_turns(queue: &dyn Both) {
    let (mut firsts, mut retries) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        for (kind, accept) in [
            (&mut retries, retry(9501)),
            (&mut firsts, delivery(9501, Start::Anyone)),
        ] {
            kind.push(accept.id);
            new(queue.accept(Arc::new(accept), Dedupe::None).await.unwrap());
        }
    }
    let lease = async |turn, count| {
        let leased = queue
            .lease(
                &[LeaseRequest {
                    turn,
                    ..LeaseRequest::of(TargetId(9501), count)
                }],
                LEASE,
                0,
            )
            .await
            .unwrap();
        leased
            .iter()
            .map(|leased| leased.stored.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lease(Turn::Retry, 3).await,
        [retries[0], firsts[0], retries[1]]
    );
    assert_eq!(lease(Turn::First, 1).await, [firsts[1]]);
    assert_eq!(lease(Turn::First, 9).await, [firsts[2], retries[2]]);
    // of lanes, the heads take turns
    let mut heads = Vec::new();
    for (lane, is_retry) in [(1, true), (1, false), (2, true), (3, false), (3, false)] {
        let mut laned = if is_retry {
            retry(9502)
        } else {
            delivery(9502, Start::Anyone)
        };
        laned.to[0].lane = Some(Lane([lane; 16]));
        heads.push(laned.id);
        new(queue.accept(Arc::new(laned), Dedupe::None).await.unwrap());
    }
    let leased: Vec<_> = take(queue, 9502, 9)
        .await
        .iter()
        .map(|leased| (leased.stored.id, leased.lane))
        .collect();
    assert_eq!(
        leased,
        [(heads[3], 3), (heads[0], 1), (heads[2], 2)]
            .map(|(id, lane)| (id, Some(Lane([lane; 16]))))
    );
}

/// Excepted units are leased only if there are no others.
async fn excepted_targets_come_last(queue: &dyn Both) {
    let mut ids = Vec::new();
    for lane in [1, 1, 2] {
        let mut laned = delivery(9503, Start::Anyone);
        laned.to[0].lane = Some(Lane([lane; 16]));
        ids.push(laned.id);
        new(queue.accept(Arc::new(laned), Dedupe::None).await.unwrap());
    }
    let except = async |delivery, lane: u8| {
        let except = Some(Subject {
            delivery,
            lane: Some(Lane([lane; 16])),
        });
        let mut leased = queue
            .lease(
                &[LeaseRequest {
                    except,
                    ..LeaseRequest::of(TargetId(9503), 1)
                }],
                LEASE,
                0,
            )
            .await
            .unwrap();
        leased.remove(0)
    };
    let other = except(ids[0], 1).await;
    assert_eq!(other.stored.id, ids[2]);
    assert_eq!(
        queue
            .settle(other.lease, None, Next::GiveBack)
            .await
            .unwrap(),
        Ownership::Owned
    );
    let other = except(ids[2], 2).await;
    assert_eq!(other.stored.id, ids[0]);
    assert_eq!(
        queue
            .settle(other.lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        except(ids[0], 1).await.stored.id,
        ids[2],
        "another lane, not the next of the same"
    );
    assert_eq!(
        except(ids[1], 1).await.stored.id,
        ids[1],
        "there is nothing else"
    );
}
