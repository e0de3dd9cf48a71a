//! The contract of counting matches of secrets.
use std::time::Duration;

use super::HandClock;
use crate::store::secret_use::{FORGOTTEN_AFTER, MAX_GAP, SecretMatches, SecretTotals};
use crate::store::{Key, Store};

const SECOND: Duration = Duration::from_secs(1);

/// Returns matches of a secret.
fn matches(key: u8, count: u64, last: Option<Duration>) -> SecretMatches {
    SecretMatches {
        key: Key([key; 16]),
        count,
        last,
    }
}

/// Holds for a store that has no secrets yet.
pub(crate) async fn holds(store: &impl Store, clock: &HandClock) {
    let add = async |all: Vec<SecretMatches>| store.count_matches(all).await.unwrap();
    let totals = |count, last, watched| SecretTotals {
        count,
        last,
        watched,
    };
    let zero = Duration::ZERO;
    assert_eq!(add(Vec::new()).await, []);
    assert_eq!(
        add(vec![matches(1, 0, None)]).await,
        [totals(0, None, zero)]
    );
    clock.advance(10 * SECOND);
    // two gateways, and a secret that is new: answers come in the order of the question
    let both = add(vec![matches(2, 0, None), matches(1, 3, Some(4 * SECOND))]).await;
    assert_eq!(
        both,
        [
            totals(0, None, zero),
            totals(3, Some(4 * SECOND), 10 * SECOND)
        ]
    );
    let earlier = add(vec![matches(1, 2, Some(6 * SECOND))]).await;
    assert_eq!(
        earlier,
        [totals(5, Some(4 * SECOND), 10 * SECOND)],
        "the latest match counts"
    );
    clock.advance(MAX_GAP);
    let after_a_restart = add(vec![matches(1, 0, None)]).await;
    assert_eq!(
        after_a_restart,
        [totals(5, Some(MAX_GAP + 4 * SECOND), MAX_GAP + 10 * SECOND)]
    );
    clock.advance(MAX_GAP + SECOND);
    let after_a_gap = add(vec![matches(1, 1, Some(zero))]).await;
    assert_eq!(
        after_a_gap,
        [totals(6, Some(zero), zero)],
        "it was not watched meanwhile"
    );
    clock.advance(FORGOTTEN_AFTER + SECOND);
    add(vec![matches(2, 1, Some(zero))]).await;
    let anew = add(vec![matches(1, 0, None)]).await;
    assert_eq!(anew, [totals(0, None, zero)], "no config had it for long");
}
