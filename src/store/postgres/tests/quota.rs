//! Limits that gateways share, over a server.
use std::num::NonZeroU32;

use super::*;
use crate::limit::{Quota, Share, SharedLimit};
use crate::store::quota::{SharedTokens as _, TokenGrant, TokenRequest};
use crate::store::{Store as _, StoreError};
use crate::units::Rate;

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

fn share(count: u32, burst: u32) -> Share {
    let rate = Rate {
        count: NonZeroU32::new(count).unwrap(),
        per: SECOND,
    };
    Share {
        quota: Quota {
            rate,
            burst: NonZeroU32::new(burst).unwrap(),
        },
        gateways: NonZeroU32::new(4).unwrap(),
    }
}

/// Four gateways, each with its own connections.
struct Fleet {
    database: Database,
    gateways: Vec<(Postgres, SharedLimit)>,
}

impl Fleet {
    async fn new(share: Share) -> Self {
        let database = Database::new();
        let mut gateways = Vec::new();
        for _ in 0..4 {
            let limit = SharedLimit::new(share, false, Arc::default());
            gateways.push((database.open().await, limit));
        }
        Self { database, gateways }
    }

    /// Takes all tokens of some keys that these gateways get in a time. Returns how many they get of each key.
    async fn exhaust(
        &self,
        gateways: &[usize],
        keys: std::ops::Range<u64>,
        time: Duration,
    ) -> Vec<u32> {
        let clock = &self.database.clock;
        let mut taken = vec![0; usize::try_from(keys.end).unwrap()];
        let end = clock.mono() + time;
        while clock.mono() < end {
            for gateway in gateways {
                let (store, limit) = &self.gateways[*gateway];
                let now = clock.mono();
                for key in keys.clone() {
                    let got = (0..40).take_while(|_| limit.take(key, now).is_ok()).count();
                    taken[usize::try_from(key).unwrap()] += u32::try_from(got).unwrap();
                }
                let asks = limit.due(now, 256);
                let sent: Vec<_> = asks
                    .iter()
                    .map(|ask| {
                        store.reserve(TokenRequest {
                            key: ask.key,
                            each: ask.each,
                            burst: ask.burst,
                            tokens: ask.want,
                            spent: ask.spent,
                        })
                    })
                    .collect();
                for (ask, answer) in asks.iter().zip(sent) {
                    match answer.await {
                        Ok(grant) => limit.answer(ask, grant.tokens, grant.wait, now),
                        Err(_) => limit.fail(ask, false, now),
                    }
                }
            }
            clock.advance(STEP);
        }
        taken
            .drain(usize::try_from(keys.start).unwrap()..)
            .collect()
    }

    async fn close(&self) {
        for (store, _) in &self.gateways {
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn four_gateways_pass_what_their_limit_allows_and_no_more() {
    let fleet = Fleet::new(share(500, 100)).await;
    let [taken] = *fleet.exhaust(&[0, 1, 2, 3], 0..1, SECOND * 2).await else {
        panic!("one key")
    };
    let most = 500 * 2 + 100;
    assert!((most * 9 / 10..=most).contains(&taken), "{taken} of {most}");
    // all keys are hot now
    for (key, taken) in (1..20).zip(fleet.exhaust(&[0, 1, 2, 3], 1..20, SECOND).await) {
        let most = 500 + 100;
        assert!(
            (most * 9 / 10..=most).contains(&taken),
            "key {key}: {taken} of {most}"
        );
    }
    fleet.close().await;
}

#[tokio::test]
async fn share_of_a_limit_holds_while_the_server_is_away() {
    let fleet = Fleet::new(share(400, 40)).await;
    fleet.exhaust(&[0, 1, 2, 3], 0..1, SECOND).await;
    let rename = |from: &str, to: &str| {
        let sql = format!("alter table hookgate.{from} rename to {to}");
        fleet.database.execute(&sql);
    };
    rename("bucket", "bucket_away");
    fleet.exhaust(&[0], 0..1, SECOND / 2).await;
    let away = fleet.exhaust(&[0], 0..1, SECOND).await[0];
    assert!((90..=110).contains(&away), "a quarter of the rate: {away}");
    rename("bucket_away", "bucket");
    fleet.exhaust(&[0], 0..1, SECOND * 3 / 2).await;
    let back = fleet.exhaust(&[0], 0..1, SECOND).await[0];
    assert!((360..=400).contains(&back), "the whole rate: {back}");
    fleet.close().await;
}

#[tokio::test]
async fn reservations_of_one_key_come_one_after_the_other() {
    let database = Database::new();
    let store = database.open().await;
    let request = TokenRequest {
        key: u64::MAX,
        each: SECOND,
        burst: 10,
        tokens: 4,
        spent: 1,
    };
    let both = [store.reserve(request), store.reserve(request)];
    let mut granted = Vec::new();
    for answer in both {
        granted.push(answer.await.unwrap());
    }
    let grant = |tokens, wait| TokenGrant { tokens, wait };
    assert_eq!(granted, [grant(4, Duration::ZERO), grant(4, SECOND)]);
    database.clock.advance(SECOND);
    let extreme = TokenRequest {
        key: 5,
        each: Duration::from_nanos(1),
        burst: u32::MAX,
        tokens: u32::MAX,
        spent: 0,
    };
    assert!(store.reserve(extreme).await.is_ok());
    // one that the server cannot calculate fails alone
    let endless = TokenRequest {
        each: Duration::MAX,
        ..extreme
    };
    let both = [store.reserve(request), store.reserve(endless)];
    let mut answers = Vec::new();
    for answer in both {
        answers.push(answer.await);
    }
    assert!(
        matches!(&answers[..], [Ok(_), Err(StoreError::Unavailable(_))]),
        "{answers:?}"
    );
    store.close().await.unwrap();
}
