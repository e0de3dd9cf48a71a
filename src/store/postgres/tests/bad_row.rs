//! A row that the server refuses, among others in the same call.
use super::*;
use crate::store::contract::queue::delivery;
use crate::store::queue::{Accepted, Dedupe, Queue as _, Start};
use crate::store::{Figures, Store as _, StoreError};

/// An ID that is too large for an index fails alone: the deliveries that were sent with it are stored.
#[tokio::test]
async fn row_that_the_server_refuses_fails_alone() {
    let database = Database::new();
    let store = database.open().await;
    let mut large = delivery(7, Start::Anyone);
    // text that cannot be compressed
    let id: String = (0..300).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    large.delivery_id = Some(id.into());
    let accept = |delivery| store.accept(Arc::new(delivery), Dedupe::None);
    // all three wait before the first call is made
    let (before, refused, after) = tokio::join!(
        accept(delivery(7, Start::Anyone)),
        accept(large),
        accept(delivery(7, Start::Anyone)),
    );
    for accepted in [before, after] {
        assert!(matches!(accepted, Ok(Accepted::New(_))), "{accepted:?}");
    }
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("54000"), "{error}");
    let Figures {
        repeats, batches, ..
    } = store.figures().unwrap();
    assert!(repeats.contains(&("bad_row", 1)), "{repeats:?}");
    // one call of three rows, then three of one
    assert_eq!(batches.counts[..3], [3, 0, 1]);
}
