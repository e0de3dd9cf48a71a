//! A change of an endpoint with acts on its events and a notification: all of it is there, or nothing.
use bytes::Bytes;

use super::faults::{Fault, open_faulty};
use super::*;
use crate::retry::Reason;
use crate::store::address_book::{AddressBook as _, Endpoint, EndpointChange, Saved};
use crate::store::archive::{ActKind, Scope, Status, UnitsShown, WaitingCount};
use crate::store::contract::address_book::{add, add_tenant};
use crate::store::contract::events::{event, own};
use crate::store::contract::queue::{attempt, new, take};
use crate::store::queue::{
    Accept, Cause, DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, Next, Queue as _, Start,
};

/// Stores an event for an endpoint.
async fn accept(store: &Embedded, endpoint: &Endpoint, id: &str, start: Start) -> DeliveryRef {
    let tenant = endpoint.tenant.0 - FIRST_TENANT;
    let one = event(tenant, endpoint.target.0 - FIRST_ENDPOINT, id, start);
    let id = one.id;
    new(store.accept(Arc::new(one), own(1)).await.unwrap());
    id
}

async fn status(store: &Embedded, endpoint: &Endpoint, id: DeliveryRef) -> Option<Status> {
    let shown = UnitsShown::Of(endpoint.target);
    let rows = store.rows(Scope::All, &[id], shown).await.unwrap();
    rows[0].units.first().map(|unit| unit.status)
}

#[tokio::test]
async fn failure_at_any_statement_leaves_a_whole_change_after_the_retry() {
    for error in [StoreError::Full, StoreError::Unavailable("io".into())] {
        let (directory, fault) = (tempfile::tempdir().unwrap(), Arc::<Fault>::default());
        // work that is finished is written again once there is room
        let is_written_again = matches!(error, StoreError::Full);
        let store = open_faulty(directory.path(), &fault, error);
        let tenant = add_tenant(&store, "acme").await.origin;
        let mut failed = 0;
        for step in 0..40_i64 {
            let one = add(&store, tenant, None).await;
            let other = add(&store, tenant, None).await;
            let over = Start::Over(Some(Reason::Attempts));
            let dead = accept(&store, &one, &format!("dead-{step}"), over).await;
            let missing = accept(&store, &other, &format!("missing-{step}"), over).await;
            let notice: Accept = event(9, 900, &format!("notice-{step}"), Start::Anyone);
            let notice_id = notice.id;
            let change = EndpointChange {
                failing_since: None,
                endpoint: Endpoint {
                    job: Some("{}".into()),
                    cursor: Some(Bytes::from_static(b"1")),
                    ..one.clone()
                },
                expected: 1,
                acts: vec![
                    (
                        ActKind::Replay {
                            delivered: true,
                            cause: Cause::Replay,
                        },
                        vec![dead],
                    ),
                    (
                        ActKind::Add {
                            cause: Cause::Replay,
                            lane: None,
                        },
                        vec![missing],
                    ),
                ],
                notice: Some(Arc::new(notice)),
                audit: None,
            };
            fault.arm(step, 0);
            let first = store.change_endpoint(change.clone()).await;
            fault.arm(i64::MAX, 0);
            if first.is_err() {
                failed += 1;
                assert_eq!(status(&store, &one, dead).await, Some(Status::Dead));
                assert_eq!(status(&store, &one, missing).await, None);
                let stored = store.stored(Scope::All, notice_id).await;
                assert_eq!(stored.unwrap(), None);
            }
            let done = Saved::Done {
                number: one.target.0,
                edition: 2,
            };
            assert_eq!(store.change_endpoint(change.clone()).await.unwrap(), done);
            for id in [dead, missing] {
                assert_eq!(status(&store, &one, id).await, Some(Status::Pending));
            }
            let count = WaitingCount {
                target: one.target,
                since: None,
                until: None,
                only_new: true,
                most: 9,
            };
            assert_eq!(store.count_waiting(count).await.unwrap(), 2);
            let least = WaitingCount { most: 1, ..count };
            assert_eq!(store.count_waiting(least).await.unwrap(), 1);
            for leased in take(&store, one.target.0, 9).await {
                let settled = store.settle(leased.lease, Some(attempt(200)), Next::Delivered);
                assert_eq!(settled.await.unwrap(), Ownership::Owned);
            }
            // a repeated call sends nothing again
            assert_eq!(store.change_endpoint(change.clone()).await.unwrap(), done);
            assert_eq!(store.count_waiting(count).await.unwrap(), 0);
            let stale = EndpointChange {
                expected: 7,
                ..change
            };
            let saved = store.change_endpoint(stale).await.unwrap();
            assert_eq!(saved, Saved::Conflict);
        }
        let is_as_meant = if is_written_again {
            failed == 0
        } else {
            failed >= 5
        };
        assert!(is_as_meant, "{failed} of the calls failed");
    }
}
