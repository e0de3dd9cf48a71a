//! The contract of events: deliveries of a tenant to its endpoints.
use std::sync::Arc;

use bytes::Bytes;

use super::queue::{Both, attempt, delivery, new, take};
use super::{HandClock, LEASE};
use crate::store::Ownership;
use crate::store::archive::{Act, ActKind, Scope, UnitsShown, Which};
use crate::store::queue::{
    Accept, Accepted, Attempt, Dedupe, DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, Next, OriginId,
    Start,
};
use crate::store::record::{DIGEST, headers};

/// Runs everything below on a queue. Each test has tenants and endpoints of its own.
pub(crate) async fn holds(queue: &dyn Both, _clock: &HandClock) {
    own_id_is_taken_once(queue).await;
    own_id_of_two_calls_at_once_is_taken_once(queue).await;
    versions_are_stored_and_deleted_with_the_delivery(queue).await;
    facts_of_an_attempt_are_stored(queue).await;
}

/// Returns an event of a tenant for one of its endpoints, with the app's ID of it.
pub(crate) fn event(tenant: u32, endpoint: u32, id: &str, start: Start) -> Accept {
    Accept {
        origin: OriginId(FIRST_TENANT + tenant),
        delivery_id: Some(id.into()),
        ..delivery(FIRST_ENDPOINT + endpoint, start)
    }
}

/// Returns the deduplication of an event whose meaning is `meaning`.
pub(crate) fn own(meaning: u8) -> Dedupe {
    Dedupe::Own {
        digest: [meaning; 32],
    }
}

/// Does one act on these deliveries. Returns how many it changed.
pub(crate) async fn act_on(queue: &dyn Both, kind: ActKind, ids: &[DeliveryRef]) -> u64 {
    let act = Act {
        kind,
        which: Which::Ids(ids.to_vec()),
        targets: Arc::default(),
        who: "anna".into(),
        reason: "test".into(),
        description: None,
        goes_on: None,
    };
    queue.act(Scope::All, &act, 1000).await.unwrap().done
}

async fn own_id_is_taken_once(queue: &dyn Both) {
    let accept = async |accept: &Accept, dedupe| {
        queue
            .accept(Arc::new(accept.clone()), dedupe)
            .await
            .unwrap()
    };
    let first = event(1, 1, "order-1", Start::Mine(LEASE));
    let of = first.id;
    let leases = new(accept(&first, own(1)).await);
    assert_eq!(leases.len(), 1);
    let record = queue
        .get(Scope::All, of, UnitsShown::All)
        .await
        .unwrap()
        .unwrap()
        .stored
        .record;
    assert_eq!(record.fact(DIGEST), Some(&Bytes::from(vec![1; 32])));
    let check = async || {
        let again = event(1, 1, "order-1", Start::Mine(LEASE));
        let duplicate = Accepted::Duplicate { of: Some(of) };
        assert_eq!(accept(&again, own(1)).await, duplicate);
        assert_eq!(accept(&again, own(1)).await, duplicate, "a repeated call");
        assert_eq!(accept(&again, own(2)).await, Accepted::Other { of });
    };
    check().await;
    assert_eq!(accept(&first, own(1)).await, Accepted::New(leases.clone()));
    // the ID of another tenant, and another ID of this one
    for other in [
        event(2, 2, "order-1", Start::Anyone),
        event(1, 1, "order-2", Start::Anyone),
    ] {
        assert_eq!(accept(&other, own(1)).await, Accepted::New(Vec::new()));
    }
    for next in [Next::Cancelled, Next::Delivered] {
        let leased = take(queue, FIRST_ENDPOINT + 1, 9).await;
        let lease = leased.iter().find(|leased| leased.stored.id == of);
        let lease = lease.map_or(leases[0], |leased| leased.lease);
        let settled = queue.settle(lease, Some(attempt(200)), next).await;
        assert_eq!(settled.unwrap(), Ownership::Owned);
        check().await;
        let replay = ActKind::Replay {
            delivered: false,
            cause: crate::store::queue::Cause::Replay,
        };
        act_on(queue, replay, &[of]).await;
    }
    let purge = ActKind::Purge { waiting: true };
    assert_eq!(act_on(queue, purge, &[of]).await, 1);
    let later = event(1, 1, "order-1", Start::Anyone);
    assert_eq!(accept(&later, own(2)).await, Accepted::New(Vec::new()));
}

async fn own_id_of_two_calls_at_once_is_taken_once(queue: &dyn Both) {
    for number in 0..20 {
        let id = format!("at-once-{number}");
        let [one, other] = [(); 2].map(|()| event(3, 3, &id, Start::Anyone));
        let ids = (one.id, other.id);
        let answers = tokio::join!(
            queue.accept(Arc::new(one), own(1)),
            queue.accept(Arc::new(other), own(1)),
        );
        let (new, duplicate) = (Accepted::New(Vec::new()), |of| Accepted::Duplicate {
            of: Some(of),
        });
        let answers = (answers.0.unwrap(), answers.1.unwrap());
        assert!(
            answers == (new.clone(), duplicate(ids.0)) || answers == (duplicate(ids.1), new),
            "{answers:?}"
        );
    }
}

async fn versions_are_stored_and_deleted_with_the_delivery(queue: &dyn Both) {
    let sums = async || {
        let totals = queue.totals().await.unwrap();
        (totals.origins, totals.tenants)
    };
    let before = sums().await;
    let one = Accept {
        versions: vec![
            (1, Bytes::from_static(b"first")),
            (2, Bytes::from_static(b"second")),
        ],
        ..event(4, 4, "versions", Start::Anyone)
    };
    new(queue.accept(Arc::new(one.clone()), own(1)).await.unwrap());
    for (version, body) in [(1, Some("first")), (2, Some("second")), (3, None)] {
        let found = queue.version(one.id, version).await.unwrap();
        assert_eq!(found, body.map(Bytes::from));
    }
    assert_ne!(sums().await, before);
    let purge = ActKind::Purge { waiting: true };
    assert_eq!(act_on(queue, purge, &[one.id]).await, 1);
    assert_eq!(queue.version(one.id, 1).await.unwrap(), None);
    assert_eq!(sums().await, before, "the bytes of all bodies are counted");
}

async fn facts_of_an_attempt_are_stored(queue: &dyn Both) {
    let facts = headers(&vec![("url".into(), "https://hooks.example/in".into())]);
    let one = event(5, 5, "facts", Start::Mine(LEASE));
    let lease = new(queue.accept(Arc::new(one.clone()), own(1)).await.unwrap())[0];
    let attempt = Attempt {
        facts: facts.clone(),
        ..attempt(200)
    };
    let settled = queue.settle(lease, Some(attempt), Next::Delivered).await;
    assert_eq!(settled.unwrap(), Ownership::Owned);
    let shown = queue
        .get(Scope::All, one.id, UnitsShown::All)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown.attempts[0].attempt.facts, facts);
}
