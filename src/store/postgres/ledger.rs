//! The ledger that gateways share.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Postgres;
use super::call::{Call, text};
use super::claims::{Claimed, KeyRow, blob};
use super::errors::{MAX_CALLS, contended};
use super::link::Lane;
use crate::store::{
    Answer, Changed, ClaimResult, Key, Ledger, LedgerCounts, Ownership, Remembered, Token,
};

impl Ledger for Postgres {
    fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        let row = KeyRow {
            key,
            token,
            time: lease,
        };
        let mut answer = self.ledger.claims.send(row);
        Box::pin(async move {
            for _ in 1..MAX_CALLS {
                if let Claimed::Is(result) = answer.await? {
                    return Ok(result);
                }
                answer = self.ledger.claims.send(row);
            }
            match answer.await? {
                Claimed::Is(result) => Ok(result),
                Claimed::Again => Err(contended()),
            }
        })
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        let row = KeyRow {
            key,
            token,
            time: window,
        };
        // it is sent even if nobody waits for the answer
        let is_clear = self.ledger.on_the_way.is_clear(key);
        let sent = is_clear.then(|| self.ledger.commits.send(row));
        Box::pin(async move {
            let sent = match sent {
                Some(sent) => sent,
                None => {
                    self.ledger.released(key).await;
                    self.ledger.commits.send(row)
                }
            };
            let answer = sent.await;
            self.ledger.wake(key);
            answer
        })
    }

    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership> {
        self.ledger.extensions.send(KeyRow {
            key,
            token,
            time: lease,
        })
    }

    fn release_soon(&self, key: Key, token: Token) {
        let (way, hints) = (
            Arc::clone(&self.ledger.on_the_way),
            Arc::clone(&self.ledger.hints),
        );
        way.begin(key);
        let sent = self.ledger.releases.send(KeyRow {
            key,
            token,
            time: Duration::ZERO,
        });
        self.link.spawn(async move {
            // a release that is lost lapses
            sent.await.ok();
            way.end(key);
            hints.wake(key);
        });
    }

    fn note_soon(&self, key: Key, window: Duration) {
        drop(self.ledger.notes.send(KeyRow {
            key,
            token: Token(0),
            time: window,
        }));
    }

    fn note_gap_soon(&self) {
        self.upkeep.gap.store(true, Ordering::Release);
    }

    fn keep(&self, routes: &[(Arc<str>, Key)]) {
        self.upkeep.keeps(routes);
        let names: Vec<_> = routes.iter().map(|(name, _)| text(name)).collect();
        let policies: Vec<_> = routes.iter().map(|(_, policy)| blob(*policy)).collect();
        let call = Call::write("keep_1").with(names).with(policies);
        // the next heartbeat says it again
        drop(self.link.send(Lane::Claims, call));
    }

    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered> {
        self.ledger.recalls.send((text(route), key))
    }

    fn changed(&self, key: Key) -> Changed {
        self.ledger.hints.wait(key)
    }

    fn counts(&self) -> LedgerCounts {
        let Some(fleet) = self.fleet() else {
            return LedgerCounts::default();
        };
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        LedgerCounts {
            committed: number(fleet.ledger_rows),
            bytes: number(fleet.ledger_bytes),
            ..LedgerCounts::default()
        }
    }
}
