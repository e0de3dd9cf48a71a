//! The contract of every ledger. Each implementation runs it in its own tests.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Now, SystemClock};
use crate::store::{ClaimResult, Key, Ledger, Ownership, Token};

pub(crate) mod address_book;
pub(crate) mod archive;
pub(crate) mod attempts;
pub(crate) mod endpoints;
pub(crate) mod events;
mod fairness;
pub(crate) mod queue;
pub(crate) mod secret_use;

/// A function that gets each new time of a clock.
type OnMove = Box<dyn Fn(Now) + Send>;

/// A clock that moves when it is told.
pub(crate) struct HandClock {
    now: Mutex<Now>,
    on_move: Mutex<Option<OnMove>>,
}

impl std::fmt::Debug for HandClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HandClock").field(&*self.now.lock()).finish()
    }
}

impl HandClock {
    /// Stands at the present.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(SystemClock.now()),
            on_move: Mutex::default(),
        })
    }

    /// Calls this with the new time before each move returns: a store that keeps its time elsewhere moves that, too.
    pub(crate) fn on_move(&self, call: impl Fn(Now) + Send + 'static) {
        *self.on_move.lock() = Some(Box::new(call));
    }

    fn set(&self, change: impl FnOnce(&mut Now)) {
        let now = {
            let mut now = self.now.lock();
            change(&mut now);
            *now
        };
        if let Some(call) = &*self.on_move.lock() {
            call(now);
        }
    }

    /// Moves both clocks on.
    pub(crate) fn advance(&self, by: Duration) {
        self.set(|now| {
            *now = Now {
                wall: now.wall + by,
                mono: now.mono + by,
            };
        });
    }

    /// Sets the wall clock alone back.
    pub(crate) fn jump_back(&self, by: Duration) {
        self.set(|now| now.wall -= by);
    }

    /// Sets the wall clock alone ahead.
    pub(crate) fn jump(&self, by: Duration) {
        self.set(|now| now.wall += by);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        *self.now.lock()
    }
}

const LEASE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(3600);

fn key(byte: u8) -> Key {
    Key([byte; 16])
}

/// Runs everything below on an empty ledger.
pub(crate) async fn holds(ledger: &dyn Ledger, clock: &HandClock) {
    claim_commit_duplicate_expiry(ledger, clock).await;
    released_key_can_be_claimed_again(ledger).await;
    commit_without_a_claim_is_remembered(ledger, clock).await;
    lapsed_claim_can_be_taken_over(ledger, clock).await;
    repeated_calls_change_nothing(ledger).await;
    extend_holds_longer(ledger, clock).await;
    commit_and_release_send_a_hint(ledger).await;
}

async fn claim_commit_duplicate_expiry(ledger: &dyn Ledger, clock: &HandClock) {
    let key = key(1);
    assert_eq!(
        ledger.claim(key, Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(
        ledger.claim(key, Token(2), LEASE).await.unwrap(),
        ClaimResult::InFlight { lapses_in: LEASE }
    );
    assert_eq!(
        ledger.commit(key, Token(2), WINDOW).await.unwrap(),
        Ownership::Lost,
        "not its claim"
    );
    assert_eq!(
        ledger.commit(key, Token(1), WINDOW).await.unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        ledger.claim(key, Token(3), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    ledger.release_soon(key, Token(1));
    assert_eq!(
        ledger.claim(key, Token(3), LEASE).await.unwrap(),
        ClaimResult::Committed,
        "a late release changes nothing"
    );
    clock.advance(WINDOW - Duration::from_secs(2));
    assert_eq!(
        ledger.claim(key, Token(3), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    clock.advance(Duration::from_secs(4));
    assert_eq!(
        ledger.claim(key, Token(3), LEASE).await.unwrap(),
        ClaimResult::Fresh,
        "the window has passed"
    );
    ledger.release_soon(key, Token(3));
}

async fn released_key_can_be_claimed_again(ledger: &dyn Ledger) {
    let key = key(2);
    assert_eq!(
        ledger.claim(key, Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    ledger.release_soon(key, Token(2));
    assert!(
        matches!(
            ledger.claim(key, Token(2), LEASE).await.unwrap(),
            ClaimResult::InFlight { .. }
        ),
        "only the holder gives back"
    );
    ledger.release_soon(key, Token(1));
    assert_eq!(
        ledger.claim(key, Token(2), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(
        ledger.commit(key, Token(1), WINDOW).await.unwrap(),
        Ownership::Lost
    );
    ledger.release_soon(key, Token(2));
}

/// The delivery was forwarded, even if the ledger does not know of its claim any more.
async fn commit_without_a_claim_is_remembered(ledger: &dyn Ledger, clock: &HandClock) {
    let key = key(9);
    let commit = async |token| ledger.commit(key, Token(token), WINDOW).await.unwrap();
    let claim = async || ledger.claim(key, Token(3), LEASE).await.unwrap();
    assert_eq!(commit(1).await, Ownership::Owned);
    assert_eq!(claim().await, ClaimResult::Committed);
    assert_eq!(commit(1).await, Ownership::Owned, "repeated");
    assert_eq!(commit(2).await, Ownership::Lost, "another committed it");
    clock.advance(WINDOW + Duration::from_secs(2));
    assert_eq!(claim().await, ClaimResult::Fresh, "its window has passed");
    assert_eq!(commit(2).await, Ownership::Lost, "another holds it");
    ledger.release_soon(key, Token(3));
    assert_eq!(commit(2).await, Ownership::Owned, "it was released");
    assert_eq!(claim().await, ClaimResult::Committed);
}

async fn lapsed_claim_can_be_taken_over(ledger: &dyn Ledger, clock: &HandClock) {
    let (taken, alone) = (key(3), key(4));
    for key in [taken, alone] {
        assert_eq!(
            ledger.claim(key, Token(1), LEASE).await.unwrap(),
            ClaimResult::Fresh
        );
    }
    clock.advance(LEASE + Duration::from_millis(1));
    assert_eq!(
        ledger.claim(taken, Token(2), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(
        ledger.commit(taken, Token(1), WINDOW).await.unwrap(),
        Ownership::Lost
    );
    ledger.release_soon(taken, Token(1));
    assert_eq!(
        ledger.commit(taken, Token(2), WINDOW).await.unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        ledger.commit(alone, Token(1), WINDOW).await.unwrap(),
        Ownership::Owned,
        "it lapsed, and nobody took it over"
    );
}

async fn repeated_calls_change_nothing(ledger: &dyn Ledger) {
    let key = key(5);
    assert_eq!(
        ledger.claim(key, Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(
        ledger.claim(key, Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh,
        "its own"
    );
    assert_eq!(
        ledger.commit(key, Token(1), WINDOW).await.unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        ledger.commit(key, Token(1), WINDOW).await.unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        ledger.claim(key, Token(2), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
}

async fn extend_holds_longer(ledger: &dyn Ledger, clock: &HandClock) {
    let key = key(6);
    assert_eq!(
        ledger.claim(key, Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(
        ledger.extend(key, Token(1), LEASE * 3).await.unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        ledger.extend(key, Token(2), LEASE * 9).await.unwrap(),
        Ownership::Lost
    );
    clock.advance(LEASE * 2);
    assert!(matches!(
        ledger.claim(key, Token(2), LEASE).await.unwrap(),
        ClaimResult::InFlight { .. }
    ));
    ledger.release_soon(key, Token(1));
}

async fn commit_and_release_send_a_hint(ledger: &dyn Ledger) {
    for (key, commit) in [(key(7), true), (key(8), false)] {
        assert_eq!(
            ledger.claim(key, Token(1), LEASE).await.unwrap(),
            ClaimResult::Fresh
        );
        let hints = [ledger.changed(key), ledger.changed(key)];
        if commit {
            assert_eq!(
                ledger.commit(key, Token(1), WINDOW).await.unwrap(),
                Ownership::Owned
            );
        } else {
            ledger.release_soon(key, Token(1));
        }
        for hint in hints {
            tokio::time::timeout(Duration::from_secs(5), hint)
                .await
                .expect("an embedded ledger does give the hint");
        }
    }
}
